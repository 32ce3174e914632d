"""Statistics of samples: quantiles with bootstrap intervals, ratios, outliers.

Pure and deterministic: every resampling starts from the same seed, so the same samples give the
same figures to the last bit. Unit-free; callers name the unit.

The bootstrap of a quantile needs no resamples of the data. A resample draws indices ⌊n·U⌋ with U
uniform, and sorting keeps that order, so the k-th smallest of a resample *is* x₍⌊n·U₍ₖ₎⌋₎ where
U₍ₖ₎, the k-th smallest of n uniforms, has the Beta(k, n−k+1) distribution (Efron 1979, §3; David
and Nagaraja, "Order Statistics", §2.1). One draw a resample, whatever n is: the exact
distribution of the ordinary percentile bootstrap, at a cost that does not grow with the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SEED = 20261122
CONFIDENCE = 0.95
RESAMPLES = 10_000
OUTLIER_SCORE = 3.5
"""Iglewicz & Hoaglin, "How to Detect and Handle Outliers" (1993): flag |modified z| above this."""

MIN_FOR_INTERVAL = 6
"""The widest interval samples can give for a median, smallest to largest, covers it with
probability 1 − 2·½ⁿ: only from 6 samples is that 95 %."""
MIN_FOR_QUANTILE = {0.95: 20, 0.99: 100}
"""A quantile q needs 1/(1−q) samples, or it is just another name for the maximum."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % bootstrap interval; `low` and `high` are None below 6 samples."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def differs_from_one(self) -> bool | None:
        """For a ratio: True or False where the interval decides, None where there is none."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 1.0 <= self.high


@dataclass(frozen=True)
class Summary:
    """What a table says about a set of samples; a quantile too few samples carry is None."""

    n: int
    median: Estimate
    p90: float
    p95: float | None
    p99: float | None
    outliers: int


def summarize(samples: Sequence[float] | Floats) -> Summary | None:
    """The summary of `samples` (missing ones, NaN, are left out), or None if there are none."""
    x = _sorted(samples)
    if not len(x):
        return None
    return Summary(
        n=len(x),
        median=median(x),
        p90=float(np.quantile(x, 0.90)),
        p95=quantile_if_enough(x, 0.95),
        p99=quantile_if_enough(x, 0.99),
        outliers=int(outliers(x).sum()),
    )


def median(samples: Sequence[float] | Floats) -> Estimate:
    """The median with its bootstrap interval. ValueError without samples."""
    x = _sorted(samples)
    if not len(x):
        raise ValueError("no samples")
    return _estimate(float(np.median(x)), _resampled(x, 0.5, _rng(0)), len(x))


def ratio(samples: Sequence[float] | Floats, reference: Sequence[float] | Floats) -> Estimate:
    """median(samples) / median(reference), both resampled independently.

    The reference's median must not be zero. ValueError without samples on either side.
    """
    x, y = _sorted(samples), _sorted(reference)
    if not len(x) or not len(y):
        raise ValueError("no samples")
    replicates = _resampled(x, 0.5, _rng(0)) / _resampled(y, 0.5, _rng(1))
    return _estimate(float(np.median(x) / np.median(y)), replicates, min(len(x), len(y)))


def quantile_if_enough(samples: Sequence[float] | Floats, q: float) -> float | None:
    """The q-quantile (linear interpolation), or None where samples are too few to carry it."""
    x = _sorted(samples)
    return float(np.quantile(x, q)) if len(x) >= MIN_FOR_QUANTILE.get(q, 1) else None


def weighted_quantiles(values: Floats, weights: Floats, qs: Sequence[float]) -> list[float]:
    """For each q the smallest value with at least a share q of the weight at or below it."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    # half a millionth off, so that rounding in the sum cannot push q·total past an exact step
    wanted = np.asarray(qs) * cumulative[-1] * (1 - 5e-7)
    positions = np.searchsorted(cumulative, wanted).clip(0, len(values) - 1)
    return [float(v) for v in values[order][positions]]


def outliers(samples: Sequence[float] | Floats) -> npt.NDArray[np.bool_]:
    """Which samples have a modified z-score above 3.5 in size: flagged, never to be dropped.

    0.6745·(x − median)/MAD; where more than half the samples are equal and MAD is zero,
    (x − median)/(1.2533·mean absolute deviation), as the authors advise.
    """
    x = np.asarray(samples, dtype=float)
    if not len(x):
        return np.zeros(0, dtype=bool)
    off = x - np.median(x)
    scale = np.median(np.abs(off)) / 0.6745 or np.mean(np.abs(off)) * 1.253314
    return np.abs(off) > OUTLIER_SCORE * scale if scale else np.zeros(len(x), dtype=bool)


def _sorted(samples: Sequence[float] | Floats) -> Floats:
    x = np.asarray(samples, dtype=float)
    return np.sort(x[~np.isnan(x)])


def _rng(stream: int) -> np.random.Generator:
    return np.random.default_rng([SEED, stream])


def _estimate(value: float, replicates: Floats, n: int) -> Estimate:
    if n < MIN_FOR_INTERVAL:
        return Estimate(value)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))


def _resampled(x: Floats, q: float, rng: np.random.Generator) -> Floats:
    """The q-quantile of each of RESAMPLES bootstrap resamples of sorted `x`; see the module."""
    n = len(x)
    position = q * (n - 1)
    k = int(position)  # the quantile lies between order statistics k and k+1, counted from 0
    u = rng.beta(k + 1, n - k, RESAMPLES)
    lower: Floats = x[(n * u).astype(int).clip(0, n - 1)]
    if k + 1 == n or position == k:
        return lower
    u += (1 - u) * rng.beta(1, n - k - 1, RESAMPLES)  # the next order statistic, given this one
    upper: Floats = x[(n * u).astype(int).clip(0, n - 1)]
    return lower + (upper - lower) * (position - k)
