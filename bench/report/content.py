"""What a report says, in order: parts of words, tables and plots. How it looks is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench.report.draw import breakpoint as breakpoint_plots
from bench.report.draw import cpu as cpu_plots
from bench.report.draw import metrics as metrics_plots
from bench.report.draw import plots
from bench.report.draw import sweep as sweep_plots
from bench.report.draw import worth as worth_plots
from bench.report.draw.style import Plot
from bench.report.gather import surges
from bench.report.gather.evidence import Evidence
from bench.report.say import (
    answer,
    breakpoint,
    compare,
    faults,
    languages,
    metrics,
    money,
    peers,
    relief,
    soak,
    sweep,
    worth,
)
from bench.report.say.table import Table

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A heading with Markdown paragraphs, plots and tables under it."""

    title: str
    text: Sequence[str] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Content:
    """The report on runs that may be compared."""

    title: str
    answer: Sequence[str]
    parts: Sequence[Part] = field(default_factory=tuple)


def content(e: Evidence) -> Content:
    """Everything the records of `e` can say; a part without records is left out, and the answer
    names it as missing."""
    settings = surges.settings(surges.surges(e))
    parts = [
        Part(
            "Cold start",
            [
                "How long until a new execution environment gives its first answer. Init alone "
                "misleads, since what a runtime puts off at init its first call pays for."
            ],
            _there(plots.cold(e)),
            _there(languages.cold(e), languages.cold_by_text(e), languages.cold_by_memory(e)),
        ),
        Part(
            "Compute per batch",
            ["What the work itself takes in an environment that is warm, by batch size."],
            _there(plots.compute(e), plots.warm_up(e)),
            _there(
                languages.compute(e),
                languages.duration(e),
                languages.wall(e),
                languages.throughput(e),
                languages.warming(e),
            ),
        ),
    ]
    for setting in settings[:1]:
        parts.append(
            Part(
                "Total latency in the surge",
                [
                    "From the moment a sentence was due to the moment its tokens reached the sink. "
                    "A sentence is late from when it was due, not from when a blocked source got "
                    "round to it."
                ],
                _there(plots.timeline(setting), plots.parts(setting), plots.methods(setting)),
                _there(
                    relief.surge(setting), relief.methods(setting), relief.rescaling(e, setting)
                ),
            )
        )
    for setting in settings[:1]:
        parts.append(
            Part(
                "Seeing the overload",
                ["Which of Flink's metrics tells that the tokenizer cannot keep up, and when."],
                _there(metrics_plots.plot(setting)),
                _there(metrics.table(setting)),
            )
        )
    parts.append(
        Part("Breaking point", plots=breakpoint_plots.plots(e), tables=breakpoint.tables(e))
    )
    parts.append(
        Part("Worth offloading", plots=worth_plots.plots(e), tables=worth.tables(e)),
    )
    parts.append(Part("When something breaks", tables=faults.tables(e)))
    parts.append(Part("For long", tables=soak.tables(e)))
    parts.append(Part("Sweeps", plots=sweep_plots.plots(e), tables=sweep.tables(e)))
    others = [relief.surge(s, f"surge-{i}") for i, s in enumerate(settings[1:], 2)]
    bursts = surges.bursts(settings)
    parts += [
        Part(
            "Burst length",
            plots=[plots.bursts(group) for group in bursts[:1]],
            tables=[relief.bursts(group) for group in bursts[:1]],
        ),
        Part(
            "Cost",
            plots=_there(plots.cost(e)),
            tables=_there(
                money.per_million(e), money.by_memory(e), *map(money.per_surge, settings[:1])
            ),
        ),
        Part(
            "Who spends the CPU",
            plots=_there(*map(cpu_plots.plot, settings[:1])),
            tables=_there(relief.capacity(e), *map(relief.cpu, settings[:1])),
        ),
        Part("Peers", tables=_there(peers.table(e))),
        Part("Other surges", tables=others),
        Part(
            "How far to trust this",
            [f"- {line}" for line in compare.header(e)],
            tables=_there(languages.aa(e), languages.failures(e)),
        ),
    ]
    return Content(
        e.where,
        answer.answer(e, settings),
        [p for p in parts if p.plots or p.tables or p.title.startswith("How far")],
    )


def _there(*things: T | None) -> list[T]:
    return [x for x in things if x is not None]
