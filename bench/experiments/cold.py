"""How long a new execution environment takes to give its first answer.

A sample counts only if it is cold by both signs: the service reports an init duration, and the
function says that this is its first call. What does not count is recorded with the reason.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from bench.experiments.batches import PLAIN, Batch, Caller, Text, Work
from bench.facts.records import Run
from bench.lambdas.target import MemoryRefused, Target, force_cold, memory_kept
from flink_job.offload.client import Answer, LambdaClient

ROUNDS = 20
BATCH_SIZE = 100  # as the job sends it
ATTEMPTS = 3
_BATCH_SEED = 1


@dataclass(frozen=True)
class _Place:
    """A function at a memory size, and the text of its first call."""

    language: str
    handler: str
    function: str
    memory_mb: int
    text: Text


def measure(
    target: Target,
    run: Run,
    languages: Sequence[str],
    *,
    work: Work = PLAIN,
    texts: Sequence[Text] = ("ascii",),
    memories_mb: Sequence[int] = (),
    rounds: int = ROUNDS,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a `cold` record for each attempt, of each language's tokenizer and its empty handler.

    Every sample of a text is the same call, a batch of 100 sentences. Each round has one sample of
    every function at every memory size with every text, in an order drawn anew; a sample that does
    not count is tried again, at most `ATTEMPTS` times in all. The functions end with the memory
    they began with.

    Args:
        work: the operator, and the mean length of the sentences.
        texts: letters of the sentences; see `Work.draw`.
        memories_mb: memory sizes; if there are none, what each function is configured with. One
            that the account may not have is noted as a failure.
        rounds: samples wanted of each.
        on_progress: called with 1 after each sample.

    Raises:
        BatchTooLarge: such a batch does not go through Lambda.
        WrongAnswer: a function answered other tokens than the reference in Python.
        TooManyFailures: calls keep failing.
    """
    rng = random.Random(run.seed)
    batches = {text: work.draw(_BATCH_SEED, 0, BATCH_SIZE, text) for text in texts}
    functions = [f for language in languages for f in _functions(target, language).values()]
    with (
        closing(LambdaClient(target.endpoint_url, target.region)) as client,
        memory_kept(target, functions) as configured,
    ):
        caller = Caller(client, run, "cold")
        places = [
            _Place(language, handler, function, size, text)
            for language in languages
            for handler, function in _functions(target, language).items()
            for size in memories_mb or [configured[function]]
            for text in texts
        ]
        refused: set[tuple[str, int]] = set()
        for round_ in range(rounds):
            for place in rng.sample(places, len(places)):
                if (place.function, place.memory_mb) not in refused:
                    try:
                        _attempt(target, run, caller, place, batches[place.text], work, round_)
                    except MemoryRefused as error:
                        refused.add((place.function, place.memory_mb))
                        caller.note(place.language, place.function, error)
                on_progress(1)


def count(
    target: Target,
    languages: Sequence[str],
    memories_mb: Sequence[int] = (),
    texts: Sequence[Text] = ("ascii",),
) -> int:
    """Samples in a round."""
    functions = sum(len(_functions(target, language)) for language in languages)
    return functions * (len(memories_mb) or 1) * len(texts)


def reason_to_discard(answer: Answer) -> str | None:
    """Why an answer is not that of a cold start; None if it is one."""
    if answer.report.init_ms is None:
        return "the service reports no init duration"
    waited_ms = answer.report.init_ms + (answer.report.duration_ms or 0.0)
    if answer.wall_ms < waited_ms:
        return "the environment was started in advance: the call took less than init and duration"
    if not answer.value.get("first_call"):
        return "the function says that it was called before"
    return None


def _functions(target: Target, language: str) -> dict[str, str]:
    """Function names by handler: ours, and the one that does nothing where there is one."""
    found = {"tokenizer": target.functions[language]}
    if language in target.empties:
        found["empty"] = target.empties[language]
    return found


def _attempt(
    target: Target,
    run: Run,
    caller: Caller,
    place: _Place,
    batch: Batch,
    work: Work,
    round_: int,
) -> None:
    """Take a sample, again if it does not count."""
    for _ in range(ATTEMPTS):
        if _sample(target, run, caller, place, batch, work, round_):
            return


def _sample(
    target: Target,
    run: Run,
    caller: Caller,
    place: _Place,
    batch: Batch,
    work: Work,
    round_: int,
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
        network_ms=answer.report.network_ms,
        placement_ms=answer.report.placement_ms,
        accepted=reason is None,
        discarded_because=reason,
        sentences=len(batch.sentences),
        text=place.text,
        operator=work.operator,
        words_per_sentence=work.words_per_sentence,
    )
    return reason is None
