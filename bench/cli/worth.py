"""The command that says from which weight on offloading is worth it."""

from __future__ import annotations

from functools import partial

import click
from click.core import ParameterSource

from bench.cli import money
from bench.cli.options import (
    LANGUAGES,
    OPERATORS,
    Above0,
    On,
    Sizes,
    languages_argument,
    measuring,
    only_ours,
    worker_option,
)
from bench.cli.show import show_made

_OWN = ("bytes_", "language", "factor")


@click.command()
@languages_argument
@click.option(
    "--operator",
    "operators",
    multiple=True,
    default=OPERATORS,
    show_default=True,
    type=click.Choice(OPERATORS),
    help="The work; give it several times.",
)
@click.option(
    "--words-per-sentence",
    default="10,100",
    show_default=True,
    type=Sizes(),
    help="Mean lengths of the sentences.",
)
@click.option(
    "--batch-size",
    default="10,100,1000",
    show_default=True,
    type=Sizes(),
    help="Sentences in a call.",
)
@click.option(
    "--subtasks",
    default="1",
    show_default=True,
    type=Sizes(),
    help="Of the flatmap, each in a TaskManager with a quota of its own; of several, how it grows.",
)
@click.option(
    "--own-us",
    type=Above0(),
    metavar="US",
    help="Measure nothing: answer for an operator of yours, that takes so many µs of CPU a record.",
)
@click.option(
    "--bytes",
    "bytes_",
    default=100.0,
    show_default=True,
    type=Above0(),
    metavar="N",
    help="Of a record of yours, as JSON.",
)
@click.option(
    "--language",
    default="java",
    show_default=True,
    type=click.Choice(LANGUAGES),
    help="Of your function.",
)
@click.option(
    "--factor",
    default=2.0,
    show_default=True,
    type=Above0(),
    help="Your surge, times what your worker can do.",
)
@only_ours("what a call relieves is CPU of the worker's, which is known of processes of ours alone")
@worker_option
@measuring
def worth(
    languages: tuple[str, ...],
    operators: tuple[str, ...],
    words_per_sentence: tuple[int, ...],
    batch_size: tuple[int, ...],
    subtasks: tuple[int, ...],
    own_us: float | None,
    bytes_: float,
    language: str,
    factor: float,
    worker_cpu: float,
    on: On,
) -> None:
    """Say from which weight of work on offloading is worth it.

    The job is saturated under the worker's quota: once with all work done here and once with all
    that helps offloaded, for each language, operator, length and batch size. What a sentence then
    costs the worker in CPU says how much a call relieves, and from which weight on (break-even).
    About half a minute a job; the defaults are 48 jobs.

    With --own-us nothing is measured: the newest records answer for an operator of yours.

    \b
    Example: bench worth java --operator subwords --words-per-sentence 100 --batch-size 10,100
    Example: bench worth java --operator words --batch-size 100 --subtasks 1,2,4
    Example: bench worth --own-us 350 --bytes 400 --language java
    """
    _require_one_question(own_us, languages)
    if own_us is not None:
        _answer(own_us, bytes_, language, factor)
        return
    from bench.experiments import worth as experiment

    planned = experiment.plan(
        languages, operators, words_per_sentence, batch_size, on.seed, subtasks
    )
    cost = partial(money.of_saturated, planned=planned, seconds=experiment.MOST_S)
    with on.job("worth", languages, cost) as (target, r, on_step):
        experiment.measure(target, r, planned, worker_cpu, on_step)
    show_made(r.folder, "worth")


def _require_one_question(own_us: float | None, languages: tuple[str, ...]) -> None:
    """Raise UsageError where options of your own operator and of a measurement are mixed."""
    context = click.get_current_context()
    given = [
        f"--{x.strip('_').replace('_', '-')}"
        for x in _OWN
        if context.get_parameter_source(x) is ParameterSource.COMMANDLINE
    ]
    if own_us is None and given:
        raise click.UsageError(
            f"{', '.join(given)} is about an operator of yours: say its weight too, "
            "bench worth --own-us 350 --bytes 400 --language java"
        )
    if own_us is not None and languages != LANGUAGES:
        raise click.UsageError("with --own-us the language of your function goes by --language")


def _answer(own_us: float, bytes_: float, language: str, factor: float) -> None:
    from bench.facts import records
    from bench.report.gather import evidence
    from bench.report.gather import worth as gathered
    from bench.report.say import worth as words

    folders = evidence.newest(records.RESULTS, {"worth"})
    own = gathered.Own(own_us, bytes_, language, factor)
    for e in evidence.load(folders) if folders else ():
        if table := words.own(e, own):
            click.echo(f"\n{e.where}\n\n{table.title}\n{table.markdown()}\n{table.note}")
            return
    raise click.ClickException(
        f"no records of {language} to answer from: bench worth {language} makes them"
    )
