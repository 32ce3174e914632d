"""What to say about a series of decisions: how soon, how often, and when it was over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from bench.steering.policy import Decision, Sample

Decided = list[tuple[float, Decision]]
"""Decisions, each with the time in ms of the sample that it was made on."""


def decided(samples: Iterable[Sample], decisions: Iterable[Decision]) -> Decided:
    """Each decision with its time."""
    return [(s.at_ms, d) for s, d in zip(samples, decisions, strict=True)]


def detection_ms(course: Decided, start_ms: float) -> float:
    """From the start of a surge to the first decision that knows of it; `inf` if none does."""
    return next((at - start_ms for at, d in course if at >= start_ms and d.overloaded), math.inf)


def to_zero_ms(course: Decided, end_ms: float) -> float:
    """From the end of a surge until nothing is offloaded for good; `inf` if that never comes."""
    last = max((i for i, (_, d) in enumerate(course) if d.share > 0), default=None)
    if last is None:
        return 0.0
    return max(0.0, course[last + 1][0] - end_ms) if last + 1 < len(course) else math.inf


def alarms(course: Decided) -> list[float]:
    """When, in ms, the verdict turned to "overloaded"."""
    verdicts = [False, *(d.overloaded for _, d in course)]
    turns = [now and not was for was, now in pairwise(verdicts)]
    return [at for (at, _), turned in zip(course, turns, strict=True) if turned]


def p95(values: Sequence[float]) -> float:
    """The 95th percentile by nearest rank, which an infinite value does not disturb."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
