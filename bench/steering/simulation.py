"""A small model of the job, to try policies on: batches, a worker whose CPU both its own work and
calls take, Lambda, and late and noisy metrics.

It is not the job: it knows no garbage collector, no network and no JIT, only the noise that it is
told of. What it is good for is comparing policies over many surges in seconds; what holds is shown
by running Flink. Pure: the same arguments give the same course.
"""

from __future__ import annotations

import heapq
import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.steering.policy import Decision, Policy, Sample, Settings
from flink_job.load.shapes import PlannedBatch, Shape, Steps, batches

_POLL_S = 0.25
# Batches that fit between source and tokenizer before the source blocks.
_BUFFERED = 8


_COUNTERS = ("local", "local_us", "called", "call_us", "calls", "in_flight", "throttled")


@dataclass(frozen=True)
class Noise:
    """How the model differs from a clockwork.

    Attributes:
        load: standard deviation of the offered rate, relative, correlated over half a second.
        service: standard deviation of a batch's computing time, and of a call's, relative.
        pause_ms, pause_every_s: the worker stops for so long, so often on average.
        metrics_delay_ms: metrics are up to this old, evenly distributed.
        apply_ms: from a decision until the operator has it.
    """

    load: float = 0.0
    service: float = 0.1
    pause_ms: float = 100.0
    pause_every_s: float = 10.0
    metrics_delay_ms: float = 250.0
    apply_ms: float = 50.0


@dataclass(frozen=True)
class World:
    """What the model is like, apart from noise, and no policy is told.

    Attributes:
        call_cpu_us, sentence_cpu_us: CPU that a call takes the worker, apart from its sentences,
            and for each of them, with which it does nothing else. CPU for a sentence done here
            follows from the capacity.
        most_calls: in flight; one more is refused (HTTP 429), and its batch done here.
        refused_s: from when until when every call is.
        cold_s, cold_times: the worker's first seconds, and how many times longer work takes then.
        quota: the CPU that the worker may use, of one; work takes so much longer.
    """

    call_cpu_us: float = 300.0
    sentence_cpu_us: float = 2.0
    most_calls: int | None = None
    refused_s: tuple[float, float] = (0.0, 0.0)
    cold_s: float = 0.0
    cold_times: float = 1.0
    quota: float = 1.0


@dataclass(frozen=True)
class Made:
    """A batch that has come out: when its sentences were due, when it was at the sink, and how."""

    batch: PlannedBatch
    sink_s: float
    offloaded: bool


@dataclass(frozen=True)
class Course:
    """What happened: every batch, every sample and the decision that followed it."""

    made: list[Made]
    samples: list[Sample]
    decisions: list[Decision]
    cold_starts: int

    @property
    def calls(self) -> int:
        """Batches that went to Lambda."""
        return sum(made.offloaded for made in self.made)


@dataclass(frozen=True)
class _Pieces(Steps):
    """A rate that is given piece by piece."""

    name: ClassVar[str] = "pieces"
    pieces: tuple[tuple[float, float], ...]

    def _pieces(self) -> list[tuple[float, float]]:
        return list(self.pieces)


def noisy(shape: Shape, length_s: float, deviation: float, chance: random.Random) -> Shape:
    """`shape` with a relative noise of standard deviation `deviation`, new every 0.1 s, correlated
    over 0.5 s (an AR(1) process); the mean stays."""
    step_s, kept = 0.1, math.exp(-0.1 / 0.5)
    level, pieces = 0.0, []
    for i in range(math.ceil(length_s / step_s)):
        level = kept * level + math.sqrt(1 - kept**2) * chance.gauss(0, deviation)
        pieces.append((i * step_s, shape.rate((i + 0.5) * step_s) * max(0.0, 1 + level)))
    return _Pieces(tuple(pieces))


def simulate(
    policy: Policy[Any],
    shape: Shape,
    length_s: float,
    capacity_per_s: float,
    settings: Settings,
    noise: Noise,
    seed: int,
    world: World = World(),
) -> Course:
    """Run `policy` in a closed loop over `length_s` of `shape`.

    Args:
        capacity_per_s: sentences/s that the one worker does.
    """
    chance = random.Random(f"{seed}")
    if noise.load:
        shape = noisy(shape, length_s, noise.load, chance)
    plan = batches(shape, length_s, settings.batch_size, settings.linger_ms)
    job = _Job(plan, capacity_per_s, settings, noise, chance, world)
    watch = _Watch(policy, job)
    made = [job.work_off(number, watch) for number in range(len(plan))]
    return Course(made, watch.samples, watch.decisions, job.cold_starts)


@dataclass
class _Spans:
    """Stretches of time in order, and how much of them lies before a moment."""

    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=lambda: [0.0])

    def add(self, start: float, end: float) -> None:
        self.starts.append(start)
        self.ends.append(end)
        self.done.append(self.done[-1] + end - start)

    def before(self, moment: float) -> float:
        i = bisect_right(self.starts, moment)
        if i == 0:
            return 0.0
        return self.done[i] - max(0.0, self.ends[i - 1] - moment)


class _Job:
    """The source, the one worker, and the execution environments."""

    def __init__(
        self,
        plan: list[PlannedBatch],
        capacity_per_s: float,
        settings: Settings,
        noise: Noise,
        chance: random.Random,
        world: World,
    ) -> None:
        self.plan, self.noise, self.chance, self._world = plan, noise, chance, world
        self._capacity_per_s, self._settings = capacity_per_s, settings
        self._emitted: list[float] = []
        self._taken: list[float] = []
        self.busy, self.blocked = _Spans(), _Spans()
        self._free_at = 0.0
        self._pause_at = self._next_pause(0.0)
        self.directives: list[tuple[float, Decision]] = []
        self._owed = 0.0
        self._events: list[tuple[float, str, float]] = []
        self._totals = dict.fromkeys(_COUNTERS, 0.0)
        self._in_flight: list[float] = []
        # When each environment is free again.
        self._environments = [0.0] * (settings.max_in_flight if settings.is_warm else 0)
        self.cold_starts = 0

    def work_off(self, number: int, watch: _Watch) -> Made:
        """Let time pass until batch `number` is taken up, and see it through."""
        self._emit(number + _BUFFERED)
        now = max(self._emitted[number], self._free_at)
        if now >= self._pause_at:
            now += self.noise.pause_ms / 1000
            self._pause_at = self._next_pause(now)
        watch.until(now)
        self._taken.append(now)
        batch, directive = self.plan[number], self._directive(now)
        if directive is not None and self._is_to_offload(directive, now):
            most, (from_s, to_s) = self._world.most_calls, self._world.refused_s
            self._count(now, "calls", 1 / directive.batches_per_call)
            fits = most is None or len(self._in_flight) < most * directive.batches_per_call
            if fits and not from_s <= now < to_s:
                return self._offloaded(batch, now, directive)
            self._count(now, "throttled", 1)
        world = self._world
        work_s = batch.count / self._capacity_per_s * self._varied()
        if now < world.cold_s:
            work_s *= world.cold_times
        self._free_at = now + work_s
        self.busy.add(now, self._free_at)
        self._count(self._free_at, "local", batch.count)
        self._count(self._free_at, "local_us", work_s * world.quota * 1e6)
        return Made(batch, self._free_at, False)

    def _offloaded(self, batch: PlannedBatch, now: float, directive: Decision) -> Made:
        """Batches that go together share the cost of one call, and its time is that of them all."""
        world, together = self._world, directive.batches_per_call
        call_us = world.call_cpu_us / together + batch.count * world.sentence_cpu_us
        self._free_at = now + call_us / 1e6 / world.quota
        self.busy.add(now, self._free_at)
        end = self._call(now, together)
        self._count(self._free_at, "call_us", call_us)
        self._count(now, "in_flight", 1 / together)
        self._count(end, "in_flight", -1 / together)
        self._count(end, "called", batch.count)
        return Made(batch, end, True)

    def _count(self, at_s: float, what: str, value: float) -> None:
        heapq.heappush(self._events, (at_s, what, value))

    def counted(self, moment: float) -> dict[str, float]:
        """The counters at `moment`, which only ever rises."""
        while self._events and self._events[0][0] <= moment:
            _, what, value = heapq.heappop(self._events)
            self._totals[what] += value
        return dict(self._totals)

    def warm_up(self, environments: int, now: float) -> None:
        """Start what is missing to so many environments."""
        for _ in range(environments - len(self._environments)):
            self.cold_starts += 1
            heapq.heappush(self._environments, now + self._settings.profile.cold_start_ms / 1000)

    def emitted(self, moment: float) -> int:
        return self._sentences(bisect_right(self._emitted, moment))

    def processed(self, moment: float) -> int:
        return self._sentences(bisect_right(self._taken, moment))

    def _sentences(self, upto: int) -> int:
        return self.plan[upto - 1].first + self.plan[upto - 1].count if upto else 0

    def _emit(self, upto: int) -> None:
        """Say when batches are emitted: when closed, but not before there is room for them."""
        for number in range(len(self._emitted), min(upto, len(self.plan))):
            ready = max(self.plan[number].closes_s, self._emitted[-1] if number else 0.0)
            room = self._taken[number - _BUFFERED] if number >= _BUFFERED else 0.0
            self._emitted.append(max(ready, room))
            if room > ready:
                self.blocked.add(ready, room)

    def _directive(self, now: float) -> Decision | None:
        known = [d for at, d in self.directives if at <= now]
        if known:
            self.directives = self.directives[len(known) - 1 :]
        return known[-1] if known else None

    def _is_to_offload(self, directive: Decision, now: float) -> bool:
        while self._in_flight and self._in_flight[0] <= now:
            heapq.heappop(self._in_flight)
        self._owed = min(self._owed + directive.share, 2.0) if directive.share else 0.0
        if self._owed < 1.0 or len(self._in_flight) >= (
            directive.in_flight * directive.batches_per_call
        ):
            return False
        self._owed -= 1.0
        return True

    def _call(self, now: float, together: int) -> float:
        """When the answer is back: from a free environment, or else from a new one."""
        profile = self._settings.profile
        call_ms = profile.shipping_ms + profile.compute_ms * together
        end = now + call_ms / 1000 * self._varied()
        if self._environments and self._environments[0] <= now:
            heapq.heapreplace(self._environments, end)
        else:
            self.cold_starts += 1
            end += profile.cold_start_ms / 1000 * self._varied()
            heapq.heappush(self._environments, end)
        heapq.heappush(self._in_flight, end)
        return end

    def _varied(self) -> float:
        return max(0.2, self.chance.gauss(1.0, self.noise.service))

    def _next_pause(self, now: float) -> float:
        return now + self.chance.expovariate(1 / self.noise.pause_every_s)


class _Watch:
    """Polls the job's counters, late, and hands the policy's decisions on, late too."""

    def __init__(self, policy: Policy[Any], job: _Job) -> None:
        self._policy, self._job = policy, job
        self._state = policy.start()
        # A poll falls anywhere within the interval before the first sentence.
        self._polled = -_POLL_S * job.chance.random()
        self._counted = self._polled
        self._last = Sample(0.0)
        self._totals = dict.fromkeys(_COUNTERS, 0.0)
        self.samples: list[Sample] = []
        self.decisions: list[Decision] = []

    def until(self, moment: float) -> None:
        """Do all polls before `moment`."""
        while self._polled + _POLL_S <= moment:
            self._poll(self._polled + _POLL_S)

    def _poll(self, now: float) -> None:
        job = self._job
        delay_s = job.noise.metrics_delay_ms / 1000 * job.chance.random()
        counted = max(self._counted, now - delay_s)
        sample = self._sample(now, counted)
        self._polled, self._counted, self._last = now, counted, sample
        self._state, decision = self._policy.step(self._state, sample)
        self.samples.append(sample)
        self.decisions.append(decision)
        applied = now + job.noise.apply_ms / 1000
        job.directives.append((applied, decision))
        job.warm_up(decision.warm, applied)

    def _sample(self, now: float, counted: float) -> Sample:
        """Rates by the clock of who polls, ratios by the counters, like `bench.cluster.metrics`."""
        job, before, elapsed = self._job, self._counted, now - self._polled
        span = counted - before
        if span <= 0:  # the same metrics again
            busy = self._last.tokenizer_busy
            blocked = self._last.source_backpressured
        else:
            busy = (job.busy.before(counted) - job.busy.before(before)) / span
            blocked = (job.blocked.before(counted) - job.blocked.before(before)) / span
        totals, known = job.counted(counted), self._totals
        self._totals = totals
        since = {name: totals[name] - known[name] for name in totals}
        return Sample(
            at_ms=now * 1000,
            emitted_per_s=(job.emitted(counted) - job.emitted(before)) / elapsed,
            processed_per_s=(job.processed(counted) - job.processed(before)) / elapsed,
            source_busy=None if blocked is None else 1 - blocked,
            source_idle=0.0,
            source_backpressured=blocked,
            tokenizer_busy=busy,
            tokenizer_idle=None if busy is None else 1 - busy,
            tokenizer_backpressured=0.0,
            local_per_s=since["local"] / elapsed,
            local_cpu_us=since["local_us"] / since["local"] if since["local"] else None,
            work_cpu_us=since["local_us"] / since["local"] if since["local"] else None,
            called_per_s=since["called"] / elapsed,
            call_cpu_us=since["call_us"] / since["called"] if since["called"] else None,
            calls_per_s=since["calls"] / elapsed,
            in_flight=totals["in_flight"],
            failed_calls=0.0,
            late_calls=0.0,
            throttled_calls=since["throttled"],
        )


def latencies_ms(made: list[Made], from_s: float, to_s: float) -> list[float]:
    """Latency of every sentence due in [from_s, to_s), in ms; due times evenly spaced."""
    return [
        (out.sink_s - due_s) * 1000
        for out in made
        for due_s in _due_times(out.batch)
        if from_s <= due_s < to_s
    ]


def _due_times(batch: PlannedBatch) -> Iterator[float]:
    step_s = (batch.due_last_s - batch.due_first_s) / max(1, batch.count - 1)
    return (batch.due_first_s + k * step_s for k in range(batch.count))
