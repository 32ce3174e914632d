"""Money: what is expected, what the records say was spent, and where it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.facts.cost import PRICES
from bench.facts.records import Run
from bench.lambdas.spending import Expected, Overspent, Spending
from bench.lambdas.target import Target, TargetError

pytestmark = pytest.mark.beside

GB_S = PRICES.gb_second["x86_64"]


def test_what_is_expected_are_gb_seconds_and_requests() -> None:
    expected = Expected.of(1000, 2000, 512)
    assert expected.gb_seconds == 1000
    assert expected.usd == pytest.approx(1000 * GB_S + 1000 * PRICES.request)
    assert (expected + expected).calls == 2000


def test_calls_in_flight_all_the_time_are_the_most_there_can_be() -> None:
    assert Expected.in_flight(8, 60, 1024).gb_seconds == pytest.approx(480)


def _target(spending: Spending) -> Target:
    return Target(
        label="AWS Lambda",
        endpoint_url=None,
        region="us-east-1",
        functions={},
        empties={},
        cpu_share_enforced=True,
        versions={},
        spending=spending,
    )


def _call(run: Run, billed_ms: float | None) -> None:
    run.write(
        "call",
        language="python",
        function="P",
        sentences=1,
        tokens=1,
        round=0,
        phase="steady",
        environment=0,
        call_number=1,
        compute_ms=1.0,
        wall_ms=1.0,
        billed_ms=billed_ms,
        memory_mb=1024.0,
    )


def test_a_run_counts_what_it_writes_and_stops_at_the_limit(tmp_path: Path) -> None:
    spending = Spending(max_usd=2.5 * GB_S)
    with (
        pytest.raises(Overspent, match="of --max-usd"),
        Run("compute", target=_target(spending), results=tmp_path) as run,
    ):
        for _ in range(9):
            _call(run, 1000.0)
    assert spending.calls == 3
    assert spending.gb_seconds == 3
    assert len([x for x in run.path.read_text().splitlines() if '"kind":"call"' in x]) == 3


def test_a_call_that_tells_no_time_is_counted_and_said(tmp_path: Path) -> None:
    spending = Spending()
    with Run("compute", target=_target(spending), results=tmp_path) as run:
        _call(run, None)
    assert str(spending) == "spent: 1 calls, of which 1 told no time, $0.0000 at list prices"


def test_what_goes_on_after_a_targets_failure_ends_with_the_money() -> None:
    assert not issubclass(Overspent, TargetError)


def test_what_may_cost_more_than_is_left_is_not_begun() -> None:
    most = Expected.in_flight(8, 10, 1024).usd
    target = replace(_target(Spending(max_usd=1.1 * most)), memory_mb={"python": 1024})
    target.expects("python", calls=8, seconds=10, memory_mb=None)
    with pytest.raises(Overspent, match=r"spent \$0.0000 of --max-usd .* next may cost \$0.00"):
        target.expects("python", calls=8, seconds=10, memory_mb=2048)


def test_calls_that_nobody_waited_for_are_said_and_what_was_not_called_costs_nothing() -> None:
    spending = Spending()
    counts = {"calls": 9, "billed_ms": 1000.0, "memory_mb": 1024.0, "late": 2, "timed_out": 1}
    spending.wrote("lambda", counts)
    spending.wrote("failure", {"error": "MemoryRefused"})
    assert (spending.calls, spending.unknown) == (9, 3)
