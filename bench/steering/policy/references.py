"""Policies to compare with: two that others use, and one that nobody can have."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from bench.steering.policy.amount import NOTHING, amount
from bench.steering.policy.model import Decision, Policy, Sample, Settings
from flink_job.load.shapes import Shape


@dataclass(frozen=True)
class Queue:
    """What waits before the job, by its schedule: for those who would know it in other ways.

    Attributes:
        at_ms: of the last sample.
        due: sentences due until then.
        processed: those that had been by then, summed up from the rates of the samples.
    """

    at_ms: float | None = None
    due: int = 0
    processed: float = 0.0

    @property
    def backlog(self) -> float:
        """Sentences due and not processed."""
        return max(0.0, self.due - self.processed)

    def look(self, shape: Shape, sample: Sample) -> Queue:
        """Take in a sample of a job with this schedule."""
        gap_s = 0.0 if self.at_ms is None else (sample.at_ms - self.at_ms) / 1000
        processed = self.processed + (sample.processed_per_s or 0.0) * gap_s
        return Queue(sample.at_ms, shape.count(sample.at_ms / 1000), processed)


@dataclass(frozen=True)
class SpongeState:
    """When it last looked, when it last changed its mind, and to what; the queue now and when it
    last looked."""

    checked_ms: float
    decided_ms: float
    decision: Decision
    queue: Queue = field(default_factory=Queue)
    checked: Queue = field(default_factory=Queue)


@dataclass(frozen=True)
class Sponge(Policy[SpongeState]):
    """The precursor rule published with Sponge (USENIX ATC 2023).

    Checked every second: if the queue delay is over 2 s, the share is
    min(0.95, 1 - processed / input + 0.1), otherwise 0; after a change, 10 s of rest.

    Its engine counts what arrives before its operators. A Flink job's metrics do not, so it is told
    the schedule for that, and nothing else of it.
    """

    name: ClassVar[str] = "sponge"
    settings: Settings
    shape: Shape
    delay_s: ClassVar[float] = 2.0
    check_ms: ClassVar[float] = 1000.0
    rest_ms: ClassVar[float] = 10_000.0

    def start(self) -> SpongeState:
        return SpongeState(
            -math.inf, -math.inf, Decision(False, 0.0, 0, "healthy: nothing seen yet")
        )

    def step(self, state: SpongeState, sample: Sample) -> tuple[SpongeState, Decision]:
        queue = state.queue.look(self.shape, sample)
        state, now_ms = replace(state, queue=queue), sample.at_ms
        if now_ms - state.checked_ms < self.check_ms or now_ms - state.decided_ms < self.rest_ms:
            return state, state.decision
        before = state.checked
        arrived = max(0, queue.due - before.due)
        processed = queue.processed - before.processed
        elapsed_s = (now_ms - (before.at_ms if before.at_ms is not None else now_ms)) / 1000
        delay_s = queue.backlog / (processed / elapsed_s) if processed > 0 and elapsed_s else 0.0
        if delay_s > self.delay_s and arrived:
            share = max(0.0, min(0.95, 1 - processed / arrived + 0.1))
            reason = f"overloaded: queue delay {delay_s:.1f} s; {share:.0%} to Lambda"
            decision = Decision(True, share, self.settings.max_in_flight, reason)
        else:
            decision = Decision(False, 0.0, 0, f"healthy: queue delay {delay_s:.1f} s")
        changed = decision.share != state.decision.share
        decided_ms = now_ms if changed else state.decided_ms
        return SpongeState(now_ms, decided_ms, decision, queue, queue), decision


@dataclass(frozen=True)
class Threshold(Policy[None]):
    """All or nothing: everything goes to Lambda while the tokenizer is busy over a threshold."""

    name: ClassVar[str] = "threshold"
    settings: Settings
    busy: ClassVar[float] = 0.9

    def start(self) -> None:
        return None

    def step(self, state: None, sample: Sample) -> tuple[None, Decision]:
        busy = sample.tokenizer_busy or 0.0
        if busy > self.busy:
            reason = f"overloaded: busy {busy:.0%}; everything to Lambda"
            return None, Decision(True, 1.0, self.settings.max_in_flight, reason)
        return None, Decision(False, 0.0, 0, f"healthy: busy {busy:.0%}")


@dataclass(frozen=True)
class Oracle(Policy[Queue]):
    """Knows the schedule and the capacity: decides before the load comes, and warms up in time.

    Args:
        ahead_s: how long a decision takes to be made and to reach the job.
    """

    name: ClassVar[str] = "oracle"
    settings: Settings
    shape: Shape
    capacity_per_s: float
    ahead_s: float = 0.6

    def start(self) -> Queue:
        return Queue()

    def step(self, state: Queue, sample: Sample) -> tuple[Queue, Decision]:
        state = state.look(self.shape, sample)
        now_s, settings = sample.at_ms / 1000, self.settings
        rate = max(self.shape.rate(now_s), self.shape.rate(now_s + self.ahead_s))
        # What is in an open batch, or in counters not yet taken, is no backlog.
        behind = max(0.0, state.backlog - rate * (settings.linger_ms / 1000 + 0.15))
        overloaded = rate > self.capacity_per_s or behind > self.capacity_per_s / 2
        now = amount(rate, self.capacity_per_s, behind, settings) if overloaded else NOTHING
        horizon_s = self.ahead_s + settings.profile.cold_start_ms / 1000
        coming = max(rate, self.shape.rate(now_s + horizon_s))
        warm = amount(coming, self.capacity_per_s, 0.0, settings).in_flight
        verdict = "overloaded" if overloaded else "healthy"
        reason = f"{verdict}: {rate:,.0f}/s scheduled, {self.capacity_per_s:,.0f}/s local"
        return state, Decision(overloaded, now.share, now.in_flight, reason, warm)
