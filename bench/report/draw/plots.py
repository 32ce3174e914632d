"""The plots: pure functions of records. A title says the finding, a caption gives n."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from bench.report.draw.style import HEIGHT_IN, SMALL, Plot, colour, draw, label_ends, plain_log
from bench.report.gather import calls, latency, surges
from bench.report.gather.calls import (
    by_environment,
    cold_samples,
    main_cold,
    main_held,
    main_memory,
    steady,
)
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.latency import PARTS
from bench.report.gather.surges import Arm, Setting
from bench.report.say import languages, money
from bench.report.say.table import time
from bench.stats import Floats

MAX_POINTS = 400
"""Raw points drawn of one set of samples; what a phone can show and a file should hold."""


def thinned(values: Floats, n: int = MAX_POINTS) -> Floats:
    """At most `n` of the values, evenly picked in their order."""
    if len(values) <= n:
        return values
    picked: Floats = values[np.linspace(0, len(values) - 1, n).astype(int)]
    return picked


def cold(e: Evidence) -> Plot | None:
    """Init + first call of every cold start, our handler above the empty one."""
    samples, main = cold_samples(e), main_cold(e)
    memory, held = main_memory(main), main_held(main)
    samples = samples[(samples["memory_mb"] == memory) & samples["sum_ms"].notna()]
    samples = samples[(samples["handler"] == "empty") | (samples["held"] == held)]
    sets = {
        (str(group["language"].iloc[0]), str(group["handler"].iloc[0])): group["sum_ms"].to_numpy()
        for _, group in samples.groupby(["language", "handler"])
    }
    ours = {x: sets[x, "tokenizer"] for x in LANGUAGES if (x, "tokenizer") in sets}
    if not ours:
        return None
    order = sorted(ours, key=lambda x: float(np.median(ours[x])))
    each = ", ".join(f"{NAMES[x]} {time(float(np.median(ours[x])))}" for x in order)
    ranking = languages.cold_ranking(e)
    title = f"Cold to first answer: {each}"
    if ranking and ranking.is_named:
        title = f"{NAMES[ranking.first]} is up first: cold to first answer {each}"

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        rows = [(x, h) for x in order for h in ("tokenizer", "empty") if (x, h) in sets]
        height: dict[tuple[str, str], float] = {}
        at = 0.0
        for i, (x, h) in enumerate(rows):
            if i and rows[i - 1][0] != x:
                at += 0.5
            height[x, h] = -at
            at += 1.0
        for (x, h), y in height.items():
            c = colour(x if h == "tokenizer" else "none")
            _strip_and_box(ax, sets[x, h], y, c)
        largest = max(float(values.max()) for values in sets.values())
        for (x, h), y in height.items():
            ax.text(
                largest * 1.04,
                y,
                time(float(np.median(sets[x, h]))),
                va="center",
                color=colour(x if h == "tokenizer" else "muted"),
                fontweight="bold" if h == "tokenizer" else "normal",
            )
        ax.set_yticks(list(height.values()))
        ax.set_yticklabels([NAMES[x] if h == "tokenizer" else "empty handler" for x, h in height])
        for label, (x, h) in zip(ax.get_yticklabels(), height, strict=True):
            if h == "tokenizer":
                label.set_color(colour(x))
                label.set_fontweight("bold")
        ax.set_xlim(0, largest * 1.22)
        ax.grid(axis="y", visible=False)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("init + first call, ms")

    n = languages.span(len(v) for v in ours.values())
    caption = (
        f"Each dot is one new execution environment; box: middle half, line: median. "
        f"n = {n} a language at {memory} MB; the first call holds {held}."
    )
    return draw("cold", title, caption, paint, 1.3 + 0.36 * len(sets))


def _strip_and_box(ax: Any, values: Floats, y: float, c: str) -> None:
    shown = thinned(values)
    # spread by rank, not at random: the same samples always look the same
    jitter = ((np.arange(len(shown)) * 0.618034) % 1 - 0.5) * 0.5
    ax.scatter(shown, y + jitter, s=9, color=c, alpha=0.45, linewidths=0, zorder=3)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    ax.barh(
        y, high - low, left=low, height=0.66, color=c, alpha=0.18, edgecolor="none", zorder=2
    )  # fmt: skip
    ax.plot([middle, middle], [y - 0.33, y + 0.33], color=c, lw=2.2, zorder=4)


def compute(e: Evidence) -> Plot | None:
    """In-function compute against batch size, both logarithmic, crossovers marked."""
    warm = calls.at_main_memory(steady(e))
    medians = {
        x: {
            int(group["sentences"].iloc[0]): float(np.median(by_environment(group, "compute_ms")))
            for _, group in warm[warm["language"] == x].groupby("sentences")
        }
        for x in LANGUAGES
        if x in set(warm["language"])
    }
    if not medians or max(map(len, medians.values())) < 2:
        return None
    named = {size: r.first for size, r in languages.rankings(e, "compute_ms").items() if r.is_named}
    crossing = crossovers(medians, named)
    firsts = [named.get(size) for size in sorted({s for line in medians.values() for s in line})]
    title = "Compute grows with the batch"
    if firsts[0] and len(set(firsts)) == 1:
        title = f"{NAMES[firsts[0]]} computes fastest at every batch size"
    elif firsts[0] and firsts[-1]:
        title = f"{NAMES[firsts[0]]} computes small batches fastest, {NAMES[firsts[-1]]} large ones"

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        for x, line in medians.items():
            ax.plot(*zip(*line.items(), strict=True), color=colour(x), marker="o", ms=4.5, zorder=3)
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.xaxis)
        plain_log(ax.yaxis)
        sizes = sorted({s for line in medians.values() for s in line})
        ax.set_xlim(min(sizes) * 0.8, max(sizes) * 5)
        ax.set_xticks(sizes)
        bottom = ax.get_ylim()[0]
        for i, (size, ms, overtaking, overtaken) in enumerate(crossing):
            ax.plot([size, size], [bottom, ms], color=colour("muted"), lw=0.9, ls=(0, (2, 2)))
            ax.plot(size, ms, "o", ms=9, mfc="none", mec=colour("ink"), mew=1.1, zorder=4)
            ax.annotate(
                f"{NAMES[overtaking]} overtakes\n{NAMES[overtaken]} at ≈ {_rounded(size)}",
                (size, bottom),
                (4, 4 + 24 * i),
                textcoords="offset points",
                fontsize=SMALL,
                color=colour("muted"),
            )
        ax.set_ylim(bottom=bottom)
        ax.set_xlabel("sentences in the batch")
        ax.set_ylabel("compute in the function, ms")
        label_ends(
            ax,
            [(max(line), line[max(line)], NAMES[x], colour(x)) for x, line in medians.items()],
        )

    n = languages.span(
        len(by_environment(group, "compute_ms"))
        for _, group in warm.groupby(["language", "sentences"])
    )
    caption = f"Median of warm calls, n = {n} environments a point. Both axes logarithmic."
    return draw("compute", title, caption, paint)


def crossovers(
    medians: Mapping[str, Mapping[int, float]], named: Mapping[int, str]
) -> list[tuple[float, float, str, str]]:
    """Where the line of the fastest language is crossed: (batch size, ms, who overtakes, whom).

    Between the sizes measured the lines are straight on logarithmic axes. Small sizes first. Only
    where a fastest language is `named` on both sides.
    """
    found = []
    for a, b in pairwise(sorted(named)):
        old, new = named[a], named[b]
        if old != new:
            gap_a = np.log(medians[new][a] / medians[old][a])
            gap_b = np.log(medians[new][b] / medians[old][b])
            share = gap_a / (gap_a - gap_b)
            ms = medians[old][a] * (medians[old][b] / medians[old][a]) ** share
            found.append((float(a * (b / a) ** share), float(ms), new, old))
    return found


def _rounded(x: float) -> str:
    """To two digits, since an interpolated size is no better than that."""
    digits = 1 - int(np.floor(np.log10(x)))
    return f"{round(x, digits):,.0f}"


def warm_up(e: Evidence) -> Plot | None:
    """Java's compute by number of the call in a new environment, Python's and Node's beside it."""
    found = {x: calls.warm_up(e, x) for x in LANGUAGES}
    if found["java"].empty:
        return None
    curves = {x: calls.warm_up_curve(f) for x, f in found.items() if len(f)}
    size = int(found["java"]["sentences"].iloc[0])
    first, last = (curves["java"]["compute_ms"].iloc[0], curves["java"]["median_ms"].iloc[-1])
    title = f"Java's first call takes {first / last:,.0f}× as long as its later ones"

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        for x, curve in curves.items():
            shown = curve.iloc[_log_spaced(len(curve))]
            ax.scatter(
                shown["call_number"], shown["compute_ms"], s=6, color=colour(x), alpha=0.3,
                linewidths=0,
            )  # fmt: skip
            ax.plot(shown["call_number"], shown["median_ms"], color=colour(x), zorder=3)
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.xaxis)
        plain_log(ax.yaxis)
        ends = max(int(c["call_number"].iloc[-1]) for c in curves.values())
        ax.set_xlim(0.9, ends * 3.2)
        ax.set_xlabel("call number in a new environment")
        ax.set_ylabel(f"compute for {size} sentences, ms")
        label_ends(
            ax,
            [
                (c["call_number"].iloc[-1], c["median_ms"].iloc[-1], NAMES[x], colour(x))
                for x, c in curves.items()
            ],
        )

    n = found["java"].groupby(["run", "environment"]).ngroups
    return draw(
        "warm-up",
        title,
        f"Dots: median of {n} new Java environment{'s' if n > 1 else ''} at that call; lines: "
        "running median of about 21 calls. Environments are called until steady, so later calls "
        "are of fewer environments.",
        paint,
    )


def _log_spaced(n: int) -> list[int]:
    """Positions below `n`, evenly spaced on a logarithmic axis."""
    return sorted({round(x) - 1 for x in np.geomspace(1, n, MAX_POINTS)})


def end_s(setting: Setting) -> float:
    """When the last sentence of any first repetition was due."""
    return max(float(a.surges[0].over_time["at_ms"].iloc[-1]) for a in setting.arms) / 1000


def timeline(setting: Setting) -> Plot | None:
    """Latency through the surge, by due time, and the share offloaded that was decided."""
    arms = [a for a in setting.typical if a.method in ("none", "operator")]
    if not any(a.method == "operator" for a in arms):
        return None
    base = setting.baseline
    offloading = [a for a in arms if a.method == "operator"]
    worst = max((v for a in offloading if (v := a.value("max_ms")) is not None), default=None)
    title = "Latency through the surge"
    if base is not None and worst is not None:
        title = (
            f"Without offload sentences wait up to {time(base.value('max_ms'))}, "
            f"with it at most {time(worst)}"
        )

    def paint(figure: Any) -> None:
        panels = figure.subplots(len(offloading), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for ax, a in zip(panels, offloading, strict=True):
            _shade(ax, setting)
            if base is not None:
                _latency_line(ax, base)
            _latency_line(ax, a, band=True)
            ax.set_yscale("log")
            plain_log(ax.yaxis, " ms", seconds=True)
        low, high = panels[0].get_ylim()
        for ax, a in zip(panels, offloading, strict=True):
            _decisions(ax, a, low * 0.55)
            ax.text(
                0.01, 0.96, a.label, transform=ax.transAxes, va="top", fontweight="bold",
                color=arm_colour(a),
            )  # fmt: skip
        panels[0].set_ylim(low * 0.4, high)
        panels[0].set_xlim(0, end_s(setting))
        figure.supylabel("latency from due time to sink", color=colour("muted"), fontsize=SMALL)
        panels[-1].set_xlabel("due time of the sentence, s since the job's start")
        if base is not None:
            line = base.surges[0].over_time
            top = line.iloc[int(line["p50_ms"].argmax())]
            late = top["at_ms"] / 1000 > 0.75 * end_s(setting)
            panels[0].annotate(
                "no offload", (top["at_ms"] / 1000, top["p50_ms"]), (4, -9), color=colour("muted"),
                textcoords="offset points", fontsize=SMALL, fontweight="bold", va="top",
                ha="right" if late else "left",
            )  # fmt: skip

    n = len(arms[0].surges)
    return draw(
        "timeline",
        title,
        f"Line: median of each {latency.BIN_MS:g} ms, band: up to its latest sentence"
        f"{f'; first of {n} repetitions' if n > 1 else ''}. Shaded: the surge. "
        "Bar: offloading as decided, darker with the share; ▾ marks the first decision that "
        "says “overloaded”. "
        f"{setting.conditions.words}.",
        paint,
        0.8 + 1.35 * len(offloading),
    )


def _latency_line(ax: Any, a: Arm, band: bool = False) -> None:
    line = a.surges[0].over_time
    seconds, c = line["at_ms"] / 1000, arm_colour(a)
    ax.plot(seconds, line["p50_ms"], color=c, ls=_arm_style(a), lw=1.5, zorder=3, label=a.label)
    if band:
        ax.fill_between(
            seconds, line["p50_ms"], line["max_ms"], color=c, alpha=0.2, linewidth=0, zorder=2
        )


def _decisions(ax: Any, a: Arm, y: float) -> None:
    """A bar at height `y` while a share is offloaded, and a mark where overload was first seen."""
    decisions = a.surges[0].decisions
    if decisions.empty:
        return
    at = decisions["at_ms"].to_numpy() / 1000
    until = np.append(at[1:], at[-1])
    share = decisions["share"].to_numpy()
    changed = np.flatnonzero(np.diff(share, prepend=-1.0))
    for i, j in zip(changed, [*changed[1:], len(share)], strict=True):
        if share[i] > 0:
            ax.plot(
                [at[i], until[j - 1]], [y, y], color=arm_colour(a), lw=5, zorder=3,
                alpha=0.25 + 0.75 * share[i], solid_capstyle="butt",
            )  # fmt: skip
    flagged = decisions[decisions["overloaded"].astype(bool)]
    if len(flagged):
        ax.plot(flagged["at_ms"].iloc[0] / 1000, y * 1.5, "v", ms=5, color=colour("ink"), zorder=4)


def _shade(ax: Any, setting: Setting) -> None:
    begin, end = setting.arms[0].surges[0].window
    ax.axvspan(begin / 1000, end / 1000, color=colour("window"), zorder=0, linewidth=0)


def arm_colour(a: Arm) -> str:
    if a.method.startswith("scale-out"):
        return colour("scale")
    return colour("bigger" if a.method == "bigger" else a.language)


def _arm_style(a: Arm) -> Any:
    if a.method == "always":
        return (0, (1, 1.4))
    if a.method == "source" or "new" in a.method:
        return (0, (4, 1.6))
    return "-"


def methods(setting: Setting) -> Plot | None:
    """Latency through the surge under every method, all in one; one language for all of them."""
    if {a.method for a in setting.arms} <= {"none", "operator"}:
        return None
    languages = Counter(a.language for a in setting.typical if a.language)
    language = max(languages, key=lambda x: languages[x], default=None)
    arms = [a for a in setting.typical if a.language in (None, language)]
    known = {a.label: v for a in arms if (v := a.value("p99_ms")) is not None}
    ends = sorted(known, key=lambda label: known[label])
    title = "Latency through the surge, by method"
    if len(ends) > 1:
        title = "p99 in the surge: " + ", ".join(
            f"{x} {time(known[x])}" for x in (ends[0], ends[-1])
        )
    n = len(arms[0].surges)
    return draw(
        "methods",
        title,
        f"Median of each {latency.BIN_MS:g} ms by due time"
        f"{f', first of {n} repetitions' if n > 1 else ''}. {setting.conditions.words}.",
        lambda figure: _paint_methods(figure, setting, arms),
        HEIGHT_IN * 1.3,
    )


def _paint_methods(figure: Any, setting: Setting, arms: Sequence[Arm]) -> None:
    ax = figure.subplots()
    _shade(ax, setting)
    for a in arms:
        _latency_line(ax, a)
    ax.set_yscale("log")
    plain_log(ax.yaxis, " ms", seconds=True)
    ax.set_xlim(0, end_s(setting))
    ax.set_ylabel("latency from due time to sink")
    ax.set_xlabel("due time of the sentence, s since the job's start")
    figure.legend(
        loc="outside upper left", ncols=2, frameon=False, fontsize=SMALL, handlelength=2.2,
        columnspacing=1.2,
    )  # fmt: skip


_PART_LABELS = {
    "filling": "filling",
    "queueing": "queueing",
    "call_wait": "no free call",
    "waiting": "waiting",
    "network": "network (emulated)",
    "placement": "placement (emulated)",
    "shipping": "shipping",
    "bring_up": "bring-up",
    "computing": "computing",
    "sending": "sending",
    "remainder": "not explained",
}


def parts(setting: Setting) -> Plot | None:
    """The mean parts of an offloaded batch's latency, stacked: all of them, and the slowest."""
    offloaded = {a.label: _offloaded(a) for a in setting.typical if a.language}
    arms = [a for a in setting.typical if len(offloaded.get(a.label, ()))]
    if not arms:
        return None
    means = {a.label: _part_means(offloaded[a.label]) for a in arms}
    slowest = {a.label: _part_means(offloaded[a.label], slowest=0.05) for a in arms}
    pooled = pd.DataFrame([m for m, _ in means.values()]).mean()
    largest = max(PARTS, key=lambda p: pooled[p])
    title = (
        f"The largest part of an offloaded batch's time is {_PART_LABELS[largest]}: "
        f"{pooled[largest] / pooled.sum():.0%}"
    )

    def paint(figure: Any) -> None:
        axes = figure.subplots(2, 1)
        for ax, what, which in zip(
            axes,
            ("all offloaded batches", "the slowest 5 % of them"),
            (means, slowest),
            strict=True,
        ):
            widest = max(m.clip(lower=0).sum() for m, _ in which.values())
            for i, a in enumerate(arms):
                left = 0.0
                values, _ = which[a.label]
                for part in _PART_LABELS:
                    width = max(float(values[part]), 0.0)
                    ax.barh(-i, width, left=left, color=colour(part), height=0.62, linewidth=0)
                    left += width
                ax.text(
                    left + widest * 0.015, -i, time(left), va="center", fontsize=SMALL,
                    color=colour("ink"),
                )  # fmt: skip
            ax.set_yticks([-i for i in range(len(arms))])
            ax.set_yticklabels([a.label for a in arms], color=colour("ink"))
            ax.set_xlim(0, widest * 1.18)
            ax.set_title(what, loc="left", fontsize=SMALL, color=colour("muted"))
            ax.grid(axis="y", visible=False)
            ax.spines["left"].set_visible(False)
        axes[1].set_xlabel("ms from due time to sink, mean")
        shown = [p for p in _PART_LABELS if max(m[p] for m, _ in slowest.values()) > 0]
        figure.legend(
            handles=[axes[0].barh(0, 0, color=colour(p), label=_PART_LABELS[p]) for p in shown],
            loc="outside upper left",
            ncols=3,
            frameon=False,
            fontsize=SMALL,
            handlelength=0.9,
            handleheight=0.9,
            columnspacing=1.2,
        )

    n = languages.span(count for _, count in means.values())
    return draw(
        "parts",
        title,
        f"n = {n} offloaded batches a row, due during the surge. {setting.conditions.words}.",
        paint,
        2.0 + 0.5 * len(arms),
    )


def _offloaded(a: Arm) -> pd.DataFrame:
    """Parts and `total_ms` of the offloaded batches due in the surge, of all repetitions."""
    chosen = []
    for s in a.surges:
        inside = latency.batches_within(s.batches, s.window)
        inside = inside[inside["way"] == "offloaded"]
        total_ms = inside["sink_ms"] - inside["due_first_ms"]
        chosen.append(latency.parts_of(inside).assign(total_ms=total_ms))
    return pd.concat(chosen)


def _part_means(found: pd.DataFrame, slowest: float = 1.0) -> tuple[pd.Series[float], int]:
    if slowest < 1:
        found = found[found["total_ms"] >= found["total_ms"].quantile(1 - slowest)]
    means = pd.Series({p: float(found[p].mean()) for p in PARTS})
    means["remainder"] = float(found["total_ms"].mean()) - means.sum()
    return means, len(found)


def cost(e: Evidence) -> Plot | None:
    """Cost against speed: by memory size if several were measured, else by batch size."""
    found = money.points(e)
    if found.empty:
        return None
    if found["memory_mb"].nunique() > 1:
        size = money.sweep_size(found)
        found = found[found["sentences"] == size].sort_values("memory_mb")
        vary, unit = "memory_mb", " MB"
        x, y = found["duration_ms"], found["usd_x86_64"]
        x_label = f"Duration of a batch of {size}, ms"
        best = found.iloc[int(y.argmin())]
        quick = found.iloc[int(x.argmin())]
        title = (
            f"Cheapest: {NAMES[best['language']]} at {best['memory_mb']} MB; "
            f"fastest: {NAMES[quick['language']]} at {quick['memory_mb']} MB"
        )
    else:
        found = found.sort_values("sentences").assign(
            per_sentence=lambda f: f["duration_ms"] / f["sentences"] * 1000
        )
        vary, unit = "sentences", ""
        x, y = found["per_sentence"], found["usd_x86_64"]
        x_label = "Duration per sentence, µs"
        title = "Larger batches are both faster and cheaper, whatever the language"

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        for language in LANGUAGES:
            mine = found["language"] == language
            if not mine.any():
                continue
            c = colour(language)
            xs, ys = x[mine].to_numpy(), y[mine].to_numpy()
            ax.plot(xs, ys, color=c, marker="o", ms=4.5, lw=1.2, zorder=3)
            for i in sorted({int(xs.argmin()), int(ys.argmin())}):
                ax.plot(xs[i], ys[i], "o", ms=9.5, mfc="none", mec=c, mew=1.2, zorder=4)
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.xaxis)
        plain_log(ax.yaxis)
        ax.yaxis.set_major_formatter(lambda v, _: f"${v:,g}")
        ax.margins(0.12)
        named = (found["language"] == found["language"].iloc[0]).to_numpy()
        for value, at_x, at_y in zip(found[vary][named], x[named], y[named], strict=True):
            ax.annotate(
                f"{value:,}{unit}",
                (at_x, at_y),
                (0, 8),
                textcoords="offset points",
                fontsize=SMALL,
                color=colour("muted"),
                ha="center",
            )
        ax.set_xlabel(x_label)
        ax.set_ylabel("cost of a million sentences")
        ax.figure.legend(
            handles=[
                ax.plot([], [], color=colour(lang), marker="o", ms=4.5, label=NAMES[lang])[0]
                for lang in LANGUAGES
                if lang in set(found["language"])
            ],
            loc="outside upper left",
            ncols=3,
            frameon=False,
            fontsize=SMALL,
            labelcolor="linecolor",
        )

    return draw(
        "cost",
        title,
        f"x86_64 list price, requests included; n = {languages.span(found['n'])} warm calls a "
        "point; "
        "numbers: " + ("memory size" if vary == "memory_mb" else "sentences in the batch")
        + "; rings: each language's cheapest and fastest.",
        paint,
    )  # fmt: skip


def bursts(group: Sequence[Setting]) -> Plot:
    """p99 in the surge against the length of the burst, a line for each method."""
    labels = surges.burst_labels(group)
    lines: dict[str, list[tuple[float, float, Arm]]] = {label: [] for label in labels}
    for s in group:
        for a in s.arms:
            p99 = a.value("p99_ms")
            if p99 is not None and a.label in lines:
                lines[a.label].append((s.conditions.duration_s, p99, a))

    def paint(figure: Any) -> None:
        ax = figure.subplots()
        for line in filter(None, lines.values()):
            a = line[0][2]
            ax.plot(
                [p[0] for p in line], [p[1] for p in line], color=arm_colour(a),
                ls=_arm_style(a), marker="o", ms=4, label=a.label,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        plain_log(ax.yaxis, " ms", seconds=True)
        lengths = [s.conditions.duration_s for s in group]
        ax.set_xticks(lengths, [f"{x:g}" for x in lengths])
        ax.minorticks_off()
        ax.set_xlabel("length of the burst, s")
        ax.set_ylabel("p99 in the surge")
        figure.legend(
            loc="outside upper left", ncols=2, frameon=False, fontsize=SMALL, handlelength=2.2,
            columnspacing=1.2,
        )  # fmt: skip

    return draw(
        "bursts",
        _bursts_title(group),
        f"p99 of the sentences due in the burst. {group[0].conditions.words}, and other lengths.",
        paint,
    )


def _bursts_title(group: Sequence[Setting]) -> str:
    """At how many lengths which of them has the lower p99."""
    found = [d.ratio for d in surges.duels(group) if d.ratio]
    if not found:
        return "The longer the burst, the more there is to absorb"
    known = [c.ratio.value for c in found if c.verdict == "different"]
    won = sum(x > 1 for x in known)
    return (
        f"Offloading beats scaling out in {won} of {len(found)} comparisons, scaling out in "
        f"{len(known) - won}; the rest is not known or equal"
    )
