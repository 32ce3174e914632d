"""Tables of the surges: what became of latency under each way of relief, and by length of the
burst; who spent the CPU; how much the workers could take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from bench.facts.machine import NOT_OURS
from bench.report.gather.evidence import Evidence
from bench.report.gather.surges import WAYS, Arm, Setting, burst_labels, measures
from bench.report.say.table import ABSENT, Table, count, number, over, percent, short
from bench.stats import MIN_BATCHES

_PART_NAMES = {
    "filling": "until its batch was full",
    "queueing": "queueing for the operator",
    "call_wait": "queueing for a free call",
    "waiting": "waiting, not parted further",
    "network": "network (emulated)",
    "placement": "placement (emulated)",
    "shipping": "shipping there and back",
    "bring_up": "bring-up of an environment",
    "computing": "computing",
    "sending": "sending downstream",
    "remainder": "not explained",
    "total": "whole (first sentence of a batch)",
}
_EMULATED = ("network", "placement")
_TAILS = (
    f"A p95 or p99 is given where at least {MIN_BATCHES} batches stand behind it, since the "
    "sentences of one batch share their fate."
)


def cell(a: Arm, measure: str, form: Callable[[float | None], str] = number) -> str:
    """A measure of an arm, over its repetitions."""
    return over(a.values(measure), form, a.values("watched_ms") if "recovery" in measure else ())


def surge(setting: Setting, name: str = "surge") -> Table:
    """Latency in the surge and its parts: one column for no offload, one for each language."""
    arms = _columns(setting)
    rows: list[list[str]] = []

    def row(label: str, text: Callable[[Arm], str]) -> None:
        cells = [text(arm) for arm in arms]
        if any(c != ABSENT for c in cells):
            rows.append([label, *cells])

    row("batches behind the quantiles", lambda a: cell(a, "batches", count))
    for q in ("p50", "p95", "p99"):
        bold = "**" if q == "p99" else ""
        row(f"{bold}{q}, ms{bold}", lambda a, q=q: cell(a, f"{q}_ms"))  # type: ignore[misc]
    row("max, ms", lambda a: cell(a, "max_ms"))
    row("**p99 without offload ÷ with**", lambda a: _smaller(setting, a))
    for way in WAYS:
        row(
            f"{way}: p50 / p95 / p99, ms",
            lambda a, way=way: _slashes(a, [f"{way}_{q}_ms" for q in ("p50", "p95", "p99")]),  # type: ignore[misc]
        )
    for part, words in _PART_NAMES.items():
        if any((a.value(f"offloaded_{part}_ms") or 0) > 0.0005 for a in arms):
            row(
                f"offloaded, mean: {words}, ms",
                lambda a, part=part: _to_the_microsecond(a.value(f"offloaded_{part}_ms")),  # type: ignore[misc]
            )
    row("share offloaded", lambda a: cell(a, "share_offloaded", percent))
    row("calls", lambda a: cell(a, "calls", count))
    row("cold starts", lambda a: cell(a, "cold_starts", count))
    row("of them waited for in the surge", lambda a: cell(a, "cold_in_surge", count))
    row(
        "throttled / timed out / failed / late",
        lambda a: _sums(a, ["throttled", "timed_out", "failed", "late"]),
    )
    row("detected after, ms", lambda a: cell(a, "detection_ms"))
    row("latency normal again after, ms", lambda a: cell(a, "recovery_ms"))
    row("sentences due in the surge", lambda a: cell(a, "sentences", count))
    row("**lost / duplicated / wrong**", lambda a: _sums(a, ["lost", "duplicated", "wrong"]))
    return Table(
        name,
        "Total latency in the surge",
        ["", *[a.label for a in arms]],
        rows,
        measures(arms),
        f"Of the sentences due during the surge, from due time to sink. {setting.conditions.words}."
        f" {setting.repetitions}. {_TAILS}{_emulation(arms)}{_warnings(setting)}",
    )


def _columns(setting: Setting) -> list[Arm]:
    """No offload, and one arm a language."""
    shown = [a for a in setting.typical if a.method in ("none", "operator")]
    return shown or list(setting.arms)


def methods(setting: Setting) -> Table | None:
    """Every way under the same load, one a row; None if all of them are columns of `surge`."""
    if len(_columns(setting)) == len(setting.arms):
        return None
    columns: dict[str, Callable[[Arm], str]] = {
        "surges": lambda a: str(len(a.surges)),
        "detected, ms": lambda a: cell(a, "detection_ms"),
        "normal again, ms": lambda a: cell(a, "recovery_ms"),
        "p50, ms": lambda a: cell(a, "p50_ms"),
        "p95, ms": lambda a: cell(a, "p95_ms"),
        "p99, ms": lambda a: cell(a, "p99_ms"),
        "no offload's p99 ÷ this": lambda a: _smaller(setting, a),
        "max, ms": lambda a: cell(a, "max_ms"),
        "excess, sentence-s": _excess,
        "offloaded": lambda a: cell(a, "share_offloaded", percent),
        "calls": lambda a: cell(a, "calls", count),
        "cold starts": lambda a: cell(a, "cold_starts", count),
        "in the surge": lambda a: cell(a, "cold_in_surge", count),
        "lost / dup. / wrong": lambda a: _sums(a, ["lost", "duplicated", "wrong"]),
        "out of order": lambda a: cell(a, "out_of_order", count),
    }
    normal = setting.arms[0].value("normal_ms")
    return Table(
        "methods",
        "Methods and alternatives",
        ["", *columns],
        [[a.label, *[text(a) for text in columns.values()]] for a in setting.arms],
        measures(setting.arms),
        f"{setting.conditions.words}. {setting.repetitions.replace('column', 'row')}. Normal is "
        "the p95 of the sentences at the sink before the surge, over all rows: "
        f"{number(normal)} ms; normal again after the last second in which over 1 in 20 sentences "
        "took over 1.5 times that; “>”: not within what was recorded. Excess: what sentences "
        "waited beyond normal, in "
        f"sum. {_TAILS}{_warnings(setting)}",
    )


_PHASES = {
    "Executing": "the old job goes on",
    "Restarting": "the old job is stopped",
    "WaitingForResources": "waiting for slots",
    "CreatingExecutionGraph": "the new job is planned and handed out",
}


def rescaling(e: Evidence, setting: Setting) -> Table | None:
    """Where the time of scaling out went, a row a phase, a column for each way of scaling out; None
    where no rescaling came to its end."""
    frame = e.frames["rescale"]
    done = frame[(frame["state"] == "COMPLETED") & frame["phases_ms"].notna()].set_index("surge")
    columns: dict[str, list[str]] = {}
    facts = []
    for a in setting.arms:
        found = [
            {"asked": r["at_ms"] - s.window[0], "total": r["total_ms"], **r["phases_ms"]}
            for s in a.surges
            for r in done.loc[done.index == s.record["surge"]].to_dict("records")
        ]
        if found:
            facts += [{"arm": a.label, **x} for x in found]
            columns[f"{a.label} (n = {len(found)})"] = [
                over([float(x[p]) for x in found if x.get(p) is not None])
                for p in ("asked", *_PHASES, "total")
            ]
    labels = ("asked for, after the surge's start", *_PHASES.values(), "**asked → handed out**")
    rows = [[label, *cells] for label, *cells in zip(labels, *columns.values(), strict=True)]
    return (
        Table(
            "rescaling",
            "Where the time of scaling out went",
            ["ms", *columns],
            rows,
            pd.DataFrame(facts),
            f"By Flink's own history of the job. {setting.conditions.words}. Median "
            "(lowest–highest) of n rescalings; that the new subtasks start comes on top.",
        )
        if columns
        else None
    )


def bursts(group: Sequence[Setting]) -> Table:
    """p99 and excess in the surge by length of the burst, a column for each method."""
    labels = burst_labels(group)
    rows = []
    for s in group:
        by = {a.label: a for a in s.arms}
        for what, text in (
            ("p99, ms", lambda a: cell(a, "p99_ms")),
            ("excess, sentence-s", _excess),
        ):
            cells = [text(by[x]) if x in by else ABSENT for x in labels]
            rows.append([f"{s.conditions.duration_s:g} s", what, *cells])
    data = [
        fact | {"duration_s": s.conditions.duration_s}
        for s in group
        for fact in measures(s.arms).to_dict("records")
    ]
    counts = [len(a.surges) for s in group for a in s.arms]
    n = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    return Table(
        "bursts",
        "Latency against burst length",
        ["burst", "", *labels],
        rows,
        pd.DataFrame(data),
        f"{group[0].conditions.words}, and other lengths of the burst; n = {n} surges a cell, "
        f"median (lowest–highest). {_TAILS}",
    )


def cpu(setting: Setting) -> Table | None:
    """Who spent CPU time in the surges of each arm, a role a column; None if nobody counted."""
    found = pd.concat(
        [s.cpu.assign(arm=a.label, turn=str(s.turn)) for a in setting.arms for s in a.surges]
    )
    if found.empty:
        return None
    roles = list(dict.fromkeys(found["role"]))
    if "worker" not in roles:  # of a cluster that is not ours
        roles.insert(0, "worker")
    rows = []
    for a in setting.arms:
        mine = found[found["arm"] == a.label]
        if mine.empty:
            continue
        cells = []
        for role in roles:
            of_role = mine[mine["role"] == role]
            us = (of_role["cpu_s"] / of_role["sentences"] * 1e6).tolist()
            waited = of_role["throttled_s"].dropna()
            text = f"{over(of_role['cpu_s'].tolist())} s, {over(us)} µs" if us else ABSENT
            if len(waited):
                text += f", held up {number(float(waited.median()))} s"
            cells.append(text)
        rows.append([a.label, *cells])
    data = found[["arm", "surge", "role", "processes", "cpu_s", "throttled_s", "sentences"]]
    return Table(
        "cpu",
        "Who spent the CPU",
        ["", *roles],
        rows,
        data.assign(us_per_sentence=data["cpu_s"] / data["sentences"] * 1e6),
        "CPU seconds from the surge's start to the job's end, and microseconds of them for each "
        "sentence that the job delivered; held up: the time that a quota made the role wait. "
        f"{setting.conditions.words}. {setting.repetitions.replace('column', 'row')}.",
    )


def capacity(e: Evidence) -> Table | None:
    """What a local worker was measured to do before and after the surges, and how far it drifted;
    None without such records."""
    frame = e.frames["capacity"]
    if frame.empty:
        return None
    keys = ["run", "operator", "words_per_sentence", "batch_size", "worker_limit"]
    rows = []
    for key, group in frame.groupby(keys, sort=False):
        run, operator, words, size, limit = key
        by = {when: g.iloc[-1] for when, g in group.groupby("when")}
        cpu_ = group["worker_cpu"].iloc[0]
        drift = ABSENT
        if {"before", "after"} <= by.keys():
            drift = f"{by['after']['per_s'] / by['before']['per_s'] - 1:+.0%}"
        free = NOT_OURS if limit == NOT_OURS else "not limited"
        held = free if pd.isna(cpu_) else f"{cpu_:g} CPU by {limit}"
        rows.append(
            [
                str(run),
                f"{operator}, {words} words a sentence, batches of {size}",
                held,
                *(_rate(by.get(when)) for when in ("before", "after")),
                drift,
            ]
        )
    return Table(
        "capacity",
        "What a local worker can take",
        ["run", "work", "worker", "before, sentences/s", "after", "drift"],
        rows,
        frame.drop(columns="windows_per_s"),
        "Measured on the saturated job, warm-up left out: what its steady windows let through "
        "together, with the least and the most of them.",
    )


def drift(e: Evidence) -> float | None:
    """By how much the measured capacity changed from before the surges to after, at most."""
    found = [
        group.set_index("when")["per_s"].to_dict()
        for _, group in e.frames["capacity"].groupby(["run", "operator", "words_per_sentence"])
    ]
    ratios = [x["after"] / x["before"] for x in found if {"before", "after"} <= x.keys()]
    return max((max(r, 1 / r) - 1 for r in ratios), default=None)


def _rate(row: pd.Series[float] | None) -> str:
    if row is None:
        return ABSENT
    said = f"{row['per_s']:,.0f}"
    if pd.notna(row["low_per_s"]) and pd.notna(row["high_per_s"]):
        said += f" ({row['low_per_s']:,.0f}–{row['high_per_s']:,.0f})"
    return said


def _excess(a: Arm) -> str:
    """Where the queue was not gone at the end, at least what was seen."""
    open_ended = any(x == float("inf") for x in a.values("recovery_ms"))
    said = cell(a, "excess_s")
    return f"> {said}" if open_ended and said != ABSENT else said


def _smaller(setting: Setting, arm: Arm) -> str:
    c = setting.to_baseline(arm)
    return short(c) if c else ABSENT


def _emulation(arms: Sequence[Arm]) -> str:
    found = [p for p in _EMULATED if any((a.value(f"offloaded_{p}_ms") or 0) > 0 for a in arms)]
    if not found:
        return ""
    return f" {' and '.join(found).capitalize()} are emulated, from published figures of AWS."


def _warnings(setting: Setting) -> str:
    """What a reader has to know of these columns."""
    said = ""
    outside = [
        a.label
        for a in setting.arms
        if a.is_cold and a.language and not any(a.values("cold_in_surge"))
    ]
    if outside:
        said += f" No cold start was waited for in the surge by: {'; '.join(outside)}."
    if len(setting.runs) > 1:
        said += (
            f" From {len(setting.runs)} runs; ratios only within one, so that of several a run "
            "counts once."
        )
    return said


def _to_the_microsecond(ms: float | None) -> str:
    return number(None if ms is None else round(ms, 3))


def _slashes(arm: Arm, names: Sequence[str]) -> str:
    values = [arm.value(n) for n in names]
    return ABSENT if all(v is None for v in values) else " / ".join(map(number, values))


def _sums(arm: Arm, names: Sequence[str]) -> str:
    """Sums over the repetitions."""
    values = [arm.values(n) for n in names]
    return " / ".join(f"{sum(v):,.0f}" for v in values) if all(values) else ABSENT
