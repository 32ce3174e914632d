"""Samples of single calls: cold starts, warm calls, the warming up of an environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.report.gather.evidence import Evidence
from bench.stats import Floats


def cold_samples(e: Evidence) -> pd.DataFrame:
    """Accepted cold starts with `sum_ms` = init + first call."""
    frame = e.frames["cold"]
    frame = frame[frame["accepted"].astype(bool)].copy()
    frame["sum_ms"] = frame["init_ms"] + frame["first_call_ms"]
    return frame


def main_memory(frame: pd.DataFrame) -> int | None:
    """The memory size with the most samples in `frame`, the larger one of equals."""
    counts = frame["memory_mb"].dropna().value_counts()
    return int(max(counts[counts == counts.max()].index)) if len(counts) else None


def steady(e: Evidence) -> pd.DataFrame:
    """Calls of the steady phase outside of A/A tests."""
    calls = e.frames["call"]
    return calls[(calls["phase"] == "steady") & calls["variant"].isna()]


def at_main_memory(calls: pd.DataFrame) -> pd.DataFrame:
    """Calls at the memory size with the most of them; all if none says its size."""
    memory = main_memory(calls)
    return calls if memory is None else calls[calls["memory_mb"] == memory]


def by_environment(calls: pd.DataFrame, column: str) -> Floats:
    """One median for each execution environment: calls of one are not independent samples, since
    a process keeps its memory layout and its JIT's choices."""
    medians: Floats = calls.groupby(["run", "function", "environment"])[column].median().to_numpy()
    return medians


@dataclass(frozen=True)
class Overtaking:
    """From which warm-up call on Java stays below Python, for batches of one size."""

    sentences: int
    call: int | None
    calls: int


def java_overtakes_python(e: Evidence) -> Overtaking | None:
    """From which call on Java's warm-up is below Python's steady median: that call is, and so is
    the median of any 10 successive ones from it on (a single slow call undoes nothing).

    `call` is None if it never is in the `calls` recorded; None if either is missing.
    """
    warming = warm_up(e, "java")
    if warming.empty:
        return None
    size = int(warming["sentences"].iloc[0])
    python = where(at_main_memory(steady(e)), language="python", sentences=size)
    if python.empty:
        return None
    curve = warm_up_curve(warming)
    steady_ms = python["compute_ms"].median()
    some = min(10, len(curve))
    from_here = curve["compute_ms"].rolling(some).median().shift(1 - some).ffill()
    stays_below = from_here[::-1].cummax()[::-1] < steady_ms
    numbers = curve["call_number"][stays_below & (curve["compute_ms"] < steady_ms)]
    call = int(numbers.iloc[0]) if len(numbers) else None
    return Overtaking(size, call, int(curve["call_number"].iloc[-1]))


def warm_up(e: Evidence, language: str) -> pd.DataFrame:
    """Warm-up calls of a language, of the batch size that most of them have."""
    calls = e.frames["call"]
    calls = where(at_main_memory(calls[calls["variant"].isna()]), phase="warmup", language=language)
    return calls[calls["sentences"] == calls["sentences"].mode().iloc[0]] if len(calls) else calls


def warm_up_curve(calls: pd.DataFrame, values: int = 21) -> pd.DataFrame:
    """Compute by call number (the median over environments), and its running median over as many
    neighbours as make about `values` calls: with many environments, the first calls stand alone."""
    curve = calls.groupby("call_number")["compute_ms"].median().reset_index()
    window = (values // calls["environment"].nunique() - 1) // 2 * 2 + 1  # odd: none moves
    window = max(1, window)
    curve["median_ms"] = curve["compute_ms"].rolling(window, center=True, min_periods=1).median()
    return curve


def where(frame: pd.DataFrame, **fields: Any) -> pd.DataFrame:
    """The rows in which each field has the value given."""
    for name, value in fields.items():
        frame = frame[frame[name] == value]
    return frame


def values_of(frame: pd.DataFrame, column: str) -> Floats:
    values: Floats = frame[column].dropna().to_numpy(dtype=float)
    return values
