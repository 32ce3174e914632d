"""Samples of single calls: cold starts, warm calls, the warming up of an environment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bench import stats
from bench.report.gather.evidence import LANGUAGES, Evidence
from bench.stats import Floats


def cold_samples(e: Evidence) -> pd.DataFrame:
    """Accepted cold starts that may be pooled, with `sum_ms` = init + first call, and `held`: what
    the first call held, in words."""
    frame, _ = e.comparable("cold")
    frame = frame[frame["accepted"].astype(bool)].copy()
    frame["sum_ms"] = frame["init_ms"] + frame["first_call_ms"]
    columns = ("sentences", "text", "operator", "words_per_sentence")
    frame["held"] = [_held(*x) for x in zip(*(frame[c] for c in columns), strict=True)]
    return frame


def _held(sentences: float, text: Any, operator: Any, words: float) -> str:
    if pd.isna(sentences):
        return "content not recorded"
    said = f"{sentences:,.0f} sentences"
    if isinstance(text, str):
        said += f" of {'ASCII' if text == 'ascii' else 'mixed text'}"
    return f"{said} ({_work(operator, words)})" if isinstance(operator, str) else said


def _work(operator: Any, words: float) -> str:
    """The operator and the length of the sentences, in words."""
    said = f"operator “{operator}”" if isinstance(operator, str) else "operator not recorded"
    return said if pd.isna(words) else f"{said}, {words:,.0f} words a sentence"


def main_cold(e: Evidence) -> pd.DataFrame:
    """Cold starts of our handlers at the memory size, and with the first call, that most have."""
    found = cold_samples(e)
    found = found[found["handler"] == "tokenizer"]
    found = found[found["memory_mb"] == main_memory(found)]
    return found[found["held"] == main_held(found)]


def main_held(found: pd.DataFrame) -> str | None:
    """What the first call of most cold starts held; of equals the largest batch."""
    if found.empty:
        return None
    counts = found["held"].value_counts()
    size = found.groupby("held")["sentences"].max().fillna(0)
    most = counts[counts == counts.max()].index
    return str(max(most, key=lambda x: (float(size[x]), x)))


def by_turn(found: pd.DataFrame, turn: str, column: str) -> pd.DataFrame:
    """Medians of what took turns: a row for each run and value of `turn`, a column a language."""
    grouped = found.dropna(subset=[column]).groupby(["run", turn, "language"])[column].median()
    table = grouped.unstack("language")
    return table[[x for x in LANGUAGES if x in table]]


def main_memory(frame: pd.DataFrame) -> int | None:
    """The memory size with the most samples in `frame`, the larger one of equals."""
    counts = frame["memory_mb"].dropna().value_counts()
    return int(max(counts[counts == counts.max()].index)) if len(counts) else None


def steady(e: Evidence) -> pd.DataFrame:
    """Calls of the steady phase outside of A/A tests, all of the same work."""
    calls = _of_main_work(e)
    return calls[calls["phase"] == "steady"]


def work(e: Evidence) -> str:
    """What the single calls did that are told of: the operator and the length of the sentences."""
    calls = _of_main_work(e)
    return calls["work"].iloc[0] if len(calls) else ""


def other_works(e: Evidence) -> list[str]:
    """What other calls did, which are not pooled with those."""
    calls, _ = e.comparable("call")
    found = dict.fromkeys(map(_work, calls["operator"], calls["words_per_sentence"]))
    return [x for x in found if x != work(e)]


@lru_cache(maxsize=1)
def _of_main_work(e: Evidence) -> pd.DataFrame:
    """Calls outside of A/A tests, of the operator and the length of sentences that most have."""
    calls, _ = e.comparable("call")
    calls = calls[calls["variant"].isna()]
    calls = calls.assign(work=list(map(_work, calls["operator"], calls["words_per_sentence"])))
    return calls[calls["work"] == calls["work"].mode().iloc[0]] if len(calls) else calls


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
class BreakEven:
    """From which call on an environment in Java, started cold, has overtaken one in Python: its
    cold start and the Durations of all calls so far, back to back, come to less.

    Attributes:
        sentences: in each batch.
        calls: one value for each pass in which both started; infinite if it never overtakes.
        python_s: what Python has worked for by then, seconds; likewise.
        runs: the run of each pass.
        unsteady: passes left out, since they did not become steady before they were even.
    """

    sentences: int
    calls: Sequence[float]
    python_s: Sequence[float]
    runs: Sequence[str]
    unsteady: int

    @property
    def estimate(self) -> stats.Estimate | None:
        """Of the number of calls, with an interval where passes are enough; None without any."""
        if not self.calls:
            return None
        if len(set(self.runs)) == 1:
            return stats.median(list(self.calls))
        each = pd.Series(self.calls).groupby(list(self.runs)).median()
        return stats.median(each.to_numpy())


def break_even(e: Evidence) -> BreakEven | None:
    """From runs that hold cold starts and warm-up of both languages; None without any.

    Calls beyond those recorded count as long as the last ones, of passes whose Durations (which is
    what is summed) had become steady in both languages; else the pass is left out.
    """
    cold = main_cold(e)
    found: list[tuple[float, float, str]] = []
    size = unsteady = 0
    warming = {x: warm_up(e, x).dropna(subset=["duration_ms"]) for x in ("python", "java")}
    for run in sorted(set(cold["run"])):
        start_ms = {
            x: cold[(cold["run"] == run) & (cold["language"] == x)]["sum_ms"].median()
            for x in warming
        }
        of_run = {x: f[f["run"] == run] for x, f in warming.items()}
        if any(map(pd.isna, start_ms.values())) or any(f.empty for f in of_run.values()):
            continue
        size = int(of_run["java"]["sentences"].iloc[0])
        both = set(of_run["python"]["environment"]) & set(of_run["java"]["environment"])
        for environment in sorted(both):
            series = {
                x: f[f["environment"] == environment].sort_values("call_number")
                for x, f in of_run.items()
            }
            durations = {
                x: f.loc[f["call_number"] > 1, "duration_ms"].to_numpy(dtype=float)
                for x, f in series.items()
            }
            even = _even(start_ms, durations)
            if even is None:
                unsteady += 1
            else:
                found.append((*even, run))
    if not found and not unsteady:
        return None
    calls, python_s, runs = zip(*found, strict=True) if found else ((), (), ())
    return BreakEven(size, calls, python_s, runs, unsteady)


def _even(
    start_ms: Mapping[str, float], durations: Mapping[str, Floats]
) -> tuple[float, float] | None:
    """After how many calls Java is ahead for good, and Python's seconds until then; None where
    that lies beyond the calls recorded and they are not steady."""
    steady_ms = {x: _steady_ms(d) for x, d in durations.items()}
    longest = max(map(len, durations.values()))
    total = {}
    for x, d in durations.items():
        missing = longest - len(d)
        if missing and steady_ms[x] is None:
            return None
        rest = np.full(missing, steady_ms[x] or 0.0)
        total[x] = np.cumsum(np.concatenate([[start_ms[x]], d, rest]))
    behind = np.flatnonzero(total["java"] >= total["python"])
    if not len(behind):
        return 0.0, 0.0
    last = int(behind[-1])
    if last < longest:
        return float(last + 2), float(total["python"][last + 1]) / 1000
    java, python = steady_ms["java"], steady_ms["python"]
    if java is None or python is None:
        return None
    if java >= python:
        return math.inf, math.inf
    more = math.ceil((total["java"][-1] - total["python"][-1]) / (python - java))
    return float(longest + 1 + more), float(total["python"][-1] + more * python) / 1000


_WINDOW = 50
_STEADY_WITHIN = 0.1


def _steady_ms(durations: Floats) -> float | None:
    """The median of the last calls, if that of those before differs by less than a tenth."""
    if len(durations) < 2 * _WINDOW:
        return None
    before, now = (
        float(np.median(durations[a:b])) for a, b in ((-2 * _WINDOW, -_WINDOW), (-_WINDOW, None))
    )
    return now if abs(now - before) <= _STEADY_WITHIN * before else None


def warm_up(e: Evidence, language: str) -> pd.DataFrame:
    """Warm-up calls of a language, of the batch size that most of them have."""
    calls = where(at_main_memory(_of_main_work(e)), phase="warmup", language=language)
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
