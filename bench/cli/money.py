"""Asks before a run costs money, and says what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from bench.lambdas.spending import COLD_MS, WARM_MS, Expected

if TYPE_CHECKING:
    from bench.experiments.drive import Surge
    from bench.lambdas.target import Target

_YES, _MAX_USD = "bench.yes", "bench.max_usd"


def _kept(name: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
        ctx.meta[name] = value

    return keep


yes_option = click.option(
    "--yes",
    is_flag=True,
    expose_value=False,
    callback=_kept(_YES),
    help="With --stack: spend what is expected without asking.",
)
max_usd_option = click.option(
    "--max-usd",
    type=click.FloatRange(min=0, min_open=True),
    expose_value=False,
    callback=_kept(_MAX_USD),
    help="With --stack: stop when that much is spent, at list prices.",
)


@contextmanager
def agreed(target: Target, expected: Expected) -> Iterator[None]:
    """On a stack: say what a run is expected to cost, have it agreed to, and at its end say what
    was spent, also if it fails. Here nothing costs anything.

    Raises:
        Abort: it is not agreed to.
    """
    if target.spending is None:
        yield
        return
    meta = click.get_current_context().meta
    target.spending.max_usd = meta.get(_MAX_USD)
    click.echo(f"{target.label}: {expected}")
    if not meta.get(_YES):
        click.confirm("Go on?", abort=True)
    try:
        yield
    finally:
        click.echo(str(target.spending), err=True)


def of_cold(target: Target, language: str, samples: int, memories_mb: Sequence[int]) -> Expected:
    """Of so many cold starts."""
    return Expected.of(samples, COLD_MS, _memory_mb(target, language, memories_mb))


def of_compute(
    target: Target, language: str, environments: int, calls: int, memories_mb: Sequence[int] = ()
) -> Expected:
    """Of so many environments of each memory size, with so many calls each."""
    number = environments * (len(memories_mb) or 1)
    memory_mb = _memory_mb(target, language, memories_mb)
    return Expected.of(number, COLD_MS, memory_mb) + Expected.of(number * calls, WARM_MS, memory_mb)


def of_job(target: Target, planned: Sequence[Surge], sizes: int) -> Expected:
    """Of surges in which as many calls are in flight as may be, all the time; and of what is
    measured of each of their languages before them, with so many sizes of batches."""
    from bench.experiments import cold, run

    expected = Expected()
    for language in dict.fromkeys(x.language for x in planned if x.language):
        samples = run.COLD_ROUNDS * cold.count(target, [language])
        calls = run.MAX_WARMUP + run.COMPUTE_ROUNDS * sizes
        expected += of_cold(target, language, samples, ())
        expected += of_compute(target, language, run.ENVIRONMENTS, calls)
    for one in planned:
        if one.language:
            memory_mb = one.memory_mb or _memory_mb(target, one.language, ())
            expected += Expected.in_flight(one.max_in_flight, one.length_s, memory_mb)
    return expected


def of_saturated(target: Target, planned: Sequence[Surge], seconds: float) -> Expected:
    """Of saturated jobs, each with as many calls in flight as may be for so long."""
    expected = Expected()
    for one in planned:
        if one.language:
            memory_mb = _memory_mb(target, one.language, ())
            expected += Expected.in_flight(one.max_in_flight, seconds, memory_mb)
    return expected


def _memory_mb(target: Target, language: str, memories_mb: Sequence[int]) -> float:
    """The mean memory of a language's function over the sizes it is measured with."""
    sizes = memories_mb or (target.memory_mb.get(language, 0),)
    return sum(sizes) / len(sizes)
