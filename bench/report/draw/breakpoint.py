"""A ladder of rates over time, as a plot."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.report.draw.style import SMALL, Plot, colour, draw, plain_log
from bench.report.gather.evidence import Evidence
from bench.report.say.breakpoint import OUT_POOL, QUEUE, Ladder, full, ladders, said, words


def plots(e: Evidence) -> list[Plot]:
    """The first full ladder over time."""
    found = ladders(e)
    return [over_time(full(found)[0])] if found else []


def over_time(ladder: Ladder) -> Plot:
    """Rates, latency, and the metrics that show the overload, one below the other."""
    samples = ladder.samples
    gauges = pd.DataFrame([g or {} for g in samples["gauges"]], index=samples.index)
    at_s = samples["at_ms"] / 1000
    length_s = float(ladder.record["length_s"])

    def share(ax: Any, vertex: str, what: str, flinks: str) -> None:
        ax.plot(at_s, samples[f"{vertex}_{what}"], color=colour("python"), lw=1.3)
        if (gauge := gauges.get(f"{vertex}.{flinks}")) is not None:
            ax.plot(at_s, gauge / 1000, color=colour("scale"), lw=1.3)
        ax.set_ylim(-0.04, 1.08)
        ax.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")

    def paint(figure: Any) -> None:
        panels = figure.subplots(5, 1, sharex=True, height_ratios=[1.5, 1.3, 1, 1, 1])
        begin, end = ladder.window
        for ax, title in zip(
            panels,
            (
                "sentences/s: offered (grey), through the tokenizer (blue)",
                "latency from due time to sink, by due time",
                "tokenizer busy",
                "source back-pressured",
                "tokenizer's input queue (blue), source's out-pool (pink)",
            ),
            strict=True,
        ):
            ax.axvspan(begin / 1000, end / 1000, color=colour("window"), zorder=0, linewidth=0)
            ax.set_title(title, loc="left", fontsize=SMALL, color=colour("muted"), pad=3)
        rates, latency, busy, pressed, queue = panels
        edges = [x for s in ladder.steps for x in (s.start_s, s.end_s)]
        rates.plot(
            edges, [s.offered_per_s for s in ladder.steps for _ in range(2)], color=colour("none")
        )
        rates.plot(at_s, samples["processed_per_s"], color=colour("python"), lw=1.3)
        rates.set_ylim(bottom=0)
        rates.yaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
        line = ladder.over_time
        latency.plot(line["at_ms"] / 1000, line["p50_ms"], color=colour("python"), lw=1.3)
        latency.set_yscale("log")
        plain_log(latency.yaxis, " ms", seconds=True)
        share(busy, "tokenizer", "busy", "busyTimeMsPerSecond")
        share(pressed, "source", "backpressured", "backPressuredTimeMsPerSecond")
        if (length := gauges.get(f"tokenizer.{QUEUE}")) is not None:
            queue.plot(at_s, length / max(1.0, length.max()), color=colour("python"), lw=1.3)
        if (pool := gauges.get(f"source.{OUT_POOL}")) is not None:
            queue.plot(at_s, pool, color=colour("scale"), lw=1.3)
        queue.set_ylim(-0.04, 1.08)
        queue.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        queue.set_xlabel("s since the job's start")
        panels[-1].set_xlim(0, max(length_s, float(at_s.max()) if len(at_s) else 0.0))

    return draw(
        "breakpoint",
        words([ladder]),
        "The rate doubles and halves again; shaded: the step that the job cannot keep up with. "
        "Blue: differences of cumulative counters, polled; pink: Flink's own gauge. Buffers in "
        f"percent of the fullest seen (queue) and of the pool. {said(ladder.conditions)}.",
        paint,
        6.4,
    )
