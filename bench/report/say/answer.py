"""The answer in words: each sentence is made from the statistics that it speaks of, names its n and
the ranges that it rests on, and says "not known" where that is what they say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench import stats
from bench.report.gather import calls, surges
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.surges import Arm, Duel, Setting
from bench.report.say import languages, metrics, money, relief
from bench.report.say.table import between, count, number, over, settles, time, verdict
from bench.report.say.versus import REFUSED_DRIFT
from bench.stats import Comparison, Ranking

_ABSORBS = 5.0
"""The least factor for which p99 must be lower to say "absorbs" and not only "relieves"."""


def answer(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """Paragraphs of Markdown, the conclusion first, what is missing last."""
    return [*three(e, settings), *details(e, settings)]


def details(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """What stands behind the three sentences, and what is missing."""
    said = [
        *(f"**What was run?** {s.conditions.words}." for s in settings[:1]),
        *_helps_by_arm(settings),
        *_other_work(settings),
        *_just_enough(settings),
        *(f"**Is it worth it?** {x}." for x in map(money.words, settings[:1]) if x),
        *_turns_over(e, settings),
        *_which_language(e, settings),
        *_python_or_java(e, settings),
        *_scaling_out(settings),
        *_deciding(settings),
        *_who_spends_cpu(settings),
        *_order(settings),
        *(f"**Which metric shows it?** {x}." for x in map(metrics.words, settings[:1]) if x),
        *_how_sure(e, settings),
    ]
    missing = _missing(e, settings)
    if missing:
        said.append(f"**Not in these runs:** {'; '.join(missing)}.")
    return said


def three(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """The answer in three short sentences, as far as it was measured: does it help, is it worth
    it, in which language. What they hang on is in the details."""
    worth = [x for x in map(money.verdict, settings[:1]) if x]
    return [*_helps(settings), *worth, *_recommended(e, settings)]


def _helps(settings: Sequence[Setting]) -> list[str]:
    """Whether offloading by the operator helps, over its arms in the main setting."""
    found = _against_none(settings)
    if not found:
        return []
    setting = settings[0]
    comparisons = [c for _, c in found]
    different = [c for c in comparisons if c.verdict == "different"]
    lows = [c.ratio.low if c.ratio.low is not None else c.ratio.least for c in comparisons]
    least = min(
        x if x is not None else c.ratio.value for x, c in zip(lows, comparisons, strict=True)
    )
    if len(different) == len(comparisons):
        verb = "absorbs" if least >= _ABSORBS else "relieves" if least > 1 else "does not relieve"
        conclusion = f"Offloading {verb} the burst"
    elif different:
        conclusion = f"Offloading helps in {len(different)} of {len(comparisons)} ways measured"
    else:
        conclusion = "Whether offloading relieves the burst is not known yet"
    base = setting.baseline
    assert base is not None
    offloaded = [v for a, _ in found for v in a.values("p99_ms")]
    return [
        f"**{conclusion}**: p99 of latency is {_range_ms(base.values('p99_ms'))} without and "
        f"{_range_ms(offloaded)} with it (lowest and highest; n = {len(base.surges)} and "
        f"{len(offloaded)} surges in {len(found)} ways)."
    ]


def _against_none(settings: Sequence[Setting]) -> list[tuple[Arm, Comparison]]:
    """Offloading by the operator, order not kept, against no offload; one family of comparisons."""
    if not settings:
        return []
    setting = settings[0]
    arms = [a for a in setting.arms if a.method == "operator" and not a.is_ordered]
    found = {a.label: c for a in arms if (c := setting.to_baseline(a)) is not None}
    judged = stats.holm(found)
    return [(a, judged[a.label]) for a in arms if a.label in judged]


def _helps_by_arm(settings: Sequence[Setting]) -> list[str]:
    found = _against_none(settings)
    if not found:
        return []
    setting = settings[0]
    each = "; ".join(f"{_who(a)} {_ratio(c)}" for a, c in found)
    wrong = sum(
        value
        for a in setting.arms
        for m in ("lost", "duplicated", "wrong")
        for value in a.values(m)
    )
    total = sum(len(a.surges) for a in setting.arms)
    ledger = (
        f"Nothing was lost, duplicated or wrong in {total} surges"
        if not wrong
        else f"**{wrong:,.0f} sentences were lost, duplicated or wrong** in {total} surges"
    )
    return [f"**How much does it help?** p99 without ÷ with offload: {each}. {ledger}."]


def _other_work(settings: Sequence[Setting]) -> list[str]:
    """The same for other work than the main setting's, with what was offloaded of it: of some the
    policy says that it is not worth a call."""
    said: dict[str, dict[str, str]] = {}
    for s in settings[1:]:
        if s.conditions.work == settings[0].conditions.work:
            continue
        for a, c in _against_none([s]):
            each = f"{_who(a)} {_ratio(c)}, {over(a.values('calls'), count)} calls"
            said.setdefault(s.conditions.work, {}).setdefault(_who(a), each)
    if not said:
        return []
    works = ". ".join(f"*{_upper(work)}*: {'; '.join(x.values())}" for work, x in said.items())
    return [f"**And other work?** p99 without ÷ with offload. {works}."]


def _just_enough(settings: Sequence[Setting]) -> list[str]:
    """The same for a load that the worker can just do, without a surge."""
    said = []
    for s in settings:
        base, flat = s.conditions.base, s.conditions.factor == 1
        if base is None or not flat:
            continue
        load = f"{base:g} × the measured capacity for {s.conditions.duration_s:g} s"
        said += [
            f"{load}: p99 {over(s.baseline.values('p99_ms'), time)} without and "
            f"{over(a.values('p99_ms'), time)} with it, ÷ {_ratio(c)}, {_who(a)}"
            for a, c in _against_none([s])
            if s.baseline
        ]
    return [f"**And a load that it can just do?** {'; '.join(said)}."] if said else []


def _ratio(c: Comparison) -> str:
    if c.verdict == "different":
        return f"{between(c.ratio)} (n = {c.ratio.n})"
    if c.verdict == "equal":
        return f"equal within {c.margin - 1:.0%} (n = {c.ratio.n})"
    return f"not known ({between(c.ratio)}, n = {c.ratio.n}{settles(c)})"


# Languages


def _in_surge(settings: Sequence[Setting]) -> dict[tuple[int, str], Ranking]:
    """The languages by p99 in the surge, by setting and pool of environments, all of them one
    family; only repetitions in which all languages took turns."""
    frames: dict[tuple[int, str], pd.DataFrame] = {}
    for i, setting in enumerate(settings):
        pools: dict[str, dict[str, pd.Series[float]]] = {}
        for a in setting.arms:
            if a.method == "operator" and not a.is_ordered and a.language:
                pool = "cold" if a.is_cold else "warm"
                pools.setdefault(pool, {}).setdefault(a.language, a.by_turn("p99_ms"))
        for pool, columns in pools.items():
            if len(columns) > 1:
                frames[i, pool] = pd.concat(columns, axis=1)
    return stats.rank(frames, least=stats.MIN_SURGES)


def _recommended(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """One recommendation."""
    surge, cold = _main_surge(settings), languages.cold_ranking(e)
    warm = languages.rankings(e, "duration_ms") or languages.rankings(e, "compute_ms")
    large = warm[max(warm)] if warm else None
    named = [r for r in (surge, cold, large) if r and r.is_named]
    if surge and surge.is_named:
        r, why = surge, f"its p99 in the surge is the lowest, {_longer(surge)} (n = {surge.n})"
    elif cold and large and len(named) == 2 and cold.first != large.first:
        return [
            f"**Take {NAMES[cold.first]} for short bursts, {NAMES[large.first]} for long ones**: "
            f"the one is up first, {_longer(cold)} (n = {cold.n} rounds); the other is fastest "
            f"once warm, {_longer(large)} (batches of {max(warm):,}; n = {large.n} passes)."
        ]
    elif cold and cold.is_named:
        r, why = cold, f"it is up first, {_longer(cold)} (n = {cold.n} rounds)"
    elif large and large.is_named:
        r, why = large, f"it is fastest once warm, {_longer(large)} (n = {large.n} passes)"
    else:
        known = surge or cold or large
        return (
            ["**Take the language you write best**: none is shown to be better."] if known else []
        )
    if surge and not surge.is_named:
        why += f"; in the surge itself none is shown to be better (n = {surge.n})"
    return [f"**Take {NAMES[r.first]}**: {why}."]


def _longer(r: Ranking) -> str:
    """What the others take, where the first is named."""
    each = [f"{NAMES[x]} {between(c.ratio)}" for x, c in r.others.items()]
    return f"{_and(each)} as long"


def _main_surge(settings: Sequence[Setting]) -> Ranking | None:
    """The languages in the main setting, with cold environments if there were any."""
    found = _in_surge(settings)
    return found.get((0, "cold")) or found.get((0, "warm"))


def _turns_over(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """Under which conditions another language is the better one."""
    surge = _main_surge(settings)
    said = []
    if surge and not surge.is_named:
        said.append(f"In the surge itself, p99, none is named ({_others(surge)}; n = {surge.n})")
    said += [*_by_text(e), *_overtakes(e)]
    return [f"**When is another language better?** {'. '.join(said)}."] if said else []


def _by_text(e: Evidence) -> list[str]:
    """Whether who is up first turns over with what the first call holds."""
    found = languages.cold_rankings_by_text(e)
    if len(found) < 2 or len({(r.first, r.is_named) for r in found.values()}) < 2:
        return []
    each = "; ".join(
        f"{NAMES[r.first] if r.is_named else 'none named'} with {held}" for held, r in found.items()
    )
    return [f"Who is up first turns over with the text: {each}"]


def _overtakes(e: Evidence) -> list[str]:
    """From which call on Java, started cold, has overtaken Python: the one sentence on it."""
    even = calls.break_even(e)
    if even is None:
        return []
    of = f"batches of {even.sentences:,}, back to back"
    found = even.estimate
    unknown = "When Java, started cold, overtakes Python is not known"
    if found is None:
        return [f"{unknown}: none of {even.unsteady} passes became steady ({of})"]
    if found.least is not None and np.isinf(found.least):
        return [f"Java, started cold, does not overtake Python in {found.n} passes ({of})"]
    if found.most == 0:
        passes = _count(range(found.n), "pass", "passes")
        return [
            f"Java, started cold, is ahead of Python from the first call on, in {passes} ({of})"
        ]
    if found.low is None or found.high is None:
        return [
            f"{unknown}: after {_calls(found.least)} to {_calls(found.most)} calls in "
            f"{_count(range(found.n), 'pass', 'passes')} ({of}; {stats.MIN_FOR_EXACT} passes give "
            "an interval)"
        ]
    return [
        f"Java, started cold, has overtaken Python after {_calls(found.low)} to "
        f"{_calls(found.high)} calls of an environment ({of}; n = {found.n} passes): a shorter "
        "burst favours Python, a longer one Java"
    ]


def _calls(x: float | None) -> str:
    """A number of calls to two digits."""
    if x is None or np.isinf(x):
        return "more than ever"
    if x < 100:
        return f"{x:.0f}"
    digits = 1 - int(np.floor(np.log10(x)))
    return f"{round(x, digits):,.0f}"


def _others(r: Ranking) -> str:
    """Each other one's time against the first's."""
    cells = []
    for x, c in r.others.items():
        if c.verdict == "different":
            cells.append(f"{NAMES[x]} {between(c.ratio)}")
        elif c.verdict == "equal":
            cells.append(f"{NAMES[x]} equal within {c.margin - 1:.0%}")
        else:
            cells.append(f"{NAMES[x]} not known, {between(c.ratio)}{settles(c)}")
    return ", ".join(cells)


def _which_language(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    said = []
    for column, where in (
        ("compute_ms", "warm, in the function"),
        ("wall_ms", "warm, as the client sees it"),
    ):
        ranked = languages.rankings(e, column)
        if ranked:
            each = (f"{size:,} {_plural(size)} {_first(r)}" for size, r in ranked.items())
            said.append(f"{where}: {'; '.join(each)}")
    ranked_surges = _in_surge(settings)
    if ranked_surges:
        lengths = {
            (settings[i].conditions.duration_s, i, pool): r
            for (i, pool), r in ranked_surges.items()
        }
        said.append(
            "lowest p99 in bursts of "
            + "; ".join(
                f"{key[0]:g} s, {key[2]}: {_first(r)}" for key, r in sorted(lengths.items())
            )
        )
    if not said:
        return []
    return [
        f"**Which language, in detail?** {_upper('. '.join(map(_upper, said)))}. Verdicts are "
        "corrected for being many (Holm); a language is named from "
        f"{stats.MIN_SURGES} passes or surges on."
    ]


def _first(r: Ranking) -> str:
    if r.is_named:
        return f"{NAMES[r.first]} (n = {r.n})"
    equal = [NAMES[x] for x, c in r.others.items() if c.verdict == "equal"]
    if len(equal) == len(r.others):
        return f"all equal within {stats.MARGIN - 1:.0%} (n = {r.n})"
    return f"none named (lowest {NAMES[r.first]}; {_others(r)}; n = {r.n})"


def _python_or_java(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    """Whether "Python is faster than Java" holds: cold, per batch, in total."""
    said = []
    turns = calls.by_turn(calls.main_cold(e), "round", "sum_ms")
    if c := _java_to_python(turns):
        held = calls.main_held(calls.main_cold(e))
        said.append(f"*Cold* (init + first call, which holds {held}): {_faster(c)}")
    warm = calls.at_main_memory(calls.steady(e))
    found: dict[int, Comparison] = {}
    for size in sorted(warm["sentences"].unique()):
        of_size = warm[warm["sentences"] == size]
        if c := _java_to_python(calls.by_turn(of_size, "environment", "compute_ms")):
            found[int(size)] = c
    if found:
        each = "; ".join(
            f"{size:,} {_plural(size)}: {_faster(c)}" for size, c in stats.holm(found).items()
        )
        said.append(f"*Per batch*, warm, in the function: {each}")
    if settings:
        said += _in_total(settings[0])
    if not said:
        return []
    return ["**Is Python faster than Java here?** " + ". ".join(said) + "."]


def _java_to_python(turns: pd.DataFrame) -> Comparison | None:
    if not {"java", "python"} <= set(turns):
        return None
    both = turns[["java", "python"]].dropna()
    if both.empty:
        return None
    runs = list(both.index.get_level_values(0))
    return stats.compare((both["java"] / both["python"]).to_numpy(), runs)


def _faster(c: Comparison) -> str:
    return verdict(c, "Python", "Java")


def _in_total(setting: Setting) -> list[str]:
    """Python against Java by p99 in the surge, with cold environments and with warm ones."""
    by: dict[bool, dict[str | None, Arm]] = {}
    for a in setting.arms:
        if a.method == "operator" and not a.is_ordered:
            by.setdefault(a.is_cold, {}).setdefault(a.language, a)
    said = []
    for is_cold, arms in by.items():
        if {"python", "java"} <= arms.keys():
            c = setting.ratio(arms["python"], arms["java"])
            if c:
                pool = "cold" if is_cold else "warm"
                said.append(f"*In total* (p99 in the surge, {pool} environments): {_faster(c)}")
    return said


# Scaling out


def _scaling_out(settings: Sequence[Setting]) -> list[str]:
    """From which burst length each way of scaling out beats offloading, and what was seen of those
    that wait as long as elsewhere."""
    ways: dict[str, list[Duel]] = {}
    for d in surges.duels(settings):
        ways.setdefault(d.way, []).append(d)
    said = [f"*{_upper(way)}*: {_way(mine)}" for way, mine in ways.items()]
    said += [
        f"*{_upper(a.label)}, as {s.conditions.scale_out_as}* (its detection, node and outage "
        f"emulated): p99 {over(a.values('p99_ms'), time)} in a burst of "
        f"{s.conditions.duration_s:g} s, latency normal again {over(a.values('recovery_ms'), time)}"
        f" after its start (n = {len(a.surges)})"
        for s in settings
        if s.conditions.scale_out_as
        for a in s.arms
        if a.method.startswith("scale-out")
    ]
    return [f"**Or scale out?** {'. '.join(said)}."] if said else []


def _way(mine: Sequence[Duel]) -> str:
    """One way of scaling out by its own figures."""
    each = []
    for d in mine:
        if d.ratio is None:
            each.append(f"{d.duration_s:g} s too short for a p99")
        elif d.ratio.verdict == "different":
            won = "offloading" if d.ratio.ratio.value > 1 else "scaling out"
            r = d.ratio.ratio if d.ratio.ratio.value > 1 else d.ratio.ratio.inverse
            each.append(f"{d.duration_s:g} s {won}, {between(r)} (n = {r.n})")
        elif d.ratio.verdict == "equal":
            each.append(f"{d.duration_s:g} s equal within {d.ratio.margin - 1:.0%}")
        else:
            each.append(
                f"{d.duration_s:g} s not known (scaled out ÷ offloaded {between(d.ratio.ratio)}, "
                f"n = {d.ratio.ratio.n}{settles(d.ratio)})"
            )
    return f"lower p99 by length of the burst: {'; '.join(each)}; {turns_over_at(mine)}"


def turns_over_at(mine: Sequence[Duel]) -> str:
    """From which length on a way of scaling out wins by p99: from when the time until latency is
    normal again is 1 % of the burst; from all repetitions at the longest burst measured."""
    again = [x / 1000 * 100 for x in mine[-1].normal_after_ms]
    if not again:
        return "from which length it wins is not known: it never ran with a calm before"
    missed = sum(map(np.isinf, again))
    if missed * 2 >= len(again):
        return (
            f"from which length it wins is not known: in {missed} of {len(again)} surges latency "
            "was not normal again by the end of what was recorded"
        )
    est = stats.typical([max(x, 1e-9) for x in again])
    if est.low is None or est.high is None:
        finite = [x for x in again if np.isfinite(x)]
        return (
            "from which length it wins is not known: going by the time until latency is normal "
            f"again, {_seconds(min(finite))} to {_seconds(max(finite))} in {len(again)} surges"
            + (f", {missed} never" if missed else "")
        )
    top = "longer than was watched" if np.isinf(est.high) else _seconds(est.high)
    return (
        "its p99 is normal where the time until latency is normal again is under 1 % of the burst: "
        f"from {_seconds(est.low)} to {top} on (n = {est.n})"
    )


def _seconds(s: float) -> str:
    digits = 1 - int(np.floor(np.log10(s))) if s > 0 else 0
    return f"{round(s, digits):,.0f} s"


# The rest


def _deciding(settings: Sequence[Setting]) -> list[str]:
    """How soon an overload is seen, and how soon it is seen to be over, in all surges."""
    found = [s for setting in settings for a in setting.arms for s in a.surges]
    said = []
    if seen := [ms for s in found if (ms := s.detection_ms) is not None]:
        said.append(
            f"in {_count(seen, 'surge')} the decision that there is an overload came "
            f"{_spread(seen)} after it began"
        )
    alarms = sum(s.false_alarms for s in found)
    behind = sum(s.false_alarms_behind or 0 for s in found)
    if hours := sum(s.calm_hours for s in found):
        which = f" ({behind} of them with half a second's work waiting)" if behind else ""
        bound = stats.per_hour_at_most(alarms, hours)
        said.append(
            f"{alarms} false alarm{'' if alarms == 1 else 's'}{which} in {number(hours * 60)} "
            f"minutes of calm, so at most {number(bound)} an hour (95 % sure)"
        )
    if over_ := [ms for s in found if (ms := s.to_zero_ms) is not None]:
        said.append(
            f"in the {len(over_)} with offload the share was back at zero {_spread(over_)} "
            "after the end"
        )
    if not said:
        return []
    text = "; ".join(said)
    text = text[0].upper() + text[1:]
    return [f"**How quick are the decisions?** {text}."]


def _spread(values_ms: Sequence[float]) -> str:
    """Median, p95 if there are enough, lowest and highest."""
    never = sum(map(np.isinf, values_ms))
    said = f"{time(float(np.median(values_ms)))} ({time(min(values_ms))}–{time(max(values_ms))}"
    p95 = stats.quantile_if_enough(values_ms, 0.95) if not never else None
    if p95 is not None:
        said += f", p95 {time(p95)}"
    return said + (f", {never} never)" if never else ")")


def _who_spends_cpu(settings: Sequence[Setting]) -> list[str]:
    """What a sentence costs the worker without and with offload, if that was counted."""
    said = []
    for setting in settings[:1]:
        for a in setting.arms:
            if a.method not in ("none", "operator", "always", "async-io"):
                continue
            us = [
                float(row["cpu_s"]) / float(row["sentences"]) * 1e6
                for s in a.surges
                for row in s.cpu.to_dict("records")
                if row["role"] == "worker" and row["sentences"]
            ]
            if us:
                said.append(f"{a.label} {over(us)} µs (n = {len(us)})")
    if len(said) < 2:
        return []
    return [f"**What does it cost the worker?** CPU of the worker a sentence: {'; '.join(said)}."]


def _order(settings: Sequence[Setting]) -> list[str]:
    """What it costs to keep the order, where both took turns."""
    said = []
    for setting in settings[:1]:
        # Of cold and warm environments the cold ones, which come first.
        arms = {(a.method, a.language, a.is_ordered): a for a in reversed(setting.arms)}
        for (method, language, is_ordered), kept in arms.items():
            free = arms.get((method, language, False))
            if not is_ordered or free is None:
                continue
            each = [
                f"{m.removesuffix('_ms')} {_ratio(c)}"
                for m in ("p50_ms", "p99_ms")
                if (c := setting.ratio(free, kept, m))
            ]
            if each:
                said.append(f"{NAMES[str(language)]}, method {method}: {', '.join(each)}")
    if not said:
        return []
    return [f"**What does order cost?** Ordered ÷ not ordered: {'; '.join(said)}."]


def _how_sure(e: Evidence, settings: Sequence[Setting]) -> list[str]:
    said = []
    cold = calls.main_cold(e)
    if len(cold):
        said.append(
            f"{languages.span(cold.groupby('language').size())} cold starts a language in "
            f"{_runs(cold)}"
        )
    warm = calls.at_main_memory(calls.steady(e))
    if len(warm):
        environments = languages.span(
            group.groupby(["run", "function", "environment"]).ngroups
            for _, group in warm.groupby("language")
        )
        said.append(f"{environments} warm environments a language in {_runs(warm)}")
    if settings:
        counts = languages.span(len(a.surges) for a in settings[0].arms)
        plural = "" if counts == "1" else "s"
        said.append(
            f"{counts} surge{plural} a way, taking turns, in {_count(settings[0].runs, 'run')}"
        )
    if not said:
        return []
    text = (
        f"**How sure?** {_upper('; '.join(said))}. Ratios are of what took turns, by pass, round "
        f"or repetition; “equal” means within {stats.MARGIN - 1:.0%}, a margin set beforehand. "
    )
    if all((r["target"] or "local process").startswith("local process") for r in e.runs):
        text += (
            "The functions ran as local processes with AWS's own runtime clients: ratios between "
            "languages carry over better than milliseconds."
        )
    return [(text + _noise(e)).strip()]


def _noise(e: Evidence) -> str:
    """What the machine's own drift means for the figures, by its size."""
    shares = [x for x in (e.drift(), relief.drift(e)) if x is not None]
    if not shares:
        return ""
    share = max(shares)
    if share < 0.05:
        return f" The machine was steady: it drifted by at most {share:.0%} in a run."
    said = f" The machine drifted by up to {share:.0%} in a run"
    if share > REFUSED_DRIFT:
        return (
            f"{said}: **milliseconds and rates mean little, and what did not take turns is not "
            "compared**; the ratios are of what did."
        )
    return f"{said}: between things that did not take turns, differences up to that mean nothing."


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
    few = [a.label for s in settings[:1] for a in s.arms if len(a.surges) < stats.MIN_SURGES]
    if few:
        missing.append(
            f"{stats.MIN_SURGES} repetitions of every way, which an interval needs "
            "(`bench surge --repeat`)"
        )
    missing += e.unfinished()
    return missing


def _range_ms(values: Sequence[float]) -> str:
    if not values:
        return "not known (too few batches for a p99)"
    low, high = time(min(values)), time(max(values))
    return low if low == high else f"{low} to {high}"


def _runs(frame: pd.DataFrame) -> str:
    return _count(list(frame["run"].unique()), "run")


def _count(things: Sequence[object], name: str, several: str = "") -> str:
    return f"{len(things)} {name if len(things) == 1 else several or name + 's'}"


def _who(arm: Arm) -> str:
    """The arm without its method, where the text speaks of offloading anyway."""
    return arm.label.removeprefix("operator, ")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(n: float) -> str:
    return "sentence" if n == 1 else "sentences"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
