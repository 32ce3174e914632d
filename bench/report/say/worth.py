"""From which weight on offloading is worth it: in words and tables, for what was measured and for
an operator of the reader's own."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.facts.cost import Usage, kpus_usd_per_hour
from bench.report.gather import worth
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.worth import Expected, Own, Point, Scale
from bench.report.say.table import ABSENT, Table, number, percent, time, usd
from bench.stats import Estimate

_MEANS = (
    "A sentence done here costs the worker its work and its way through Flink; one called for "
    "costs it the call and the same way. The break-even weight is what a call costs: work that "
    "weighs more is worth offloading. CPU is that of the worker's whole process"
)


def span(e: Estimate | None) -> str:
    """A value with the lowest and highest of what it rests on, "12.3 [11.9–13.1]"."""
    if e is None:
        return ABSENT
    if e.least is None or number(e.least) == number(e.most):
        return number(e.value)
    return f"{number(e.value)} [{number(e.least)}–{number(e.most)}]"


def tables(e: Evidence) -> list[Table]:
    """What was measured both ways, and how it grows with subtasks, as far as it was measured."""
    found, grown = worth.points(e), worth.scales(e)
    return [*([_table(found)] if found else []), *([_scale(grown)] if grown else [])]


def _scale(found: Sequence[Scale]) -> Table:
    """Throughput by the number of subtasks, and over that of the fewest."""
    languages = [x for x in LANGUAGES if any(x in s.called_per_s for s in found)]
    fewest = {s.work: s for s in reversed(found)}

    def grown(now: float | None, least: float | None) -> str:
        if now is None:
            return ABSENT
        return number(now) + (f" ({now / least:.2f}×)" if least else "")

    rows = [
        [
            s.work,
            str(s.subtasks),
            grown(s.here_per_s, fewest[s.work].here_per_s),
            *(grown(s.called_per_s.get(x), fewest[s.work].called_per_s.get(x)) for x in languages),
            ABSENT if s.cpus is None else f"{number(s.used)} of {number(s.cpus)}",
        ]
        for s in found
    ]
    data = pd.DataFrame(
        {
            "work": s.work,
            "subtasks": s.subtasks,
            "language": language,
            "per_s": s.here_per_s if language is None else s.called_per_s.get(language),
        }
        for s in found
        for language in (None, *languages)
    )
    return Table(
        "subtasks",
        "How throughput grows with subtasks",
        [
            "work",
            "subtasks",
            "all here, sentences/s",
            *(f"offloaded to {NAMES[x]}" for x in languages),
            "CPUs used, all here",
        ],
        rows,
        data,
        "The saturated job; each subtask in a worker with a quota of its own, source and sinks "
        "beside them. (…×): over the row of the fewest subtasks. Where more subtasks bring less "
        "than as many times more, and the workers leave some of their CPUs, this machine's cores "
        "are full: source, sinks and the functions have to live on them, too.",
    )


def _table(found: Sequence[Point]) -> Table:
    head = [
        "operator, words a sentence",
        "function",
        "sentences a call",
        "weight here, µs",
        "way through, µs",
        "called for, µs",
        "**break-even, µs**",
        "**relief, measured**",
        "relief if calls were no limit",
        "called for",
        "held back by",
    ]
    rows = [
        [
            f"{p.operator}, {p.words_per_sentence:,}",
            NAMES[p.language],
            f"{p.batch_size:,}",
            number(p.weight_us),
            number(p.through_us),
            span(p.called_us),
            span(p.break_even_us),
            f"{number(p.relief)}×",
            ABSENT if p.relief_by_cpu is None else f"{number(p.relief_by_cpu)}×",
            percent(float(p.called["share_called"])),
            p.held_back_by,
        ]
        for p in found
    ]
    data = pd.DataFrame(
        {
            "operator": p.operator,
            "words_per_sentence": p.words_per_sentence,
            "language": p.language,
            "batch_size": p.batch_size,
            "bytes": p.bytes,
            "weight_us": p.weight_us,
            "through_us": p.through_us,
            "called_us": p.called_us.value if p.called_us else None,
            "break_even_us": p.break_even_us.value if p.break_even_us else None,
            "break_even_least_us": p.break_even_us.least if p.break_even_us else None,
            "break_even_most_us": p.break_even_us.most if p.break_even_us else None,
            "relief": p.relief,
            "relief_by_cpu": p.relief_by_cpu,
            "share_called": p.called["share_called"],
        }
        for p in found
    )
    return Table(
        "worth",
        "From which weight on is offloading worth it?",
        head,
        rows,
        data,
        f"{answer(found)}\n\n{_MEANS}. […] is the lowest and highest of its windows. Relief is "
        "throughput with all that helps offloaded ÷ without; held back by calls: so many in "
        "flight, or this machine's cores that the functions share, are the limit, not the worker. "
        f"{said(found)}.",
    )


def said(found: Sequence[Point]) -> str:
    """Under which conditions all was measured."""
    one = found[0]
    quota = one.here["worker_cpu"]
    limits = sorted({f"{p.called['max_in_flight']:.0f}" for p in found})
    limit = f"worker held to {number(quota)} CPUs" if quota else "local worker not limited"
    unsteady = sum(not (p.here["steady"] and p.called["steady"]) for p in found)
    shaky = f"; {unsteady} of {len(found)} not steady when the time was up" if unsteady else ""
    calls = f"{', '.join(limits)} calls in flight at most, every tenth asked for its log"
    return f"The saturated job, {limit}; {calls}{shaky}"


def answer(found: Sequence[Point]) -> str:
    """A sentence a language: from which weight on, by batch size; and what of our own is worth
    it."""
    sentences = []
    for language in LANGUAGES:
        mine = [p for p in found if p.language == language and p.break_even_us]
        if not mine:
            continue
        by_size = []
        for size in sorted({p.batch_size for p in mine}):
            of_size = [p.break_even_us for p in mine if p.batch_size == size and p.break_even_us]
            low, high = min(x.value for x in of_size), max(x.value for x in of_size)
            ends = number(low) if number(low) == number(high) else f"{number(low)}–{number(high)}"
            by_size.append(f"{ends} µs in calls of {size:,}")
        yes = _works([p for p in mine if _pays(p) is True])
        no = _works([p for p in mine if _pays(p) is False])
        open_ = _works([p for p in mine if _pays(p) is None])
        parts = [
            f"{verdict}: {', '.join(works)}"
            for verdict, works in (("worth it", yes), ("not", no), ("not known", open_))
            if works
        ]
        sentences.append(
            f"With a function in {NAMES[language]}, offloading relieves the worker from a weight "
            f"of {', '.join(by_size)} a sentence on. Of what was measured {'; '.join(parts)}."
        )
    return " ".join(sentences) or "Too little was called for to say what a call costs."


def _pays(p: Point) -> bool | None:
    """Whether the work weighs more than a call for it, by all windows; None if they differ."""
    cost = p.break_even_us
    if cost is None or cost.least is None or cost.most is None:
        return None
    if p.weight_us > cost.most:
        return True
    return False if p.weight_us < cost.least else None


def _works(found: Sequence[Point]) -> list[str]:
    """Works in words, each with its batch sizes."""
    sizes: dict[str, list[str]] = {}
    for p in found:
        name = f"{p.operator} of {p.words_per_sentence:,} words"
        sizes.setdefault(name, []).append(f"{p.batch_size:,}")
    return [f"{name} (calls of {', '.join(of)})" for name, of in sizes.items()]


def own(e: Evidence, one: Own) -> Table | None:
    """What offloading would do for somebody's operator; None if nothing was measured of its
    language."""
    found = worth.points(e)
    lines = worth.expected(found, one)
    if not lines:
        return None
    quota = float(found[0].here["worker_cpu"] or 1.0)
    more = max(0.0, quota * (one.factor / _UTILISATION - 1))
    rows = [_row(x) for x in lines]
    memory = f" of {lines[0].memory_mb:,.0f} MB" if lines[0].memory_mb else ""
    data = pd.DataFrame(
        {
            "batch_size": x.batch_size,
            "break_even_us": x.break_even_us.value,
            "relief": x.relief,
            "share": x.share,
            "in_flight": x.in_flight,
            "p99_ms": x.p99_ms,
            "usd_per_hour": _usd_per_hour(x),
        }
        for x in lines
    )
    beyond = sorted({said for x in lines for said in x.beyond})
    extrapolates = (
        f" **Beyond what was measured**: {'; '.join(beyond)}." if beyond else
        " All within what was measured."
    )  # fmt: skip
    return Table(
        "worth-own",
        f"An operator of {number(one.us)} µs and {number(one.bytes)} bytes a record, offloaded to "
        f"{NAMES[one.language]}",
        [
            "records a call",
            "break-even, µs",
            "**relief**",
            "to be called for",
            "calls in flight, environments",
            "call, warm",
            "p99 to expect, warm",
            "$ an hour of surge",
        ],
        rows,
        data,
        f"{_verdict(lines, one)}{extrapolates}\n\n"
        f"A surge to {number(one.factor)} times what a worker with {number(quota)} CPUs can do. "
        "Relief: throughput of the worker with everything called for ÷ with nothing. Break-even by "
        "the lines through the points measured with that many sentences a call, over bytes. The "
        f"function{memory} is taken to need as long for a record as the worker does; a call takes "
        "on top "
        "what calls took on top here, on a saturated machine, and its network is not AWS's. p99: a "
        "batch filling up, the work, and the slowest hundredth of those calls; the first seconds "
        "of a surge, with cold starts, come on top. "
        f"Beside that, scaling out: {number(more)} KPUs more, {usd(kpus_usd_per_hour(more))} for "
        "each hour that they are there, and the job's restart at the begin and end of it.",
    )


# As scaling out is planned in the surges.
_UTILISATION = 0.8


def _row(x: Expected) -> list[str]:
    return [
        f"{x.batch_size:,}",
        span(x.break_even_us),
        f"{number(x.relief)}×",
        percent(x.share) if x.share is not None else "not enough",
        ABSENT if x.in_flight is None else f"{max(1, -(-x.in_flight // 1)):,.0f}",
        time(x.call_ms),
        time(x.p99_ms) if x.share is not None else ABSENT,
        usd(_usd_per_hour(x)),
    ]


def _usd_per_hour(x: Expected) -> float | None:
    if x.calls_per_s is None or x.billed_ms is None or x.memory_mb is None:
        return None
    calls = x.calls_per_s * 3600
    return Usage.of(calls, calls * x.billed_ms, x.memory_mb).usd()


def _verdict(lines: Sequence[Expected], one: Own) -> str:
    best = max(lines, key=lambda x: x.relief)
    cost = best.break_even_us
    if one.us <= cost.value:
        return (
            f"**Not worth it**: a call costs the worker {number(cost.value)} µs a record at best "
            f"(in calls of {best.batch_size:,}), the work {number(one.us)} µs."
        )
    enough = [x for x in lines if x.share is not None]
    if not enough:
        return (
            f"**It helps, but not enough**: at best {number(best.relief)}× (in calls of "
            f"{best.batch_size:,}), for a surge to {number(one.factor)} times the worker."
        )
    first = min(enough, key=lambda x: x.batch_size)
    sure = cost.most is None or one.us > cost.most
    larger = (
        ""
        if best is first
        else f"; the most relief have calls of {best.batch_size:,} ({number(best.relief)}×)"
    )
    return (
        f"**{'Worth it' if sure else 'Probably worth it'}**: calls of {first.batch_size:,} records "
        f"are enough for the surge ({number(first.relief)}×){larger}."
    )
