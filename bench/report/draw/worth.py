"""Relief against weight, a line a batch size, break-even marked: a plot a language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.report.draw.style import Plot, colour, draw, label_ends, plain_log
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.worth import Point, points
from bench.report.say.table import number
from bench.report.say.worth import said

_STYLES = ("-", (0, (5, 1.5)), (0, (1, 1.4)), (0, (5, 1.5, 1, 1.5)))


def plots(e: Evidence) -> list[Plot]:
    """One plot a language with works of several weights."""
    found = points(e)
    of_each = ([p for p in found if p.language == language] for language in LANGUAGES)
    return [_plot(mine) for mine in of_each if len({p.weight_us for p in mine}) > 1]


def _plot(found: Sequence[Point]) -> Plot:
    language = found[0].language
    sizes = sorted({p.batch_size for p in found})
    costs = [p.break_even_us.value for p in found if p.break_even_us]
    title = f"Relief by offloading to {NAMES[language]}, by the weight of a sentence"
    if costs:
        title = (
            f"{NAMES[language]}: a call costs the worker {number(min(costs))} to "
            f"{number(max(costs))} µs a sentence; heavier work is worth it"
        )

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        ends = []
        for size, style in zip(sizes, _STYLES * len(sizes), strict=False):
            line = sorted((p for p in found if p.batch_size == size), key=lambda p: p.weight_us)
            xs, ys = [p.weight_us for p in line], [p.relief for p in line]
            ax.plot(xs, ys, color=colour(language), ls=style, marker="o", ms=4)
            ends.append((xs[-1], ys[-1], f"{size:,} a call", colour(language)))
            even = [p.break_even_us.value for p in line if p.break_even_us]
            ax.plot(even, [1.0] * len(even), ls="", marker="|", ms=11, color=colour(language))
        ax.axhline(1.0, color=colour("none"), lw=1)
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.xaxis, " µs")
        plain_log(ax.yaxis, "×")
        low, high = ax.get_xlim()
        ax.set_xlim(low, high * (high / low) ** 0.3)
        ax.set_xlabel("CPU of a sentence's work here")
        ax.set_ylabel("throughput, offloaded ÷ not")
        label_ends(ax, ends)

    return draw(
        f"worth-{language}",
        title,
        f"Dots: measured. Ticks on the line at 1×: break-even weights, one a work. {said(found)}.",
        paint,
    )
