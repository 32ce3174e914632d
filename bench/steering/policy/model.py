"""The words that policies are written in: what they see, what they know, what they say.

Everything here is a value; a policy is a pure function from what it has seen to a decision, so that
it can be run again over recorded samples, without Flink and without Lambda.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, TypeVar


@dataclass(frozen=True)
class Sample:
    """What Flink's metrics say at one moment: of a `sample` record (see `bench/facts/RECORDS.md`)
    those fields that every job has. What only the schedule knows, has no place in it.

    Rates are sentences/s, ratios 0..1, all differenced from cumulative counters since the last
    sample. None is unknown. `tokenizer_waiting` is the part of being busy in which the operator
    only waited for a free call.
    """

    at_ms: float
    emitted_per_s: float | None = None
    processed_per_s: float | None = None
    source_busy: float | None = None
    source_idle: float | None = None
    source_backpressured: float | None = None
    tokenizer_busy: float | None = None
    tokenizer_idle: float | None = None
    tokenizer_backpressured: float | None = None
    tokenizer_waiting: float | None = None
    local_per_s: float | None = None
    local_cpu_us: float | None = None
    work_cpu_us: float | None = None
    called_per_s: float | None = None
    call_cpu_us: float | None = None
    calls_per_s: float | None = None
    in_flight: float | None = None
    failed_calls: float | None = None
    late_calls: float | None = None
    throttled_calls: float | None = None
    gauges: Mapping[str, Any] | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Sample:
        """Take the fields of a sample out of a record, or of anything like one."""
        names = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in record.items() if key in names})


@dataclass(frozen=True)
class Profile:
    """What calling one language's function costs.

    Attributes:
        cold_start_ms: what the first call of an environment takes longer than a later one.
        compute_ms: `Duration` of a warm call with a full batch.
        shipping_ms: the client's time around that call, less its `Duration`.
        call_cpu_us, sentence_cpu_us: CPU that a call takes the worker, apart from its sentences,
            and for each of them, apart from sending them downstream: taken for true until the job
            has measured its own.
    """

    cold_start_ms: float
    compute_ms: float
    shipping_ms: float
    call_cpu_us: float = 300.0
    sentence_cpu_us: float = 5.0

    def cpu_us(self, sentences: float) -> float:
        """CPU of the worker for one sentence, in calls of so many."""
        return self.call_cpu_us / sentences + self.sentence_cpu_us

    @property
    def call_ms(self) -> float:
        """A warm call, from the client's side."""
        return self.compute_ms + self.shipping_ms


@dataclass(frozen=True)
class Settings:
    """What a policy may know beforehand.

    Attributes:
        batch_size, linger_ms: when a batch closes.
        max_in_flight: calls that the concurrency limit allows at once, in the whole job.
        profile: of the language that is called.
        parallelism: subtasks of the tokenizer.
        catch_up_s: time in which a backlog is to be gone.
        most_call_ms: how long a call with several batches may take, so that they come in time.
        expected_burst_s: how long an overload is expected to last, if anybody knows.
        is_warm: environments are up already, so that no call waits for a cold start.
        warms_up: start environments when the load rises towards the capacity.
    """

    batch_size: int
    linger_ms: float
    max_in_flight: int
    profile: Profile
    parallelism: int = 1
    catch_up_s: float = 0.25
    most_call_ms: float = 300.0
    expected_burst_s: float | None = None
    is_warm: bool = False
    warms_up: bool = False


@dataclass(frozen=True)
class Decision:
    """What the job is to do now.

    Attributes:
        overloaded: whether the tokenizer is, or would be if nothing were offloaded.
        share: of the sentences to offload, 0 to 1.
        in_flight: calls that the whole job, all its subtasks together, may have in flight.
        reason: one line with the figures that led to it.
        warm: environments that should be up although nothing is offloaded yet.
        batches_per_call: that one call may take when they queue.
    """

    overloaded: bool
    share: float
    in_flight: int
    reason: str
    warm: int = 0
    batches_per_call: int = 1


S = TypeVar("S")


class Policy(ABC, Generic[S]):
    """Decides, sample by sample. Pure: all that it remembers is in the state that it hands back."""

    name: ClassVar[str]

    @abstractmethod
    def start(self) -> S:
        """The state before the first sample."""

    @abstractmethod
    def step(self, state: S, sample: Sample) -> tuple[S, Decision]:
        """Take in the next sample."""
