"""`bench compare OLD NEW`: two runs side by side, with one of three verdicts on each figure.

They did not take turns, so that what a machine differs by from run to run is in every ratio: an
interval is as wide as that at least (`stats.RUN_SPREAD`), and where the machine drifted a lot
while one of them ran, nothing is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench import stats
from bench.report.gather import calls, surges
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.say import relief
from bench.report.say.table import Table, over, short
from bench.stats import Floats

REFUSED_DRIFT = 0.30
"""A machine that drifted by more than this while it measured compares only what took turns."""


@dataclass(frozen=True)
class Figure:
    """Something measured in both runs: a value for each unit."""

    what: str
    old: Floats
    new: Floats


def table(old: Evidence, new: Evidence) -> Table | None:
    """Every figure that both have; None if they have none in common."""
    found = list(figures(old, new))
    if not found:
        return None
    reason = refusal(old, new)
    judged = {}
    if reason is None:
        judged = stats.holm({f.what: stats.compare_runs(f.new, f.old) for f in found})
    rows, data = [], []
    for f in found:
        c = judged.get(f.what)
        rows.append(
            [
                f.what,
                f"{over(list(f.old))}, n = {len(f.old)}",
                f"{over(list(f.new))}, n = {len(f.new)}",
                _verdict(c) if c else "not compared",
            ]
        )
        data.append(
            {"figure": f.what, "old": np.median(f.old), "new": np.median(f.new)}
            | {"n_old": len(f.old), "n_new": len(f.new)}
            | ({"low": c.ratio.low, "high": c.ratio.high, "verdict": c.verdict} if c else {})
        )
    names = [", ".join(str(r["run"]) for r in e.runs) for e in (old, new)]
    note = (
        f"Nothing is compared: {reason}."
        if reason
        else "Median (lowest–highest) over units: rounds, passes or surges. The ratio's interval "
        f"holds that medians differ by about {stats.RUN_SPREAD:.0%} from run to run anyway; equal "
        f"means within {stats.MARGIN - 1:.0%}; corrected for {len(found)} comparisons (Holm)."
    )
    return Table(
        "versus",
        "Two runs side by side",
        ["", f"old: {names[0]}", f"new: {names[1]}", "new ÷ old"],
        rows,
        pd.DataFrame(data),
        note + _only_in_one(old, new),
    )


def refusal(old: Evidence, new: Evidence) -> str | None:
    """Why the two may not be compared; None if they may."""
    if old.where != new.where:
        return f"they did not run on the same thing ({old.where}; {new.where})"
    for name, e in (("old", old), ("new", new)):
        shares = [x for x in (e.drift(), relief.drift(e)) if x is not None]
        if shares and max(shares) > REFUSED_DRIFT:
            return f"the machine drifted by {max(shares):.0%} during the {name} run"
    return None


def figures(old: Evidence, new: Evidence) -> Iterator[Figure]:
    """Cold starts, warm calls and surges that were measured alike in both."""
    colds = [calls.main_cold(e) for e in (old, new)]
    held = {calls.main_held(f) for f in colds} | {calls.main_memory(f) for f in colds}
    if len(held) == 2:  # the same content at the same memory size
        yield from _by_language("cold, init + first call, ms", colds, "round", "sum_ms")
    if calls.work(old) == calls.work(new):
        warm = [calls.at_main_memory(calls.steady(e)) for e in (old, new)]
        for size in sorted(set(warm[0]["sentences"]) & set(warm[1]["sentences"])):
            of_size = [f[f["sentences"] == size] for f in warm]
            yield from _by_language(
                f"warm, {size:,} sentences, ms", of_size, "environment", "compute_ms"
            )
    arms = [_arms(e) for e in (old, new)]
    for key in arms[0]:
        if key in arms[1]:
            for measure in ("p50_ms", "p99_ms"):
                values = [
                    np.array([x for x in a[key].values(measure) if np.isfinite(x) and x > 0])
                    for a in arms
                ]
                if all(map(len, values)):
                    name = measure.removesuffix("_ms")
                    yield Figure(f"surge of {key[0]}, {key[1]}: {name}, ms", *values)


def _by_language(what: str, frames: list[pd.DataFrame], turn: str, column: str) -> Iterator[Figure]:
    turns = [calls.by_turn(f, turn, column) for f in frames]
    for x in LANGUAGES:
        if all(x in t for t in turns):
            old, new = (t[x].dropna().to_numpy(dtype=float) for t in turns)
            if len(old) and len(new):
                yield Figure(f"{NAMES[x]}: {what}", old, new)


def _arms(e: Evidence) -> dict[tuple[str, str], surges.Arm]:
    """By load (in multiples of the capacity, where that was measured) and label."""
    found: dict[tuple[str, str], surges.Arm] = {}
    for s in surges.settings(surges.surges(e)):
        c = s.conditions
        rates = f"{c.base:.2f} → {c.base * c.factor:.2f} × capacity" if c.base and c.factor else ""
        if not rates and c.rates_per_s:
            rates = " → ".join(f"{x:,.0f}" for x in c.rates_per_s) + "/s"
        work = f"{c.operator}, {c.words_per_sentence} words, batches of {c.batch_size}"
        for a in s.arms:
            found.setdefault((f"{c.duration_s:g} s, {rates}, {work}", a.label), a)
    return found


def _verdict(c: stats.Comparison) -> str:
    return f"**different**: {short(c)}" if c.verdict == "different" else short(c)


def _only_in_one(old: Evidence, new: Evidence) -> str:
    """What only one of them measured."""
    said = []
    for name, mine, other in (("old", old, new), ("new", new, old)):
        kinds = [k for k in ("cold", "call", "surge") if len(mine.frames[k])]
        alone = [k for k in kinds if not len(other.frames[k])]
        if alone:
            said.append(f"{', '.join(alone)} only in the {name} one")
    return f" Not in the table: {'; '.join(said)}." if said else ""
