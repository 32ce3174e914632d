"""A soak's beginning, after warm-up, against its end: what grew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.report.gather.evidence import Evidence
from flink_job.load.shapes import Trace, from_dict

# Shares of the whole: what is warm-up, how long the beginning after it and the end are.
_WARM_UP, _WINDOW = 0.3, 0.2
# What a surge left is gone by then.
_AFTER_SURGE_S = 4
FLAT = 0.05
# Below these, a change of 5 % is no whole thing, or less than a look can tell.
_LEAST = {
    "memory_mb": 5.0, "threads": 2.0, "files": 2.0, "cgroups": 1.0, "temporary_files": 2.0,
    "p50_ms": 5.0, "p95_ms": 10.0,
}  # fmt: skip


@dataclass(frozen=True)
class Trend:
    """A figure of one process (or all of a role) at the beginning and at the end; medians."""

    role: str
    what: str
    begin: float
    end: float

    @property
    def grew(self) -> bool:
        """By more than 5 %, and by more than a look can tell."""
        return self.end - self.begin > max(FLAT * self.begin, _LEAST[self.what])


def trends(e: Evidence, surge: str) -> list[Trend]:
    """What each role held, and latency in calm, of one soak."""
    looks = e.frames["soak"]
    looks = looks[looks["surge"] == surge]
    whole_ms = float(looks["at_ms"].max())
    return [
        Trend(str(role), what, *found)
        for role, own in looks.groupby("role", sort=False)
        for what in ("memory_mb", "threads", "files", "cgroups", "temporary_files")
        if (found := _ends(own["at_ms"], own[what], whole_ms))
    ] + list(_latency(e, surge, whole_ms))


def _ends(
    at_ms: pd.Series[float], values: pd.Series[float], whole_ms: float, quantile: float = 0.5
) -> tuple[float, float] | None:
    """A quantile at the beginning, after warm-up, and at the end; None where there is nothing."""
    begin = at_ms.between(_WARM_UP * whole_ms, (_WARM_UP + _WINDOW) * whole_ms)
    end = at_ms >= (1 - _WINDOW) * whole_ms
    found = [values[chosen].dropna().astype(float) for chosen in (begin, end)]
    if any(x.empty for x in found):
        return None
    return float(found[0].quantile(quantile)), float(found[1].quantile(quantile))


def _latency(e: Evidence, surge: str, whole_ms: float) -> Iterator[Trend]:
    """Of the batches that were due in calm."""
    head = e.frames["surge"]
    load = from_dict(head.loc[head["surge"] == surge, "shape"].iloc[0])
    batches = e.frames["batch"]
    batches = batches[batches["surge"] == surge]
    if not isinstance(load, Trace) or batches.empty:
        return
    busy = np.array([rate > load.base for rate in load.rates])
    calm = ~np.convolve(busy, np.ones(_AFTER_SURGE_S + 1))[: len(busy)].astype(bool)
    second = (batches["due_last_ms"] // 1000).clip(0, len(calm) - 1).astype(int)
    quiet = batches[calm[second.to_numpy()]]
    latency_ms = quiet["sink_ms"] - quiet["due_last_ms"]
    for what, quantile in (("p50_ms", 0.5), ("p95_ms", 0.95)):
        if found := _ends(quiet["due_last_ms"], latency_ms, whole_ms, quantile):
            yield Trend("latency in calm", what, *found)
