"""Flink's metrics through an overload, as a plot."""

from __future__ import annotations

from typing import Any

from bench.report.draw.style import SMALL, Plot, colour, draw
from bench.report.gather.surges import Setting
from bench.report.say.metrics import Shown, baseline, is_rate, short, shown


def plot(setting: Setting) -> Plot | None:
    """Each metric through the overload, quickest first, with the moment it showed it."""
    base = baseline(setting)
    if base is None:
        return None
    found = [m for m in shown(base.surges[0]) if m.is_seen]
    if not found:
        return None
    plain = [m for m in found if not is_rate(m.metric)] or found
    quick, slow = plain[0], plain[-1]
    title = (
        f"“{quick.metric}” shows the overload after {_seconds(quick)}, "
        f"{short(slow.metric)} after {_seconds(slow)}"
    )

    def paint(figure: Any) -> None:
        panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
        begin, end = (x / 1000 for x in base.surges[0].window)
        for ax, m in zip(panels, found, strict=True):
            ax.axvspan(begin, end, color=colour("window"), zorder=0, linewidth=0)
            c = colour("scale" if m.is_gauge else "python")
            ax.plot(m.at_s, m.values, color=c, lw=1.3)
            at = begin + m.delay_ms / 1000
            ax.axvline(at, color=colour("ink"), lw=1.1)
            ax.set_yticks([])
            ax.grid(visible=False)
            ax.spines["left"].set_visible(False)
            ax.spines["bottom"].set_visible(ax is panels[-1])
            ax.set_title(
                f"{short(m.metric)}: {_seconds(m)}", loc="left", fontsize=SMALL, color=c, pad=2
            )
        panels[-1].set_xlim(0, max(m.at_s[-1] for m in found))
        panels[-1].set_xlabel("s since the job's start")

    return draw(
        "metrics",
        title,
        "Each metric on its own scale; line: the moment it shows the overload (shaded). Blue: "
        "differences of cumulative counters; pink: Flink's own gauges. Metrics that never show it, "
        f"or need a longer calm first, are left out; the first of {len(base.surges)} surges. "
        f"{setting.conditions.words}.",
        paint,
        0.7 + 0.42 * len(found),
    )


def _seconds(m: Shown) -> str:
    return f"{m.delay_ms / 1000:.1f} s"
