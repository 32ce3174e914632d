"""Tables of cold starts, compute per batch, A/A tests and failures: pure functions of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench import stats
from bench.report.gather.calls import (
    at_main_memory,
    by_turn,
    cold_samples,
    main_cold,
    main_held,
    main_memory,
    other_works,
    steady,
    values_of,
    warm_up,
    where,
    work,
)
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.surges import surges
from bench.report.say.table import (
    ABSENT,
    BRACKETS,
    Table,
    against_first,
    by_language,
    estimate,
    number,
    short,
)
from bench.stats import Ranking

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
    ours = main_cold(e)
    memory = main_memory(ours)
    if memory is None:
        return None
    here = cold_samples(e)
    here = here[here["memory_mb"] == memory]
    empty = here[here["handler"] == "empty"]
    languages = [x for x in LANGUAGES if x in set(ours["language"])]
    by = {x: ours[ours["language"] == x] for x in languages}
    rows, data = [], []
    for step, label in _COLD_STEPS.items():
        summaries = [_over_runs(by[x], step) for x in languages]
        for language, s in zip(languages, summaries, strict=True):
            if s:
                data.append(
                    {"language": language, "handler": "tokenizer", "measure": step} | flat(s)
                )
        bold = "**" if step == "sum_ms" else ""
        medians = [estimate(s.median if s else None) for s in summaries]
        rows.append([f"{bold}{label}, ms, median{bold}", *medians])
        if step in ("init_ms", "sum_ms"):
            rows.append([f"{label}, ms, p90", *[number(s.p90 if s else None) for s in summaries]])
    ranking = cold_ranking(e)
    if ranking:
        rows.append(["÷ the lowest, in the same rounds", *_to_first(ranking, languages)])
    if len(empty):
        summaries = [_over_runs(empty[empty["language"] == x], "sum_ms") for x in languages]
        for language, s in zip(languages, summaries, strict=True):
            if s:
                data.append(
                    {"language": language, "handler": "empty", "measure": "sum_ms"} | flat(s)
                )
        medians = [estimate(s.median if s else None) for s in summaries]
        rows.append(["empty handler: init + first call", *medians])
        rows.append(["ours ÷ empty handler", *[_to_empty(by[x], empty, x) for x in languages]])
    found = [_over_runs(by[x], "sum_ms") for x in languages]
    rows.append(
        [
            "samples (outliers flagged, kept)",
            *[f"{s.n} ({s.outliers})" if s else ABSENT for s in found],
        ]
    )
    attempts = e.frames["cold"]
    attempts = attempts[(attempts["memory_mb"] == memory) & ~attempts["accepted"].astype(bool)]
    rows.append(["discarded", *[str(int((attempts["language"] == x).sum())) for x in languages]])
    runs = ours["run"].nunique()
    return Table(
        "cold",
        "Cold start, step by step",
        ["", *[NAMES[x] for x in languages]],
        rows,
        pd.DataFrame(data),
        f"{memory} MB; the first call holds {main_held(ours)}. Median"
        f"{f' of {runs} runs, a run being the unit' if runs > 1 else ''}; {BRACKETS}. A sample "
        "counts if the service reports an init and the function says it is its first call.",
    )


def cold_ranking(e: Evidence) -> Ranking | None:
    """The languages by init + first call, in the rounds in which they took turns."""
    turns = by_turn(main_cold(e), "round", "sum_ms")
    return stats.rank({0: turns}).get(0)


def cold_rankings_by_text(e: Evidence) -> dict[str, Ranking]:
    """The same by what the first call holds, at the main memory size."""
    found = cold_samples(e)
    found = found[found["handler"] == "tokenizer"]
    found = found[found["memory_mb"] == main_memory(found)]
    held = sorted(found["held"].unique())
    return stats.rank({x: by_turn(found[found["held"] == x], "round", "sum_ms") for x in held})


def _to_first(ranking: Ranking, languages: Sequence[str]) -> list[str]:
    cells = {ranking.first: "lowest"} | {x: short(c) for x, c in ranking.others.items()}
    return [cells.get(x, ABSENT) for x in languages]


def _to_empty(ours: pd.DataFrame, empty: pd.DataFrame, language: str) -> str:
    turns = pd.concat(
        [
            f.groupby(["run", "round"])["sum_ms"].median().rename(name)
            for name, f in (("ours", ours), ("empty", empty[empty["language"] == language]))
        ],
        axis=1,
    ).dropna()
    if turns.empty:
        return ABSENT
    runs = list(turns.index.get_level_values(0))
    return short(stats.compare((turns["ours"] / turns["empty"]).to_numpy(), runs))


def _over_runs(frame: pd.DataFrame, column: str) -> stats.Summary | None:
    known = frame.dropna(subset=[column])
    return stats.summarize(known[column].to_numpy(dtype=float), list(known["run"]))


def cold_by_memory(e: Evidence) -> Table | None:
    """Init + first call by memory size, if there is more than one."""
    samples = cold_samples(e)
    samples = samples[(samples["handler"] == "tokenizer")]
    samples = samples[samples["held"] == main_held(samples)]
    return _cold_by(samples, "memory_mb", "cold-memory", "Cold start by memory size", "{} MB")


def cold_by_text(e: Evidence) -> Table | None:
    """Init + first call by what the first call holds, if that differs."""
    samples = cold_samples(e)
    samples = samples[samples["handler"] == "tokenizer"]
    samples = samples[samples["memory_mb"] == main_memory(samples)]
    return _cold_by(samples, "held", "cold-text", "Cold start by what the first call holds", "{}")


def _cold_by(samples: pd.DataFrame, column: str, name: str, title: str, form: str) -> Table | None:
    values = sorted(samples[column].unique())
    if len(values) < 2:
        return None
    languages = [x for x in LANGUAGES if x in set(samples["language"])]
    frames = {v: by_turn(samples[samples[column] == v], "round", "sum_ms") for v in values}
    rankings = stats.rank(frames)
    rows, data = [], []
    for value in values:
        row = [form.format(value)]
        for language in languages:
            s = _over_runs(where(samples, language=language, **{column: value}), "sum_ms")
            row.append(estimate(s.median if s else None))
            if s:
                data.append({column: value, "language": language} | flat(s))
        r = rankings.get(value)
        rows.append([*row, against_first(r, NAMES) if r else ABSENT])
    return Table(
        name,
        title,
        ["init + first call, ms", *[NAMES[x] for x in languages], "lowest; the others ÷ it"],
        rows,
        pd.DataFrame(data),
        f"Median; {BRACKETS}. {_FAMILY}",
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


# Compute per batch

_FAMILY = (
    "Verdicts are corrected for the comparisons of this table (Holm); a language is named from "
    f"{stats.MIN_SURGES} passes or rounds on, if it differs from every other."
)


def compute(e: Evidence) -> Table | None:
    """In-function compute per batch by batch size, at the main memory size."""
    return _compute(e, "compute_ms", "compute", "Compute per batch, in the function")


def duration(e: Evidence) -> Table | None:
    """Duration as billed, by batch size."""
    return _compute(e, "duration_ms", "duration", "Duration per batch, as the service reports it")


def wall(e: Evidence) -> Table | None:
    """Round trip as the client sees it, by batch size."""
    return _compute(e, "wall_ms", "wall", "Round trip per batch, as the client sees it")


def rankings(e: Evidence, column: str) -> dict[int, Ranking]:
    """The languages by a time of warm calls, by batch size, in the passes in which they took
    turns."""
    return stats.rank(turns(e, column))


def turns(e: Evidence, column: str) -> dict[int, pd.DataFrame]:
    """A time of warm calls, by batch size: a row for each pass, a column a language."""
    calls = at_main_memory(steady(e))
    sizes = sorted(calls["sentences"].unique())
    return {int(s): by_turn(calls[calls["sentences"] == s], "environment", column) for s in sizes}


def _compute(e: Evidence, column: str, name: str, title: str) -> Table | None:
    calls = at_main_memory(steady(e))
    calls = calls[calls[column].notna()]
    if calls.empty:
        return None
    languages = [x for x in LANGUAGES if x in set(calls["language"])]
    ranked = rankings(e, column)
    rows, data, environments = [], [], []
    for size in sorted(calls["sentences"].unique()):
        row = [f"{size:,}"]
        for x in languages:
            of_size = where(calls, language=x, sentences=size)
            medians = of_size.groupby(["run", "function", "environment"])[column].median()
            s = stats.summarize(medians.to_numpy(), list(medians.index.get_level_values(0)))
            row.append(estimate(s.median if s else None))
            if s:
                environments.append(s.n)
                tokens = float(of_size["tokens"].median())
                single = stats.summarize(values_of(of_size, column))
                data.append(
                    {"sentences": size, "language": x, "measure": column, "environments": s.n}
                    | flat(single or s)
                    | {"median": s.median.value, "low": s.median.low, "high": s.median.high}
                    | {
                        "sentences_per_s": size / s.median.value * 1000,
                        "tokens_per_s": tokens / s.median.value * 1000,
                    }
                )
        r = ranked.get(int(size))
        rows.append([*row, against_first(r, NAMES) if r else ABSENT])
    counts = calls.groupby(["language", "sentences"]).size()
    memory = main_memory(calls)
    return Table(
        name,
        title,
        [
            "sentences in the batch",
            *[f"{NAMES[x]}, ms" for x in languages],
            "fastest; the others ÷ it, in the same passes",
        ],
        rows,
        pd.DataFrame(data),
        f"Median over environments, n = {span(environments)} warm environments and "
        f"{span(counts)} calls a cell, languages and sizes interleaved"
        f"{f', {memory} MB' if memory else ''}, {work(e)}; {BRACKETS}. {_FAMILY}"
        + (f" Not in this table: {'; '.join(rest)}." if (rest := other_works(e)) else ""),
    )


def throughput(e: Evidence) -> Table | None:
    """Sentences and tokens per second in the function, from the medians."""
    made = compute(e)
    if made is None:
        return None
    data = made.data
    names, rows = by_language(
        data,
        "sentences",
        "{:,}",
        lambda r: f"{number(r['sentences_per_s'])} / {number(r['tokens_per_s'])}",
    )
    return Table(
        "throughput",
        "Sentences per second / tokens per second, in the function",
        ["sentences in the batch", *names],
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
    return Table(
        "warm-up",
        "Warm-up of an environment",
        ["compute, ms", *[NAMES[x] for x in curves]],
        rows,
        data.reset_index(),
        f"Batches of {size:,}; the median over environments, of those that needed so many calls "
        "until they were steady.",
    )


def aa(e: Evidence) -> Table | None:
    """One function under two names: the harness must find no difference."""
    calls = e.frames["call"]
    calls = calls[(calls["phase"] == "steady") & calls["variant"].notna()]
    if calls.empty:
        return None
    rows, data = [], []
    for (run, language, size), group in calls.groupby(["run", "language", "sentences"]):
        turns = group.groupby(["environment", "variant"])["compute_ms"].median().unstack("variant")
        if not {"A", "B"} <= set(turns) or turns.dropna().empty:
            continue
        turns = turns.dropna()
        c = stats.compare((turns["B"] / turns["A"]).to_numpy())
        rows.append(
            [
                f"{NAMES[str(language)]}, {size} sentences",
                str(c.ratio.n),
                estimate(c.ratio),
                f"**{c.verdict}**" if c.verdict == "different" else short(c),
            ]
        )
        data.append(
            {"run": run, "language": language, "sentences": size, "n": c.ratio.n}
            | {"ratio": c.ratio.value, "low": c.ratio.low, "high": c.ratio.high}
            | {"verdict": c.verdict}
        )
    if not rows:
        return None
    found = sum(row["verdict"] == "different" for row in data)
    return Table(
        "aa",
        "A/A test: one function under two names",
        ["function", "pairs of environments", "B ÷ A", "verdict"],
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
        count = int(sum(s.counts[column] or 0 for s in surges(e)))
        if count:
            counted.append({"where": "surge", "what": column.replace("_", " "), "count": count})
    if not counted:
        return None
    data = pd.DataFrame(counted)
    rows = [[x["where"], x["what"], f"{x['count']:,}"] for x in counted]
    return Table(
        "failures", "Failures, throttles, discards", ["where", "what", "count"], rows, data
    )
