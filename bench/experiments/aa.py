"""The test of the harness itself: one function under two names must show no difference.

It takes the way of `compute`, in the same code; the report judges it as it judges languages.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.experiments import compute
from bench.experiments.compute import Subject
from bench.facts.records import Run
from bench.lambdas.target import Target

BATCH_SIZE = 100
ENVIRONMENTS = 10
ROUNDS = 10
MAX_WARMUP = 50


def measure(
    target: Target,
    run: Run,
    language: str,
    alias: str,
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write `call` records of variants "A" and "B"; see `compute.measure` for what it raises.

    Args:
        alias: the second name of the language's function.
        on_progress: called with 1 after each of the `ENVIRONMENTS` passes over both.
    """
    compute.measure(
        target,
        run,
        [Subject(language, target.functions[language], "A"), Subject(language, alias, "B")],
        sizes=[BATCH_SIZE],
        environments=ENVIRONMENTS,
        rounds=ROUNDS,
        max_warmup=MAX_WARMUP,
        on_progress=on_progress,
    )
