"""The answer in words: each sentence is made from the statistics that it speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd

from bench import stats
from bench.report.gather import calls, surges
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.surges import Arm, Setting
from bench.report.say import languages, metrics, money
from bench.report.say.table import NO_DIFFERENCE, number, time, times
from bench.stats import Floats

_NOTABLE = 1.2
"""Without an interval, smaller ratios than this are not called a difference."""


def answer(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """Paragraphs of Markdown, the conclusion first, what is missing last."""
    said = [
        *_relief(settings),
        *_which_language(e, settings),
        *_python_or_java(e, settings),
        *_scaling_out(settings),
        *_deciding(settings),
        *(f"**What does it cost?** {x}." for x in map(money.words, settings[:1]) if x),
        *_order(settings),
        *(
            f"**Which metric shows it?** {said}."
            for said in map(metrics.words, settings[:1])
            if said
        ),
        *_how_sure(e, settings),
    ]
    missing = _missing(e, settings)
    if missing:
        said.append(f"**Not in these runs:** {'; '.join(missing)}.")
    return said


def _relief(settings: Sequence[Setting]) -> list[str]:
    """Whether offloading helps, and how much."""
    if not settings:
        return []
    setting = settings[0]
    base = setting.baseline
    ratios = [
        (a, surges.ratio_to_baseline(setting, a))
        for a in setting.arms
        if a.method == "operator" and not a.is_ordered
    ]
    found = [(a, r) for a, r in ratios if r is not None]
    if base is None or not found:
        return []
    least = min(r.value for _, r in found)
    verb = "absorbs" if least >= 10 else "relieves" if least > 1.1 else "does not relieve"
    each = ", ".join(
        f"{_who(a)} {time(a.value('p99_ms'))} ({r.value:,.0f}× lower)" for a, r in found
    )
    wrong = sum(
        value
        for a in setting.arms
        for m in ("lost", "duplicated", "wrong")
        for value in a.values(m)
    )
    ledger = (
        "Nothing was lost, duplicated or wrong"
        if not wrong
        else f"**{wrong:,.0f} sentences were lost, duplicated or wrong**"
    )
    return [
        f"**Offloading {verb} the burst.** {_upper(setting.conditions.words)}: the p99 of latency, "
        f"from due time to sink, is {time(base.value('p99_ms'))} without offload and with it "
        f"{each}. {ledger}."
    ]


def _which_language(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    said = []
    for column, where in (("compute_ms", "in the function"), ("wall_ms", "as the client sees it")):
        if by_size := _fastest_by_size(e, column):
            said.append(f"warm, {where}, the fastest is, for {by_size}")
    recovery = break_even(e)
    if recovery:
        said.append(recovery.words)
    by_length = _fastest_by_length(settings)
    if by_length:
        said.append(f"lowest p99 in the surge, of bursts of {by_length}")
    return [f"**Which language.** {_upper('; '.join(said))}."] if said else []


def _fastest_by_size(e: Evidence, column: str) -> str:
    """Runs of batch sizes with the same fastest language, those that cannot be told apart named."""
    warm = calls.at_main_memory(calls.steady(e))
    best: list[tuple[float, str]] = []
    for size in sorted(warm["sentences"].unique()):
        of_size = warm[warm["sentences"] == size]
        samples = {
            x: calls.by_environment(of_size[of_size["language"] == x], column)
            for x in LANGUAGES
            if x in set(of_size["language"])
        }
        if len(samples) < 2:
            continue
        first = languages.fastest(samples)
        equal = [
            x
            for x, values in samples.items()
            if x == first or not _differ(stats.ratio(values, samples[first]))
        ]
        best.append((float(size), _winner([NAMES[x] for x in equal], len(samples))))
    return _ranges(best, "sentence")


def _winner(equal: Sequence[str], of: int) -> str:
    return "none in particular" if len(equal) == of else _or(equal)


def _ranges(best: Sequence[tuple[float, str]], unit: str) -> str:
    """Neighbours with the same winner as one range, e.g. "1–10 sentences Python"."""
    parts = []
    for winner, group in groupby(best, key=lambda x: x[1]):
        at = [x for x, _ in group]
        span = f"{at[0]:,g}" if len(at) == 1 else f"{at[0]:,g}–{at[-1]:,g}"
        parts.append(f"{span} {unit}{'' if span == '1' or unit == 's' else 's'} {winner}")
    return ", ".join(parts)


def _fastest_by_length(settings: Sequence[Setting]) -> str:
    """Ranges of burst lengths with the same lowest p99."""
    best = []
    for s in [s for group in surges.bursts(settings)[:1] for s in group]:
        known = {
            NAMES[a.language]: v
            for a in s.typical
            if a.method == "operator" and a.language and (v := a.value("p99_ms")) is not None
        }
        if len(known) > 1:
            near = [who for who, v in known.items() if v < _NOTABLE * min(known.values())]
            best.append((s.conditions.duration_s, _winner(near, len(known))))
    return _ranges(best, "s")


@dataclass(frozen=True)
class BreakEven:
    """When an environment in Java, started cold, has caught up with one in Python."""

    sentences: int
    calls: int | None
    python_s: float

    @property
    def words(self) -> str:
        """As a clause."""
        if self.calls is None:
            return (
                f"a Java environment that starts cold never catches up with one in Python, in "
                f"batches of {self.sentences}: warm, it is not faster"
            )
        return (
            f"a Java environment that starts cold has caught up with one in Python after "
            f"{self.calls:,} batches of {self.sentences}, {number(self.python_s)} s of work "
            "without a pause; a shorter burst favours Python"
            if self.calls
            else "a Java environment is ahead of one in Python from its start"
        )


def break_even(e: Evidence) -> BreakEven | None:
    """Cold start and Duration of every call so far, summed up: from which call on is Java ahead?

    Calls beyond the warm-up recorded are taken to last as long as steady ones. None if cold
    starts, warm-up or steady calls of either language are missing.
    """
    total: dict[str, Floats] = {}
    steady_ms: dict[str, float] = {}
    cold = calls.cold_samples(e)
    cold = cold[cold["handler"] == "tokenizer"]
    memory = calls.main_memory(cold)
    cold = cold[cold["memory_mb"] == memory]
    warm = calls.at_main_memory(calls.steady(e))
    size = 0
    for x in ("python", "java"):
        start = cold[cold["language"] == x]["sum_ms"].dropna()
        warming = calls.warm_up(e, x).dropna(subset=["duration_ms"])
        size = int(warming["sentences"].iloc[0]) if len(warming) else 0
        steady = warm[(warm["language"] == x) & (warm["sentences"] == size)]["duration_ms"].dropna()
        if start.empty or warming.empty or steady.empty:
            return None
        later = warming[warming["call_number"] > 1].groupby("call_number")["duration_ms"].median()
        steady_ms[x] = float(steady.median())
        total[x] = np.cumsum([float(start.median()), *later.to_numpy(dtype=float)])
    longest = max(map(len, total.values()))
    for x, sums in total.items():
        rest = np.arange(1, longest - len(sums) + 1) * steady_ms[x]
        total[x] = np.concatenate([sums, sums[-1] + rest])
    behind = np.flatnonzero(total["java"] >= total["python"])
    if not len(behind):
        return BreakEven(size, 0, 0.0)
    if behind[-1] + 1 < longest:
        at = int(behind[-1]) + 2
        return BreakEven(size, at, float(total["python"][at - 1]) / 1000)
    gain = steady_ms["python"] - steady_ms["java"]
    if gain <= 0:
        return BreakEven(size, None, 0.0)
    more = int(np.ceil((total["java"][-1] - total["python"][-1]) / gain))
    return BreakEven(
        size, longest + more, float(total["python"][-1] + more * steady_ms["python"]) / 1000
    )


def _python_or_java(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """Whether "Python is faster than Java" holds: cold, per batch, in total."""
    said = []
    cold = calls.cold_samples(e)
    cold = cold[(cold["handler"] == "tokenizer") & (cold["memory_mb"] == calls.main_memory(cold))]
    starts = {x: cold[cold["language"] == x]["sum_ms"].dropna().to_numpy() for x in LANGUAGES}
    if len(starts["python"]) and len(starts["java"]):
        r = stats.ratio(starts["java"], starts["python"])
        said.append(f"*Cold* (init + first call): {_faster(r)}")
    warm = calls.at_main_memory(calls.steady(e))
    verdicts = []
    for size in sorted(warm["sentences"].unique()):
        both = [
            calls.by_environment(
                warm[(warm["sentences"] == size) & (warm["language"] == x)], "compute_ms"
            )
            for x in ("java", "python")
        ]
        if all(map(len, both)):
            verdicts.append(f"{size:,} {_plural(size)}: {_faster(stats.ratio(*both), short=True)}")
    if verdicts:
        said.append(f"*Per batch*, warm, faster is: {'; '.join(verdicts)}{_overtaking(e)}")
    if settings:
        said += _in_total(settings[0])
    if not said:
        return []
    return ["**Is Python faster than Java here?** " + ". ".join(said) + "."]


def _in_total(setting: Setting) -> list[str]:
    """Python against Java by p99 in the surge, with cold environments and with warm ones."""
    by: dict[str, dict[str | None, Arm]] = {}
    for a in setting.arms:
        if a.method == "operator" and not a.is_ordered:
            pool = " with warm environments" if a.surges[0].record["warm"] else ""
            by.setdefault(pool, {}).setdefault(a.language, a)
    said = []
    for pool, arms in by.items():
        if not {"python", "java"} <= arms.keys():
            continue
        java, python = (arms[x].values("p99_ms") for x in ("java", "python"))
        if java and python:
            r = stats.ratio(java, python)
            said.append(f"*In total*{pool} (p99 in the surge): {_faster(r)}{_few(java, python)}")
    return said


def _overtaking(e: Evidence) -> str:
    found = calls.java_overtakes_python(e)
    if found is None:
        return ""
    of = f" (batches of {found.sentences})"
    if found.call is None:
        return f"; in the {found.calls:,} warm-up calls recorded Java does not overtake Python{of}"
    if found.call <= 1:
        return f"; Java is ahead from its first call{of}"
    return f"; Java overtakes Python for good at call {found.call:,} of an environment{of}"


def _scaling_out(settings: Sequence[Setting]) -> list[str]:
    """From which burst length scaling out beats offloading, if that was measured."""
    duels = surges.against_scaling_out(settings)
    if not duels:
        return []
    lost = [x.duration_s for x in duels if x.is_lost]
    longer = [x.duration_s for x in duels if lost and x.duration_s >= lost[0]]
    if not lost:
        conclusion = "it wins at none of the burst lengths measured"
        if (after_ms := duels[-1].normal_after_ms) is not None:
            conclusion += (
                f". It needs {time(after_ms)} until latency is normal again, which the p99 shows "
                f"until that is 1 % of the burst: bursts of {time(after_ms * 100)} and more"
            )
    elif lost == longer:
        conclusion = f"it wins from bursts of {lost[0]:g} s on"
    else:
        conclusion = (
            f"it wins at bursts of {_and([f'{x:g} s' for x in lost])}, not at all longer ones"
        )
    lengths = "; ".join(
        f"{x.duration_s:g} s: {time(x.offloaded_ms)} offloaded, "
        + ", ".join(
            f"{time(v)} scaled out ({label.removeprefix('scale out, ')})"
            for label, v in x.scaled_ms.items()
        )
        for x in duels
    )
    return [f"**Or scale out?** By p99, {conclusion}. Bursts of {lengths}."]


def _deciding(settings: Sequence[Setting]) -> list[str]:
    """How soon an overload is seen, and how soon it is seen to be over, in all surges."""
    found = [s for setting in settings for a in setting.arms for s in a.surges]
    seen = [ms for s in found if (ms := s.detection_ms) is not None]
    if not seen:
        return []
    early = sum(s.false_alarm for s in found)
    text = (
        f"In {len(seen)} surges the overload was seen {_median_and_p95(seen)} after it began, and "
        f"{'in none' if not early else f'in {early}'} of them before"
    )
    if over := [ms for s in found if (ms := s.to_zero_ms) is not None]:
        text += (
            f"; in the {len(over)} that were offloaded for as long as needed, the share was back "
            f"at zero {_median_and_p95(over)} after the end"
        )
    return [f"**How quick are the decisions?** {text}."]


def _median_and_p95(values_ms: Sequence[float]) -> str:
    p95 = stats.quantile_if_enough(values_ms, 0.95)
    said = time(float(np.median(values_ms)))
    return said if p95 is None else f"{said} (p95 {time(p95)})"


def _order(settings: Sequence[Setting]) -> list[str]:
    """What it costs to keep the order, where both were measured."""
    said = []
    for setting in settings[:1]:
        # Of cold and warm environments the cold ones, which come first.
        arms = {(a.method, a.language, a.is_ordered): a for a in reversed(setting.arms)}
        for (method, language, is_ordered), kept in arms.items():
            free = arms.get((method, language, False))
            if not is_ordered or free is None:
                continue
            p50, p99 = (
                f"{time(kept.value(m))} instead of {time(free.value(m))}"
                for m in ("p50_ms", "p99_ms")
            )
            said.append(f"{NAMES[str(language)]}, method {method}: p50 {p50}, p99 {p99}")
    return [f"**What does order cost?** {'; '.join(said)}."] if said else []


def _how_sure(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    said = []
    cold = calls.cold_samples(e)
    cold = cold[(cold["handler"] == "tokenizer") & (cold["memory_mb"] == calls.main_memory(cold))]
    if len(cold):
        said.append(f"{languages.span(cold.groupby('language').size())} cold starts a language")
    warm = calls.at_main_memory(calls.steady(e))
    if len(warm):
        environments = languages.span(_environments(group) for _, group in warm.groupby("language"))
        said.append(f"{environments} warm environments a language")
    if settings and any(a.language for a in settings[0].arms):
        repeated = {len(a.surges) for a in settings[0].arms}
        fewest = min(repeated)
        said.append(
            f"{fewest} surge{'s' if fewest > 1 else ''} a method"
            + (", so differences between surges are seen, not proven" if fewest < 6 else "")
        )
    if not said:
        return []
    text = f"**How sure.** {_upper('; '.join(said))}. Intervals are 95 % bootstrap intervals. "
    if {r["target"] for r in e.runs} <= {"local process", None}:
        text += (
            "The functions ran as local processes with AWS's own runtime clients: ratios between "
            "languages carry over better than milliseconds, and the network to AWS is not in them."
        )
    if noisy := e.noise():
        runs = len({name for name, _ in noisy})
        text += (
            f" **The machine was noisy** during {runs} of {len(e.runs)} runs: differences under "
            "20 % mean little."
        )
    return [text.strip()]


def _environments(calls_: pd.DataFrame) -> int:
    return calls_.groupby(["run", "function", "environment"]).ngroups


def _missing(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    cold = set(calls.cold_samples(e)["language"])
    warm = set(calls.steady(e)["language"])
    offloaded = {a.language for s in settings for a in s.arms if a.language}
    missing = []
    for what, seen, command in (
        ("cold starts", cold, "bench cold"),
        ("compute per batch", warm, "bench compute"),
        ("a surge with offload", offloaded, "bench run LANG"),
    ):
        absent = [NAMES[x] for x in LANGUAGES if x not in seen]
        if absent:
            missing.append(f"{what} in {_and(absent)} (`{command}`)")
    if settings and not any(s.baseline for s in settings):
        missing.append("a surge without offload")
    missing += e.unfinished()
    return missing


def _faster(java_to_python: stats.Estimate, short: bool = False) -> str:
    """Who is faster, from the ratio of Java's time to Python's."""
    r = java_to_python
    if r.differs_from_one is False:
        return NO_DIFFERENCE
    if not _differ(r):
        return f"no difference to speak of (Java {r.value:.2f}× Python)"
    if r.value >= 1:
        return f"Python {times(r)}" if short else f"yes, Python is {times(r)} faster"
    low, high = (None if x is None else 1 / x for x in (r.high, r.low))
    inverse = stats.Estimate(1 / r.value, low, high)
    return f"Java {times(inverse)}" if short else f"no, Java is {times(inverse)} faster"


def _differ(r: stats.Estimate) -> bool:
    if r.differs_from_one is None:
        return not 1 / _NOTABLE < r.value < _NOTABLE
    return r.differs_from_one


def _few(a: Sequence[float], b: Sequence[float]) -> str:
    n = min(len(a), len(b))
    return f" (n = {n}: an observation, not a proof)" if n < stats.MIN_FOR_INTERVAL else ""


def _who(arm: Arm) -> str:
    """The arm without its method, where the text speaks of offloading anyway."""
    return arm.label.removeprefix("operator, ")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(n: float) -> str:
    return "sentence" if n == 1 else "sentences"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _or(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
