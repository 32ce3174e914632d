"""Tables of cost: from billed milliseconds and memory, at the list prices of `bench.facts.cost`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.facts.cost import PRICES, Usage, kpus_usd_per_hour
from bench.report.gather.calls import steady
from bench.report.gather.evidence import Evidence
from bench.report.gather.surges import Arm, Conditions, Setting, measures
from bench.report.say.relief import cell
from bench.report.say.table import ABSENT, Table, by_language, number, usd

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
    names, rows = by_language(
        found, "sentences", "{:,}", lambda r: f"{usd(r['usd_x86_64'])} / {usd(r['usd_arm64'])}"
    )
    return Table(
        "cost",
        "Cost of a million sentences, x86_64 / arm64",
        ["sentences in the batch", *names],
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
    best = {
        word: found.loc[found.groupby("language")[column].idxmin()].set_index("language")[
            "memory_mb"
        ]
        for word, column in (("cheapest", "usd_x86_64"), ("fastest", "duration_ms"))
    }

    def text(r: Mapping[Any, Any]) -> str:
        marks = [word for word, at in best.items() if at[r["language"]] == r["memory_mb"]]
        said = f"{number(r['duration_ms'])} ms, {usd(r['usd_x86_64'])}"
        return f"{said} **{' and '.join(marks)}**" if marks else said

    names, rows = by_language(found, "memory_mb", "{} MB", text)
    return Table(
        "cost-memory",
        "Cost against speed by memory size",
        [f"Duration of a batch of {size}, cost of a million sentences", *names],
        rows,
        found,
        f"Median Duration of warm calls; x86_64. {_PRICED}",
    )


def sweep_size(found: pd.DataFrame) -> int:
    """The batch size measured at most memory sizes; of equals, the one nearest to 100."""
    memories = found.groupby("sentences")["memory_mb"].nunique()
    return int(min(memories[memories == memories.max()].index, key=lambda s: abs(s - 100)))


UTILISATION = 0.8
"""Of the workers that a load is sized for; what is above is air for pauses."""


@dataclass(frozen=True)
class Turning:
    """Calls against the workers that the peak needs besides those of the calm.

    Attributes:
        kpus: how many more.
        usd_per_hour: what they cost an hour, surge or not.
        share: of the time, beyond which surges are dearer in calls; over 1: never.
    """

    kpus: float
    usd_per_hour: float
    share: float


def kpus(c: Conditions, rate_per_s: float) -> float | None:
    """KPUs (one CPU each) for a rate, by the measured capacity; None where it is not known."""
    if not c.capacity_per_s:
        return None
    return rate_per_s / (c.capacity_per_s / (c.worker_cpu or 1.0) * UTILISATION)


def more_kpus(c: Conditions) -> tuple[float, float] | None:
    """KPUs that the peak needs besides those of the calm: by the fraction, and whole ones."""
    if c.rates_per_s is None:
        return None
    calm, peak = (kpus(c, rate) for rate in c.rates_per_s)
    if calm is None or peak is None:
        return None
    return peak - calm, math.ceil(peak - 1e-9) - math.ceil(calm - 1e-9)


def turning(setting: Setting, arm: Arm) -> tuple[Turning, Turning] | None:
    """At which share of the time it turns over: with KPUs by the fraction, and with whole ones."""
    more, hour_usd = more_kpus(setting.conditions), arm.value("usd_per_hour_x86_64")
    if more is None or not hour_usd:
        return None
    by_fraction, whole = (
        Turning(x, kpus_usd_per_hour(x), kpus_usd_per_hour(x) / hour_usd) for x in more
    )
    return by_fraction, whole


def per_surge(setting: Setting) -> Table | None:
    """What one such surge, and an hour of it, would cost in calls, and when workers are cheaper."""
    calling = [a for a in setting.arms if a.values("usd_per_surge_x86_64")]
    if not calling:
        return None
    rows = []
    for a in calling:
        turn = turning(setting, a)
        rows.append(
            [
                a.label,
                str(len(a.surges)),
                cell(a, "usd_per_surge_x86_64", _usd(a)),
                cell(a, "usd_per_surge_arm64", _usd(a)),
                cell(a, "usd_per_hour_x86_64", _usd(a)),
                cell(a, "usd_per_hour_arm64", _usd(a)),
                *((_share(x) for x in turn) if turn else (ABSENT, ABSENT)),
            ]
        )
    more = more_kpus(setting.conditions)
    for a in setting.arms:
        if more and a.method.startswith(("scale-out", "bigger")):
            rows.append([a.label, str(len(a.surges)), *_workers(setting, a, more), ABSENT, ABSENT])
    columns = ["arm", "repetition", "usd_at_least"]
    prices = [f"{x}_{y}" for x in ("usd_per_surge", "usd_per_hour") for y in ("x86_64", "arm64")]
    return Table(
        "cost-surge",
        "Cost of a surge",
        [
            "",
            "surges",
            "a surge (calls: x86_64)",
            "arm64",
            "an hour of surge (x86_64)",
            "arm64",
            "turns over at, KPUs by the fraction",
            "whole KPUs",
        ],
        rows,
        measures(setting.arms)[[*columns, *prices]],
        f"{setting.conditions.words}. Calls from the surge's start on, failed, timed-out and late "
        "ones included (“≥” where the billed time of some is not known). A surge: all of it, cold "
        "starts and warm-up once; an hour of surge: what goes on, without them. Scaling out pays "
        "for its workers at least as long as the surge lasts, a bigger job always (KPUs by the "
        "fraction–whole). Turns over: the "
        "share of the time in surge beyond which the workers that the peak needs besides those of "
        f"the calm are cheaper. {_sizing(setting)} {_PRICED}",
    )


def _workers(setting: Setting, a: Arm, more: tuple[float, float]) -> list[str]:
    """What the workers more cost a surge and an hour of surge, as long as this way has them."""
    by_fraction, whole = map(kpus_usd_per_hour, more)
    hour = usd(whole) if by_fraction == whole else f"{usd(by_fraction)}–{usd(whole)}"
    if a.method == "bigger":
        return [f"{hour} an hour, surge or not", ABSENT, hour, ABSENT]
    share = setting.conditions.duration_s / 3600
    return [f"≥ {usd(by_fraction * share)}–{usd(whole * share)}", ABSENT, f"≥ {hour}", ABSENT]


def _usd(a: Arm) -> Callable[[float | None], str]:
    at_least = "≥ " if any(a.values("usd_at_least")) else ""
    return lambda x: at_least + usd(x)


def _share(t: Turning) -> str:
    if t.kpus <= 0:
        return "at once: no more KPUs needed"
    return "never" if t.share >= 1 else f"{t.share:.1%}" if t.share < 0.1 else f"{t.share:.0%}"


def _sizing(setting: Setting) -> str:
    """How workers are sold, and how many of them calm and peak take."""
    c = setting.conditions
    price = kpus_usd_per_hour(1)
    said = (
        f"Workers as Managed Service for Apache Flink sells them: a KPU is 1 CPU, with "
        f"{PRICES.storage_gb_per_kpu} GB of running storage ${price:.3f} an hour; "
        f"{PRICES.orchestration_kpus} KPU more an application, for orchestration, is paid either "
        f"way. Sized for {UTILISATION:.0%} utilisation"
    )
    counts = [kpus(c, rate) for rate in c.rates_per_s or ()]
    if len(counts) == 2 and counts[0] is not None and counts[1] is not None:
        said += (
            f": calm takes {number(counts[0])} ({math.ceil(counts[0])} whole), the peak "
            f"{number(counts[1])} ({math.ceil(counts[1])} whole)"
        )
    return f"{said}."


def verdict(setting: Setting) -> str | None:
    """Whether calls or workers are cheaper, in a short sentence; None where it was not measured."""
    arms = _offloading(setting)
    if not arms:
        return None
    hours = [x for a in arms for x in a.values("usd_per_hour_x86_64")]
    turns = [t for a in arms if (t := turning(setting, a))]
    by_fraction, whole = _while(turns)
    unlike = f" ({whole} if workers are bought whole)" if whole != by_fraction else ""
    return (
        f"**Calls are cheaper than workers {by_fraction}**{unlike}: "
        f"an hour of surge costs {_range(hours)} in calls (n = {len(hours)} surges), the workers "
        f"for its peak {usd(turns[0][0].usd_per_hour)}, surge or not."
    )


def words(setting: Setting) -> str | None:
    """Calls against workers, with ranges and n; None where it was not measured."""
    arms = _offloading(setting)
    if not arms:
        return None
    hours = [x for a in arms for x in a.values("usd_per_hour_x86_64")]
    surges_ = [x for a in arms for x in a.values("usd_per_surge_x86_64")]
    turns = [t for a in arms if (t := turning(setting, a))]
    by_fraction, whole = turns[0]
    until = " and ".join(
        f"{share} ({name})"
        for share, name in zip(_while(turns), ("KPUs by the fraction", "whole KPUs"), strict=True)
    )
    at_least = " at least" if any(x for a in arms for x in a.values("usd_at_least")) else ""
    return (
        f"The calls of one such surge cost{at_least} {_range(surges_)}, cold starts and warm-up "
        f"included, an hour of surge {_range(hours)} (n = {len(hours)} surges, {len(arms)} ways of "
        f"offloading). The {number(by_fraction.kpus)} KPUs more that the peak needs cost "
        f"{usd(by_fraction.usd_per_hour)} an hour, surge or not; bought whole they are "
        f"{number(whole.kpus)}, {usd(whole.usd_per_hour)}. Calls are cheaper {until}"
    )


def _offloading(setting: Setting) -> list[Arm]:
    """The arms that offload by the operator, order not kept, where it is known what they cost."""
    arms = [a for a in setting.arms if a.method == "operator" and not a.is_ordered]
    return [a for a in arms if turning(setting, a)]


def _while(turns: Sequence[tuple[Turning, Turning]]) -> list[str]:
    """For which shares of the time in surge calls are the cheaper ones, over all arms: with KPUs
    by the fraction, and with whole ones."""
    return [
        _until([t.share for t in of_arms]) if of_arms[0].kpus > 0 else "at no time"
        for of_arms in zip(*turns, strict=True)
    ]


def _range(values: Sequence[float]) -> str:
    low, high = usd(min(values)), usd(max(values))
    return low if low == high else f"{low}–{high}"


def _until(shares: Sequence[float]) -> str:
    low, high = min(shares), max(shares)
    if low >= 1:
        return "however long surges are"
    lows, highs = f"{low:.0%}", f"{high:.0%}" if high < 1 else "100%"
    span = lows if lows == highs else f"{lows} to {highs}"
    return f"while surges are less than {span} of the time"
