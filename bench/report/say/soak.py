"""The table of a soak: every process at its beginning and at its end, and whether it is flat."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from bench.report.gather import soak
from bench.report.gather.evidence import Evidence
from bench.report.gather.soak import FLAT, Trend
from bench.report.say.table import ABSENT, Table, number

_NAMES = {
    "memory_mb": "memory, MB", "threads": "threads", "files": "file descriptors",
    "cgroups": "control groups", "temporary_files": "temporary files", "p50_ms": "p50, ms",
    "p95_ms": "p95, ms",
}  # fmt: skip


def tables(e: Evidence) -> list[Table]:
    """One table a soak."""
    return [_table(e, str(surge)) for surge in e.frames["soak"]["surge"].unique()]


def _table(e: Evidence, surge: str) -> Table:
    trends = soak.trends(e, surge)
    return Table(
        "soak",
        "A soak: at the beginning, after warm-up, and at the end",
        ["what", "which", "beginning", "end", "change", "verdict"],
        [_row(x) for x in trends],
        pd.DataFrame([asdict(x) for x in trends]),
        note=f"{_length(e, surge)} {verdict(trends)}",
    )


def verdict(trends: list[Trend]) -> str:
    """Flat, or what grew."""
    grew = [f"{x.role} ({_NAMES[x.what]})" for x in trends if x.grew]
    if not trends:
        return "Too short to say anything."
    if not grew:
        return f"Flat: nothing grew by more than {FLAT:.0%}."
    return f"Grew by more than {FLAT:.0%}: {', '.join(grew)}."


def _row(x: Trend) -> list[str]:
    change = f"{x.end / x.begin - 1:+.1%}" if x.begin else ABSENT
    said = "**grew**" if x.grew else "flat"
    return [x.role, _NAMES[x.what], number(x.begin), number(x.end), change, said]


def _length(e: Evidence, surge: str) -> str:
    head: Any = e.frames["surge"].set_index("surge").loc[surge]
    ledger = e.frames["ledger"]
    ledger = ledger[ledger["surge"] == surge]
    came = (
        "the job did not come to its end, so nothing is known of what was lost"
        if ledger.empty
        else _came(ledger.iloc[0])
    )
    return (
        f"{head['length_s'] / 60:.0f} minutes, surges of random height, length and language; "
        f"{came}. Medians of looks every 5 s in the fifth after the first 30 % and in the last "
        "fifth; a function's processes together. Java's heap is touched whole at the start."
    )


def _came(ledger: pd.Series[Any]) -> str:
    lost, twice, wrong = (int(ledger[x]) for x in ("lost", "duplicated", "wrong"))
    return f"{lost} lost, {twice} twice, {wrong} wrong of {int(ledger['expected']):,} sentences"
