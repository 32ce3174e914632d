"""Latency of the sentences of a surge, from due time to sink, out of its batches.

A batch record stands for `count` sentences due evenly from `due_first_ms` to `due_last_ms` and
all at the sink at `sink_ms`. What is reported of a surge is about the sentences *due* while it
lasted, whenever they came out: late ones are not allowed to drop out of sight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.stats import MIN_BATCHES, Floats, weighted_quantiles

WAITS = ("filling", "queueing", "call_wait")
PARTS = (
    *WAITS,
    "waiting",
    "network",
    "placement",
    "shipping",
    "bring_up",
    "computing",
    "sending",
)
"""The parts of a batch's latency, in the order of its way; `<part>_ms` in the records. "waiting" is
what of it is not parted further; network and placement are emulated, apart from what is here."""

_POINTS = 250_000
BIN_MS = 250.0
_BACK_TO_NORMAL = 1.5
_STARTING_UP_MS = 1000.0


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
    batch: npt.NDArray[np.int64]
    """Which batch each is of: the sentences of one share their fate."""

    def quantiles(self, *qs: float) -> list[float | None]:
        """Of the latency, by sentence; None each where there are no sentences."""
        if not len(self.weight):
            return [None] * len(qs)
        return list(weighted_quantiles(self.latency_ms, self.weight, qs))

    @property
    def batches(self) -> int:
        """How many batches they come from."""
        return len(np.unique(self.batch))

    def tail(self, q: float) -> float | None:
        """A high quantile; None where fewer than `MIN_BATCHES` batches stand behind it."""
        return self.quantiles(q)[0] if self.batches >= MIN_BATCHES else None

    def where(self, mask: Any) -> Sentences:
        """Those for which a boolean array is true."""
        return Sentences(
            self.due_ms[mask],
            self.latency_ms[mask],
            self.weight[mask],
            self.offloaded[mask],
            self.batch[mask],
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
        batch=batch,
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
    found = {str(p): float(values.mean()) for p, values in parts_of(chosen).items()}
    found["total"] = float(total.mean())
    found["remainder"] = found["total"] - sum(found[part] for part in PARTS)
    return found


def parts_of(batches: pd.DataFrame) -> pd.DataFrame:
    """The parts of each batch, ms, a column each of `PARTS`; never below zero."""
    values = np.nan_to_num(batches[[f"{part}_ms" for part in PARTS]].to_numpy(float)).clip(min=0)
    found = pd.DataFrame(values, batches.index, list(PARTS))
    waits = found[list(WAITS)].to_numpy().sum(axis=1)
    found["waiting"] = (found["waiting"].to_numpy() - waits).clip(min=0)
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
    """The latency of calm: the p95 of the sentences that were at the sink before the surge began,
    those of the first second (start-up) left out; None without any."""
    begin = min(_STARTING_UP_MS, window[0] / 2)
    calm = (s.due_ms >= begin) & (s.due_ms + s.latency_ms < window[0])
    return s.where(calm).quantiles(0.95)[0]


def recovery_ms(s: Sentences, window: tuple[float, float], normal: float) -> float:
    """From the surge's start until latency is normal again: the end of the last second of which one
    sentence in twenty took over one and a half times as long as it does in calm. 0 if there is
    none; infinite if that was so up to the end of what was recorded."""
    after = s.where(s.due_ms >= window[0])
    if not len(after.weight):
        return math.inf
    second = ((after.due_ms - window[0]) // 1000).astype(int)
    late = after.weight * (after.latency_ms > _BACK_TO_NORMAL * normal)
    share = np.bincount(second, late) / np.maximum(np.bincount(second, after.weight), 1e-9)
    above = np.flatnonzero(share > 0.05)
    if not len(above):
        return 0.0
    return math.inf if above[-1] == second.max() else float(above[-1] + 1) * 1000


def watched_ms(s: Sentences, window: tuple[float, float]) -> float:
    """From the surge's start to the due time of the last sentence."""
    return float(s.due_ms.max()) - window[0] if len(s.due_ms) else 0.0


def excess_s(s: Sentences, window: tuple[float, float], normal: float) -> float:
    """Area of excess latency: seconds that sentences due from the surge's start on waited beyond
    the latency of calm, in sum (sentence-seconds). At least that, where latency is not normal again
    at the end."""
    after = s.where(s.due_ms >= window[0])
    return float((np.maximum(after.latency_ms - normal, 0) * after.weight).sum() / 1000)
