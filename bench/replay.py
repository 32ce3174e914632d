"""Policies tried without Flink: in a closed loop on a model of the job, and on recorded metrics.

Four figures say whether a policy can be trusted, one table how near it comes to the oracle. All of
it is computed, and none of it measured, but for the recorded metrics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from bench.policy import POLICIES, Decision, Policy, Profile, Sample, Settings, policy
from bench.report.table import ABSENT, Table
from bench.simulation import Course, Noise, latencies_ms, simulate
from flink_job.shapes import Constant, Shape, Sine, Surge, from_dict

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
NOISE, _CALM = Noise(load=0.1), Noise(load=0.05)
REPETITIONS = 3
_START_S, _END_S, _LENGTH_S = 10.0, 30.0, 45.0

Rule = Callable[[Shape], Policy[Any]]
"""Makes a policy for a job with this schedule; only the oracle looks at it."""

Decided = list[tuple[float, Decision]]
"""Decisions, each with the time in ms of the sample that it was made on."""


# ---------------------------------------------------------------- what to say about decisions


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


# ---------------------------------------------------------------- closed loop, on the model


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


def figures(make: Rule, schedule_known: bool = True) -> Figures:
    """The four figures of a policy: 20 surges of factor 2 to 10, 10 minutes at 80 % load, and a
    minute at each of five loads around the capacity; all with a noise of 10 %."""

    def run(shape: Shape, length_s: float, seed: int) -> Decided:
        course = simulate(
            make(shape), shape, length_s, CAPACITY_PER_S, SETTINGS, NOISE, seed, schedule_known
        )
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
    course = simulate(make(shape), shape, _LENGTH_S, CAPACITY_PER_S, settings, _CALM, seed)
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


# ---------------------------------------------------------------- open loop, on recorded metrics


@dataclass(frozen=True)
class Trace:
    """Recorded metrics of one surge, with what is needed to judge decisions made on them.

    Attributes:
        name: of the file and of the surge in it.
        source: where it was recorded: the target of the run, or "simulated".
        method: what the job did about the surge while it was recorded.
        capacity_per_s: of all subtasks together, if it was declared.
    """

    name: str
    source: str
    method: str
    shape: Shape
    capacity_per_s: float | None
    settings: Settings
    samples: list[Sample]


def read_traces(path: Path) -> list[Trace]:
    """All surges that have samples, in a file of records or in a run's folder.

    Raises:
        click.ClickException: it is not there, or holds no such surge.
    """
    file = path / "records.jsonl" if path.is_dir() else path
    try:
        records = list(_records(file.read_text().splitlines()))
    except OSError as error:
        raise click.ClickException(f"cannot read {file}: {error.strerror}") from error
    target = next((r.get("target") for r in records if r["kind"] == "run"), None)
    samples: dict[str, list[Sample]] = {}
    for record in records:
        if record["kind"] == "sample":
            samples.setdefault(record["surge"], []).append(Sample.from_record(record))
    name = path.name if path.is_dir() else path.stem
    traces = [
        _trace(
            name if len(samples) == 1 else f"{name}/{r['surge']}", target, r, samples[r["surge"]]
        )
        for r in records
        if r["kind"] == "surge" and r["surge"] in samples
    ]
    if not traces:
        raise click.ClickException(
            f"{file} holds no surge with samples; record one with `bench run` or `bench surge`"
        )
    return traces


def _records(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that died may be torn
            continue
        if isinstance(record, dict) and record.get("kind") in ("run", "surge", "sample"):
            yield record


def _trace(
    name: str, target: str | None, record: Mapping[str, Any], samples: list[Sample]
) -> Trace:
    capacity = record.get("capacity_per_s")
    return Trace(
        name=name,
        source=target or "no Lambda",
        method=record["method"],
        shape=from_dict(record["shape"]),
        capacity_per_s=capacity and capacity * record["parallelism"],
        settings=replace(
            SETTINGS,
            batch_size=record["batch_size"],
            linger_ms=record["linger_ms"],
            max_in_flight=max(1, record["max_in_flight"]),
        ),
        samples=samples,
    )


def over_ms(trace: Trace) -> float | None:
    """When the surge and the queue that it left are over; None if the trace ends before that.

    What is offered within half a second is no queue.
    """
    if not isinstance(trace.shape, Surge):
        return None
    over = (trace.shape.start + trace.shape.duration) * 1000
    for sample in trace.samples:
        if (sample.backlog or 0.0) > (sample.offered_per_s or 0.0) * 0.5:
            over = max(over, sample.at_ms)
    return over if over < trace.samples[-1].at_ms else None


def trace_records(name: str, method: str, shape: Shape, course: Course) -> list[dict[str, Any]]:
    """A modelled course as records that `read_traces` reads, labelled as simulated."""
    head = {
        "v": 1,
        "kind": "surge",
        "surge": name,
        "method": method,
        "workload": "none",
        "shape": shape.to_dict(),
        "batch_size": SETTINGS.batch_size,
        "linger_ms": SETTINGS.linger_ms,
        "capacity_per_s": CAPACITY_PER_S,
        "parallelism": 1,
        "max_in_flight": SETTINGS.max_in_flight,
    }
    samples = (
        {key: round(x, 3) for key, x in asdict(sample).items() if x is not None}
        for sample in course.samples
    )
    return [
        {"v": 1, "kind": "run", "run": name, "command": "policy", "target": "simulated"},
        head,
        *({"v": 1, "kind": "sample", "surge": name, **sample} for sample in samples),
    ]


def replay(rule: Policy[Any], trace: Trace) -> Decided:
    """Run a policy over recorded samples. What it decides changes nothing in what was recorded."""
    state, decisions = rule.start(), []
    for sample in trace.samples:
        state, decision = rule.step(state, sample)
        decisions.append(decision)
    return decided(trace.samples, decisions)


# ---------------------------------------------------------------- tables


# Every policy, and the default under one more condition, in each of the two tables.
_KNOWING = [*((name, True) for name in POLICIES), ("default", False)]
_POOLS = [*((name, False) for name in POLICIES), ("default", True)]
# A step cannot be foreseen, a rise can: from half the capacity to so much of it, and back.
_RISE_S = 40.0
_RISES = {
    peak: Sine(low=0.5 * CAPACITY_PER_S, high=peak * CAPACITY_PER_S, period=_RISE_S)
    for peak in (0.95, 3.0)
}
_SLOW_START = replace(SETTINGS.profile, cold_start_ms=2000.0)
STEPS = len(_KNOWING) + len(_POOLS) + 2 * len(_RISES)
"""How often the tables of the model report progress, together."""


def trust_table(tick: Callable[[int], None] = lambda steps: None) -> Table:
    """The four figures of every policy."""
    facts: list[dict[str, Any]] = []
    for name, known in _KNOWING:
        found = figures(rule(name), known)
        facts.append(
            {
                "policy": name,
                "schedule known": known,
                "detection_p50_ms": float(np.median(found.detection_ms)),
                "detection_p95_ms": p95(found.detection_ms),
                "false_alarms": found.false_alarms,
                "to_zero_p95_ms": p95(found.to_zero_ms),
                "flaps": found.flaps,
            }
        )
        tick(1)
    return Table(
        name="policy_trust",
        title="Four figures of each policy",
        columns=(
            "policy",
            "detection p50, s",
            "detection p95, s",
            "false alarms in 10 min at 80 %",
            "back to zero p95, s",
            "flaps in 1 min, worst",
        ),
        rows=[
            (
                f["policy"] + ("" if f["schedule known"] else ", schedule not known"),
                _seconds(f["detection_p50_ms"]),
                _seconds(f["detection_p95_ms"]),
                str(f["false_alarms"]),
                _seconds(f["to_zero_p95_ms"]),
                str(f["flaps"]),
            )
            for f in facts
        ],
        data=pd.DataFrame(facts),
        note=(
            "Computed on a model of the job (`bench/simulation.py`), not measured: 20 surges of "
            "factor 2 to 10 from 80 % load, load noise of 10 %, metrics up to 250 ms old, polled "
            'every 250 ms. Flaps: returns to "overloaded" at a steady 90 to 110 % load.'
        ),
    )


def relief_table(tick: Callable[[int], None] = lambda steps: None) -> Table:
    """How near each policy comes to the oracle."""
    facts: list[dict[str, Any]] = []
    for name, is_warm in _POOLS:
        settings = replace(SETTINGS, is_warm=is_warm)
        found = relief(rule(name, settings), settings)
        facts.append({"policy": name, "warm pool": is_warm, **asdict(found)})
        tick(1)
    oracle_ms = next(float(f["p99_ms"]) for f in facts if f["policy"] == "oracle")
    return Table(
        name="policy_relief",
        title="How near each policy comes to the oracle",
        columns=(
            "policy",
            "p50, ms",
            "p99, ms",
            "p99 / oracle",
            "excess, s²",
            "share offloaded",
            "cold starts",
        ),
        rows=[
            (
                f["policy"] + (", warm pool" if f["warm pool"] else ""),
                f"{f['p50_ms']:,.0f}",
                f"{f['p99_ms']:,.0f}",
                f"{f['p99_ms'] / oracle_ms:.1f}",
                f"{f['excess_s']:.1f}",
                f"{f['share']:.0%}",
                f"{f['cold_starts']}",
            )
            for f in facts
        ],
        data=pd.DataFrame(facts),
        note=(
            "The same model; a surge of factor 4 from 80 % load, 20 s long; a cold start takes "
            f"400 ms longer than a call, a call 30 ms. Of {REPETITIONS} repetitions the median by "
            "p99. The oracle knows the schedule and the capacity, and warms environments in time."
        ),
    )


def warm_up_table(tick: Callable[[int], None] = lambda steps: None) -> Table:
    """What it costs and saves to start environments while the load rises."""
    facts: list[dict[str, Any]] = []
    for load, shape in _RISES.items():
        for warms_up in (False, True):
            settings = replace(SETTINGS, profile=_SLOW_START, warms_up=warms_up)
            course = simulate(
                policy("default", settings), shape, _RISE_S, CAPACITY_PER_S, settings, _CALM, 0
            )
            latencies = np.array(latencies_ms(course.made, 0.0, _RISE_S))
            p50_ms, p99_ms = np.percentile(latencies, (50, 99))
            facts.append(
                {
                    "peak": load,
                    "warms_up": warms_up,
                    "p50_ms": float(p50_ms),
                    "p99_ms": float(p99_ms),
                    "cold_starts": course.cold_starts,
                    "calls": course.calls,
                }
            )
            tick(1)
    return Table(
        name="policy_warm_up",
        title="Environments started while the load rises",
        columns=("peak load", "warm-up", "p50, ms", "p99, ms", "environments started", "calls"),
        rows=[
            (
                f"{f['peak']:.0%}",
                "yes" if f["warms_up"] else "no",
                f"{f['p50_ms']:,.0f}",
                f"{f['p99_ms']:,.0f}",
                f"{f['cold_starts']}",
                f"{f['calls']:,}",
            )
            for f in facts
        ],
        data=pd.DataFrame(facts),
        note=(
            "The same model; the load rises as a sine, in 20 s from half the capacity to its peak, "
            f"and falls again. A cold start takes {_SLOW_START.cold_start_ms / 1000:g} s. Where "
            "the peak stays below the capacity, what was started was started for nothing."
        ),
    )


def trace_table(traces: Iterable[Trace]) -> Table:
    """What every policy says about every trace."""
    facts: list[dict[str, Any]] = []
    for trace in traces:
        for name in POLICIES:
            if name == "oracle" and trace.capacity_per_s is None:
                continue
            course = replay(policy(name, trace.settings, trace.shape, trace.capacity_per_s), trace)
            facts.append(
                {
                    "trace": trace.name,
                    "recorded": trace.source,
                    "method": trace.method,
                    "policy": name,
                    **_judged(trace, course),
                }
            )
    return Table(
        name="policy_traces",
        title="Policies over recorded metrics",
        columns=(
            "trace",
            "recorded",
            "method",
            "policy",
            "detection, s",
            "alarms before the surge",
            "back to zero, s",
            "alarms",
        ),
        rows=[
            (
                f["trace"],
                f["recorded"],
                f["method"],
                f["policy"],
                _seconds(f["detection_ms"]),
                ABSENT if f["early_alarms"] is None else str(f["early_alarms"]),
                _seconds(f["to_zero_ms"]),
                str(f["alarms"]),
            )
            for f in facts
        ],
        data=pd.DataFrame(facts),
        note=(
            "Open loop: what a policy decides here changes nothing in what was recorded; a policy "
            "that is slower than the one that was recorded finds the surge relieved. Back to zero "
            "is counted from the moment that the surge and the queue that it left were over."
        ),
    )


def _judged(trace: Trace, course: Decided) -> dict[str, float | int | None]:
    found = alarms(course)
    if not isinstance(trace.shape, Surge):
        return {
            "detection_ms": None,
            "early_alarms": None,
            "to_zero_ms": None,
            "alarms": len(found),
        }
    start_ms, end_ms = trace.shape.start * 1000, over_ms(trace)
    return {
        "detection_ms": detection_ms(course, start_ms),
        "early_alarms": sum(at < start_ms for at in found),
        "to_zero_ms": None if end_ms is None else to_zero_ms(course, end_ms),
        "alarms": len(found),
    }


def _seconds(ms: float | int | None) -> str:
    if ms is None:
        return ABSENT
    return "never" if math.isinf(ms) else f"{ms / 1000:.2f}"
