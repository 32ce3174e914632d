"""The one picture of the answer: p99 in the surge under each way, every surge a dot."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.report.draw.plots import arm_colour
from bench.report.draw.style import Plot, colour, draw, plain_log
from bench.report.gather.surges import Setting
from bench.report.say.table import time


def picture(setting: Setting) -> Plot | None:
    """p99 of the main setting's arms, the order not kept left out; None without any p99."""
    arms = [a for a in setting.arms if a.values("p99_ms") and not a.is_ordered]
    if not arms:
        return None
    values = {a.label: a.values("p99_ms") for a in arms}
    largest = max(max(v) for v in values.values())

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        for i, a in enumerate(arms):
            c, found = arm_colour(a), values[a.label]
            middle = float(np.median(found))
            ax.plot([min(found), max(found)], [-i, -i], color=c, lw=6, alpha=0.25, zorder=2)
            ax.scatter(found, [-i] * len(found), s=16, color=c, alpha=0.7, linewidths=0, zorder=3)
            ax.plot([middle, middle], [-i - 0.3, -i + 0.3], color=c, lw=2, zorder=4)
            ax.text(largest * 1.25, -i, time(middle), va="center", color=c, fontweight="bold")
        ax.set_xscale("log")
        ax.set_yticks([-i for i in range(len(arms))])
        ax.set_yticklabels([a.label for a in arms], color=colour("ink"))
        plain_log(ax.xaxis, " ms", seconds=True)
        ax.set_xlim(min(min(v) for v in values.values()) * 0.8, largest * 4)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("p99 of latency in the surge, from due time to sink")

    counts = sorted({len(v) for v in values.values()})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return draw(
        "answer",
        "Latency in the surge under each way of relief",
        f"Each dot is one surge ({n} a row), the line their median; logarithmic.",
        paint,
        1.0 + 0.34 * len(arms),
    )
