"""A table to read, and how figures are written in it. `—` is absent, never a zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tabulate import tabulate

from bench.stats import Estimate

ABSENT = "—"
NO_DIFFERENCE = "no significant difference"


@dataclass(frozen=True)
class Table:
    """A table to read and the numbers behind it.

    `rows` are cells as text, the first column names the row; `data` is one fact a line, unrounded.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: pd.DataFrame
    note: str = ""

    def markdown(self) -> str:
        """The rows as a GitHub table, without title and note."""
        align = ["left", *["right"] * (len(self.columns) - 1)]
        return tabulate(self.rows, self.columns, "pipe", colalign=align, disable_numparse=True)

    def section(self) -> str:
        """Title, note and table in Markdown."""
        note = f"{self.note}\n\n" if self.note else ""
        return f"## {self.title}\n\n{note}{self.markdown()}"

    def csv(self) -> str:
        """`data`, to six digits."""
        return str(self.data.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def number(x: float | None) -> str:
    """Three digits, e.g. 0.0123, 1.23, 123, 12,345; `—` for none."""
    if x is None or np.isnan(x):
        return ABSENT
    if x == 0:
        return "0"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    rounded = float(f"{x:.3g}")
    if abs(rounded) >= 100:
        return f"{rounded:.0f}"
    digits = 2 - int(np.floor(np.log10(abs(rounded))))
    return f"{rounded:.{min(digits, 5)}f}"


def time(ms: float | None) -> str:
    """A time with its unit, ms below a second and s from there on."""
    if ms is None or np.isnan(ms):
        return ABSENT
    return f"{number(ms)} ms" if abs(ms) < 1000 else f"{number(ms / 1000)} s"


def count(x: float | None) -> str:
    """A whole number."""
    return ABSENT if x is None or np.isnan(x) else f"{x:,.0f}"


def percent(x: float | None) -> str:
    """A share 0..1 in percent."""
    return ABSENT if x is None or np.isnan(x) else f"{x:.0%}"


def estimate(e: Estimate | None) -> str:
    """A value with its interval, e.g. "12.3 (12.0–12.7)"."""
    if e is None:
        return ABSENT
    if e.low is None:
        return number(e.value)
    return f"{number(e.value)} ({number(e.low)}–{number(e.high)})"


def times(e: Estimate, digits: int = 2) -> str:
    """A ratio with its interval, e.g. "1.90× (1.82–2.01)"."""
    if e.low is None or e.high is None:
        return f"{e.value:,.{digits}f}×"
    return f"{e.value:,.{digits}f}× ({e.low:,.{digits}f}–{e.high:,.{digits}f})"


def usd(x: float | None) -> str:
    """An amount of money, three digits."""
    return ABSENT if x is None or np.isnan(x) else f"${number(x)}"
