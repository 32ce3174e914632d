"""Tables of cost: from billed milliseconds and memory, at the list prices of `bench.facts.cost`."""

from __future__ import annotations

import pandas as pd

from bench.facts.cost import PRICES, Usage
from bench.report.gather.calls import steady
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.surges import Arm, Setting, measures
from bench.report.say.table import ABSENT, Table, number, percent, usd

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
    """What an hour of such a surge would cost: workers here and calls there, for every method."""
    if not any(a.values("usd_per_hour_x86_64") for a in setting.arms):
        return None
    rows = [
        [
            a.label,
            number(setting.workers(a)),
            usd(_workers_usd(setting, a)),
            usd(a.value("usd_per_hour_x86_64")),
            usd(a.value("usd_per_hour_arm64")),
            usd(a.value("usd_as_slow_x86_64")),
            percent(a.value("free_tier_per_hour")),
        ]
        for a in setting.arms
    ]
    columns = ["arm", "repetition", "subtasks"]
    prices = [f"{x}_{y}" for x in ("usd_per_hour", "usd_as_slow") for y in ("x86_64", "arm64")]
    return Table(
        "cost-surge",
        "Cost of an hour of surge",
        [
            "",
            "workers",
            "workers, an hour",
            "calls, x86_64, an hour",
            "arm64",
            "x86_64, as slow as here",
            "of a month's free tier",
        ],
        rows,
        measures(setting.arms)[[*columns, *prices, "free_tier_per_hour"]],
        f"{setting.conditions.words}. The calls due in the surge, cold starts and warm-up "
        "included, scaled to an hour; “always” pays for its calls in calm, too. As slow as here: "
        "if a sentence took as long in the function as the declared capacity makes it take here, "
        "which is the fair comparison with workers. A worker is "
        f"${PRICES.worker_hour:.2f} an hour; a bigger job pays for its workers surge or not. "
        f"{_PRICED}",
    )


def _workers_usd(setting: Setting, arm: Arm) -> float | None:
    workers = setting.workers(arm)
    return None if workers is None else workers * PRICES.worker_hour


def words(setting: Setting) -> str | None:
    """Whether calls or workers are cheaper, in a sentence; None where it was not measured."""
    bigger = next((a for a in setting.arms if a.method == "bigger"), None)
    base = setting.baseline
    offloaded = [
        value
        for a in setting.arms
        if a.method == "operator" and (value := a.value("usd_as_slow_x86_64")) is not None
    ]
    if bigger is None or base is None or not offloaded:
        return None
    workers, has = setting.workers(bigger), setting.workers(base)
    if workers is None or has is None:
        return None
    calls_usd = min(offloaded)
    more_usd = (workers - has) * PRICES.worker_hour
    verdict = (
        "even a surge that never ends is no dearer in calls"
        if calls_usd <= more_usd
        else "the workers are cheaper once it surges more than "
        f"{more_usd / calls_usd:.0%} of the time"
    )
    return (
        f"The {number(workers - has)} workers more that the peak needs cost {usd(more_usd)} an "
        f"hour, surge or not; the calls {usd(calls_usd)} an hour of surge (taken to be as slow a "
        f"sentence as the declared capacity): {verdict}"
    )
