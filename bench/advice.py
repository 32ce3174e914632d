"""From which burst length does scaling out win? A queue in arithmetic, fed with measured figures.

A burst of `factor` times the base rate meets a tokenizer of a given capacity; help comes after a
delay, perhaps stopping the job for a moment first. The rest is a fluid queue, first in, first out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats import Floats

_STEP_S = 0.01


@dataclass(frozen=True)
class Load:
    """`base_per_s`, but `factor` times that in a burst, on a worker that does `capacity_per_s`."""

    base_per_s: float
    factor: float
    capacity_per_s: float


@dataclass(frozen=True)
class Help:
    """One way to relieve a burst.

    Attributes:
        delay_s: from the burst's start until it helps: detection, decision, start-up.
        added_per_s: sentences/s that it adds to the capacity from then on.
        stop_s: how long the whole job stands still just before (a restart at a new parallelism).
        usd: what one burst costs however long it is, e.g. the least time that a worker is kept.
        usd_per_s: what it costs while the burst lasts.
    """

    name: str
    delay_s: float
    added_per_s: float
    stop_s: float = 0.0
    usd: float = 0.0
    usd_per_s: float = 0.0

    def usd_for(self, burst_s: float) -> float:
        """What it costs for a burst of `burst_s`."""
        return self.usd + self.usd_per_s * burst_s


def latencies_s(load: Load, burst_s: float, help: Help) -> Floats:
    """Latency of the sentences of a burst, evenly sampled over them, in s.

    A sentence waits until the work done has reached the number of those before it.
    """
    rate = load.base_per_s * load.factor
    offered = rate * burst_s
    # Long enough for all of it to be done without any help.
    until_s = help.delay_s + burst_s + offered / load.capacity_per_s
    moments = np.arange(0.0, until_s + _STEP_S, _STEP_S)
    stopped = (moments >= help.delay_s - help.stop_s) & (moments < help.delay_s)
    able = np.where(stopped, 0.0, load.capacity_per_s)
    able = able + np.where(moments >= help.delay_s, help.added_per_s, 0.0)
    # Work done is limited by what has come: a queue that is empty saves nothing up.
    came = np.minimum(moments, burst_s) * rate
    possible = np.concatenate([[0.0], np.cumsum(able)[:-1] * _STEP_S])
    done = possible + np.minimum.accumulate(np.minimum(came - possible, 0.0))
    due = np.linspace(0.0, burst_s, 1000, endpoint=False)
    latencies: Floats = np.maximum(0.0, np.interp(due * rate, done, moments) - due)
    return latencies


def p99_s(load: Load, burst_s: float, help: Help) -> float:
    """99th percentile of the burst's latency, in s."""
    return float(np.quantile(latencies_s(load, burst_s, help), 0.99))


def crossover_s(
    load: Load, offload: Help, scale_out: Help, bursts_s: Sequence[float], bearable_s: float
) -> float | None:
    """The shortest of `bursts_s` for which scaling out wins; None if none of them is long enough.

    It wins where both keep the p99 bearable and it is the cheaper, or where it alone does.
    """
    for burst_s in sorted(bursts_s):
        if p99_s(load, burst_s, scale_out) > bearable_s:
            continue
        alone = p99_s(load, burst_s, offload) > bearable_s
        if alone or scale_out.usd_for(burst_s) < offload.usd_for(burst_s):
            return burst_s
    return None
