"""Where the job breaks and what shows it: the steps of a ladder of rates, Flink's metrics on each,
and whether polling or pushing brings them sooner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bench.report.gather import surges
from bench.report.gather.evidence import Evidence
from bench.report.gather.steps import Step, ascent, edge, steps
from bench.report.gather.surges import Arm, Conditions, Setting, Surge
from bench.report.say import metrics
from bench.report.say.metrics import Shown
from bench.report.say.table import ABSENT, Table, number, over, percent, time

# What was pushed is differenced over as long as what is polled.
_DIFFERENCED_OVER_MS = 240.0
_TWICE_MS = 1.0
QUEUE = "Shuffle.Netty.Input.Buffers.inputQueueLength"
_IN_POOL = "Shuffle.Netty.Input.Buffers.inPoolUsage"
OUT_POOL = "Shuffle.Netty.Output.Buffers.outPoolUsage"

# (vertex, metric as pushed, column of `sample` or gauge that is the same when polled)
_BOTH_WAYS = (
    ("tokenizer", "accumulateBusyTimeMs", "tokenizer_busy"),
    ("tokenizer", "accumulateIdleTimeMs", "tokenizer_idle"),
    ("source", "accumulateBackPressuredTimeMs", "source_backpressured"),
    ("tokenizer", "inputQueueLength", f"tokenizer.{QUEUE}"),
    ("source", "outPoolUsage", f"source.{OUT_POOL}"),
)


@dataclass(frozen=True)
class Ladder(Surge):
    """A job that met a ladder of rates; its surge is the steps on the way up that broke it."""

    @cached_property
    def steps(self) -> list[Step]:
        return steps(self.record, self.batches)

    @cached_property
    def window(self) -> tuple[float, float]:
        """Begin and end of the overload by the schedule, ms; empty if there was none."""
        broke = [s for s in ascent(self.steps) if s.state == "broke"]
        return (broke[0].start_s * 1000, broke[-1].end_s * 1000) if broke else (0.0, 0.0)

    @property
    def broke_from_health(self) -> bool:
        """Whether there is an overload, and a time before it to compare with."""
        return self.window[0] > 0

    @property
    def peak(self) -> Step:
        """The step of the highest rate."""
        return max(self.steps, key=lambda s: s.offered_per_s)


def ladders(e: Evidence) -> list[Ladder]:
    """All ladders, in the order they were run."""
    names = [f.name for f in fields(Surge)]
    return [
        Ladder(**{name: getattr(s, name) for name in names})
        for s in surges.surges(e)
        if s.is_ladder
    ]


def tables(e: Evidence) -> list[Table]:
    """The edge, the steps of the first full ladder, the metrics, and poll against push; none
    without ladders."""
    found = ladders(e)
    if not found:
        return []
    longest = full(found)
    rest = [*_metrics_tables(longest), *push_tables(e, longest)]
    return [edge_table(found), steps_table(longest[0]), *rest]


def full(found: Sequence[Ladder]) -> list[Ladder]:
    """The ladders of most steps: the others are those of the bisection."""
    longest = max(len(s.steps) for s in found)
    return [s for s in found if len(s.steps) == longest]


def words(found: Sequence[Ladder]) -> str:
    """Where the edge is, as a sentence without its end."""
    kept, broke = edge(step for ladder in found for step in ascent(ladder.steps))
    if broke is None:
        return f"It kept up with all of it, {number(kept)} sentences/s and less"
    if kept is None:
        return f"It could not keep up even with {number(broke)} sentences/s"
    return f"It keeps up with {number(kept)} sentences/s, not with {number(broke)}"


def edge_table(found: Sequence[Ladder]) -> Table:
    """Every rate on the way up, offered while nothing was left over, lowest first."""
    by_rate: dict[float, list[Step]] = {}
    for ladder in found:
        for s in ascent(ladder.steps):
            if s.state != "catching up":
                by_rate.setdefault(s.offered_per_s, []).append(s)
    rows, data = [], []
    for rate, of_rate in sorted(by_rate.items()):
        kept = sum(s.state == "kept up" for s in of_rate)
        p50s = [s.p50_ms for s in of_rate if s.p50_ms is not None]
        p99s = [s.p99_ms for s in of_rate if s.p99_ms is not None]
        rows.append(
            [
                f"{rate:,.0f}",
                f"{np.median([s.served_per_s for s in of_rate]):,.0f}",
                {len(of_rate): "yes", 0: "no"}.get(kept, f"{kept} of {len(of_rate)} times"),
                number(float(np.median(p50s))) if p50s else ABSENT,
                number(float(np.median(p99s))) if p99s else ABSENT,
                f"{np.median([s.growth for s in of_rate]):+,.0f}",
                str(len(of_rate)),
            ]
        )
        data += [vars(s) | {"state": s.state} for s in of_rate]
    return Table(
        "breakpoint-edge",
        "Where the job breaks",
        ["offered, sentences/s", "served", "keeps up", "p50, ms", "p99, ms", "backlog", "steps"],
        rows,
        pd.DataFrame(data),
        f"{words(found)}. {said(found[0].conditions)}. A step breaks the job if more than 5 % of "
        "what is due in it is left over; the way down, and steps that begin with a backlog, are "
        "left out. Latency of the sentences due in the step, from due time to sink.",
    )


def said(conditions: Conditions) -> str:
    """The conditions without the rate, which is what varies."""
    return conditions.words.split("; ", 1)[1]


def steps_table(ladder: Ladder) -> Table:
    """One column a step, in the order of time: rates, latency, and Flink's metrics."""
    samples = ladder.samples
    gauges = pd.DataFrame([g or {} for g in samples["gauges"]], index=samples.index)
    at_s = samples["at_ms"] / 1000
    rows: list[list[str]] = []

    def row(label: str, cell: Callable[[Step], str]) -> None:
        cells = [cell(s) for s in ladder.steps]
        if any(c != ABSENT for c in cells):
            rows.append([label, *cells])

    def metric(label: str, column: pd.Series[Any] | None, form: Callable[[float], str]) -> None:
        if column is not None:

            def cell(s: Step) -> str:
                inside = column[(at_s > s.start_s) & (at_s <= s.end_s)].dropna()
                return form(float(inside.median())) if len(inside) else ABSENT

            row(label, cell)

    row("**offered, sentences/s**", lambda s: f"{s.offered_per_s:,.0f}")
    row("**served, sentences/s**", lambda s: f"{s.served_per_s:,.0f}")
    row("**keeps up**", lambda s: {"kept up": "yes", "broke": "no"}.get(s.state, s.state))
    row("latency p50, ms", lambda s: number(s.p50_ms))
    row("latency p99, ms", lambda s: number(s.p99_ms))
    for vertex in ("source", "tokenizer"):
        for way in ("In", "Out"):
            if vertex == "source" and way == "In":
                continue  # a source has no input
            name = f"{vertex}.numRecords{way}"
            metric(f"{vertex}: records {way.lower()} /s", _rate(gauges.get(name), at_s), number)
            metric(f"{vertex}: `numRecords{way}PerSecond`", gauges.get(f"{name}PerSecond"), number)
        for what, flinks in (
            ("busy", "busyTimeMsPerSecond"),
            ("idle", "idleTimeMsPerSecond"),
            ("backpressured", "backPressuredTimeMsPerSecond"),
        ):
            shown = what.replace("backp", "back-p")
            metric(f"{vertex}: {shown}", samples[f"{vertex}_{what}"], percent)
            metric(f"{vertex}: `{flinks}`", gauges.get(f"{vertex}.{flinks}"), number)
        for flinks in ("softBackPressuredTimeMsPerSecond", "hardBackPressuredTimeMsPerSecond"):
            metric(f"{vertex}: `{flinks}`", gauges.get(f"{vertex}.{flinks}"), number)
        for flinks in (QUEUE, _IN_POOL, OUT_POOL):
            if vertex == "source" and ".Input." in flinks:
                continue
            short = flinks.rsplit(".", 1)[1]
            metric(f"{vertex}: `{short}`", gauges.get(f"{vertex}.{flinks}"), number)
    return Table(
        "breakpoint-steps",
        "Step by step",
        ["", *[f"{s.start_s:g}–{s.end_s:g} s" for s in ladder.steps]],
        rows,
        pd.DataFrame([vars(s) | {"state": s.state} for s in ladder.steps]),
        "Medians over a step's polls. Plain names: differences of cumulative counters; `code`: "
        f"gauges as Flink gives them. {said(ladder.conditions)}.",
    )


def _rate(counter: pd.Series[Any] | None, at_s: pd.Series[Any]) -> pd.Series[Any] | None:
    return None if counter is None else counter.diff() / at_s.diff()


def _metrics_tables(full: Sequence[Ladder]) -> list[Table]:
    broken = [s for s in full if s.broke_from_health]
    if not broken:
        return []
    arm = Arm("no offload", broken)
    made = metrics.table(Setting(broken[0].conditions, [arm]))
    if made is None:
        return []
    begin, end = broken[0].window
    before, during = (
        next(s.offered_per_s for s in broken[0].steps if s.end_s * 1000 == begin),
        broken[0].peak.offered_per_s,
    )
    note = (
        f"Before: {number(before)} sentences/s, which it keeps up with; during: {number(during)}, "
        f"from {begin / 1000:g} to {end / 1000:g} s. Measured from the moment that the schedule "
        f"steps up. {metrics.NOTE} n = {len(broken)} ladders, medians."
    )
    return [replace(made, name="breakpoint-metrics", note=note)]


def push_tables(e: Evidence, full: Sequence[Ladder]) -> list[Table]:
    """Poll against push, if Flink pushed: the same metric, judged by the same rule."""
    pushes = e.frames["push"]
    rows, data = [], []
    for vertex, pushed_name, polled_name in _BOTH_WAYS:
        polled, pushed = [], []
        for ladder in (s for s in full if s.broke_from_health):
            mine = pushes[
                (pushes["surge"] == ladder.record["surge"])
                & (pushes["vertex"] == vertex)
                & pushes["metric"].str.endswith(pushed_name)
            ]
            if mine.empty:
                continue
            polled += _shown(ladder, polled_name)
            pushed += _shown(
                replace(ladder, samples=as_samples(mine, polled_name, ladder.samples.columns)),
                polled_name,
            )
        if not polled or not pushed:
            continue
        label = metrics.label(polled_name)
        rows.append(
            [
                label,
                *(_after(x) for x in (polled, pushed)),
                *(_spacing(x) for x in (polled, pushed)),
            ]
        )
        data += [
            {"metric": label, "way": way, "delay_ms": x.delay_ms}
            for way, xs in (("poll", polled), ("push", pushed))
            for x in xs
        ]
    if not rows:
        return []
    return [
        Table(
            "breakpoint-push",
            "Polled or pushed",
            [
                "metric",
                "polled: shown after",
                "pushed: shown after",
                "polled every",
                "pushed every",
            ],
            rows,
            pd.DataFrame(data),
            f"{_quicker(data)} Both ways at once, in the same jobs; the REST API against Flink's "
            "StatsD reporter. Cumulative times are differenced over about 250 ms both ways. A push "
            "is stamped when it arrives, a poll when it is sent.",
        )
    ]


def as_samples(pushes: pd.DataFrame, column: str, columns: Iterable[str]) -> pd.DataFrame:
    """One pushed metric in the form of `sample` records, `column` being what it is there.

    Cumulative times, ms, become ratios 0..1; a dot in `column` makes it a gauge.
    """
    # Flink 2.3 sends a task's gauges twice, microseconds apart.
    once = pushes[~(pushes["at_ms"].diff() < _TWICE_MS)]
    at, value = (once[c].to_numpy(dtype=float) for c in ("at_ms", "value"))
    known: dict[str, Any] = {"at_ms": at, "gauges": [{} for _ in at]}
    if "." in column:
        known["gauges"] = [{column: v} for v in value]
    else:
        earlier = np.searchsorted(at, at - _DIFFERENCED_OVER_MS, side="right") - 1
        gap = np.where(earlier >= 0, at - at[earlier], np.nan)
        known[column] = ((value - value[earlier]) / gap).clip(0, 1)
    return pd.DataFrame({c: known.get(c, np.nan) for c in columns}, index=range(len(at)))


def _shown(ladder: Ladder, column: str) -> list[Shown]:
    return [s for s in metrics.shown(ladder) if s.metric == metrics.label(column)]


def _after(found: Sequence[Shown]) -> str:
    return over([s.delay_ms for s in found], time)


def _spacing(found: Sequence[Shown]) -> str:
    return time(float(np.median(np.concatenate([np.diff(s.at_s) for s in found]))) * 1000)


def _quicker(data: Sequence[dict[str, Any]]) -> str:
    frame = pd.DataFrame(data)
    frame = frame[np.isfinite(frame["delay_ms"])]
    first = {str(way): float(x["delay_ms"].min()) for way, x in frame.groupby("way")}
    if len(first) < 2:
        return "Only one way showed the overload."
    quick, slow = sorted(first, key=lambda way: first[way])
    return (
        f"The {quick} is quicker: it shows the overload first after {time(first[quick])}, the "
        f"{slow} after {time(first[slow])}."
    )
