"""Tables of the surges: what became of latency under each method, and by length of the burst."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from bench.report.gather.surges import WAYS, Arm, Setting, burst_labels, measures, ratio_to_baseline
from bench.report.say.table import ABSENT, Table, count, number, percent, times

_PART_NAMES = {
    "waiting": "waiting for the batch",
    "shipping": "shipping there and back",
    "bring_up": "bring-up of an environment",
    "computing": "computing",
    "sending": "sending downstream",
    "remainder": "not explained",
    "total": "whole (first sentence of a batch)",
}


def surge(setting: Setting, name: str = "surge") -> Table:
    """Latency in the surge and its parts: one column for no offload, one for each language."""
    arms = [a for a in setting.typical if a.method in ("none", "operator")] or list(setting.arms)
    rows: list[list[str]] = []

    def row(label: str, cell: Callable[[Arm], str]) -> None:
        cells = [cell(arm) for arm in arms]
        if any(c != ABSENT for c in cells):
            rows.append([label, *cells])

    for q in ("p50", "p95", "p99"):
        bold = "**" if q == "p99" else ""
        row(f"{bold}{q}, ms{bold}", lambda a, q=q: a.text(f"{q}_ms"))  # type: ignore[misc]
    row("max, ms", lambda a: a.text("max_ms"))

    row("**p99 without offload ÷ with**", lambda a: _smaller(setting, a))
    for way in WAYS:
        row(
            f"{way}: p50 / p95 / p99, ms",
            lambda a, way=way: _slashes(a, [f"{way}_{q}_ms" for q in ("p50", "p95", "p99")]),  # type: ignore[misc]
        )
    for part, words in _PART_NAMES.items():
        row(
            f"offloaded, mean: {words}, ms",
            lambda a, part=part: _to_the_microsecond(a.value(f"offloaded_{part}_ms")),  # type: ignore[misc]
        )
    row("share offloaded", lambda a: a.text("share_offloaded", percent))
    row("calls", lambda a: a.text("calls", count))
    row("cold starts", lambda a: a.text("cold_starts", count))
    row(
        "throttled / timed out / failed / late",
        lambda a: _sums(a, ["throttled", "timed_out", "failed", "late"]),
    )
    row("detected after, ms", lambda a: a.text("detection_ms"))
    row("latency normal again after, ms", lambda a: a.text("recovery_ms"))
    row("sentences due in the surge", lambda a: a.text("sentences", count))
    row("**lost / duplicated / wrong**", lambda a: _sums(a, ["lost", "duplicated", "wrong"]))
    return Table(
        name,
        "Total latency in the surge",
        ["", *[a.label for a in arms]],
        rows,
        measures(arms),
        f"Of the sentences due during the surge, from due time to sink. {setting.conditions.words}."
        f" {setting.repetitions}.",
    )


def methods(setting: Setting) -> Table | None:
    """Every method under the same load, one a row; None if there is nothing but offloading."""
    if {a.method for a in setting.arms} <= {"none", "operator"}:
        return None
    columns: dict[str, Callable[[Arm], str]] = {
        "detected, ms": lambda a: a.text("detection_ms"),
        "normal again, ms": lambda a: a.text("recovery_ms"),
        "p50, ms": lambda a: a.text("p50_ms"),
        "p95, ms": lambda a: a.text("p95_ms"),
        "p99, ms": lambda a: a.text("p99_ms"),
        "no offload's p99 ÷ this": lambda a: _smaller(setting, a),
        "max, ms": lambda a: a.text("max_ms"),
        "excess, sentence-s": lambda a: a.text("excess_s"),
        "offloaded": lambda a: a.text("share_offloaded", percent),
        "calls": lambda a: a.text("calls", count),
        "cold starts": lambda a: a.text("cold_starts", count),
        "lost / dup. / wrong": lambda a: _sums(a, ["lost", "duplicated", "wrong"]),
        "out of order": lambda a: a.text("out_of_order", count),
    }
    return Table(
        "methods",
        "Methods and alternatives",
        ["", *columns],
        [[a.label, *[cell(a) for cell in columns.values()]] for a in setting.arms],
        measures(setting.arms),
        f"{setting.conditions.words}. {setting.repetitions.replace('column', 'row')}. Excess: what "
        "sentences waited beyond their normal latency, in sum.",
    )


def bursts(group: Sequence[Setting]) -> Table:
    """p99 in the surge by length of the burst, a column for each method."""
    labels = burst_labels(group)
    rows = []
    for s in group:
        by = {a.label: a.text("p99_ms") for a in s.arms}
        rows.append([f"{s.conditions.duration_s:g} s", *[by.get(x, ABSENT) for x in labels]])
    data = [
        fact | {"duration_s": s.conditions.duration_s}
        for s in group
        for fact in measures(s.arms).to_dict("records")
    ]
    return Table(
        "bursts",
        "Latency against burst length",
        ["length of the burst: p99, ms", *labels],
        rows,
        pd.DataFrame(data),
        f"{group[0].conditions.words}, and other lengths of the burst.",
    )


def _smaller(setting: Setting, arm: Arm) -> str:
    r = ratio_to_baseline(setting, arm)
    return times(r, digits=1) if r else ABSENT


def _to_the_microsecond(ms: float | None) -> str:
    return number(None if ms is None else round(ms, 3))


def _slashes(arm: Arm, names: Sequence[str]) -> str:
    values = [arm.value(n) for n in names]
    return ABSENT if all(v is None for v in values) else " / ".join(map(number, values))


def _sums(arm: Arm, names: Sequence[str]) -> str:
    cells = [arm.total(n) for n in names]
    return ABSENT if all(c == ABSENT for c in cells) else " / ".join(cells)
