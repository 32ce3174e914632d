"""Commands that break what runs, or let it run for long."""

from __future__ import annotations

from typing import Any

import click

from bench.cli.options import LANGUAGES, Above0, On, languages_argument, only_ours, worker_option
from bench.cli.show import show_tables

# A job takes some 40 s on two cores, most of it its start and the calm after, and another surge of
# it 17 s: all faults once are 23 minutes, twice would be more than half an hour.
_REPEAT = 1


def _here(seed: int) -> On:
    """Local functions: what is broken, or watched for long, are processes of this machine."""
    return On(stack=None, region=None, as_on=None, seed=seed)


def _names(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> Any:
    """Names of faults, all by default."""
    from bench.experiments.faults import NAMES

    if unknown := [name for name in given if name not in NAMES]:
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(NAMES)}")
    return given or NAMES


@click.command()
@click.argument("language", default="node", type=click.Choice(LANGUAGES))
@click.option(
    "--fault", "names", multiple=True, callback=_names, metavar="NAME", help="Only this; several."
)
@click.option(
    "--repeat", default=_REPEAT, show_default=True, type=click.IntRange(min=1), help="Of each."
)
@click.option(
    "--method",
    default="operator",
    show_default=True,
    type=click.Choice(("operator", "source")),
    help="Who offloads.",
)
@click.option("--ordered", is_flag=True, help="Tokens go downstream in source order.")
@click.option("--seed", default=1, show_default=True, help="Of everything random.")
@only_ours("what is broken are processes of ours")
@worker_option
def faults(
    language: str,
    names: tuple[str, ...],
    repeat: int,
    method: Any,
    ordered: bool,
    seed: int,
    worker_cpu: float,
) -> None:
    """Break one thing in the middle of each of many surges, and say what became of it.

    A job has up to four surges, in each of which the same fault breaks.

    Flink's processes, disk and checkpoints, the Lambda service, its answers, the controller and
    Flink's REST API are broken while batches are offloaded, and made whole again. For each: what
    was lost, came twice or came out wrong, how long until latency was normal again, and what the
    policy did. Names are listed if one is unknown. Local functions only.

    \b
    Example: bench faults --fault frozen --fault throttled --repeat 5
    Example: bench faults java --method source --ordered
    """
    from bench.experiments import faults as experiment

    planned = experiment.plan(names, repeat, language, method, ordered, seed)
    with _here(seed).job("faults", [language]) as (target, run, on_step):
        experiment.measure(target, run, planned, worker_cpu, on_step)
    show_tables(run.folder, "faults")


@click.command()
@languages_argument
@click.option(
    "--minutes", default=30.0, show_default=True, type=Above0(), help="How long, at least one."
)
@click.option("--faults", "with_faults", is_flag=True, help="Break Lambda now and then.")
@click.option("--seed", default=1, show_default=True, help="Of everything random.")
@only_ours("what is watched for growth are processes of ours")
@worker_option
def soak(
    languages: tuple[str, ...], minutes: float, with_faults: bool, seed: int, worker_cpu: float
) -> None:
    """Run one job for long, through random surges, and say what has grown.

    Surges of random height, length and language. Memory, threads and file descriptors of every
    process, control groups, temporary files, and latency in calm, at the end against the beginning
    (after warm-up): flat within 5 %, or what grew. --faults breaks the way to Lambda in random
    ways; no process is ended, since each is compared with itself. Local functions only.

    \b
    Example: bench soak --minutes 30 --faults
    """
    from bench.experiments import soak as experiment

    if not (spells := experiment.plan(minutes, languages, with_faults, seed)):
        raise click.UsageError("--minutes: no surge fits into that; take at least 1")
    with _here(seed).job("soak", languages) as (target, run, on_step):
        experiment.measure(target, run, minutes, spells, worker_cpu, seed, on_step)
    show_tables(run.folder, "soak")
