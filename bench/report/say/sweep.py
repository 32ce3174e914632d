"""What one parameter does: the surge with each of its values, a table and a plot a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.report.gather import surges
from bench.report.gather.evidence import NAMES as LANGUAGE_NAMES
from bench.report.gather.evidence import Evidence
from bench.report.gather.surges import Arm, Surge
from bench.report.say.relief import cell
from bench.report.say.table import ABSENT, Table, count, percent, short

NAMES = {
    "batch-size": "sentences in a batch",
    "poll-ms": "time between two polls of the metrics, ms",
    "rate": "rate in the surge, times the rate before",
    "parallelism": "subtasks of the tokenizer",
    "in-flight": "calls in flight, at most",
    "memory": "memory of the function, MB",
}


@dataclass(frozen=True)
class Point:
    """One value: its surges with offload and without."""

    value: int
    offload: Arm | None
    none: Arm | None


def sweeps(e: Evidence) -> dict[str, list[Point]]:
    """The points of each parameter swept, smallest value first."""
    found: dict[tuple[str, int], list[Surge]] = {}
    for s in surges.surges(e):
        if s.varied:
            ((name, value),) = s.varied.items()
            found.setdefault((name, int(value)), []).append(s)
    made: dict[str, list[Point]] = {}
    for (name, value), of_value in sorted(found.items()):
        arms = (
            Arm(label, mine) if (mine := [s for s in of_value if (s.method == "none") == alone])
            else None
            for label, alone in (("offload", False), ("no offload", True))
        )  # fmt: skip
        made.setdefault(name, []).append(Point(value, *arms))
    return made


def tables(e: Evidence) -> list[Table]:
    """One table a parameter."""
    return [_table(name, points) for name, points in sweeps(e).items()]


def _table(name: str, points: Sequence[Point]) -> Table:
    columns = {
        "p50, ms": ("p50_ms", None),
        "p95, ms": ("p95_ms", None),
        "**p99, ms**": ("p99_ms", None),
        "detected, ms": ("detection_ms", None),
        "normal again, ms": ("recovery_ms", None),
        "offloaded": ("share_offloaded", percent),
        "calls": ("calls", count),
        "cold starts": ("cold_starts", count),
    }
    rows, data = [], []
    for p in points:
        cells = [
            ABSENT if p.offload is None else cell(p.offload, measure, *filter(None, [form]))
            for measure, form in columns.values()
        ]
        arms = [a for a in (p.offload, p.none) if a]
        ledger = " / ".join(
            f"{sum(sum(a.values(x)) for a in arms):,.0f}" for x in ("lost", "duplicated", "wrong")
        )
        alone = cell(p.none, "p99_ms") if p.none else ABSENT
        rows.append([f"{p.value:,}", alone, _smaller(p), *cells, ledger])
        value = {name.replace("-", "_"): p.value}
        data += [fact | value for fact in surges.measures(arms).to_dict("records")]
    head = [
        NAMES[name],
        "no offload: p99, ms",
        "p99 without ÷ with",
        *columns,
        "lost / dup. / wrong",
    ]
    keep = [i for i in range(len(head)) if any(row[i] != ABSENT for row in rows)]
    return Table(
        f"sweep-{name}",
        f"Sweep: {NAMES[name]}",
        [head[i] for i in keep],
        [[row[i] for i in keep] for row in rows],
        pd.DataFrame(data),
        f"Of the sentences due during the surge. {said(points)}",
    )


def _smaller(p: Point) -> str:
    if p.none is None or p.offload is None:
        return ABSENT
    setting = surges.Setting(p.none.surges[0].conditions, [p.none, p.offload])
    ratio = setting.to_baseline(p.offload)
    return short(ratio) if ratio else ABSENT


def said(points: Sequence[Point]) -> str:
    """The conditions that all values share, and how often they were measured."""
    arms = [a for p in points for a in (p.offload, p.none) if a]
    language = next((a.language for a in arms if a.language), None)
    said = [a.surges[0].conditions.words.split("; ") for a in arms]
    counts = {len(a.surges) for a in arms}
    n = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    offload = f"Offload by the operator to {LANGUAGE_NAMES[language]}. " if language else ""
    return (
        f"{offload}{'; '.join(x for x in said[0] if all(x in other for other in said))}. "
        f"n = {n} surge{'' if counts == {1} else 's'} a value and method, in random order."
    )
