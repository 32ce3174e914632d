"""What one parameter does, a plot a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.report.draw.style import Plot, colour, draw, label_ends, plain_log
from bench.report.gather.evidence import Evidence
from bench.report.say.sweep import NAMES, Point, said, sweeps
from bench.report.say.table import time


def plots(e: Evidence) -> list[Plot]:
    """One plot a parameter, if it has several values."""
    return [_plot(name, points) for name, points in sweeps(e).items() if len(points) > 1]


def _plot(name: str, points: Sequence[Point]) -> Plot:
    def line(arm: str, measure: str) -> list[tuple[int, float]]:
        values = [(p.value, a.value(measure)) for p in points if (a := getattr(p, arm))]
        return [(x, y) for x, y in values if y is not None]

    lines = [
        ("no offload, p99", line("none", "p99_ms"), colour("none"), "-"),
        ("offload, p99", line("offload", "p99_ms"), colour(_language(points)), "-"),
        ("offload, p50", line("offload", "p50_ms"), colour(_language(points)), (0, (1, 1.4))),
    ]
    p99 = dict(lines[1][1])
    title = f"Sweep: {NAMES[name]}"
    if len(p99) > 1:
        best, worst = min(p99, key=lambda x: p99[x]), max(p99, key=lambda x: p99[x])
        title = (
            f"{name} {best:,} keeps the surge's p99 at {time(p99[best])}, "
            f"{worst:,} at {time(p99[worst])}"
        )

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        for _, values, c, style in lines:
            if values:
                ax.plot(*zip(*values, strict=True), color=c, ls=style, marker="o", ms=4)
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.yaxis, " ms", seconds=True)
        ticks = [p.value for p in points]
        ax.set_xticks(ticks, [f"{x:,}" for x in ticks])
        ax.minorticks_off()
        ax.set_xlim(ticks[0] * 0.85, ticks[-1] * (ticks[-1] / ticks[0]) ** 0.6)
        ax.set_xlabel(NAMES[name])
        ax.set_ylabel("latency in the surge")
        label_ends(ax, [(*values[-1], label, c) for label, values, c, _ in lines if values])

    return draw(f"sweep-{name}", title, said(points), paint)


def _language(points: Sequence[Point]) -> str | None:
    return next((p.offload.language for p in points if p.offload), None)
