"""A table to read, and how figures are written in it. `—` is absent, never a zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from bench.report.gather.evidence import LANGUAGES, NAMES
from bench.stats import Comparison, Estimate, Ranking

ABSENT = "—"


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


def by_language(
    data: pd.DataFrame, key: str, label: str, text: Callable[[Mapping[Any, Any]], str]
) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table with a column a language and a row a value of `key`, called as
    the format `label` says; `text` makes a cell of a line of `data`."""
    cells = {(r[key], r["language"]): text(r) for r in data.to_dict("records")}
    languages = [x for x in LANGUAGES if x in set(data["language"])]
    rows = [
        [label.format(v), *(cells.get((v, x), ABSENT) for x in languages)]
        for v in sorted(set(data[key]))
    ]
    return [NAMES[x] for x in languages], rows


def number(x: float | None) -> str:
    """Three digits, e.g. 0.0123, 1.23, 123, 12,345; `—` for none."""
    if x is None or np.isnan(x):
        return ABSENT
    if np.isinf(x):
        return "never"
    if x == 0:
        return "0"
    if abs(x) >= 100:
        return f"{x:,.0f}"
    rounded = float(f"{x:.3g}")
    if abs(rounded) >= 100:
        return f"{rounded:.0f}"
    digits = 2 - int(np.floor(np.log10(abs(rounded))))
    return f"{rounded:.{min(digits, 7)}f}"


def time(ms: float | None) -> str:
    """A time with its unit, ms below a second and s from there on."""
    if ms is None or np.isnan(ms):
        return ABSENT
    if np.isinf(ms):
        return "never"
    return f"{number(ms)} ms" if abs(ms) < 1000 else f"{number(ms / 1000)} s"


def count(x: float | None) -> str:
    """A whole number."""
    return ABSENT if x is None or np.isnan(x) else f"{x:,.0f}"


def percent(x: float | None) -> str:
    """A share 0..1 in percent."""
    return ABSENT if x is None or np.isnan(x) else f"{x:.0%}"


def estimate(e: Estimate | None) -> str:
    """A value with its interval, "12.3 (12.0–12.7)", or with the lowest and highest of so few that
    they allow none, "12.3 [11.9–13.1, n = 3]"."""
    if e is None:
        return ABSENT
    if e.low is not None:
        return f"{number(e.value)} ({number(e.low)}–{number(e.high)})"
    if e.n > 1 and e.least is not None:
        return f"{number(e.value)} [{number(e.least)}–{number(e.most)}, n = {e.n}]"
    return number(e.value)


BRACKETS = "(…) is a 95 % interval; […] the lowest and highest of too few for one"


def between(e: Estimate) -> str:
    """A ratio as its interval allows, "48–72×"; without one what was seen, "[48–72×]"."""
    low, high = (e.low, e.high) if e.low is not None else (e.least, e.most)
    if low is None or high is None:
        low = high = e.value
    digits = 0 if low >= 10 else 1 if low >= 2 else 2
    ends = [f"{low:,.{digits}f}", f"{high:,.{0 if high >= 10 else digits}f}"]
    said = f"{ends[0]}×" if ends[0] == ends[1] else f"{'–'.join(ends)}×"
    return said if e.low is not None or e.least is None else f"[{said}]"


def verdict(c: Comparison, a: str, b: str) -> str:
    """What may be said of the ratio time of b ÷ time of a: one of three verdicts, with n."""
    n = f"n = {c.ratio.n}"
    if c.verdict == "different":
        if c.ratio.value >= 1:
            return f"{a} is {between(c.ratio)} faster than {b} ({n})"
        return f"{b} is {between(c.ratio.inverse)} faster than {a} ({n})"
    if c.verdict == "equal":
        return f"{a} and {b} are equal within {c.margin - 1:.0%} ({n})"
    return f"not known which is faster ({b} ÷ {a} {between(c.ratio)}, {n}{settles(c)})"


def settles(c: Comparison) -> str:
    """What would settle a "not known", as the end of a bracket."""
    if c.more is None:
        return ""
    return f"; {c.more:,} more would settle it" if c.more <= 1000 else "; over 1,000 more would"


def against_first(r: Ranking, names: Mapping[str, str]) -> str:
    """A ranking in a cell: the first by name if it may be named, and each other one's ratio."""
    others = "; ".join(f"{names[x]} {short(c)}" for x, c in r.others.items())
    head = f"**{names[r.first]}**" if r.is_named else f"none named, lowest {names[r.first]}"
    return f"{head}; {others}"


def short(c: Comparison) -> str:
    """A comparison in a cell."""
    if c.verdict == "different":
        return between(c.ratio)
    if c.verdict == "equal":
        return f"equal within {c.margin - 1:.0%}"
    return f"not known ({between(c.ratio)}, n = {c.ratio.n}{settles(c)})"


def over(
    values: Sequence[float],
    form: Callable[[float | None], str] = number,
    watched: Sequence[float] = (),
) -> str:
    """The median over repetitions and, of several, the lowest and highest.

    Args:
        watched: how long was looked, where values may be infinite: what did not come about until
            then is "> 25,000", and counts as longer than all others.
    """
    if not values:
        return ABSENT
    end = min(watched, default=np.inf)

    def text(x: float) -> str:
        return form(x) if np.isfinite(x) else "never" if np.isinf(end) else f"> {form(end)}"

    middle, low, high = (text(float(f(values))) for f in (np.median, np.min, np.max))
    return middle if len(values) < 2 or low == high else f"{middle} ({low}–{high})"


def usd(x: float | None) -> str:
    """An amount of money, three digits."""
    return ABSENT if x is None or np.isnan(x) else f"${number(x)}"
