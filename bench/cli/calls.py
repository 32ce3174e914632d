"""Commands that call functions without a job."""

from __future__ import annotations

from typing import Any

import click

from bench.cli import money
from bench.cli.options import LANGUAGES, Names, On, Sizes, languages_argument, measuring, working
from bench.cli.show import show


@click.command()
@languages_argument
@click.option("--memory", default=(), type=Sizes(), help="Sizes in MB.  [default: as configured]")
@click.option("-n", "--rounds", default=20, show_default=True, help="Samples of each.")
@click.option(
    "--text",
    default="ascii",
    show_default=True,
    type=Names("ascii", "mixed"),
    help="Letters of the first batch; mixed: one sentence in ten holds others than ASCII.",
)
@working
@measuring
def cold(
    languages: tuple[str, ...],
    memory: tuple[int, ...],
    rounds: int,
    text: tuple[Any, ...],
    operator: str,
    words_per_sentence: int,
    on: On,
) -> None:
    """Measure cold starts: bring-up, init and first call, beside a handler that does nothing.

    The first call is a batch of 100 sentences, as the job sends it. Languages, memory sizes and
    texts take turns in random order. A sample counts if the service reports an init and the
    function says that it is its first call.

    \b
    Example: bench cold python java --memory 128,512,1769
    Example: bench cold --operator subwords --text ascii,mixed
    """
    from bench.experiments import cold as experiment
    from bench.experiments.batches import Work
    from bench.facts.records import Run
    from bench.lambdas.spending import Expected

    with on.target() as target:
        samples = rounds * experiment.count(target, languages, memory, text)
        counts = {x: rounds * experiment.count(target, [x], memory, text) for x in languages}
        expected = [money.of_cold(target, x, counts[x], memory) for x in languages]
        with (
            money.agreed(target, sum(expected, Expected())),
            Run("cold", target=target, languages=languages, seed=on.seed) as run,
            click.progressbar(range(samples), label="cold starts") as bar,
        ):
            experiment.measure(
                target,
                run,
                languages,
                work=Work(operator, words_per_sentence),
                texts=text,
                memories_mb=memory,
                rounds=rounds,
                on_progress=bar.update,
            )
    show([run.folder], "cold", "cold_by_memory", "failures")
    click.echo(f"\nrecords: {run.path}")


@click.command()
@languages_argument
@click.option(
    "--batch", default="1,10,100,1000", show_default=True, type=Sizes(), help="Sentences a call."
)
@click.option("--memory", default=(), type=Sizes(), help="Sizes in MB.  [default: as configured]")
@click.option(
    "-n", "--environments", default=10, show_default=True, help="Of each language and memory size."
)
@click.option("--rounds", default=20, show_default=True, help="Calls of a size in an environment.")
@click.option("--budget", default=300.0, show_default=True, help="Seconds to start environments.")
@working
@measuring
def compute(
    languages: tuple[str, ...],
    batch: tuple[int, ...],
    memory: tuple[int, ...],
    environments: int,
    rounds: int,
    budget: float,
    operator: str,
    words_per_sentence: int,
    on: On,
) -> None:
    """Measure what a batch costs in environments that are up, by batch size.

    Each environment is called until it is steady: the median compute time of the last 50 calls is
    within 5 % of the 50 before. Then languages and sizes take turns in random order. The warm-up is
    recorded too, for Java's curve. Of several memory sizes, `bench report` sets cost against speed.

    \b
    Example: bench compute python java --batch 1,100
    Example: bench compute --memory 128,512,1769 --batch 100
    Example: bench compute --operator subwords --words-per-sentence 100 --batch 10,100
    """
    from bench.experiments import compute as experiment
    from bench.experiments.batches import Work
    from bench.facts.records import Run
    from bench.lambdas.spending import Expected

    with on.target() as target:
        calls = experiment.MAX_WARMUP + rounds * len(batch)
        expected = [money.of_compute(target, x, environments, calls, memory) for x in languages]
        caps = {"budget_s": budget}
        with (
            money.agreed(target, sum(expected, Expected())),
            Run("compute", target=target, languages=languages, seed=on.seed, caps=caps) as run,
            click.progressbar(
                range(environments * (len(memory) or 1)), label="environments of each language"
            ) as bar,
        ):
            experiment.measure(
                target,
                run,
                experiment.subjects(target, languages),
                work=Work(operator, words_per_sentence),
                sizes=batch,
                memories_mb=memory,
                environments=environments,
                rounds=rounds,
                budget_s=budget,
                on_progress=bar.update,
            )
    show([run.folder], "compute", "throughput", "duration", "wall", "warming", "failures")
    click.echo(f"\nrecords: {run.path}")


@click.command()
@click.argument("language", default="python", type=click.Choice(LANGUAGES))
@click.option("--repeat", default=1, show_default=True, help="Tests, each a run of its own.")
@click.option("--seed", default=1, show_default=True, help="Of the first test; then counted up.")
def aa(language: str, repeat: int, seed: int) -> None:
    """Test the harness itself: measure one function under two names, which must not differ.

    Takes the way of `bench compute`. At 95 % confidence, one test in twenty may say "different".

    \b
    Example: bench aa python --repeat 40
    """
    from bench.experiments import aa as experiment
    from bench.facts.records import Run
    from bench.lambdas.target import open_target

    folders = []
    with (
        open_target(aliases=[language]) as target,
        click.progressbar(range(repeat * experiment.ENVIRONMENTS), label="environments") as bar,
    ):
        for number in range(repeat):
            with Run("aa", target=target, languages=[language], seed=seed + number) as run:
                alias = target.aliases[language]
                experiment.measure(target, run, language, alias, on_progress=bar.update)
            folders.append(run.folder)
    show(folders, "aa", "failures")
