"""Which of Flink's metrics shows an overload, and how long after it began.

Judged on the job without offload, whose overload has a known beginning. A metric's threshold is not
set by hand: it lies a tenth of the way from its most extreme value before to its usual one during,
so that it would not have alarmed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.report.gather.surges import Arm, Setting, Surge
from bench.report.say.table import ABSENT, Table, number

# column of `sample` or name of a gauge → what it is called here, in the order of the way
_DIFFERENCED = {
    "source_busy": "source busy",
    "source_idle": "source idle",
    "source_backpressured": "source back-pressured",
    "tokenizer_busy": "tokenizer busy",
    "tokenizer_idle": "tokenizer idle",
    "emitted_per_s": "records out of the source /s",
    "processed_per_s": "sentences through the tokenizer /s",
    "backlog": "backlog (due, not tokenized)",
}
_RATES = ("/s", "numRecordsInPerSecond", "numRecordsOutPerSecond")
_COUNTERS = ("numRecordsIn", "numRecordsOut")
NOTE = (
    "Plain names: our differences of cumulative counters, polled; `code`: gauges as Flink gives "
    "them. A metric shows the overload when it is past a tenth of the way from its most extreme "
    "value before to its usual one during, two polls in a row."
)
_MARGIN = 0.1
_STEADY = 0.9


@dataclass(frozen=True)
class Shown:
    """How one metric took one overload."""

    metric: str
    is_gauge: bool
    before: float
    during: float
    threshold: float | None
    delay_ms: float | None
    """From the overload's start until the metric is beyond its threshold, two samples in a row."""
    share_shown: float
    """Of the samples in the overload, from the first beyond the threshold on."""
    at_s: Sequence[float]
    values: Sequence[float]

    @property
    def confusable(self) -> str:
        """Whether, and why, it could be taken for health."""
        if self.threshold is None or self.delay_ms is None:
            return "yes: as in health"
        if self.metric.endswith(_RATES):
            return "yes: a higher load that is served looks the same"
        if self.share_shown < _STEADY:
            return f"at times: shows it {self.share_shown:.0%} of the time"
        return "no"


def label(column: str) -> str:
    """What a column of `sample`, or a gauge, is called in tables."""
    return _DIFFERENCED.get(column, column)


def shown(surge: Surge) -> list[Shown]:
    """Every metric recorded in a surge, the quickest to show it first, those blind to it last."""
    samples = surge.samples
    if samples.empty:
        return []
    begin, end = surge.window
    at = samples["at_ms"].to_numpy(dtype=float)
    gauges = pd.DataFrame([g or {} for g in samples["gauges"]])
    found = []
    for name, is_gauge, column in [
        *((words, False, samples[c]) for c, words in _DIFFERENCED.items()),
        *((str(c), True, gauges[c]) for c in gauges if not str(c).endswith(_COUNTERS)),
    ]:
        values = column.to_numpy(dtype=float)
        before = values[(at >= begin / 2) & (at < begin) & ~np.isnan(values)]
        during = values[(at >= (begin + end) / 2) & (at < end) & ~np.isnan(values)]
        if len(before) and len(during):
            found.append(_judged(name, is_gauge, before, during, at, values, surge.window))
    return sorted(found, key=lambda s: np.inf if s.delay_ms is None else s.delay_ms)


def _judged(
    name: str,
    is_gauge: bool,
    before: np.ndarray[Any, Any],
    during: np.ndarray[Any, Any],
    at: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any],
    window: tuple[float, float],
) -> Shown:
    usual, later = float(np.median(before)), float(np.median(during))
    rises = later > usual
    extreme = float(before.max() if rises else before.min())
    apart = (later - extreme) if rises else (extreme - later)
    threshold = delay = None
    share = 0.0
    if apart > 0:
        threshold = extreme + _MARGIN * (later - extreme)
        beyond = (values > threshold) if rises else (values < threshold)
        inside = (at >= window[0]) & (at < window[1])
        twice = beyond & np.append(beyond[1:], False) & inside
        if twice.any():
            first = int(np.argmax(twice))
            delay = float(at[first] - window[0])
            share = float(beyond[inside & (at >= at[first])].mean())
    return Shown(
        name, is_gauge, usual, later, threshold, delay, share, list(at / 1000), list(values)
    )


def baseline(setting: Setting) -> Arm | None:
    base = setting.baseline
    return base if base and len(base.surges[0].samples) else None


def _by_metric(arm: Arm) -> dict[str, list[Shown]]:
    """What each surge of an arm says of each metric."""
    found: dict[str, list[Shown]] = {}
    for m in (m for s in arm.surges for m in shown(s)):
        found.setdefault(m.metric, []).append(m)
    return found


def table(setting: Setting) -> Table | None:
    """One row a metric: before, during, when it showed, and whether it can mislead."""
    base = baseline(setting)
    if base is None:
        return None
    rows, data = [], []
    for name, found in _by_metric(base).items():
        m = found[0]
        delays = [x.delay_ms for x in found if x.delay_ms is not None]
        rows.append(
            [
                f"`{name}`" if m.is_gauge else name,
                number(float(np.median([x.before for x in found]))),
                number(float(np.median([x.during for x in found]))),
                number(float(np.median(delays)) / 1000) if delays else ABSENT,
                m.confusable,
            ]
        )
        data += [
            {
                "metric": name,
                "flink_gauge": x.is_gauge,
                "before": x.before,
                "during": x.during,
                "threshold": x.threshold,
                "delay_ms": x.delay_ms,
                "share_shown": x.share_shown,
            }
            for x in found
        ]
    return Table(
        "metrics",
        "Which metric shows the overload, and how soon",
        ["metric", "before", "during", "shown after, s", "could be taken for health"],
        rows,
        pd.DataFrame(data),
        f"Without offload; {setting.conditions.words}. {NOTE}",
    )


def words(setting: Setting) -> str | None:
    """The quickest metric that is not confusable, and the slowest of those that Flink smooths, in a
    sentence; medians over the surges."""
    base = baseline(setting)
    found: list[tuple[float, Shown]] = []
    for group in (_by_metric(base) if base else {}).values():
        plain = [x for x in group if x.confusable == "no"]
        if delays_ms := [x.delay_ms for x in plain if x.delay_ms is not None]:
            found.append((float(np.median(delays_ms)), plain[0]))
    if not found:
        return None
    found.sort(key=lambda x: (x[0], x[1].metric))
    after_ms, m = found[0]
    said = f"`{short(m.metric)}`" if m.is_gauge else f"“{m.metric}”, from differenced counters,"
    said += f" shows the overload {after_ms / 1000:.1f} s after it began"
    smoothed = ("busyTimeMs", "backPressuredTimeMs")
    slow = [(ms, m) for ms, m in found if any(name in m.metric for name in smoothed)]
    if slow:
        after_ms, m = slow[-1]
        said += f", `{short(m.metric)}`, smoothed by Flink, after {after_ms / 1000:.1f} s"
    return said


def short(metric: str) -> str:
    """Flink's longest names without their scope."""
    return metric.replace("Shuffle.Netty.", "").replace("Buffers.", "")
