"""What the README shows of the recorded runs, between markers, and its one picture.

<!-- table:cold -->
…
<!-- /table -->

"three" is the answer in three sentences, "picture" a link to `docs/answer.svg` with its caption,
"answer" all that can be said in words; the others are tables by their names. What was not recorded
is said so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from bench.facts import records
from bench.report.draw.answer import picture
from bench.report.draw.style import Plot
from bench.report.gather import surges
from bench.report.gather.evidence import load
from bench.report.say import (
    answer,
    breakpoint,
    compare,
    faults,
    languages,
    metrics,
    money,
    peers,
    places,
    relief,
    soak,
    sweep,
    worth,
)
from bench.report.say.table import Table

RECORDED = Path(__file__).parents[2] / "tests" / "data" / "recorded"
README = Path(__file__).parents[2] / "README.md"
ABSENT_TEXT = "Not in the recorded runs."
NAMES = (
    "three", "picture", "answer", "pooled", "methods", "ways", "rescaling", "surge", "bursts",
    "cost-surge", "cost", "cost-memory", "cold", "cold-text", "cold-memory", "compute", "wall",
    "warm-up", "aa", "cpu", "capacity", "metrics", "failures", "breakpoint-edge",
    "breakpoint-steps", "breakpoint-metrics", "breakpoint-push", "worth", "subtasks", "sweep-rate",
    "places",
    "faults", "faults-ordered", "faults-source", "faults-source-ordered", "soak", "peers",
)  # fmt: skip
_MARKED = re.compile(r"(<!-- table:([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


class Stale(click.ClickException):
    """The README does not show what the code makes of the recorded run."""


def made_of(folders: Sequence[Path]) -> tuple[dict[str, str], Plot | None]:
    """Name → Markdown of each block, of the runs of one place, those here if there are any; and the
    picture."""
    groups = sorted(load(folders), key=lambda e: "emulated" in (e.target or ""))
    e = groups[0]
    settings = surges.settings(surges.surges(e))
    found: list[Table | None] = [
        *compare.tables(e),
        *breakpoint.tables(e),
        *sweep.tables(e),
        *worth.tables(e),
        *faults.tables(e),
        *soak.tables(e),
        languages.cold_by_text(e),
        languages.cold_by_memory(e),
        languages.wall(e),
        languages.warming(e),
        languages.aa(e),
        money.per_million(e),
        money.by_memory(e),
        relief.capacity(e),
        peers.table(e),
        places.table(groups),
    ]
    for setting in settings[:1]:
        found += [
            metrics.table(setting),
            relief.cpu(setting),
            money.per_surge(setting),
        ]
    found += [next(filter(None, map(relief.methods, settings)), None)]
    # The languages side by side, and the alternatives to calling any, need not be one setting.
    scaled = (s for s in settings if any(a.method.startswith("scale-out") for a in s.arms))
    if (ways := next(scaled, None)) and (table := relief.methods(ways)):
        found += [replace(table, name="ways"), relief.rescaling(e, ways)]
    found += [relief.bursts(group) for group in surges.bursts(settings)[:1]]
    made = dict.fromkeys(NAMES, ABSENT_TEXT)
    made |= {t.name: f"{t.note}\n\n{t.markdown()}" for t in found if t}
    for name, paragraphs in (
        ("three", answer.three(e, settings)),
        ("answer", answer.details(e, settings)),
        ("pooled", [f"- {line}" for line in compare.header(e)]),
    ):
        if paragraphs:
            made[name] = ("\n" if name == "pooled" else "\n\n").join(paragraphs)
    plot = picture(settings[0]) if settings else None
    if plot:
        made["picture"] = f"![{plot.title}](docs/{plot.name}.svg)\n\n{plot.caption}"
    return made, plot


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
    """How many blocks the README shows, all of them current, and so is its picture.

    Raises:
        Stale: one is not.
    """
    page = readme.read_text(encoding="utf-8")
    made, plot = made_of(records.find_runs(recorded))
    now = fill(page, made)
    stale = []
    if now != page:
        pairs = zip(_MARKED.finditer(page), _MARKED.finditer(now), strict=True)
        stale = sorted(was[2] for was, is_ in pairs if was[0] != is_[0])
    if plot and "<!-- table:picture -->" in page:
        drawn = readme.parent / "docs" / f"{plot.name}.svg"
        if not drawn.is_file() or drawn.read_text(encoding="utf-8") != plot.svg:
            stale.append(f"docs/{plot.name}.svg")
    if stale:
        raise Stale(
            f"{readme.name} no longer shows what the code makes of the recorded runs: "
            f"{', '.join(stale)}; `bench report --readme` rewrites it"
        )
    return len(_MARKED.findall(page))


def rewrite(readme: Path = README, recorded: Path = RECORDED) -> None:
    """Bring the blocks of the README, and its picture, up to date."""
    page = readme.read_text(encoding="utf-8")
    made, plot = made_of(records.find_runs(recorded))
    readme.write_text(fill(page, made), encoding="utf-8")
    if plot and "<!-- table:picture -->" in page:
        docs = readme.parent / "docs"
        docs.mkdir(exist_ok=True)
        (docs / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
