"""Closed loop: policies on the model of the job, where what they decide has its effect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.steering.policy import Policy, Profile, Settings, policy
from bench.steering.replay.judge import Decided, alarms, decided, detection_ms, to_zero_ms
from bench.steering.simulation import Noise, latencies_ms, simulate
from flink_job.load.shapes import Constant, Shape, Surge

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
FACTORS = tuple(2 + 8 * i / 19 for i in range(20))
# Loads around which a policy without hysteresis changes its mind again and again.
THRESHOLD_LOADS = (0.9, 0.95, 1.0, 1.05, 1.1)
NOISE, CALM = Noise(load=0.1), Noise(load=0.05)
REPETITIONS = 3
_START_S, _END_S, _LENGTH_S = 10.0, 30.0, 45.0

Rule = Callable[[Shape], Policy[Any]]
"""Makes a policy for a job with this schedule; only the references look at it."""


@dataclass(frozen=True)
class Figures:
    """What a policy does, over many modelled runs.

    Attributes:
        detection_ms: from the start of each of 20 surges until the policy says "overloaded".
        false_alarms: times that it said so in 10 minutes at 80 % load with noise.
        to_zero_ms: from the end of each surge until nothing is offloaded any more.
        flaps: returns to "overloaded" in a minute at a steady load; the worst of five loads.
    """

    detection_ms: list[float]
    false_alarms: int
    to_zero_ms: list[float]
    flaps: int


@dataclass(frozen=True)
class Relief:
    """What a policy does for the sentences of one surge, and what it uses for that.

    Attributes:
        excess_s: area of excess latency: how much the mean latency in the surge is above that
            before it (s), times the length of the surge (s).
        share: of the surge's sentences that Lambda did.
    """

    p50_ms: float
    p99_ms: float
    excess_s: float
    share: float
    cold_starts: int


def rule(name: str, settings: Settings = SETTINGS) -> Rule:
    """The policy called `name`, for whatever schedule it is tried on."""
    return lambda shape: policy(name, settings, shape, CAPACITY_PER_S)


def surge(factor: float) -> Surge:
    """The surge that policies are tried on: from 80 % load, `factor` times that for 20 s."""
    return Surge(BASE_PER_S, factor, _START_S, _END_S - _START_S)


def figures(make: Rule) -> Figures:
    """The four figures of a policy: 20 surges of factor 2 to 10, 10 minutes at 80 % load, and a
    minute at each of five loads around the capacity; all with a noise of 10 %."""

    def run(shape: Shape, length_s: float, seed: int) -> Decided:
        course = simulate(make(shape), shape, length_s, CAPACITY_PER_S, SETTINGS, NOISE, seed)
        return decided(course.samples, course.decisions)

    surges = [run(surge(factor), _LENGTH_S, seed) for seed, factor in enumerate(FACTORS)]
    calm = run(Constant(BASE_PER_S), 600.0, seed=100)
    steady = [
        run(Constant(load * CAPACITY_PER_S), 60.0, seed=200 + i)
        for i, load in enumerate(THRESHOLD_LOADS)
    ]
    return Figures(
        detection_ms=[detection_ms(course, _START_S * 1000) for course in surges],
        false_alarms=len(alarms(calm)),
        to_zero_ms=[to_zero_ms(course, _END_S * 1000) for course in surges],
        flaps=max(max(0, len(alarms(course)) - 1) for course in steady),
    )


def relief(make: Rule, settings: Settings = SETTINGS, factor: float = 4.0) -> Relief:
    """How the sentences of a surge fare: of some repetitions the median one, by p99."""
    found = [_relieved(make, settings, surge(factor), seed) for seed in range(REPETITIONS)]
    return sorted(found, key=lambda x: x.p99_ms)[len(found) // 2]


def _relieved(make: Rule, settings: Settings, shape: Surge, seed: int) -> Relief:
    course = simulate(make(shape), shape, _LENGTH_S, CAPACITY_PER_S, settings, CALM, seed)
    before = np.array(latencies_ms(course.made, _START_S / 2, _START_S))
    during = np.array(latencies_ms(course.made, _START_S, _END_S))
    in_surge = [x for x in course.made if _START_S <= x.batch.due_first_s < _END_S]
    offloaded = sum(x.batch.count for x in in_surge if x.offloaded)
    excess_ms = max(0.0, float(during.mean() - before.mean()))
    return Relief(
        p50_ms=float(np.percentile(during, 50)),
        p99_ms=float(np.percentile(during, 99)),
        excess_s=excess_ms / 1000 * (_END_S - _START_S),
        share=offloaded / sum(x.batch.count for x in in_surge),
        cold_starts=course.cold_starts,
    )
