"""Burst length against scaling out: the fluid queue against arithmetic, and who wins when."""

from __future__ import annotations

import pytest

from bench.advice import Help, Load, crossover_s, latencies_s, p99_s

LOAD = Load(base_per_s=1000, factor=4, capacity_per_s=2000)
NOTHING = Help("none", delay_s=0.0, added_per_s=0.0)
OFFLOAD = Help("operator", delay_s=0.5, added_per_s=4000, usd=0.0, usd_per_s=1e-4)
SCALE_OUT = Help("scale-out", delay_s=5.0, added_per_s=4000, stop_s=1.0, usd=2e-3, usd_per_s=1e-5)


def test_without_help_a_burst_of_twice_the_capacity_waits_as_long_as_it_lasts() -> None:
    found = latencies_s(LOAD, 10.0, NOTHING)
    assert found[0] == pytest.approx(0.0, abs=0.02)
    assert found.max() == pytest.approx(10.0, rel=0.01)
    assert found.mean() == pytest.approx(5.0, rel=0.01)


def test_help_that_is_there_at_once_leaves_no_queue() -> None:
    assert latencies_s(LOAD, 10.0, Help("bigger", 0.0, 2000)).max() < 0.03


def test_the_queue_is_longest_when_help_comes_and_a_stop_makes_it_longer() -> None:
    """0.5 s at 4,000/s, of which 2,000/s are done: 1,000 are left, done at 6,000/s."""
    assert latencies_s(LOAD, 10.0, OFFLOAD).max() == pytest.approx(0.5 - 1000 / 4000, abs=0.02)
    still = Help("", SCALE_OUT.delay_s, SCALE_OUT.added_per_s)
    assert p99_s(LOAD, 10.0, SCALE_OUT) > p99_s(LOAD, 10.0, still)


def test_a_burst_that_is_over_before_help_comes_waits_as_without_it() -> None:
    assert p99_s(LOAD, 2.0, SCALE_OUT) >= p99_s(LOAD, 2.0, NOTHING)


def test_scaling_out_wins_when_the_burst_is_long_enough_to_pay_for_it() -> None:
    """0.002 USD to begin with are as much as 22 s of calls at 0.00009 USD/s more."""
    bursts_s = (2, 5, 10, 30, 60)
    assert crossover_s(LOAD, OFFLOAD, SCALE_OUT, bursts_s, bearable_s=10.0) == 30
    assert crossover_s(LOAD, OFFLOAD, SCALE_OUT, bursts_s, bearable_s=0.5) is None
