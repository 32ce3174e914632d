"""One parameter over several values, everything else as it was: a surge for each."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import click

from bench.cluster.session import Elsewhere
from bench.experiments import run as main_job
from bench.experiments import surge
from bench.experiments.batches import PLAIN, Work
from bench.experiments.drive import Method, Surge
from bench.facts.records import Run
from bench.lambdas.target import Target, memory_kept
from flink_job.load.shapes import Surge as SurgeShape
from flink_job.load.shapes import parse

DURATION_S = 10.0

_CALLS_SHARE = 0.25


@dataclass(frozen=True)
class Parameter:
    """Something to sweep.

    Attributes:
        set: the surge with another value.
        least: the smallest value that makes sense.
        matters_alone: whether it changes anything where nothing is offloaded.
    """

    set: Callable[[Surge, int], Surge]
    least: int = 1
    matters_alone: bool = False


def _rate(like: Surge, factor: int) -> Surge:
    shape = parse(like.shape)
    assert isinstance(shape, SurgeShape)
    return replace(like, shape=str(replace(shape, factor=float(factor))), factor=float(factor))


def _parallelism(like: Surge, subtasks: int) -> Surge:
    """Calls in flight grow with the subtasks, as the load does: it is in multiples of their
    capacity, or there would be no overload to relieve."""
    return replace(like, parallelism=subtasks, max_in_flight=like.max_in_flight * subtasks)


PARAMETERS = {
    "batch-size": Parameter(lambda s, v: replace(s, batch_size=v), matters_alone=True),
    "poll-ms": Parameter(lambda s, v: replace(s, poll_ms=float(v)), least=100),
    "rate": Parameter(_rate, least=2, matters_alone=True),
    "parallelism": Parameter(_parallelism, matters_alone=True),
    "in-flight": Parameter(lambda s, v: replace(s, max_in_flight=v)),
    "memory": Parameter(lambda s, v: replace(s, memory_mb=v), least=128),
}


def plan(
    name: str,
    values: Sequence[int],
    language: str,
    repetitions: int = 1,
    seed: int = 1,
    work: Work = PLAIN,
) -> list[Surge]:
    """A surge with offload for each value and, where the parameter matters then, one without; in an
    order drawn anew for each repetition.

    Raises:
        click.UsageError: a value is too small.
    """
    parameter = PARAMETERS[name]
    if min(values) < parameter.least:
        raise click.UsageError(f"{name} goes from {parameter.least} up, not {min(values)}")
    rng = random.Random(seed)
    methods: list[tuple[Method, str | None]] = [("operator", language)]
    if parameter.matters_alone:
        methods.append(("none", None))
    planned = []
    for repetition in range(1, repetitions + 1):
        turn = [
            replace(
                parameter.set(surge.plain(DURATION_S), value),
                method=method,
                language=of,
                repetition=repetition,
                seed=seed,
                operator=work.operator,
                words_per_sentence=work.words_per_sentence,
                varied={name: value},
            )
            for value in values
            for method, of in methods
        ]
        planned += rng.sample(turn, len(turn))
    return planned


def measure(
    target: Target,
    run: Run,
    planned: Sequence[Surge],
    worker_cpu: float,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    where: Elsewhere | None = None,
) -> None:
    """What calls cost, then the surges of `plan`. The function ends with the memory it began with.

    Raises:
        SurgeFailed, FlinkError, WrongAnswer, TooManyFailures: as the experiments do.
    """
    (language,) = {s.language for s in planned if s.language}

    def on_surge(what: str, share: float) -> None:
        on_progress(what, _CALLS_SHARE + share * (1 - _CALLS_SHARE))

    main_job.calls(
        target,
        run,
        [language],
        on_progress,
        sizes=sorted({s.batch_size for s in planned}),
        work=Work(planned[0].operator, planned[0].words_per_sentence),
    )
    varies_memory = any(s.memory_mb for s in planned)
    with memory_kept(target, [target.functions[language]] if varies_memory else []):
        surge.measure(
            target, run, planned, worker_cpu=worker_cpu, where=where, on_progress=on_surge
        )
