"""Policies tried without Flink: in a closed loop on a model of the job, and on recorded metrics.

Four figures say whether a policy can be trusted, one table how near it comes to the oracle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.policy import POLICIES, Decision, Policy, Profile, Sample, Settings, policy
from bench.simulation import Course, Noise, latencies_ms, simulate
from flink_job.shapes import Constant, Shape, Surge, from_dict

# The modelled job: 2,000 sentences/s, 80 % loaded outside of surges, and a function that answers in
# 30 ms, or 400 ms later when its environment has to be started.
CAPACITY_PER_S = 2000.0
BASE_PER_S = 0.8 * CAPACITY_PER_S
SETTINGS = Settings(
    batch_size=100,
    linger_ms=50.0,
    max_in_flight=64,
    profile=Profile(cold_start_ms=400.0, compute_ms=5.0, shipping_ms=25.0),
)
# Loads around which a policy without hysteresis would change its mind again and again.
THRESHOLD_LOADS = (0.9, 0.95, 1.0, 1.05, 1.1)
FACTORS = tuple(2 + 8 * i / 19 for i in range(20))
_START_S, _DURATION_S, _AFTER_S = 10.0, 20.0, 15.0

Rule = Callable[[Shape], Policy]
"""Makes a policy for a job with this schedule."""


@dataclass(frozen=True)
class Figures:
    """What a policy does, over many modelled runs.

    Attributes:
        detection_ms: from the start of each surge until the policy says "overloaded"; `inf` never.
        false_alarms: times that it said so in 10 minutes at 80 % load with noise.
        to_zero_ms: from the end of each surge until nothing is offloaded any more.
        flaps: changes of mind beyond the first, in a minute at a load around the capacity; the worst.
    """

    detection_ms: list[float]
    false_alarms: int
    to_zero_ms: list[float]
    flaps: int


@dataclass(frozen=True)
class Relief:
    """What a policy does for the sentences of one surge, and what it uses for that."""

    p50_ms: float
    p99_ms: float
    excess_s: float
    """Area of excess latency: the mean latency above that before the surge, times its length."""
    share: float
    cold_starts: int


def rule(name: str, settings: Settings = SETTINGS) -> Rule:
    """The policy called `name`, for whatever schedule it is tried on."""
    return lambda shape: policy(name, settings, shape, CAPACITY_PER_S)


def surge(factor: float) -> Surge:
    """The surge that policies are tried on: from 80 % load, `factor` times that for 20 s."""
    return Surge(BASE_PER_S, factor, _START_S, _DURATION_S)


def figures(make: Rule, schedule_known: bool = True) -> Figures:
    """The four figures of a policy: 20 surges of factor 2 to 10, 10 minutes at 80 %, and a minute
    at each of five loads around the capacity."""
    noise = Noise(load=0.1)
    length_s = _START_S + _DURATION_S + _AFTER_S

    def run(shape: Shape, length_s: float, seed: int) -> Course:
        return simulate(
            make(shape),
            shape,
            length_s,
            CAPACITY_PER_S,
            SETTINGS,
            noise,
            seed,
            schedule_known=schedule_known,
        )

    surges = [run(surge(factor), length_s, seed) for seed, factor in enumerate(FACTORS)]
    calm = run(Constant(BASE_PER_S), 600.0, seed=100)
    wavering = [
        run(Constant(load * CAPACITY_PER_S), 60.0, seed=200 + i)
        for i, load in enumerate(THRESHOLD_LOADS)
    ]
    return Figures(
        detection_ms=[detection_ms(_decided(course), _START_S * 1000) for course in surges],
        false_alarms=len(alarms(_decided(calm))),
        to_zero_ms=[to_zero_ms(_decided(x), (_START_S + _DURATION_S) * 1000) for x in surges],
        flaps=max(changes(_decided(course)) - 1 for course in wavering),
    )


def relief(make: Rule, factor: float = 4.0, repetitions: int = 5) -> Relief:
    """How the sentences of a surge fare; without back-up in the worst repetition, by p99."""
    shape = surge(factor)
    length_s = _START_S + _DURATION_S + _AFTER_S
    end_s = _START_S + _DURATION_S
    found = []
    for seed in range(repetitions):
        course = simulate(
            make(shape), shape, length_s, CAPACITY_PER_S, SETTINGS, Noise(load=0.05), seed
        )
        before = np.array(latencies_ms(course.made, _START_S / 2, _START_S))
        during = np.array(latencies_ms(course.made, _START_S, end_s))
        in_surge = [x for x in course.made if _START_S <= x.batch.due_first_s < end_s]
        sentences = sum(x.batch.count for x in in_surge)
        found.append(
            Relief(
                p50_ms=float(np.percentile(during, 50)),
                p99_ms=float(np.percentile(during, 99)),
                excess_s=max(0.0, float(during.mean() - before.mean())) / 1000 * _DURATION_S,
                share=sum(x.batch.count for x in in_surge if x.offloaded) / sentences,
                cold_starts=course.cold_starts,
            )
        )
    return sorted(found, key=lambda x: x.p99_ms)[len(found) // 2]


Decided = list[tuple[float, Decision]]
"""Decisions with the time, in ms, at which each was made."""


def _decided(course: Course) -> Decided:
    return [(x.at_ms, d) for x, d in zip(course.samples, course.decisions, strict=True)]


def detection_ms(decided: Decided, start_ms: float) -> float:
    """From the start of a surge to the first decision that knows; `inf` if none does."""
    return next((at - start_ms for at, d in decided if at >= start_ms and d.overloaded), math.inf)


def to_zero_ms(decided: Decided, end_ms: float) -> float:
    """From the end of a surge until nothing is offloaded for good; `inf` if that never comes."""
    if not decided or decided[-1][1].share > 0:
        return math.inf
    last = max((i for i, (_, d) in enumerate(decided) if d.share > 0), default=None)
    return 0.0 if last is None else max(0.0, decided[last + 1][0] - end_ms)


def alarms(decided: Decided) -> list[float]:
    """When the verdict turned to "overloaded"."""
    verdicts = [False, *(d.overloaded for _, d in decided)]
    return [
        at
        for (at, _), was, now in zip(decided, verdicts, verdicts[1:], strict=False)
        if now and not was
    ]


def changes(decided: Decided) -> int:
    """How often the verdict changed, either way."""
    verdicts = [False, *(d.overloaded for _, d in decided)]
    return sum(a != b for a, b in zip(verdicts, verdicts[1:], strict=False))


@dataclass(frozen=True)
class Trace:
    """Recorded metrics of one surge, with what is needed to judge decisions made on them.

    Attributes:
        source: "simulated", or the target of the run, e.g. "local process".
        method: what the job did about the surge while it was recorded.
    """

    name: str
    source: str
    method: str
    shape: Shape
    capacity_per_s: float | None
    settings: Settings
    samples: list[Sample]


def read_traces(path: Path) -> list[Trace]:
    """All surges in a file of records (`records.jsonl`, or a part of one) that have samples.

    Raises:
        click.ClickException: the file is not there, or holds no surge with samples.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise click.ClickException(f"cannot read {path}: {error.strerror}") from error
    records = list(_parsed(lines))
    target = next((r.get("target") for r in records if r["kind"] == "run"), None)
    samples: dict[str, list[Sample]] = {}
    for record in records:
        if record["kind"] == "sample":
            samples.setdefault(record["surge"], []).append(Sample.of(record))
    traces = [
        _trace(f"{path.stem}/{r['surge']}", target, r, samples[r["surge"]])
        for r in records
        if r["kind"] == "surge" and r["surge"] in samples
    ]
    if not traces:
        raise click.ClickException(f"{path} holds no surge with samples: give a run of `bench run`")
    return traces


def _parsed(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that died may be torn
            continue
        if isinstance(record, dict) and record.get("kind") in ("run", "surge", "sample"):
            yield record


def _trace(name: str, target: str | None, record: dict[str, Any], samples: list[Sample]) -> Trace:
    settings = Settings(
        batch_size=record["batch_size"],
        linger_ms=record["linger_ms"],
        max_in_flight=max(1, record["max_in_flight"]),
        profile=SETTINGS.profile,
    )
    capacity = record.get("capacity_per_s")
    return Trace(
        name=name,
        source=target or "simulated",
        method=record["method"],
        shape=from_dict(record["shape"]),
        capacity_per_s=capacity and capacity * record["parallelism"],
        settings=settings,
        samples=samples,
    )


@dataclass(frozen=True)
class Verdict:
    """What a policy says about a trace. `detection_ms` and `to_zero_ms` only where there is a surge
    with an end; all that it decides has no effect on what was recorded."""

    detection_ms: float | None
    early_alarms: int
    to_zero_ms: float | None
    changes: int


def replay(rule: Policy, trace: Trace) -> tuple[Verdict, Decided]:
    """Run a policy over recorded samples, in an open loop."""
    state, decided = rule.initial(), []
    for sample in trace.samples:
        state, decision = rule.step(state, sample)
        decided.append((sample.at_ms, decision))
    if not isinstance(trace.shape, Surge):
        return Verdict(None, 0, None, changes(decided)), decided
    start_ms = trace.shape.start * 1000
    end_ms = start_ms + trace.shape.duration * 1000
    # The operator's input while nothing is due yet is not load: the first half second is start-up.
    early = sum(at < start_ms for at in alarms(decided))
    return (
        Verdict(
            detection_ms=detection_ms(decided, start_ms),
            early_alarms=early,
            to_zero_ms=to_zero_ms(decided, end_ms),
            changes=changes(decided),
        ),
        decided,
    )


def policies_for(trace: Trace) -> dict[str, Policy]:
    """The policies that can be tried on a trace: the oracle needs a known capacity."""
    return {
        name: policy(name, trace.settings, trace.shape, trace.capacity_per_s)
        for name in POLICIES
        if name != "oracle" or trace.capacity_per_s is not None
    }
