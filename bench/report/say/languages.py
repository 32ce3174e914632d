"""Tables of cold starts, compute per batch, A/A tests and failures: pure functions of records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from bench import stats
from bench.report.gather.calls import (
    at_main_memory,
    by_environment,
    cold_samples,
    java_overtakes_python,
    main_memory,
    steady,
    values_of,
    warm_up,
    where,
)
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.say.table import ABSENT, NO_DIFFERENCE, Table, estimate, number, times
from bench.stats import Floats

# Cold starts

_COLD_STEPS = {
    "bring_up_ms": "bring-up (process → ready)",
    "init_ms": "init",
    "first_call_ms": "first call",
    "sum_ms": "init + first call",
    "wall_ms": "client wall time",
}


def cold(e: Evidence) -> Table | None:
    """Cold starts at the main memory size, languages side by side."""
    samples = cold_samples(e)
    ours = samples[samples["handler"] == "tokenizer"]
    memory = main_memory(ours)
    if memory is None:
        return None
    here = samples[samples["memory_mb"] == memory]
    languages = [x for x in LANGUAGES if x in set(here["language"])]
    by = {
        (x, handler): where(here, language=x, handler=handler)
        for x in languages
        for handler in ("tokenizer", "empty")
    }
    rows, data = [], []
    for step, label in _COLD_STEPS.items():
        summaries = [stats.summarize(values_of(by[x, "tokenizer"], step)) for x in languages]
        for language, s in zip(languages, summaries, strict=True):
            if s:
                data.append(
                    {"language": language, "handler": "tokenizer", "measure": step} | flat(s)
                )
        bold = "**" if step == "sum_ms" else ""
        rows.append(
            [
                f"{bold}{label}, ms, median{bold}",
                *[estimate(s.median if s else None) for s in summaries],
            ]
        )
        if step in ("init_ms", "sum_ms"):
            rows.append([f"{label}, ms, p90", *[number(s.p90 if s else None) for s in summaries]])
    sums = {x: values_of(by[x, "tokenizer"], "sum_ms") for x in languages}
    if any(map(len, sums.values())):
        rows.append(["ratio to the fastest", *against_fastest(sums)])
    empties = {x: values_of(by[x, "empty"], "sum_ms") for x in languages}
    if any(map(len, empties.values())):
        summaries = [stats.summarize(x) for x in empties.values()]
        for language, s in zip(languages, summaries, strict=True):
            if s:
                data.append(
                    {"language": language, "handler": "empty", "measure": "sum_ms"} | flat(s)
                )
        rows.append(
            [
                "empty handler: init + first call",
                *[estimate(s.median if s else None) for s in summaries],
            ]
        )
        rows.append(
            [
                "ours ÷ empty handler",
                *[
                    times(stats.ratio(sums[x], empties[x]))
                    if len(sums[x]) and len(empties[x])
                    else ABSENT
                    for x in languages
                ],
            ]
        )
    found = [stats.summarize(sums[x]) for x in languages]
    rows.append(
        [
            "samples (outliers flagged, kept)",
            *[f"{s.n} ({s.outliers})" if s else ABSENT for s in found],
        ]
    )
    attempts = e.frames["cold"]
    attempts = attempts[(attempts["memory_mb"] == memory) & ~attempts["accepted"].astype(bool)]
    rows.append(["discarded", *[str(int((attempts["language"] == x).sum())) for x in languages]])
    return Table(
        "cold",
        "Cold start, step by step",
        ["", *[NAMES[x] for x in languages]],
        rows,
        pd.DataFrame(data),
        f"{memory} MB. Median with 95 % bootstrap interval. A sample counts if the service reports "
        "an init and the function says it is its first call.",
    )


def cold_by_memory(e: Evidence) -> Table | None:
    """Init + first call by memory size, if there is more than one."""
    samples = cold_samples(e)
    samples = samples[samples["handler"] == "tokenizer"]
    memories = sorted(samples["memory_mb"].unique())
    if len(memories) < 2:
        return None
    languages = [x for x in LANGUAGES if x in set(samples["language"])]
    rows, data = [], []
    for memory in memories:
        row = [f"{memory} MB"]
        for language in languages:
            chosen = where(samples, memory_mb=memory, language=language)
            s = stats.summarize(values_of(chosen, "sum_ms"))
            row.append(estimate(s.median if s else None))
            if s:
                data.append({"memory_mb": memory, "language": language} | flat(s))
        rows.append(row)
    return Table(
        "cold-memory",
        "Cold start by memory size",
        ["init + first call, ms", *[NAMES[x] for x in languages]],
        rows,
        pd.DataFrame(data),
        "Median with 95 % bootstrap interval.",
    )


def flat(s: stats.Summary) -> dict[str, Any]:
    """A summary as columns of a CSV."""
    return {
        "n": s.n,
        "median": s.median.value,
        "low": s.median.low,
        "high": s.median.high,
        "p90": s.p90,
        "p95": s.p95,
        "p99": s.p99,
        "outliers": s.outliers,
    }


def fastest(samples: dict[str, Floats]) -> str:
    """The key whose samples have the lowest median."""
    return min((x for x in samples if len(samples[x])), key=lambda x: float(np.median(samples[x])))


def against_fastest(samples: dict[str, Floats]) -> list[str]:
    """For each key the ratio of its median to the lowest, in words."""
    best = fastest(samples)
    cells = []
    for x, values in samples.items():
        if not len(values):
            cells.append(ABSENT)
        elif x == best:
            cells.append("fastest" if sum(map(bool, map(len, samples.values()))) > 1 else ABSENT)
        else:
            r = stats.ratio(values, samples[best])
            cells.append(NO_DIFFERENCE if r.differs_from_one is False else times(r))
    return cells


# Compute per batch

_MEDIAN = "Median with 95 % bootstrap interval"
_MEDIAN_OF_FEW = f"Median (an interval needs {stats.MIN_FOR_INTERVAL})"


def compute(e: Evidence) -> Table | None:
    """In-function compute per batch by batch size, at the main memory size."""
    return _compute(e, "compute_ms", "compute", "Compute per batch, in the function")


def duration(e: Evidence) -> Table | None:
    """Duration as billed, by batch size."""
    return _compute(e, "duration_ms", "duration", "Duration per batch, as the service reports it")


def wall(e: Evidence) -> Table | None:
    """Round trip as the client sees it, by batch size."""
    return _compute(e, "wall_ms", "wall", "Round trip per batch, as the client sees it")


def _compute(e: Evidence, column: str, name: str, title: str) -> Table | None:
    calls = at_main_memory(steady(e))
    calls = calls[calls[column].notna()]
    if calls.empty:
        return None
    languages = [x for x in LANGUAGES if x in set(calls["language"])]
    rows, data = [], []
    for size in sorted(calls["sentences"].unique()):
        of_size = {x: where(calls, language=x, sentences=size) for x in languages}
        samples = {x: by_environment(of_size[x], column) for x in languages}
        row = [f"{size:,}"]
        for x in languages:
            s = stats.summarize(samples[x])
            row.append(estimate(s.median if s else None))
            if s:
                tokens = float(of_size[x]["tokens"].median())
                single = stats.summarize(values_of(of_size[x], column))
                data.append(
                    {"sentences": size, "language": x, "measure": column, "environments": s.n}
                    | flat(single or s)
                    | {"median": s.median.value, "low": s.median.low, "high": s.median.high}
                    | {
                        "sentences_per_s": size / s.median.value * 1000,
                        "tokens_per_s": tokens / s.median.value * 1000,
                    }
                )
        rows.append([*row, _verdict(samples)])
    cells = calls.groupby(["language", "sentences"])
    counts = cells.size()
    environments = [len(by_environment(group, column)) for _, group in cells]
    memory = main_memory(calls)
    return Table(
        name,
        title,
        [
            "sentences in the batch",
            *[f"{NAMES[x]}, ms" for x in languages],
            "fastest; time of the others beside it",
        ],
        rows,
        pd.DataFrame(data),
        f"{_MEDIAN if max(environments) >= stats.MIN_FOR_INTERVAL else _MEDIAN_OF_FEW} over "
        f"environments; n = {span(environments)} warm "
        f"environments and {span(counts)} calls a cell, languages and sizes interleaved"
        f"{f', {memory} MB' if memory else ''}.",
    )


def _verdict(samples: dict[str, Floats]) -> str:
    present = {x: v for x, v in samples.items() if len(v)}
    if len(present) < 2:
        return ABSENT
    best = fastest(present)
    others = []
    for x, values in present.items():
        if x != best:
            r = stats.ratio(values, present[best])
            others.append(
                f"{NAMES[x]} {NO_DIFFERENCE if r.differs_from_one is False else times(r)}"
            )
    return f"{NAMES[best]}; {', '.join(others)}"


def throughput(e: Evidence) -> Table | None:
    """Sentences and tokens per second in the function, from the medians."""
    made = compute(e)
    if made is None:
        return None
    data = made.data
    languages = [x for x in LANGUAGES if x in set(data["language"])]
    rows = []
    for size, group in data.groupby("sentences"):
        rates = {
            r["language"]: f"{number(r['sentences_per_s'])} / {number(r['tokens_per_s'])}"
            for r in group.to_dict("records")
        }
        rows.append([f"{size:,}", *[rates.get(x, ABSENT) for x in languages]])
    return Table(
        "throughput",
        "Sentences per second / tokens per second, in the function",
        ["sentences in the batch", *[NAMES[x] for x in languages]],
        rows,
        data[["sentences", "language", "n", "sentences_per_s", "tokens_per_s"]],
    )


def span(counts: Iterable[int]) -> str:
    """ "20" or "18–20"."""
    found = sorted(counts)
    return f"{found[0]}" if found[0] == found[-1] else f"{found[0]}–{found[-1]}"


_SHOWN_CALLS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def warming(e: Evidence) -> Table | None:
    """Compute by number of the call in a new environment, and once it is steady."""
    curves = {
        x: f.groupby("call_number")["compute_ms"] for x in LANGUAGES if len(f := warm_up(e, x))
    }
    if not curves:
        return None
    size = int(warm_up(e, next(iter(curves)))["sentences"].iloc[0])
    data = pd.concat([c.median().rename(x) for x, c in curves.items()], axis=1)
    shown = data.loc[[n for n in _SHOWN_CALLS if n in data.index]]
    rows = [
        [f"call {n:,}", *map(number, row)] for n, row in zip(shown.index, shown.values, strict=True)
    ]
    calls = where(at_main_memory(steady(e)), sentences=size)
    warm = [values_of(where(calls, language=x), "compute_ms") for x in curves]
    rows.append(["steady", *(number(float(np.median(s)) if len(s) else None) for s in warm)])
    found = java_overtakes_python(e)
    return Table(
        "warm-up",
        "Warm-up of an environment",
        ["compute, ms", *[NAMES[x] for x in curves]],
        rows,
        data.reset_index(),
        f"Batches of {size:,}; the median over environments, of those that needed so many calls "
        "until they were steady."
        + (
            f" Java stays below Python from call {found.call:,} on." if found and found.call else ""
        ),
    )


def aa(e: Evidence) -> Table | None:
    """One function under two names: the harness must find no difference."""
    calls = e.frames["call"]
    calls = calls[(calls["phase"] == "steady") & calls["variant"].notna()]
    if calls.empty:
        return None
    rows, data = [], []
    for (run, language, size), group in calls.groupby(["run", "language", "sentences"]):
        a, b = (by_environment(where(group, variant=v), "compute_ms") for v in ("A", "B"))
        if not len(a) or not len(b):
            continue
        r = stats.ratio(b, a)
        verdict = {True: "**different**", False: "no difference", None: "too few samples"}
        rows.append(
            [
                f"{NAMES[str(language)]}, {size} sentences",
                str(min(len(a), len(b))),
                times(r),
                verdict[r.differs_from_one],
            ]
        )
        data.append(
            {"run": run, "language": language, "sentences": size, "n_a": len(a), "n_b": len(b)}
            | {"ratio": r.value, "low": r.low, "high": r.high, "differs": r.differs_from_one}
        )
    if not rows:
        return None
    found = sum(row["differs"] is True for row in data)
    return Table(
        "aa",
        "A/A test: one function under two names",
        ["function", "environments each", "B ÷ A", "verdict"],
        rows,
        pd.DataFrame(data),
        f"{found} of {len(rows)} comparisons say “different”; at 95 % confidence about "
        f"{0.05 * len(rows):.1f} would by chance.",
    )


def failures(e: Evidence) -> Table | None:
    """Calls that brought no answer or a wrong one, and discarded samples, counted."""
    counted: list[dict[str, Any]] = []
    frame = e.frames["failure"]
    if len(frame):
        for (where, error), group in frame.groupby(["where", "error"]):
            counted.append({"where": where, "what": error, "count": len(group)})
    attempts = e.frames["cold"]
    for reason, group in attempts[~attempts["accepted"].astype(bool)].groupby("discarded_because"):
        counted.append({"where": "cold start", "what": f"discarded: {reason}", "count": len(group)})
    for column in ("throttled", "timed_out", "failed", "late"):
        count = int(e.frames["lambda"][column].sum())
        if count:
            counted.append({"where": "surge", "what": column.replace("_", " "), "count": count})
    if not counted:
        return None
    data = pd.DataFrame(counted)
    rows = [[x["where"], x["what"], f"{x['count']:,}"] for x in counted]
    return Table(
        "failures", "Failures, throttles, discards", ["where", "what", "count"], rows, data
    )
