"""How plots look: one colour a language everywhere, sizes that a phone can show, light and dark.

A figure is drawn once, in the colours of the light theme. On its own (SVG, PNG) it keeps them; in
the HTML page every colour becomes a CSS variable, and the page's theme decides.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib import ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG

WIDTH_IN, HEIGHT_IN = 4.5, 3.3
SMALL = 9.2
"""The smallest text, in points: at 320 pixels of width a point is a pixel."""

# name: (light, dark). Languages after Okabe & Ito (2008), told apart by colour-blind readers.
COLOURS = {
    "surface": ("#ffffff", "#171a21"),
    "ink": ("#1b1f27", "#e8eaf0"),
    "muted": ("#646b78", "#9aa3b2"),
    "line": ("#dfe2e8", "#333946"),
    "window": ("#f3f1ea", "#23262e"),
    "python": ("#0072b2", "#4fb0e8"),
    "java": ("#d55e00", "#ff8f4a"),
    "node": ("#009e73", "#3ccf9f"),
    "none": ("#8a909c", "#8b93a3"),
    "scale": ("#cc79a7", "#e59cc5"),
    "bigger": ("#8c6d1f", "#d6b656"),
    "filling": ("#d3d8e0", "#474e5c"),
    "queueing": ("#a9b4c6", "#6d788c"),
    "call_wait": ("#8794ab", "#8f9cb3"),
    "waiting": ("#b9bfca", "#5b6373"),
    "network": ("#c48a5a", "#d9a679"),
    "placement": ("#a65d7e", "#c98aa6"),
    "shipping": ("#7d6bb3", "#9d8cd6"),
    "bring_up": ("#e2b43b", "#e8c25c"),
    "computing": ("#3f4757", "#dde2ec"),
    "sending": ("#86b9b4", "#6fa8a3"),
    "remainder": ("#c9a0a0", "#8f6a6a"),
}


_PNG_DPI = 160


def colour(name: str | None) -> str:
    """The light colour of a name in COLOURS; that of "none" for others."""
    return COLOURS.get(name or "none", COLOURS["none"])[0]


_RC: dict[str, Any] = {
    "figure.figsize": (WIDTH_IN, HEIGHT_IN),
    "figure.facecolor": colour("surface"),
    "axes.facecolor": "none",
    "savefig.facecolor": colour("surface"),
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.8,
    "text.color": colour("ink"),
    "axes.labelcolor": colour("muted"),
    "axes.edgecolor": colour("line"),
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": SMALL,
    "grid.color": colour("line"),
    "grid.linewidth": 0.6,
    "xtick.color": colour("line"),
    "ytick.color": colour("line"),
    "xtick.labelcolor": colour("muted"),
    "ytick.labelcolor": colour("muted"),
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Plot:
    """A figure ready to be written: its finding as title, a caption with n, and its drawing."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes

    def inline(self) -> str:
        """The SVG element for an HTML page: colours as CSS variables, sized by the page."""
        text = self.svg[self.svg.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'<g id="[^"]*">', "<g>", text)
        for name, (light, _) in COLOURS.items():
            text = text.replace(light, f"var(--{name})")
        text = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", text, count=1)
        text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
        label = self.title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
        return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)

    def write(self, folder: Path) -> None:
        """`<name>.svg` and `<name>.png` in `folder`."""
        (folder / f"{self.name}.svg").write_text(self.svg, encoding="utf-8")
        (folder / f"{self.name}.png").write_bytes(self.png)


def draw(
    name: str,
    title: str,
    caption: str,
    paint: Callable[[Any], None],
    height_in: float = HEIGHT_IN,
) -> Plot:
    """Have `paint` fill a new figure. The same figure gives the same bytes."""
    with mpl.rc_context({**_RC, "svg.hashsalt": name}):
        figure = plt.figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        try:
            paint(figure)
            _settle(figure)
            svg, png = io.StringIO(), io.BytesIO()
            # not savefig, which draws everything once more to find out where it is
            FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
            figure.set_dpi(_PNG_DPI)
            FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
        finally:
            plt.close(figure)
    return Plot(name, title, caption, svg.getvalue(), png.getvalue())


def plain_log(axis: Any, unit: str = "", seconds: bool = False) -> None:
    """A logarithmic axis with numbers people write: 0.1, 1, 10, 1,000; ms from 1,000 on as s.

    To be called when the data are drawn.
    """

    def text(x: float, _: int) -> str:
        if seconds and x >= 1000:
            return f"{x / 1000:,g} s"
        return f"{x:,g}{unit}"

    low, high = axis.get_view_interval()
    subs = (1.0,) if high > 100 * low else (1.0, 2.0, 5.0)  # few decades: more than their ends
    axis.set_major_locator(ticker.LogLocator(base=10, subs=subs, numticks=12))
    axis.set_major_formatter(ticker.FuncFormatter(text))
    axis.set_minor_locator(ticker.NullLocator())


def label_ends(
    ax: Any, ends: Sequence[tuple[float, float, str, str]], gap_pt: float = 10.5, dx_pt: float = 5
) -> None:
    """Write (x, y, text, colour) beside the ends of lines, moved apart so that none overlap.

    To be called last: it needs to know where everything is, so nothing moves after it.
    """
    _settle(ax.figure)
    to_points = 72 / ax.figure.dpi
    placed = sorted(
        ([ax.transData.transform((x, y))[1] * to_points, x, y, text, c] for x, y, text, c in ends),
        key=lambda item: item[0],
    )
    moved = _apart([item[0] for item in placed], gap_pt)
    for (at, x, y, text, c), new in zip(placed, moved, strict=True):
        ax.annotate(
            text,
            (x, y),
            (dx_pt, new - at),
            textcoords="offset points",
            va="center",
            color=c,
            fontsize=SMALL,
            fontweight="bold",
            annotation_clip=False,
        )


def _settle(figure: Any) -> None:
    """Lay the figure out once for all; what is drawn later stays where it is put."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Ascending positions, at least `gap` apart, as near to those wanted as moving pairs gets."""
    at = list(wanted)
    for _ in range(200):
        clashes = [i for i in range(len(at) - 1) if at[i + 1] - at[i] < gap - 1e-6]
        for i in clashes:
            push = (gap - (at[i + 1] - at[i])) / 2
            at[i] -= push
            at[i + 1] += push
        if not clashes:
            break
    return at
