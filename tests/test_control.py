"""What is changed of functions for measuring them: through an edge that fails, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.experiments import cold, compute, surge
from bench.facts.records import Run, frames
from bench.lambdas.control import MemoryRefused, TargetError, force_cold, kept
from bench.lambdas.spending import Overspent, Spending
from bench.lambdas.target import Target
from flink_job.offload.endpoint import lambda_api
from tests.edge import Edge, edge

BUSY = {"message": "The operation cannot be performed at this time. An update is in progress"}
TOO_LARGE = {"message": "'MemorySize' value failed to satisfy constraint: 3008 at most"}
CONFIGURATION = "/configuration"


@pytest.fixture
def faulty(target: Target) -> Iterator[tuple[Edge, str]]:
    assert target.endpoint_url
    with edge(target.endpoint_url) as opened:
        yield opened


@pytest.fixture
def function(target: Target) -> str:
    return target.empties["python"]


def _asked(url: str, function: str) -> Any:
    return lambda_api(url, None).get_function_configuration(FunctionName=function)


RATE = (429, "TooManyRequestsException", {"message": "Rate exceeded"})
FAILURE = (500, "ServiceException", {"message": "again, please"})


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("PUT", (409, "ResourceConflictException", BUSY)),
        *((method, answer) for method in ("GET", "PUT") for answer in (RATE, FAILURE, None)),
    ],
)
def test_one_failure_does_not_end_it(
    faulty: tuple[Edge, str], function: str, method: str, answer: Any
) -> None:
    broken, url = faulty
    broken.fail(method, CONFIGURATION, answer)
    force_cold(url, None, function)
    assert not broken.faults
    assert "COLD_START" in _asked(url, function)["Environment"]["Variables"]


def test_a_version_is_published_once_no_other_change_is_under_way(
    faulty: tuple[Edge, str], function: str
) -> None:
    broken, url = faulty
    broken.fail("POST", "/versions", (409, "ResourceConflictException", BUSY))
    with pytest.raises(TargetError, match="cannot publish"):  # which the local service cannot do
        force_cold(url, None, f"{function}:live")
    assert sum(x.startswith("POST") and "/versions" in x for x in broken.asked) == 2


def test_failures_without_end_come_to_one(faulty: tuple[Edge, str], function: str) -> None:
    broken, url = faulty
    refusal = {"message": "not authorized to perform: lambda:UpdateFunctionConfiguration"}
    broken.fail("PUT", CONFIGURATION, (403, "AccessDeniedException", refusal), times=9)
    with pytest.raises(TargetError, match=r"cannot configure .* not authorized"):
        force_cold(url, None, function)
    assert len(broken.faults) == 8, "what cannot get better is not tried again"


def test_variables_that_cannot_be_read_are_not_lost(
    faulty: tuple[Edge, str], function: str
) -> None:
    broken, url = faulty
    hidden = {
        "FunctionName": function,
        "MemorySize": 1769,
        "Environment": {"Error": {"ErrorCode": "AccessDeniedException", "Message": "no key"}},
    }
    broken.fail("GET", CONFIGURATION, (200, "", hidden))
    with pytest.raises(TargetError, match=r"cannot be read .*nothing was changed"):
        force_cold(url, None, function)
    assert not [x for x in broken.asked if x.startswith("PUT")]


def test_a_forced_cold_start_leaves_no_trace(faulty: tuple[Edge, str], function: str) -> None:
    _, url = faulty
    before = _asked(url, function)
    with kept(url, None, [function]) as configured:
        assert configured == {function: before["MemorySize"]}
        force_cold(url, None, function, 512)
        assert _asked(url, function)["MemorySize"] == 512
    after = _asked(url, function)
    assert after["MemorySize"] == before["MemorySize"]
    assert after.get("Environment") == before.get("Environment")


def test_one_that_cannot_be_put_back_does_not_keep_the_others(
    faulty: tuple[Edge, str], target: Target
) -> None:
    broken, url = faulty
    first, second = target.empties["python"], target.empties["node"]
    before = _asked(url, second)["MemorySize"]
    denied = (403, "AccessDeniedException", {"message": "no longer"})
    with (
        pytest.raises(TargetError, match=f"not put back as it was: .*{first}.*no longer"),
        kept(url, None, [first, second]),
    ):
        force_cold(url, None, first, 512)
        force_cold(url, None, second, 512)
        broken.fail("PUT", first, denied)
    assert _asked(url, second)["MemorySize"] == before
    force_cold(url, None, first, before)


def test_a_memory_size_that_the_account_may_not_have_is_noted_and_the_others_go_on(
    faulty: tuple[Edge, str], target: Target, tmp_path: Path
) -> None:
    broken, url = faulty

    def fault(method: str, path: str, body: bytes) -> Any:
        refused = method == "PUT" and b'"MemorySize": 10240' in body
        return (400, "InvalidParameterValueException", TOO_LARGE) if refused else False

    broken.faults.extend([fault] * 20)
    with pytest.raises(MemoryRefused):
        force_cold(url, None, target.functions["python"], 10240)
    there = Target(
        label="edge",
        endpoint_url=url,
        region=None,
        functions=target.functions,
        empties={},
        cpu_share_enforced=None,
        versions={},
    )
    with Run("cold", results=tmp_path) as run:
        cold.measure(there, run, ["python"], memories_mb=[1769, 10240], rounds=2)
        compute.measure(
            there,
            run,
            compute.subjects(there, ["python"]),
            sizes=[1],
            memories_mb=[1769, 10240],
            environments=1,
            rounds=1,
            max_warmup=2,
        )
        like = replace(surge.plain(1.0), method="operator", language="python")
        ready = [surge.ready(there, run, replace(like, memory_mb=x)) for x in (1769, 10240)]
        poor = replace(there, spending=Spending(max_usd=1e-6), memory_mb={"python": 1769})
        with pytest.raises(Overspent):
            surge.ready(poor, run, like)
    assert ready == [True, False]
    found = frames(run.folder)
    assert set(found["cold"]["memory_mb"]) == set(found["call"]["memory_mb"]) == {1769}
    assert found["failure"]["error"].tolist() == ["MemoryRefused"] * 3
    assert found["failure"]["message"].str.contains("cannot have 10240 MB").all()
