"""Who spent the CPU of a sentence, stacked, an arm a bar."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.report.draw.style import SMALL, Plot, colour, draw
from bench.report.gather.surges import Setting

# role in the records: colour
_ROLES = {
    "worker": "python",
    "source and sink": "sending",
    "jobmanager": "waiting",
    "functions": "java",
    "service": "bring_up",
    "harness": "shipping",
}


def plot(setting: Setting) -> Plot | None:
    """Microseconds of CPU for each sentence delivered, by role; None if nobody counted."""
    counted = {
        a.label: pd.concat(frames)
        for a in setting.arms
        if (frames := [s.cpu for s in a.surges if len(s.cpu)])
    }
    if not counted:
        return None
    means = {label: _by_role(frame) for label, frame in counted.items()}
    roles = [r for r in _ROLES if any(r in m for m in means.values())]
    worker = {label: m["worker"] for label, m in means.items() if "worker" in m}
    title = "CPU a sentence, by who spent it"
    if len(worker) > 1:
        low, high = min(worker.values()), max(worker.values())
        title = f"A sentence costs the worker {low:,.0f} to {high:,.0f} µs of CPU"

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        widest = max(sum(m.values()) for m in means.values())
        for i, m in enumerate(means.values()):
            left = 0.0
            for role in roles:
                width = m.get(role, 0.0)
                ax.barh(-i, width, left=left, color=colour(_ROLES[role]), height=0.62, linewidth=0)
                left += width
            ax.text(
                left + widest * 0.015, -i, f"{left:,.0f} µs", va="center", fontsize=SMALL,
                color=colour("ink"),
            )  # fmt: skip
        ax.set_yticks([-i for i in range(len(means))])
        ax.set_yticklabels(list(means), color=colour("ink"))
        ax.set_xlim(0, widest * 1.2)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("µs of CPU a sentence")
        figure.legend(
            handles=[ax.barh(0, 0, color=colour(_ROLES[r]), label=r) for r in roles],
            loc="outside upper left", ncols=3, frameon=False, fontsize=SMALL, handlelength=0.9,
            handleheight=0.9, columnspacing=1.2,
        )  # fmt: skip

    n = {frame["surge"].nunique() for frame in counted.values()}
    span = f"{min(n)}" if len(n) == 1 else f"{min(n)} to {max(n)}"
    return draw(
        "cpu",
        title,
        f"Median of {span} surges a bar, from the surge's start to the job's end. "
        f"{setting.conditions.words}.",
        paint,
        1.6 + 0.36 * len(means),
    )


def _by_role(frame: pd.DataFrame) -> dict[str, float]:
    us = frame["cpu_s"] / frame["sentences"].clip(lower=1) * 1e6
    return {str(role): float(x) for role, x in us.groupby(frame["role"]).median().items()}
