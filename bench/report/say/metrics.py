"""Which of Flink's metrics shows an overload, and how long after it began.

Judged on the job without offload, whose overload has a known beginning, as an alarm that runs along
would: its threshold is fixed before the surge, from the calm alone, and the same for any length of
the burst; it goes off at the second of two samples in a row beyond it; what it misses counts as
infinitely late; all repetitions count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.report.gather.surges import Arm, Setting, Surge
from bench.report.say.table import ABSENT, Table, number, over

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
    "them. Threshold: from the calm before alone, its most extreme value and a quarter of its "
    "spread beyond; the alarm goes off at the second sample in a row beyond it. Medians over all "
    "repetitions; “never” counts as later than any."
)
_BEYOND = 0.25
_LEAST_BEYOND = 0.05
"""Of the calm's level (of a ratio: in itself), where the calm spreads less than that."""
_SMOOTHED_OVER_MS = 60_000.0
"""Flink's own `…PerSecond` gauges: before the job has run that long they say how it started."""
_STEADY = 0.9


@dataclass(frozen=True)
class Shown:
    """How one metric took one overload."""

    metric: str
    is_gauge: bool
    before: float
    during: float
    threshold: float
    delay_ms: float
    """From the overload's start to the alarm; infinite if it never goes off."""
    share_shown: float
    """Of the samples in the overload, from the alarm on, those beyond the threshold."""
    needs_calm: bool
    """Whether it is smoothed over longer than the calm lasted, so that it cannot be judged."""
    at_s: Sequence[float]
    values: Sequence[float]

    @property
    def is_seen(self) -> bool:
        """Whether the alarm goes off, and could be judged."""
        return bool(np.isfinite(self.delay_ms)) and not self.needs_calm


def is_rate(metric: str) -> bool:
    """Whether a higher load that is served looks the same."""
    return metric.endswith(_RATES)


def falls(metric: str) -> bool:
    """Whether a metric falls when a job is overloaded; the others rise."""
    return "idle" in metric.lower() or "available" in metric.lower()


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
        # the first half of the calm is the job's start
        calm = values[(at >= begin / 2) & (at < begin) & ~np.isnan(values)]
        during = values[(at >= begin) & (at < end) & ~np.isnan(values)]
        if len(calm) > 1 and len(during):
            found.append(_judged(name, is_gauge, calm, during, at, values, surge.window))
    return sorted(found, key=lambda s: (s.needs_calm, s.delay_ms))


def _judged(
    name: str,
    is_gauge: bool,
    calm: np.ndarray[Any, Any],
    during: np.ndarray[Any, Any],
    at: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any],
    window: tuple[float, float],
) -> Shown:
    sign = -1.0 if falls(name) else 1.0
    extreme = float((sign * calm).max())
    level = max(abs(float(np.median(calm))), 1.0)
    beyond = max(_BEYOND * float(calm.max() - calm.min()), _LEAST_BEYOND * level)
    threshold = sign * (extreme + beyond)
    inside = (at >= window[0]) & (at < window[1])
    out = (sign * values > sign * threshold) & inside
    alarms = np.flatnonzero(out & np.append(False, out[:-1]))
    delay, share = float("inf"), 0.0
    if len(alarms):
        first = int(alarms[0])
        delay = float(at[first] - window[0])
        share = float(out[inside & (at >= at[first])].mean())
    return Shown(
        name,
        is_gauge,
        float(np.median(calm)),
        float(np.median(during)),
        threshold,
        delay,
        share,
        is_gauge and "PerSecond" in name and window[0] < _SMOOTHED_OVER_MS,
        list(at / 1000),
        list(values),
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


def _delay_ms(found: Sequence[Shown]) -> float:
    return float(np.median([x.delay_ms for x in found]))


def confusable(found: Sequence[Shown]) -> str:
    """Whether, and why, a metric could be taken for health, over the repetitions."""
    seen = [x for x in found if np.isfinite(x.delay_ms)]
    if found[0].needs_calm:
        return f"not known: needs over {_SMOOTHED_OVER_MS / 1000:g} s of calm first"
    if not seen:
        return "yes: as in health"
    if is_rate(found[0].metric):
        return "yes: a higher load that is served looks the same"
    missed = len(found) - len(seen)
    if missed:
        return f"at times: missed in {missed} of {len(found)}"
    share = float(np.median([x.share_shown for x in seen]))
    return "no" if share >= _STEADY else f"at times: shows it {share:.0%} of the time"


def table(setting: Setting) -> Table | None:
    """One row a metric: before, during, when it showed, and whether it can mislead."""
    base = baseline(setting)
    if base is None:
        return None
    rows, data = [], []
    by = _by_metric(base)
    if not by:
        return None
    for name, found in sorted(by.items(), key=lambda x: (x[1][0].needs_calm, _delay_ms(x[1]))):
        m = found[0]
        after = over([x.delay_ms / 1000 for x in found])
        rows.append(
            [
                f"`{name}`" if m.is_gauge else name,
                number(float(np.median([x.before for x in found]))),
                number(float(np.median([x.during for x in found]))),
                ABSENT if m.needs_calm else after,
                confusable(found),
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
                "needs_calm": x.needs_calm,
            }
            for x in found
        ]
    return Table(
        "metrics",
        "Which metric shows the overload, and how soon",
        ["metric", "before", "during", "shown after, s", "could be taken for health"],
        rows,
        pd.DataFrame(data),
        f"Without offload, n = {len(base.surges)}; {setting.conditions.words}. {NOTE}",
    )


def words(setting: Setting) -> str | None:
    """The quickest metric that is not confusable, and Flink's smoothed ones, in a sentence; medians
    over all repetitions."""
    base = baseline(setting)
    by = _by_metric(base) if base else {}
    plain = {m: f for m, f in by.items() if confusable(f) == "no"}
    if not plain:
        return None
    name, found = min(plain.items(), key=lambda x: (_delay_ms(x[1]), x[0]))
    said = f"`{short(name)}`" if found[0].is_gauge else f"“{name}”, from differenced counters,"
    said += f" shows the overload {over([x.delay_ms / 1000 for x in found])} s after it began"
    smoothed = ("busyTimeMs", "backPressuredTimeMs")
    slow = {m: f for m, f in plain.items() if any(x in m for x in smoothed)}
    if slow:
        m, last = max(slow.items(), key=lambda x: _delay_ms(x[1]))
        said += f", `{short(m)}`, smoothed by Flink, {over([x.delay_ms / 1000 for x in last])} s"
    elif any(f[0].needs_calm for f in by.values()):
        said += (
            "; Flink's smoothed gauges cannot be judged, the calm before being shorter than the "
            "minute that they look back"
        )
    return f"{said} (n = {len(found)})"


def short(metric: str) -> str:
    """Flink's longest names without their scope."""
    return metric.replace("Shuffle.Netty.", "").replace("Buffers.", "")
