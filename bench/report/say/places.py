"""Here and elsewhere: what the answer rests on, each group of runs a row, so that a reader sees
what of it is this machine's doing. Groups are never pooled, and never compared with one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bench import stats
from bench.report.gather import surges
from bench.report.gather.calls import by_turn, main_cold, main_held
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.say import languages
from bench.report.say.table import ABSENT, BRACKETS, Table, against_first, estimate

_COLUMNS = ("", "where", *NAMES.values(), "fastest; the others ÷ it, taking turns")


def table(groups: Sequence[Evidence]) -> Table | None:
    """Cold start, warm call and p99 in the surge, by language, where each was measured; None unless
    there is more than one place.

    Args:
        groups: as `evidence.load` makes them, one a place.
    """
    targets = [e.target or "no function called" for e in groups]
    of_place = {
        e.where if targets.count(target) > 1 else target: e
        for e, target in zip(groups, targets, strict=True)
    }
    frames = {
        (name, where): turns
        for where, e in of_place.items()
        for name, turns in _measures(e).items()
        if len(turns)
    }
    if len({where for _, where in frames}) < 2:
        return None
    ranked = stats.rank(frames, least=stats.MIN_SURGES)
    order = list(dict.fromkeys(name for name, _ in frames))
    keys = sorted(frames, key=lambda key: order.index(key[0]))
    rows = [
        [
            name,
            where,
            *(_cell(frames[name, where], x) for x in LANGUAGES),
            against_first(r, NAMES) if (r := ranked.get((name, where))) else ABSENT,
        ]
        for name, where in keys
    ]
    data = [frames[key].assign(of=key[0], where=key[1]) for key in keys]
    held = {where: cold for where, e in of_place.items() if (cold := main_held(main_cold(e)))}
    return Table(
        "places",
        "Here and elsewhere",
        _COLUMNS,
        rows,
        pd.concat(data),
        "Milliseconds, median over rounds, passes or surges in which the languages took turns; "
        f"{BRACKETS}. “as on AWS” is emulated: network, placement and init are drawn from what was "
        "published about AWS, the function itself runs here (see “What a local run means”). First "
        f"calls hold {'; '.join(f'{what} ({where})' for where, what in held.items())}.",
    )


def _measures(e: Evidence) -> dict[str, pd.DataFrame]:
    """What was measured of each language: a column a language and a row a turn."""
    found = {"cold, as the client waits for it": by_turn(main_cold(e), "round", "wall_ms")}
    for size, turns in languages.turns(e, "wall_ms").items():
        found[f"warm call with {size:,} sentences, as the client waits for it"] = turns
    for setting in surges.settings(surges.surges(e))[:1]:
        for is_cold, state in ((True, "cold"), (False, "warm")):
            columns = {
                arm.language: arm.by_turn("p99_ms")
                for arm in setting.arms
                if arm.method == "operator"
                and arm.language
                and arm.is_cold == is_cold
                and not arm.is_ordered
            }
            if columns:
                surge = f"p99 in a surge of {setting.conditions.duration_s:g} s"
                found[f"{surge}, environments {state}"] = pd.concat(columns, axis=1)
    return found


def _cell(turns: pd.DataFrame, language: str) -> str:
    known = turns[language].dropna().to_numpy() if language in turns else np.array([])
    return estimate(stats.typical(known)) if len(known) else ABSENT
