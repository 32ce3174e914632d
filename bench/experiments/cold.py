"""How long a new execution environment takes to give its first answer.

A sample counts only if it is cold by both signs: the service reports an init duration, and the
function says that this is its first call. What does not count is recorded with the reason.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.experiments.batches import Batch, Caller, draw
from bench.lambdas.target import Target, force_cold
from bench.records import Run
from flink_job.lambda_client import Answer, LambdaClient

ROUNDS = 20
MEMORIES_MB = (1769,)
BATCH_SIZE = 10
ATTEMPTS = 3
_BATCH_SEED = 1


@dataclass(frozen=True)
class _Place:
    """A function at a memory size."""

    language: str
    handler: str
    function: str
    memory_mb: int


def measure(
    target: Target,
    run: Run,
    languages: Sequence[str],
    *,
    memories_mb: Sequence[int] = MEMORIES_MB,
    rounds: int = ROUNDS,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a `cold` record for each attempt, of each language's tokenizer and its empty handler.

    Every sample is the same call, a batch of 10 sentences. Each round has one sample of every
    function at every memory size, in an order drawn anew; a sample that does not count is tried
    again, at most `ATTEMPTS` times in all.

    Args:
        rounds: samples wanted of each.
        on_progress: called with 1 after each sample.

    Raises:
        WrongAnswer: a function answered other tokens than the reference in Python.
        TooManyFailures: calls keep failing.
    """
    rng = random.Random(run.seed)
    caller = Caller(LambdaClient(target.endpoint_url, target.region), run, "cold")
    batch = draw(_BATCH_SEED, 0, BATCH_SIZE)
    places = list(_places(target, languages, memories_mb))
    for round_ in range(rounds):
        for place in rng.sample(places, len(places)):
            for _ in range(ATTEMPTS):
                if _sample(target, run, caller, place, batch, round_):
                    break
            on_progress(1)


def count(target: Target, languages: Sequence[str], memories_mb: Sequence[int]) -> int:
    """Samples in a round."""
    return len(list(_places(target, languages, memories_mb)))


def reason_to_discard(answer: Answer) -> str | None:
    """Why an answer is not that of a cold start; None if it is one."""
    if answer.report.init_ms is None:
        return "the service reports no init duration"
    if not answer.value.get("first_call"):
        return "the function says that it was called before"
    return None


def _places(
    target: Target, languages: Sequence[str], memories_mb: Sequence[int]
) -> Iterator[_Place]:
    for language, memory_mb in itertools.product(languages, memories_mb):
        yield _Place(language, "tokenizer", target.functions[language], memory_mb)
        if language in target.empties:
            yield _Place(language, "empty", target.empties[language], memory_mb)


def _sample(
    target: Target, run: Run, caller: Caller, place: _Place, batch: Batch, round_: int
) -> bool:
    """Force a cold start, call, write what came of it; whether it counts."""
    force_cold(target, place.function, place.memory_mb)
    if place.handler == "tokenizer":
        answer = caller.tokenize(place.language, place.function, batch)
    else:
        answer = caller.invoke(place.language, place.function, batch.event)
    if answer is None:
        return False
    reason = reason_to_discard(answer)
    compute_ns = answer.value.get("compute_ns")
    run.write(
        "cold",
        language=place.language,
        handler=place.handler,
        memory_mb=place.memory_mb,
        round=round_,
        bring_up_ms=answer.report.bring_up_ms,
        init_ms=answer.report.init_ms,
        first_call_ms=answer.report.duration_ms,
        wall_ms=answer.wall_ms,
        compute_ms=None if compute_ns is None else compute_ns / 1e6,
        billed_ms=answer.report.billed_ms,
        max_memory_mb=answer.report.max_memory_mb,
        accepted=reason is None,
        discarded_because=reason,
    )
    return reason is None
