"""Statistics of samples that come in runs: intervals, comparisons and their three verdicts.

The unit is what took turns as a whole: a pass (or an environment) of single calls, a surge of jobs,
a run where several are pooled. Where things took turns, they are compared within a unit: a ratio
for each, on a logarithmic scale. An interval is given only where simulations of what the records
look like (`tests/test_claims.py`) find that it covers at least 93 %; else the values themselves
are: the lowest and the highest.

- From nine units on: exact order statistics, which assume nothing of the distribution (Hahn &
  Meeker, "Statistical Intervals", §5.2).
- From three, or five where a unit is one surge: Student's t of the logarithms.

Pure and deterministic. Unit-free; callers name the unit.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special  # scipy.stats takes a second to import

Floats = npt.NDArray[np.float64]
Samples = Sequence[float] | Floats
K = TypeVar("K", bound=Hashable)

CONFIDENCE = 0.95
MARGIN = 1.10
"""What counts as equal: a ratio that surely lies between 1 ÷ this and this."""
MIN_UNITS = 3
"""Of units that are medians of many calls: fewer give no interval."""
MIN_SURGES = 5
"""Of units that are one surge each, whose latencies have heavy tails; and to name a winner."""
EXACT_FROM = 9
"""From so many units on order statistics give an interval narrower than lowest to highest."""
RUN_SPREAD = 0.10
"""Standard deviation of the logarithm of a median from run to run, of the same code on one
machine: that of the cold starts of Java in four runs (158, 145, 167 and 133 ms)."""
MIN_FOR_EXACT = 6
MIN_BATCHES = 100
"""Sentences of one batch share their fate, so a high quantile needs this many batches."""
OUTLIER_SCORE = 3.5
"""Iglewicz & Hoaglin, "How to Detect and Handle Outliers" (1993): flag |modified z| above this."""
MIN_FOR_QUANTILE = {0.95: 20, 0.99: 100}
"""A quantile q needs 1/(1−q) samples, or it is just another name for the maximum."""

Verdict = Literal["different", "equal", "not known"]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, or without one where `n` units are too few; then the lowest
    and highest of them are all that there is to say."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 1
    least: float | None = None
    most: float | None = None

    @property
    def inverse(self) -> Estimate:
        """Of a ratio, the other way round."""

        def over(x: float | None) -> float | None:
            return None if x is None else 1 / x if x else math.inf

        return Estimate(
            1 / self.value, over(self.high), over(self.low), self.n, over(self.most),
            over(self.least),
        )  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A ratio and what may be said of it.

    Attributes:
        p: of the hypothesis that the ratio is 1; None without an interval.
        margin: the ratio up to which things count as equal.
        more: units more that would settle a "not known", if what was seen is what is true.
    """

    ratio: Estimate
    verdict: Verdict
    p: float | None = None
    margin: float = MARGIN
    more: int | None = None

    @property
    def inverse(self) -> Comparison:
        """The other way round."""
        return replace(self, ratio=self.ratio.inverse)


@dataclass(frozen=True)
class Ranking:
    """Which of several things that took turns is best (lowest), if that can be said.

    Attributes:
        first: the one with the lowest median of the units; named best only if `is_named`.
        others: each other one's ratio to the first.
        n: units that have all of them.
    """

    first: str
    others: Mapping[str, Comparison]
    n: int

    @property
    def is_named(self) -> bool:
        """Whether every other is different, and there are enough repetitions."""
        verdicts = {c.verdict for c in self.others.values()}
        return self.n >= MIN_SURGES and verdicts == {"different"}


@dataclass(frozen=True)
class Summary:
    """What a table says about a set of samples; a quantile too few samples carry is None."""

    n: int
    median: Estimate
    p90: float
    p95: float | None
    p99: float | None
    outliers: int


def summarize(samples: Samples, runs: Sequence[Hashable] | None = None) -> Summary | None:
    """The summary of `samples` (missing ones, NaN, are left out), or None if there are none.

    Args:
        runs: of each sample, the run that it is from; None if they are of one.
    """
    x = pd.Series(np.asarray(samples, dtype=float))
    groups = pd.Series(list(runs) if runs is not None else [0] * len(x))
    groups, x = groups[x.notna()], x.dropna()
    if x.empty:
        return None
    values = x.to_numpy()
    return Summary(
        n=len(x),
        median=over_runs(x, groups),
        p90=float(np.quantile(values, 0.90)),
        p95=quantile_if_enough(values, 0.95),
        p99=quantile_if_enough(values, 0.99),
        outliers=int(outliers(values).sum()),
    )


def median(samples: Samples) -> Estimate:
    """The median of independent samples; exact interval from six. ValueError without samples."""
    x = _known(samples)
    if not len(x):
        raise ValueError("no samples")
    low = high = None
    if len(x) >= MIN_FOR_EXACT:
        low, high = _exact(x)
    return Estimate(float(np.median(x)), low, high, len(x), float(x.min()), float(x.max()))


def over_runs(samples: pd.Series[float], runs: pd.Series[Any]) -> Estimate:
    """The median of positive samples of one run, or the typical median of a run of several: a
    sample speaks for its run, a run for all of them."""
    medians = samples.groupby(runs.to_numpy(), sort=False).median().to_numpy(dtype=float)
    if len(medians) == 1:
        return median(samples.to_numpy(dtype=float))
    return _geometric(medians, MIN_UNITS)


def typical(samples: Samples, least: int = MIN_SURGES) -> Estimate:
    """The median over units, positive values, with the interval that so many of them allow;
    infinite ones (what never came to an end) count as longer than all others."""
    x = _known(samples)
    if len(x) >= MIN_FOR_EXACT or not np.isfinite(x).all() or (x <= 0).any():
        return median(x)
    return replace(_geometric(x, least), value=float(np.median(x)))


def compare(
    ratios: Samples,
    runs: Sequence[Hashable] | None = None,
    least: int = MIN_UNITS,
    margin: float = MARGIN,
) -> Comparison:
    """What ratios say, one for each unit in which both sides took turns. ValueError without any.

    Args:
        runs: the run of each unit; of several, a run is the unit.
        least: units that an interval needs; see `MIN_UNITS`, `MIN_SURGES`.
        margin: up to which ratio things count as equal, named beforehand.
    """
    values = np.log(np.asarray(ratios, dtype=float))
    if runs is not None and len(set(runs)) > 1:
        values, least = pd.Series(values).groupby(list(runs)).median().to_numpy(), MIN_UNITS
    values = values[~np.isnan(values)]
    if not len(values):
        raise ValueError("no ratios")
    n = len(values)
    if n < least:
        return Comparison(_exp(_seen(values)), "not known", None, margin, least - n)
    if n >= EXACT_FROM:
        low, high = _exact(np.sort(values))
        above, below = int((values > 0).sum()), int((values < 0).sum())
        p = min(1.0, 2 * float(special.bdtr(min(above, below), above + below, 0.5)))
        return _judged(replace(_seen(values), low=low, high=high), p, margin)
    return _judged(*_student(values), margin)


def compare_runs(
    new: Samples, old: Samples, runs: tuple[int, int] = (1, 1), margin: float = MARGIN
) -> Comparison:
    """new ÷ old of what did not take turns, but was measured in different runs: Welch's t of the
    logarithms, widened by what medians differ from run to run (`RUN_SPREAD`) anyway.

    Args:
        new, old: one positive value a unit.
        runs: how many runs the units of each side come from.
    """
    a, b = (np.log(_known(x)) for x in (new, old))
    if not len(a) or not len(b):
        raise ValueError("no samples")
    value = float(np.median(a) - np.median(b))
    n = min(len(a), len(b))
    if n < MIN_UNITS:
        return Comparison(_exp(Estimate(value, n=n)), "not known", None, margin, MIN_UNITS - n)
    # that of a median is π/2 of that of a mean
    within = [math.pi / 2 * float(x.var(ddof=1)) / len(x) for x in (a, b)]
    between = RUN_SPREAD**2 * (1 / runs[0] + 1 / runs[1])
    error = math.sqrt(sum(within) + between)
    freedom = sum(within) ** 2 / sum(
        v**2 / (len(x) - 1) for v, x in zip(within, (a, b), strict=True)
    ) if sum(within) else math.inf  # fmt: skip
    freedom = max(freedom, 2.0)
    half = _t(freedom) * error
    e = Estimate(value, value - half, value + half, n)
    return _judged(e, _two_sided(value / error, freedom), margin)


def holm(found: Mapping[K, Comparison]) -> dict[K, Comparison]:
    """The same comparisons with their verdicts corrected for being many: at most 5 % of such
    families hold a false "different" (Holm 1979)."""
    order = sorted((c.p, i, k) for i, (k, c) in enumerate(found.items()) if c.p is not None)
    corrected = dict(found)
    for done, (p, _, _) in enumerate(order):
        if p * (len(order) - done) > 1 - CONFIDENCE:
            for _, _, other in order[done:]:
                corrected[other] = _undecided(found[other])
            break
    return corrected


def rank(
    frames: Mapping[K, pd.DataFrame], least: int = MIN_UNITS, margin: float = MARGIN
) -> dict[K, Ranking]:
    """For each frame (a row a unit, a column a thing; positive, lower is better) the order of its
    things. All pairs of all frames are one family of comparisons. A first level of the index, if
    there are two, is the run. Only units that have all the things count; a frame without any such
    unit, or of less than two things, is left out."""
    pairs: dict[tuple[K, str, str], Comparison] = {}
    kept: dict[K, pd.DataFrame] = {}
    for key, frame in frames.items():
        whole = frame.dropna()
        if whole.empty or whole.shape[1] < 2:
            continue
        kept[key] = whole
        runs = list(whole.index.get_level_values(0)) if whole.index.nlevels > 1 else None
        names = list(whole.columns)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                pairs[key, a, b] = compare((whole[a] / whole[b]).to_numpy(), runs, least, margin)
    judged = holm(pairs)
    made = {}
    for key, whole in kept.items():
        first = str(whole.median().idxmin())
        others = {
            b if a == first else a: c.inverse if a == first else c
            for (k, a, b), c in judged.items()
            if k == key and first in (a, b)
        }
        made[key] = Ranking(first, others, len(whole))
    return made


def per_hour_at_most(events: int, hours: float) -> float:
    """The rate that a Poisson process of so many events in so many hours does not exceed, 95 %
    sure: without events the rule of three, 3 ÷ hours."""
    return float(special.chdtri(2 * (events + 1), 1 - CONFIDENCE)) / 2 / hours


def quantile_if_enough(samples: Samples, q: float) -> float | None:
    """The q-quantile (linear interpolation), or None where samples are too few to carry it."""
    x = _known(samples)
    return float(np.quantile(x, q)) if len(x) >= MIN_FOR_QUANTILE.get(q, 1) else None


def weighted_quantiles(values: Floats, weights: Floats, qs: Sequence[float]) -> list[float]:
    """For each q the smallest value with at least a share q of the weight at or below it."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    # half a millionth off, so that rounding in the sum cannot push q·total past an exact step
    wanted = np.asarray(qs) * cumulative[-1] * (1 - 5e-7)
    positions = np.searchsorted(cumulative, wanted).clip(0, len(values) - 1)
    return [float(v) for v in values[order][positions]]


def outliers(samples: Samples) -> npt.NDArray[np.bool_]:
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


def _judged(e: Estimate, p: float, margin: float) -> Comparison:
    """The verdict on a logarithm of a ratio; the comparison is of the ratio."""
    assert e.low is not None and e.high is not None
    limit, half = math.log(margin), (e.high - e.low) / 2
    if p <= 1 - CONFIDENCE and not e.low <= 0 <= e.high:
        verdict: Verdict = "different"
    elif -limit < e.low and e.high < limit:
        verdict = "equal"
    else:
        verdict = "not known"
    more = None
    if verdict == "not known":
        # an interval of n units is 1/√n wide: how many until it excludes 1, or fits the margin?
        gap = max(abs(e.value), limit - abs(e.value))
        more = max(1, math.ceil(e.n * (half / gap) ** 2) - e.n)
    return Comparison(_exp(e), verdict, p, margin, more)


def _undecided(c: Comparison) -> Comparison:
    """What is left of a "different" that many comparisons take back."""
    if c.verdict != "different":
        return c
    return replace(c, verdict="not known", more=max(1, c.ratio.n // 2))


def _exact(x: Floats) -> tuple[float, float]:
    """The narrowest pair of order statistics of sorted `x`, at equal distance from its ends, that
    covers the median with at least 95 %, whatever the distribution."""
    k = _order(len(x))
    return float(x[k - 1]), float(x[len(x) - k])


@lru_cache(maxsize=1024)
def _order(n: int) -> int:
    below = special.bdtr(np.arange(n + 1), n, 0.5)
    return max(1, int(np.searchsorted(below, (1 - CONFIDENCE) / 2)))


@lru_cache(maxsize=1024)
def _t(freedom: float) -> float:
    return float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _two_sided(t: float, freedom: float) -> float:
    """p of Student's t, or of one further from 0."""
    return 2 * float(special.stdtr(freedom, -abs(t)))


def _student(logs: Floats) -> tuple[Estimate, float]:
    """Their mean with Student's interval, and p of the hypothesis that it is 0."""
    n = len(logs)
    value, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(n)
    half = _t(n - 1) * error
    e = Estimate(value, value - half, value + half, n, float(logs.min()), float(logs.max()))
    if not error:
        return e, float(value == 0)
    return e, _two_sided(value / error, n - 1)


def _geometric(x: Floats, least: int) -> Estimate:
    """The geometric mean, with Student's interval of the logarithms from `least` values on; else
    the median."""
    if len(x) < least:
        return Estimate(float(np.median(x)), None, None, len(x), float(x.min()), float(x.max()))
    return _exp(_student(np.log(x))[0])


def _seen(x: Floats) -> Estimate:
    return Estimate(float(np.median(x)), None, None, len(x), float(x.min()), float(x.max()))


def _exp(e: Estimate) -> Estimate:
    def up(x: float | None) -> float | None:
        return None if x is None else math.exp(x)

    return Estimate(math.exp(e.value), up(e.low), up(e.high), e.n, up(e.least), up(e.most))


def _known(samples: Samples) -> Floats:
    x = np.asarray(samples, dtype=float)
    return np.sort(x[~np.isnan(x)])
