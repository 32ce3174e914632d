"""One folder from raw records: report.md, report.html, tables as CSV, plots as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.report import html
from bench.report.content import Content, content
from bench.report.gather.evidence import load


def build(folders: Sequence[Path], out: Path) -> Path:
    """Write the report on the runs in `folders` to `out`; returns the path of report.html.

    The same records give the same bytes.

    Raises:
        NoRuns: there are none.
    """
    contents = [content(e) for e in load(folders)]
    out.mkdir(parents=True, exist_ok=True)
    sections = []
    for number, made in enumerate(contents, 1):
        # one kind of target and machine: files beside the report; several: a folder each
        below = Path(f"{number}") if len(contents) > 1 else Path()
        (out / below / "tables").mkdir(parents=True, exist_ok=True)
        (out / below / "plots").mkdir(parents=True, exist_ok=True)
        for part in made.parts:
            for plot in part.plots:
                plot.write(out / below / "plots")
            for table in part.tables:
                path = out / below / "tables" / f"{table.name}.csv"
                path.write_text(table.csv(), encoding="utf-8")
        sections.append(markdown(made, below))
    (out / "report.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    page = out / "report.html"
    page.write_text(html.page(contents), encoding="utf-8")
    return page


def markdown(made: Content, below: Path = Path()) -> str:
    """The report in Markdown; plots are linked under `below`."""
    lines = [
        f"# Which language should absorb the burst?\n\nMeasured on: {made.title}",
        *made.answer,
    ]
    for part in made.parts:
        lines.append(f"## {part.title}")
        lines.append(
            "\n".join(part.text)
            if part.text[:1] and part.text[0].startswith("- ")
            else "\n\n".join(part.text)
        )
        for plot in part.plots:
            link = (below / "plots" / f"{plot.name}.svg").as_posix()
            lines.append(f"### {plot.title}\n\n![{plot.title}]({link})\n\n{plot.caption}")
        lines += [f"#{table.section()}" for table in part.tables]
    return "\n\n".join(filter(None, lines))
