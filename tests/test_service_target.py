"""Targets: the stack that is found, the one that is not, and a cold start forced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from bench.lambdas import target as module
from bench.lambdas.target import Target, TargetError, deployed, force_cold, open_target
from flink_job.offload.client import LambdaClient
from flink_job.offload.endpoint import lambda_api

OUTPUTS = [
    {"OutputKey": f"{language}TokenizerName", "OutputValue": f"stack-{language}-1x2y"}
    for language in ("Python", "Java", "Node")
]


class Aws:
    """A CloudFormation with one stack, and its functions."""

    def __init__(self, outputs: list[dict[str, str]]) -> None:
        self.outputs = outputs
        self.meta = type("Meta", (), {"region_name": "eu-west-1"})

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName != "ours":
            message = f"Stack {StackName} does not exist"
            raise ClientError(
                {"Error": {"Code": "ValidationError", "Message": message}}, "DescribeStacks"
            )
        return {"Stacks": [{"Outputs": self.outputs}]}

    def get_function_configuration(self, FunctionName: str) -> dict[str, str]:
        return {"Runtime": f"runtime of {FunctionName}"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[dict[str, str]]], None]:
    def offer(outputs: list[dict[str, str]]) -> None:
        fake = Aws(outputs)
        monkeypatch.setattr(boto3, "client", lambda *_, **__: fake)
        monkeypatch.setattr(module, "lambda_api", lambda *_, **__: fake)

    return offer


def test_a_stacks_functions_are_found_by_its_outputs(aws: Any) -> None:
    aws(OUTPUTS)
    with open_target("ours", "eu-west-1") as target:
        assert target.label == "AWS Lambda"
        assert target.endpoint_url is None
        assert target.region == "eu-west-1"
        assert target.functions["java"] == "stack-Java-1x2y"
        assert target.versions["java"] == "runtime of stack-Java-1x2y"
        assert target.empties == {}


def test_a_stack_that_is_not_there_is_told(aws: Any) -> None:
    aws(OUTPUTS)
    with pytest.raises(TargetError, match=r"cannot find stack theirs: .*does not exist"):
        deployed("theirs", None)


def test_a_stack_of_something_else_is_told_with_what_to_do(aws: Any) -> None:
    aws(OUTPUTS[:2])
    with pytest.raises(TargetError, match=r"no output NodeTokenizerName; .* sam deploy --guided"):
        deployed("ours", None)


def test_missing_credentials_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(boto3, "client", refuse)
    with pytest.raises(TargetError, match="Unable to locate credentials"):
        deployed("ours", None)


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
