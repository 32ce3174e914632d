"""What a batch costs in an environment that is up: each language, each batch size, interleaved.

An environment of every language is started and called until it is steady; then all of them are
called in turn, in an order drawn anew each round. That is one pass; a run makes several, each in
new environments, since two processes of the same program differ by more than the calls of one.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from bench.experiments.batches import PLAIN, Batch, Caller, TooManyFailures, Work
from bench.facts.records import Run
from bench.lambdas.target import MemoryRefused, Target, force_cold, memory_kept
from flink_job.offload.client import LambdaClient

SIZES = (1, 10, 100, 1000)
ENVIRONMENTS = 10
ROUNDS = 20
MAX_WARMUP = 1000
WARMUP_SIZE = 100
WARMUP_WINDOW = 50
WARMUP_TOLERANCE = 0.05


@dataclass(frozen=True)
class Subject:
    """A function that is measured; `variant` tells the two of an A/A test apart."""

    language: str
    function: str
    variant: str | None = None


def subjects(target: Target, languages: Sequence[str]) -> list[Subject]:
    """The target's functions of these languages."""
    return [Subject(language, target.functions[language]) for language in languages]


def measure(
    target: Target,
    run: Run,
    measured: Sequence[Subject],
    *,
    work: Work = PLAIN,
    sizes: Sequence[int] = SIZES,
    memories_mb: Sequence[int] = (),
    environments: int = ENVIRONMENTS,
    rounds: int = ROUNDS,
    max_warmup: int = MAX_WARMUP,
    budget_s: float = float("inf"),
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a `call` record for each call. The functions end with the memory they began with.

    Args:
        measured: the functions; see `subjects`.
        work: the operator, and the mean length of the sentences.
        sizes: of the batches, in sentences.
        memories_mb: memory sizes; if there are none, what each function is configured with. One
            that the account may not have is noted as a failure.
        environments: of each function at each memory size, one after another.
        rounds: calls of each size in each environment once it is steady.
        max_warmup: calls after which an environment is taken as it is.
        budget_s: no further environments are started after this time; the first always are.
        on_progress: called with the number of passes just done.

    Raises:
        BatchTooLarge: the largest batch does not go through Lambda.
        WrongAnswer: a function answered other tokens than the reference in Python.
        TooManyFailures: calls keep failing.
    """
    rng = random.Random(run.seed)
    batches = (work.draw(run.seed, number, max(sizes)) for number in itertools.count())
    memories: list[int | None] = [*memories_mb] or [None]
    passes = [size for _ in range(environments) for size in rng.sample(memories, len(memories))]
    began = time.monotonic()
    changed = [x.function for x in measured] if memories_mb else []
    with (
        closing(LambdaClient(target.endpoint_url, target.region)) as client,
        memory_kept(target, changed),
    ):
        caller = Caller(client, run, "compute")
        functions = [_Environments(subject, caller, run, work) for subject in measured]
        for number, size_mb in enumerate(passes):
            if number >= len(memories) and time.monotonic() - began > budget_s:
                break
            started = []
            for function in rng.sample(functions, len(functions)):
                try:
                    function.start(target, next(batches), max_warmup, size_mb)
                    started.append(function)
                except MemoryRefused as error:
                    caller.note(function.subject.language, function.subject.function, error)
            turns = list(itertools.product([x for x in functions if x in started], sizes))
            for round_ in range(number * rounds, (number + 1) * rounds):
                batch = next(batches)
                cut = {size: batch.cut(size) for size in sizes}
                for function, size in rng.sample(turns, len(turns)):
                    function.call(cut[size], round_, max_warmup)
            on_progress(1)


def is_steady(
    times_ms: Sequence[float],
    window: int = WARMUP_WINDOW,
    tolerance: float = WARMUP_TOLERANCE,
) -> bool:
    """Whether the medians of the last two windows of calls differ by no more than `tolerance`."""
    if len(times_ms) < 2 * window:
        return False
    before = median(times_ms[-2 * window : -window])
    now = median(times_ms[-window:])
    return abs(now - before) <= tolerance * before


class _Environments:
    """The execution environments of one function, one after another."""

    def __init__(self, subject: Subject, caller: Caller, run: Run, work: Work) -> None:
        self.subject = subject
        self._caller = caller
        self._run = run
        self._work = work
        self._number = -1
        self._calls = 0
        self._phase = "warmup"

    def start(
        self, target: Target, batch: Batch, max_warmup: int, memory_mb: int | None = None
    ) -> None:
        """Have a new environment, of another memory size if one is given, and call it until it is
        steady."""
        force_cold(target, self.subject.function, memory_mb)
        self._begin()
        self._warm_up(batch, max_warmup)

    def call(self, batch: Batch, round_: int, max_warmup: int) -> None:
        """Call once. An environment replaced behind our back is warmed up again."""
        self._call(batch, round_)
        if self._phase == "warmup":
            self._warm_up(batch, max_warmup)

    def _begin(self) -> None:
        self._number += 1
        self._calls = 0
        self._phase = "warmup"

    def _warm_up(self, batch: Batch, max_calls: int) -> None:
        times_ms: list[float] = []
        small = batch.cut(WARMUP_SIZE)
        for _ in range(max_calls):
            compute_ms = self._call(small, 0)
            if compute_ms is not None:
                times_ms.append(compute_ms)
            if is_steady(times_ms):
                break
        if not times_ms:
            raise TooManyFailures(f"no call of {self.subject.function} succeeded")
        self._phase = "steady"

    def _call(self, batch: Batch, round_: int) -> float | None:
        subject = self.subject
        answer = self._caller.tokenize(subject.language, subject.function, batch)
        if answer is None:
            return None
        if answer.value["first_call"] and self._calls:
            self._begin()
        self._calls += 1
        compute_ms = float(answer.value["compute_ns"]) / 1e6
        self._run.write(
            "call",
            language=subject.language,
            function=subject.function,
            variant=subject.variant,
            sentences=len(batch.sentences),
            tokens=batch.tokens,
            round=round_,
            phase=self._phase,
            environment=self._number,
            call_number=self._calls,
            compute_ms=compute_ms,
            duration_ms=answer.report.duration_ms,
            billed_ms=answer.report.billed_ms,
            wall_ms=answer.wall_ms,
            memory_mb=answer.report.memory_mb,
            operator=self._work.operator,
            words_per_sentence=self._work.words_per_sentence,
            network_ms=answer.report.network_ms,
        )
        return compute_ms
