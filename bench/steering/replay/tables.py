"""Tables of `bench policy`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from bench.report.say.table import ABSENT, Table
from bench.steering.policy import POLICIES, policy
from bench.steering.replay.closed import (
    CALM,
    CAPACITY_PER_S,
    REPETITIONS,
    SETTINGS,
    figures,
    relief,
    rule,
)
from bench.steering.replay.judge import Decided, alarms, detection_ms, p95, to_zero_ms
from bench.steering.replay.traces import Trace, over_ms, replay
from bench.steering.simulation import latencies_ms, simulate
from flink_job.load.shapes import Sine, Surge

# Every policy, and in the second table the default under one more condition.
_POOLS = [*((name, False) for name in POLICIES), ("default", True)]
# A step cannot be foreseen, a rise can: from half the capacity to so much of it, and back.
_RISE_S = 40.0
_RISES = {
    peak: Sine(low=0.5 * CAPACITY_PER_S, high=peak * CAPACITY_PER_S, period=_RISE_S)
    for peak in (0.95, 3.0)
}
_SLOW_START = replace(SETTINGS.profile, cold_start_ms=2000.0)
STEPS = len(POLICIES) + len(_POOLS) + 2 * len(_RISES)
"""How often the tables of the model report progress, together."""


def trust_table(tick: Callable[[int], None] = lambda steps: None) -> Table:
    """The four figures of every policy."""
    facts: list[dict[str, Any]] = []
    for name in POLICIES:
        found = figures(rule(name))
        facts.append(
            {
                "policy": name,
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
                _named(f["policy"]),
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
            "Computed on a model of the job (`bench/steering/simulation.py`), not measured: 20 "
            "surges of factor 2 to 10 from 80 % load, load noise of 10 %, metrics up to 250 ms "
            'old, polled every 250 ms. Flaps: returns to "overloaded" at a steady 90 to 110 % load.'
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
                _named(f["policy"]) + (", warm pool" if f["warm pool"] else ""),
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
                policy("default", settings), shape, _RISE_S, CAPACITY_PER_S, settings, CALM, 0
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
            if name in ("oracle", "sponge") and trace.shape is None:
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
                _named(f["policy"]),
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


def _named(policy: str) -> str:
    """With what a policy is told besides Flink's metrics."""
    told = {"sponge": " (told what arrives)", "oracle": " (told schedule and capacity)"}
    return policy + told.get(policy, "")


def _seconds(ms: float | int | None) -> str:
    if ms is None:
        return ABSENT
    return "never" if math.isinf(ms) else f"{ms / 1000:.2f}"
