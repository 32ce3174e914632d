"""The tables in the README: made from the committed recorded run, between markers.

<!-- table:cold -->
…
<!-- /table -->
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from bench.facts import records
from bench.report.gather import surges
from bench.report.gather.evidence import load
from bench.report.say import answer, breakpoint, compare, metrics, money, relief

RECORDED = Path(__file__).parents[2] / "tests" / "data" / "recorded"
README = Path(__file__).parents[2] / "README.md"
_MARKED = re.compile(r"(<!-- table:([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


class Stale(click.ClickException):
    """The README does not show what the code makes of the recorded run."""


def texts(folders: Sequence[Path]) -> dict[str, str]:
    """Name → Markdown of each table, and of the answer in words, of the first group of runs."""
    e = load(folders)[0]
    settings = surges.settings(surges.surges(e))
    shown = compare.tables(e)
    shown += breakpoint.tables(e)
    for setting in settings[:1]:
        more = (metrics.table(setting), relief.methods(setting), money.per_surge(setting))
        shown += [t for t in more if t]
    shown += [relief.bursts(group) for group in surges.bursts(settings)[:1]]
    made = {t.name: f"{t.note}\n\n{t.markdown()}" for t in shown}
    made["answer"] = "\n\n".join(answer.answer(e, settings))
    return made


def fill(page: str, made: Mapping[str, str]) -> str:
    """`page` with what stands between markers replaced.

    Raises:
        Stale: it asks for a table that is not made.
    """

    def replaced(found: re.Match[str]) -> str:
        if found[2] not in made:
            raise Stale(f"no table {found[2]}; there are: {', '.join(sorted(made))}")
        return f"{found[1]}\n{made[found[2]]}\n\n{found[3]}"

    return _MARKED.sub(replaced, page)


def check(readme: Path = README, recorded: Path = RECORDED) -> int:
    """How many tables the README shows, all of them current.

    Raises:
        Stale: one is not.
    """
    page = readme.read_text(encoding="utf-8")
    made = texts(_runs(recorded))
    now = fill(page, made)
    if now != page:
        pairs = zip(_MARKED.finditer(page), _MARKED.finditer(now), strict=True)
        stale = sorted(was[2] for was, is_ in pairs if was[0] != is_[0])
        raise Stale(
            f"{readme.name} no longer shows what the code makes of the recorded run: "
            f"{', '.join(stale)}; `bench report --readme` rewrites it"
        )
    return len(_MARKED.findall(page))


def rewrite(readme: Path = README, recorded: Path = RECORDED) -> None:
    """Bring the tables in the README up to date."""
    page = readme.read_text(encoding="utf-8")
    readme.write_text(fill(page, texts(_runs(recorded))), encoding="utf-8")


def _runs(recorded: Path) -> list[Path]:
    return records.find_runs(recorded)
