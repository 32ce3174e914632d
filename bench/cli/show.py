"""What commands show: progress while they run, tables and plots of what they measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click


@contextmanager
def steps() -> Iterator[Callable[[str, float], None]]:
    """A progress bar that is told what is being done, and which share of the whole is done."""
    bar: Any
    with click.progressbar(length=1000, label="starting", show_pos=False) as bar:

        def on_step(what: str, share: float) -> None:
            bar.label = f"{what:28.28}"
            bar.update(max(0, round(share * 1000) - bar.pos))

        yield on_step
        bar.update(1000 - bar.pos)


def show(folders: Sequence[Path], *tables: str) -> None:
    """Print tables made of the records in `folders`, each in the words of the report."""
    from bench.report.gather import evidence
    from bench.report.say import languages

    for e in evidence.load(folders):
        click.echo(f"\n{e.where}")
        _print(filter(None, (getattr(languages, name)(e) for name in tables)))
        _print_noise(e)


def show_made(folder: Path, kind: str) -> None:
    """Print the tables of `kind`, and write its plots beside the records."""
    from importlib import import_module

    from bench.report.gather import evidence

    say, draw = (import_module(f"bench.report.{room}.{kind}") for room in ("say", "draw"))
    (e,) = evidence.load([folder])
    _print(say.tables(e))
    for plot in draw.plots(e):
        plot.write(folder)
        click.echo(f"\nplot: {folder / plot.name}.svg")
    _print_noise(e)
    click.echo(f"records: {folder}/records.jsonl")


def show_tables(folder: Path, kind: str) -> None:
    """Print the tables of `kind`, which has no plots."""
    from importlib import import_module

    from bench.report.gather import evidence

    (e,) = evidence.load([folder])
    _print(import_module(f"bench.report.say.{kind}").tables(e))
    _print_noise(e)
    click.echo(f"records: {folder}/records.jsonl")


def show_surges(folder: Path) -> None:
    """Print the tables of the surges in `folder`."""
    from bench.report.gather import evidence, surges
    from bench.report.say import drift, relief

    (e,) = evidence.load([folder])
    settings = surges.settings(surges.surges(e))
    tables: list[Any] = [relief.methods(s) or relief.surge(s) for s in settings]
    tables += map(relief.bursts, surges.bursts(settings))
    _print(filter(None, [*tables, *map(relief.cpu, settings), relief.capacity(e)]))
    for said in drift.drifted(e):
        click.echo(f"Warning: {said}.")
    _print_noise(e)


def _print(tables: Iterable[Any]) -> None:
    for table in tables:
        click.echo(f"\n{table.title}\n{table.markdown()}\n{table.note}")


def _print_noise(e: Any) -> None:
    for _, said in e.noise():
        click.echo(f"Noise: {said}.")
