"""The statistics against known distributions and against scipy, an independent witness."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bench import stats


def samples(seed: int, n: int) -> stats.Floats:
    """Right-skewed, as latencies are."""
    return np.random.default_rng(seed).lognormal(3, 0.4, n)


def test_same_samples_give_the_same_figures_to_the_last_bit_in_any_order() -> None:
    x = samples(1, 57)
    assert stats.summarize(x) == stats.summarize(x[::-1])


@pytest.mark.parametrize("n", [7, 20, 41, 300])
def test_median_interval_is_the_percentile_bootstrap_of_scipy(n: int) -> None:
    x = samples(n, n)
    witness = scipy.stats.bootstrap(
        (x,),
        np.median,
        method="percentile",
        n_resamples=20_000,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    ours = stats.median(x)
    width = witness.high - witness.low
    assert ours.value == np.median(x)
    assert ours.low == pytest.approx(witness.low, abs=0.1 * width)
    assert ours.high == pytest.approx(witness.high, abs=0.1 * width)


def test_ratio_interval_is_the_percentile_bootstrap_of_scipy() -> None:
    x, y = samples(1, 40), 2 * samples(2, 30)
    witness = scipy.stats.bootstrap(
        (x, y),
        lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        method="percentile",
        n_resamples=20_000,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    ours = stats.ratio(x, y)
    assert ours.low == pytest.approx(witness.low, rel=0.03)
    assert ours.high == pytest.approx(witness.high, rel=0.03)
    assert ours.differs_from_one is True


@pytest.mark.parametrize("n", [10, 20, 100])
def test_the_interval_covers_the_true_median_as_often_as_it_says(n: int) -> None:
    true = np.exp(3)
    covered = 0
    for seed in range(400):
        e = stats.median(samples(seed, n))
        assert e.low is not None and e.high is not None
        covered += e.low <= true <= e.high
    assert 0.92 <= covered / 400 <= 0.985  # 95 % ± three standard errors


@pytest.mark.parametrize("n", [10, 20, 100])
def test_the_same_thing_twice_is_called_different_no_more_often_than_allowed(n: int) -> None:
    said_different = sum(
        stats.ratio(samples(2 * seed, n), samples(2 * seed + 1, n)).differs_from_one is True
        for seed in range(400)
    )
    assert said_different / 400 <= 0.08  # 5 % and three standard errors


def test_a_real_difference_is_seen() -> None:
    assert stats.ratio(1.5 * samples(1, 40), samples(2, 40)).differs_from_one is True


def test_too_few_samples_give_no_interval_and_decide_nothing() -> None:
    few = stats.ratio([1, 1, 1, 1, 1], [9, 9, 9, 9, 9])
    assert (few.low, few.high, few.differs_from_one) == (None, None, None)
    assert stats.median([1, 2, 3, 4, 5, 6]).low is not None


@pytest.mark.parametrize(
    ("n", "p95", "p99"),
    [(19, False, False), (20, True, False), (99, True, False), (100, True, True)],
)
def test_high_quantiles_only_from_samples_that_carry_them(n: int, p95: bool, p99: bool) -> None:
    s = stats.summarize(samples(0, n))
    assert s is not None
    assert (s.p95 is not None, s.p99 is not None) == (p95, p99)
    assert s.p90 == np.quantile(samples(0, n), 0.9)


def test_missing_samples_are_left_out_and_nothing_is_no_summary() -> None:
    s = stats.summarize([1.0, float("nan"), 3.0])
    assert s is not None
    assert (s.n, s.median.value) == (2, 2.0)
    assert stats.summarize([]) is None
    assert stats.summarize([float("nan")]) is None


def test_outliers_are_flagged_by_modified_z_score_and_stay_in_the_figures() -> None:
    x = [10.0, 11, 12, 11, 10, 12, 11, 60]
    assert list(stats.outliers(x)) == [False] * 7 + [True]
    s = stats.summarize(x)
    assert s is not None
    assert (s.n, s.outliers) == (8, 1)


def test_outliers_among_equal_samples() -> None:
    assert list(stats.outliers([5.0] * 9 + [50.0])) == [False] * 9 + [True]
    assert not stats.outliers([5.0] * 10).any()


def test_weighted_quantile_equals_the_quantile_of_the_repeated_values() -> None:
    rng = np.random.default_rng(3)
    values, weights = rng.normal(size=200), rng.integers(1, 50, 200)
    repeated = np.repeat(values, weights)
    qs = [0.0, 0.01, 0.5, 0.95, 0.99, 1.0]
    expected = [np.quantile(repeated, q, method="inverted_cdf") for q in qs]
    assert stats.weighted_quantiles(values, weights.astype(float), qs) == pytest.approx(expected)


def test_a_million_samples_cost_no_more_resampling_than_twenty() -> None:
    e = stats.median(np.random.default_rng(0).normal(100, 1, 1_000_000))
    assert e.low is not None and e.high is not None
    assert e.high - e.low == pytest.approx(2 * 1.96 * 1.2533 / 1000, rel=0.1)  # asymptotic theory
