"""Commands that make words, tables and plots of what was measured."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="report",
    show_default=True,
    help="Folder to write to.",
)
@click.option("--check", is_flag=True, help="Only check that the README's tables are current.")
@click.option("--readme", is_flag=True, help="Only rewrite the README's tables.")
def report(runs: tuple[str, ...], out: Path, check: bool, readme: bool) -> None:
    """Write one folder that answers the question: words, tables, plots.

    RUN is the name of a run in results/ or a folder; without any, the newest run of each command
    and language. Partial runs are welcome: the report says what is missing. The folder holds
    report.html (one file, opens from disk), report.md, tables/*.csv and plots/*.svg and *.png.

    --check and --readme are about the tables in README.md, which are made from the recorded run
    in tests/data/recorded.

    \b
    Example: bench report && xdg-open report/report.html
    """
    from bench.facts import records
    from bench.report import build
    from bench.report import readme as readme_tables
    from bench.report.gather import evidence

    if check:
        click.echo(f"{readme_tables.check()} tables in the README are current")
    elif readme:
        readme_tables.rewrite()
    else:
        folders = evidence.find(runs, records.RESULTS) or evidence.newest(records.RESULTS)
        click.echo(build.build(folders, out))


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
def compare(runs: tuple[str, ...]) -> None:
    """Show the languages side by side: cold start, compute per batch, latency in the surge.

    RUN is the name of a run in results/ or a folder; without any, the newest `bench run` of each
    language. Runs on different targets or machines never share a table. Two RUNs, the older one
    first, are set beside each other: each figure of both is different, equal, or not known. The
    same goes to results/compare.md, and every cell of the first to results/compare.csv.

    \b
    Example: bench run && bench compare
    Example: bench compare 20261122T144707Z-surge 20261122T150946Z-surge
    """
    from bench.facts import records
    from bench.report.gather import evidence
    from bench.report.say import compare

    folders = evidence.find(runs, records.RESULTS) or evidence.newest(records.RESULTS, {"run"})
    click.echo(compare.write(folders, records.RESULTS))
