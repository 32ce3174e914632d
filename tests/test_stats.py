"""The statistics against known distributions and against scipy, an independent witness."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bench import stats

pytestmark = pytest.mark.beside


def samples(seed: int, n: int) -> stats.Floats:
    """Right-skewed, as latencies are."""
    return np.random.default_rng(seed).lognormal(3, 0.4, n)


def test_same_samples_give_the_same_figures_to_the_last_bit_in_any_order() -> None:
    x = samples(1, 57)
    assert stats.summarize(x) == stats.summarize(x[::-1])


@pytest.mark.parametrize("n", [6, 7, 20, 41, 300])
def test_median_interval_is_the_exact_one_of_scipy(n: int) -> None:
    x = samples(n, n)
    witness = scipy.stats.quantile_test(x, q=0.0, p=0.5).confidence_interval(0.95)
    ours = stats.median(x)
    assert ours.value == np.median(x)
    assert [ours.low, ours.high] == [witness.low, witness.high]


@pytest.mark.parametrize("n", [3, 5, 8])
def test_ratio_of_few_units_is_students_t_of_scipy(n: int) -> None:
    ratios = samples(n, n) / 20
    witness = scipy.stats.ttest_1samp(np.log(ratios), 0)
    interval = witness.confidence_interval(0.95)
    ours = stats.compare(ratios)
    assert ours.p == pytest.approx(witness.pvalue)
    assert ours.ratio.low == pytest.approx(np.exp(interval.low))
    assert ours.ratio.high == pytest.approx(np.exp(interval.high))


@pytest.mark.parametrize("n", [9, 16, 40])
def test_ratio_of_many_units_is_the_sign_test_of_scipy(n: int) -> None:
    ratios = samples(n, n) / 19
    witness = scipy.stats.quantile_test(np.log(ratios), q=0.0, p=0.5)
    ours = stats.compare(ratios)
    assert ours.p == pytest.approx(witness.pvalue)
    assert ours.ratio.low == pytest.approx(np.exp(witness.confidence_interval(0.95).low))


def test_unlike_runs_are_compared_by_welchs_t_and_what_runs_differ_by_anyway() -> None:
    new, old = samples(1, 12), samples(2, 15)
    plain = scipy.stats.ttest_ind(np.log(new), np.log(old), equal_var=False)
    interval = plain.confidence_interval(0.95)
    ours = stats.compare_runs(new, old)
    assert ours.ratio.low is not None and ours.ratio.high is not None
    width = np.log(ours.ratio.high / ours.ratio.low)
    assert width > np.hypot(interval.high - interval.low, 2 * 1.96 * 2**0.5 * stats.RUN_SPREAD)
    assert ours.ratio.value == pytest.approx(np.median(new) / np.median(old), rel=1e-3)


def test_holm_is_as_worked_out_by_hand() -> None:
    def with_p(p: float) -> stats.Comparison:
        return stats.Comparison(stats.Estimate(1.5, 1.1, 2.0, 8), "different", p)

    # 0.01 · 3 and 0.02 · 2 pass, 0.04 · 1 passes; with 0.03 · 2 the chain ends there
    found = stats.holm({"a": with_p(0.01), "b": with_p(0.02), "c": with_p(0.04)})
    assert [c.verdict for c in found.values()] == ["different"] * 3
    found = stats.holm({"a": with_p(0.01), "b": with_p(0.03), "c": with_p(0.04)})
    assert [c.verdict for c in found.values()] == ["different", "not known", "not known"]


def test_too_few_samples_give_no_interval_and_decide_nothing() -> None:
    few = stats.compare([1, 9])
    assert (few.ratio.low, few.verdict, few.more) == (None, "not known", 1)
    assert few.ratio.most == pytest.approx(9)
    assert stats.compare([2.0, 2.1, 2.2, 2.0], least=stats.MIN_SURGES).ratio.low is None
    assert stats.median([1, 2, 3, 4, 5]).low is None
    assert stats.median([1, 2, 3, 4, 5, 6]).low == 1


def test_of_several_runs_a_run_is_one_unit() -> None:
    one = stats.summarize([10, 11, 12] * 20)
    several = stats.summarize([10, 11, 12] * 20, ["a", "b", "c"] * 20)
    assert one is not None and several is not None
    assert one.median.n == 60 and several.median.n == 3
    assert one.median.high is not None and several.median.high is not None
    assert several.median.high > one.median.high
    two = stats.summarize([10, 20], ["a", "b"])
    assert two is not None and two.median.low is None and two.median.most == 20


def test_what_never_came_about_counts_as_longer_than_anything() -> None:
    e = stats.typical([1.0, 2.0, float("inf")])
    assert e.value == 2.0
    assert stats.typical([1.0, float("inf"), float("inf")]).value == float("inf")


def test_without_any_false_alarm_the_bound_is_the_rule_of_three() -> None:
    assert stats.per_hour_at_most(0, 1.0) == pytest.approx(3.0, abs=0.01)
    assert stats.per_hour_at_most(2, 2.0) == pytest.approx(6.296 / 2, abs=0.01)


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
