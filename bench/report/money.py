"""Tables of cost: from billed milliseconds and memory, at the list prices of `bench.cost`."""

from __future__ import annotations

import pandas as pd

from bench.cost import PRICES, Usage
from bench.report.calls import steady
from bench.report.evidence import LANGUAGES, NAMES, Evidence
from bench.report.surges import Setting, measures
from bench.report.table import ABSENT, Table, count, number, percent, usd

_PRICED = (
    f"List prices of {PRICES.as_of} in {PRICES.region}, without free tier; from billed time and "
    "memory size. Where functions ran as local processes, the billed time is this machine's: an "
    "estimate, not an invoice."
)


def points(e: Evidence) -> pd.DataFrame:
    """Cost and speed of steady calls by language, memory size and batch size.

    Columns: language, memory_mb, sentences, n, duration_ms (median), usd_x86_64 and usd_arm64 (per
    million sentences, from the mean billed time).
    """
    calls = steady(e).dropna(subset=["billed_ms", "memory_mb", "duration_ms"])
    rows = []
    for _, group in calls.groupby(["language", "memory_mb", "sentences"]):
        language, memory, size = group[["language", "memory_mb", "sentences"]].iloc[0]
        usage = Usage.of(len(group), float(group["billed_ms"].sum()), float(memory))
        million = usage.scaled(1e6 / (len(group) * size))
        rows.append(
            {
                "language": language,
                "memory_mb": int(memory),
                "sentences": int(size),
                "n": len(group),
                "duration_ms": float(group["duration_ms"].median()),
                "usd_x86_64": million.usd("x86_64"),
                "usd_arm64": million.usd("arm64"),
            }
        )
    return pd.DataFrame(rows)


def per_million(e: Evidence) -> Table | None:
    """Cost of a million sentences by batch size, at the largest memory size measured."""
    found = points(e)
    if found.empty:
        return None
    memory = int(found["memory_mb"].max())
    found = found[found["memory_mb"] == memory]
    languages = [x for x in LANGUAGES if x in set(found["language"])]
    rows = []
    for size, group in found.groupby("sentences"):
        cells = {
            r["language"]: f"{usd(r['usd_x86_64'])} / {usd(r['usd_arm64'])}"
            for r in group.to_dict("records")
        }
        rows.append([f"{size:,}", *[cells.get(x, ABSENT) for x in languages]])
    return Table(
        "cost",
        "Cost of a million sentences, x86_64 / arm64",
        ["sentences in the batch", *[NAMES[x] for x in languages]],
        rows,
        found,
        f"Warm calls at {memory} MB. {_PRICED} arm64 assumes the same billed time.",
    )


def by_memory(e: Evidence) -> Table | None:
    """Cost against speed by memory size, if there are several; cheapest and fastest marked."""
    found = points(e)
    if found.empty or found["memory_mb"].nunique() < 2:
        return None
    size = sweep_size(found)
    found = found[found["sentences"] == size]
    languages = [x for x in LANGUAGES if x in set(found["language"])]
    cheapest = found.groupby("language")["usd_x86_64"].idxmin().to_dict()
    fastest = found.groupby("language")["duration_ms"].idxmin().to_dict()
    rows = []
    for memory, group in found.groupby("memory_mb"):
        cells = {}
        for index, r in group.iterrows():
            x = r["language"]
            best = {"cheapest": cheapest[x] == index, "fastest": fastest[x] == index}
            marks = [word for word, is_best in best.items() if is_best]
            cell = f"{number(r['duration_ms'])} ms, {usd(r['usd_x86_64'])}"
            cells[x] = f"{cell} **{' and '.join(marks)}**" if marks else cell
        rows.append([f"{memory} MB", *[cells.get(x, ABSENT) for x in languages]])
    return Table(
        "cost-memory",
        "Cost against speed by memory size",
        [
            f"Duration of a batch of {size}, cost of a million sentences",
            *[NAMES[x] for x in languages],
        ],
        rows,
        found,
        f"Median Duration of warm calls; x86_64. {_PRICED}",
    )


def sweep_size(found: pd.DataFrame) -> int:
    """The batch size measured at most memory sizes; of equals, the one nearest to 100."""
    memories = found.groupby("sentences")["memory_mb"].nunique()
    return int(min(memories[memories == memories.max()].index, key=lambda s: abs(s - 100)))


def per_hour(setting: Setting) -> Table | None:
    """What an hour of such a surge would cost, for the methods that call a function."""
    arms = [a for a in setting.arms if a.values("usd_per_hour_x86_64")]
    if not arms:
        return None
    rows = [
        [
            a.label,
            count(a.value("calls")),
            usd(a.value("usd_per_hour_x86_64")),
            usd(a.value("usd_per_hour_arm64")),
            percent(a.value("free_tier_per_hour")),
        ]
        for a in arms
    ]
    columns = ["arm", "repetition", "calls", "usd_per_hour_x86_64", "usd_per_hour_arm64"]
    return Table(
        "cost-surge",
        "Cost of an hour of surge",
        ["", "calls in this surge", "x86_64, an hour", "arm64, an hour", "of a month's free tier"],
        rows,
        measures(arms)[[*columns, "free_tier_per_hour"]],
        f"{setting.conditions.words}. All calls of the surge, cold starts included, scaled to an "
        f"hour. {_PRICED}",
    )
