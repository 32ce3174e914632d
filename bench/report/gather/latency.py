"""Latency of the sentences of a surge, from due time to sink, out of its batches.

A batch record stands for `count` sentences due evenly from `due_first_ms` to `due_last_ms` and
all at the sink at `sink_ms`. What is reported of a surge is about the sentences *due* while it
lasted, whenever they came out: late ones are not allowed to drop out of sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.stats import Floats, weighted_quantiles

PARTS = ("waiting", "shipping", "bring_up", "computing", "sending")
"""The parts of a batch's latency, in the order of its way; `<part>_ms` in the records."""

_POINTS = 250_000
BIN_MS = 250.0
_BACK_TO_NORMAL = 2.0


@dataclass(frozen=True)
class Sentences:
    """Latencies by sentence: arrays of equal length, ordered by batch.

    Up to 250,000 sentences each has a point of weight 1. Beyond, a batch gets fewer points,
    each for several neighbouring sentences, and its weight says how many.
    """

    due_ms: Floats
    latency_ms: Floats
    weight: Floats
    offloaded: Floats
    """1 where the sentence came back from a function, else 0."""

    def quantiles(self, *qs: float) -> list[float | None]:
        """Of the latency, by sentence; None each where there are no sentences."""
        if not len(self.weight):
            return [None] * len(qs)
        return list(weighted_quantiles(self.latency_ms, self.weight, qs))

    def where(self, mask: Any) -> Sentences:
        """Those for which a boolean array is true."""
        return Sentences(
            self.due_ms[mask], self.latency_ms[mask], self.weight[mask], self.offloaded[mask]
        )

    @property
    def count(self) -> float:
        """How many sentences the points stand for."""
        return float(self.weight.sum())


def sentences(batches: pd.DataFrame) -> Sentences:
    """The sentences of `batches` (records of kind `batch`, of one surge)."""
    count = batches["count"].to_numpy(dtype=np.int64)
    points = np.clip(_POINTS // max(len(count), 1), 1, count)
    batch = np.repeat(np.arange(len(count)), points)
    k = np.arange(len(batch)) - np.repeat(np.cumsum(points) - points, points)
    weight = (count / points)[batch]
    # the middle of the point's sentences, as a share of the way from the first to the last
    index = (k + 0.5) * weight - 0.5
    share = index / np.maximum(count - 1, 1)[batch]
    first = batches["due_first_ms"].to_numpy(dtype=float)
    last = batches["due_last_ms"].to_numpy(dtype=float)
    due = first[batch] + (last - first)[batch] * share
    return Sentences(
        due_ms=due,
        latency_ms=batches["sink_ms"].to_numpy(dtype=float)[batch] - due,
        weight=weight,
        offloaded=np.asarray(batches["way"] == "offloaded", dtype=float)[batch],
    )


def window_ms(surge: Any) -> tuple[float, float]:
    """When the surge of a `surge` record begins and ends; the whole schedule if it has none."""
    shape = surge["shape"]
    if shape.get("shape") == "surge":
        start = float(shape["start"])
        return start * 1000, min(start + float(shape["duration"]), surge["length_s"]) * 1000
    return 0.0, float(surge["length_s"]) * 1000


def due_within(s: Sentences, window: tuple[float, float]) -> Sentences:
    """The sentences due in the window, its end left out."""
    return s.where((s.due_ms >= window[0]) & (s.due_ms < window[1]))


def batches_within(batches: pd.DataFrame, window: tuple[float, float]) -> pd.DataFrame:
    """The batches whose first sentence was due in the window, its end left out."""
    due = batches["due_first_ms"]
    return batches[(due >= window[0]) & (due < window[1])]


def parts(batches: pd.DataFrame, window: tuple[float, float]) -> dict[str, float] | None:
    """Mean parts in ms of the latency of the batches whose first sentence was due in the window.

    Means, since only they add up. `remainder` is what the parts do not explain, `total` the mean
    of `sink_ms − due_first_ms`. None without batches.
    """
    chosen = batches_within(batches, window)
    if chosen.empty:
        return None
    total = chosen["sink_ms"] - chosen["due_first_ms"]
    found = {part: float(chosen[f"{part}_ms"].fillna(0).mean()) for part in PARTS}
    found["total"] = float(total.mean())
    found["remainder"] = found["total"] - sum(found[part] for part in PARTS)
    return found


def over_time(s: Sentences, bin_ms: float = BIN_MS) -> pd.DataFrame:
    """Latency by due time: columns at_ms (middle of the bin), p50_ms, max_ms."""
    frame = pd.DataFrame({"bin": (s.due_ms // bin_ms).astype(int), "latency": s.latency_ms})
    bins = frame.groupby("bin")["latency"]
    return pd.DataFrame(
        {
            "at_ms": (np.asarray(list(bins.groups)) + 0.5) * bin_ms,
            "p50_ms": bins.median().to_numpy(),
            "max_ms": bins.max().to_numpy(),
        }
    )


def normal_ms(s: Sentences, window: tuple[float, float]) -> float | None:
    """The latency before the surge: its p95, the first second (start-up) left out."""
    return due_within(s, (min(1000.0, window[0] / 2), window[0])).quantiles(0.95)[0]


def recovery_ms(s: Sentences, window: tuple[float, float]) -> float | None:
    """From the surge's start until latency is back: the end of the last second in which half of the
    sentences due took over twice the normal level. 0 if there is none; None where it cannot be
    said: nothing ran before the surge, or latency was still up at the end."""
    normal = normal_ms(s, window)
    if normal is None:
        return None
    bins = over_time(s, 1000.0)
    bins = bins[bins["at_ms"] > window[0]]
    late = bins[bins["p50_ms"] > _BACK_TO_NORMAL * normal]
    if late.empty:
        return 0.0
    last = float(late["at_ms"].iloc[-1])
    if last == float(bins["at_ms"].iloc[-1]):
        return None
    return last + 500.0 - window[0]


def excess_s(s: Sentences, window: tuple[float, float]) -> float | None:
    """Area of excess latency: seconds that sentences due from the surge's start on waited beyond
    the normal level, in sum (sentence-seconds)."""
    normal = normal_ms(s, window)
    if normal is None:
        return None
    after = s.where(s.due_ms >= window[0])
    return float((np.maximum(after.latency_ms - normal, 0) * after.weight).sum() / 1000)
