"""Cost against figures worked out by hand from the price list."""

from __future__ import annotations

import pytest

from bench.facts.cost import PRICES, Usage

pytestmark = pytest.mark.beside


def test_a_million_calls_of_100_ms_at_1024_mb_are_100_000_gb_seconds() -> None:
    usage = Usage.of(calls=1e6, billed_ms=1e8, memory_mb=1024)
    assert usage == Usage(1e6, 1e5)
    assert usage.usd("x86_64") == pytest.approx(1.66667 + 0.20)
    assert usage.usd("arm64") == pytest.approx(1.33334 + 0.20)


def test_cost_of_a_million_sentences_from_one_batch_of_a_hundred() -> None:
    per_million = Usage.of(calls=1, billed_ms=2, memory_mb=1769).scaled(1e6 / 100)
    assert per_million.requests == 10_000
    assert per_million.usd() == pytest.approx(0.002 + 20 * 1769 / 1024 * 0.0000166667)


def test_the_scarcer_half_of_the_free_tier_counts() -> None:
    assert Usage(500_000, 0).free_tier_share() == 0.5
    assert Usage(500_000, 300_000).free_tier_share() == 0.75


def test_prices_say_when_and_where_they_were_true() -> None:
    assert (PRICES.as_of, PRICES.region) == ("2026-11", "us-east-1")
