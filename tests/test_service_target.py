"""Targets on this machine, and a cold start forced."""

from __future__ import annotations

import pytest

from bench.lambdas.target import Target, TargetError, force_cold, open_target
from flink_job.offload.client import LambdaClient
from flink_job.offload.endpoint import lambda_api


def test_a_stack_has_its_own_memory_and_concurrency() -> None:
    with pytest.raises(TargetError), open_target("ours", memory_mb=512):
        pass


def test_a_forced_cold_start_keeps_what_is_configured(target: Target) -> None:
    api = lambda_api(target.endpoint_url, target.region)
    function = target.empties.get("python") or target.functions["python"]
    api.update_function_configuration(
        FunctionName=function, Environment={"Variables": {"KEPT": "yes"}}
    )
    force_cold(target, function, memory_mb=1024)
    report = (
        LambdaClient(target.endpoint_url, target.region).invoke(function, {"sentences": []}).report
    )
    configuration = api.get_function_configuration(FunctionName=function)
    assert report.init_ms is not None
    assert report.memory_mb == configuration["MemorySize"] == 1024
    assert configuration["Environment"]["Variables"].keys() == {"KEPT", "COLD_START"}


def test_a_function_can_have_a_second_name() -> None:
    with open_target(aliases=["python"], max_concurrency=1, memory_mb=512) as target:
        client = LambdaClient(target.endpoint_url, target.region)
        names = target.functions["python"], target.aliases["python"]
        first, second = (client.invoke(name, {"sentences": ["One, TWO"]}) for name in names)
    assert first.value["tokens"] == second.value["tokens"]
    assert first.report.memory_mb == second.report.memory_mb == 512
    assert second.value["first_call"], "two names, two sets of environments"
