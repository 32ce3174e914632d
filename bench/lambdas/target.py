"""Where the functions are: a deployed stack on AWS, or the local Lambda service."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from bench.lambdas import control
from bench.lambdas.control import MemoryRefused, TargetError
from bench.lambdas.local import runtimes
from bench.lambdas.local.template import TOKENIZERS, Function
from bench.lambdas.spending import Expected, Spending

__all__ = ["AWS", "LANGUAGES", "MemoryRefused", "Target", "TargetError"]

AWS = "AWS Lambda"
LANGUAGES = ("python", "java", "node")
_LISTENS = "Lambda API on "
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


@dataclass(frozen=True)
class Target:
    """Functions that can be called, by language.

    Attributes:
        label: "local process", "local process, as on AWS (emulated)", "AWS Lambda", or "AWS API at
            ADDRESS" where that stands in for it.
        endpoint_url: None where boto3 finds it.
        region: None here.
        functions: names of the tokenizers.
        empties: names of the handlers that do nothing; none on a stack without them.
        aliases: second names of tokenizers.
        cpu_share_enforced: whether a function gets the CPU share of its memory size.
        versions: of the runtimes.
        memory_mb: that the functions are configured with; empty here.
        spending: what calls cost; None where they cost nothing.
        called_at: the endpoint for others than us, where it is another.
    """

    label: str
    endpoint_url: str | None
    region: str | None
    functions: Mapping[str, str]
    empties: Mapping[str, str]
    cpu_share_enforced: bool | None
    versions: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    memory_mb: Mapping[str, int] = field(default_factory=dict)
    spending: Spending | None = None
    called_at: str | None = None

    def wrote(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Take note of a record about this target. Raises Overspent: that was the last to pay."""
        if self.spending:
            self.spending.wrote(kind, fields)

    def expects(self, language: str, calls: int, seconds: float, memory_mb: int | None) -> None:
        """Be about to have so many calls of a language in flight for so long.

        Raises:
            Overspent: that may cost more than is left to be spent.
        """
        if self.spending:
            memory_mb = memory_mb or self.memory_mb.get(language, 0)
            self.spending.expects(Expected.in_flight(calls, seconds, memory_mb))


@contextmanager
def open_target(
    stack: str | None = None,
    region: str | None = None,
    *,
    memory_mb: int | None = None,
    max_concurrency: int | None = None,
    aliases: Sequence[str] = (),
    as_on: str | None = None,
    seed: int = 1,
    listen: str | None = None,
) -> Iterator[Target]:
    """The functions of a deployed stack, or (without `stack`) of a local service that lives as long
    as the context.

    Args:
        memory_mb, max_concurrency: of the local service; a stack has its own.
        aliases: languages whose tokenizer gets a second name, in the local service.
        as_on: "aws": the local service answers as late as AWS would.
        seed: of what that draws.
        listen: address of this machine where the local service takes calls from others too.

    Raises:
        TargetError: no such stack, no credentials, nothing built, …
    """
    if stack:
        if memory_mb or max_concurrency or aliases or as_on or listen:
            raise TargetError(
                "memory, concurrency, second names, a further address and --as-on are the local "
                "service's only"
            )
        target = deployed(stack, region)
        with memory_kept(target, [*target.functions.values(), *target.empties.values()]):
            yield target
        return
    if not TOKENIZERS.exists():
        raise TargetError(f"{TOKENIZERS} is missing; bring it with: make setup")
    second = {language: f"{language.title()}TokenizerAgain" for language in aliases}
    options = [f"--alias={new}={new.removesuffix('Again')}" for new in second.values()]
    if memory_mb:
        options.append(f"--memory={memory_mb}")
    if max_concurrency:
        options.append(f"--max-concurrency={max_concurrency}")
    if as_on:
        options += [f"--as-on={as_on}", f"--seed={seed}"]
    if listen:
        options.append(f"--listen={listen}")
    with local_service(*options) as url:
        status = _status(url)
        served = [Function.of(x) for x in status["functions"]]
        functions, empties = (
            {x.language: x.name for x in served if x.name.endswith(kind) and not x.obstacle}
            for kind in ("Tokenizer", "Empty")
        )
        yield Target(
            label=f"local process, as on {as_on.upper()} (emulated)" if as_on else "local process",
            endpoint_url=url,
            called_at=f"http://{listen}:{urlsplit(url).port}" if listen else None,
            region=None,
            functions=functions,
            empties=empties,
            aliases=second,
            cpu_share_enforced=status["cpu_share_enforced"],
            versions=runtimes.told_versions(served),
        )


def usage(target: Target) -> dict[str, float]:
    """What the local service says that it and its environments have used; see `Service.usage`."""
    assert target.endpoint_url is not None
    used: dict[str, float] = _status(target.endpoint_url)
    return used


def _status(url: str) -> Any:
    # It is on this machine: a proxy, which the environment may name, does not know it.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url, timeout=10) as answer:
        return json.load(answer)


@contextmanager
def local_service(*options: str) -> Iterator[str]:
    """`bench serve` on a free port, see `child_service`."""
    with child_service("serve", _LISTENS, *options) as address:
        yield address


@contextmanager
def child_service(command: str, says: str, *options: str) -> Iterator[str]:
    """A serving command of `bench` on a free port, as a child process that ends with the context
    or with us.

    Args:
        says: what comes before the address in its first line.

    Yields:
        its address.

    Raises:
        TargetError: it did not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.cli", command, "--port=0", "--with-parent", *options],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us: calls under way come to their end first
    )
    assert process.stdin and process.stdout
    try:
        line = process.stdout.readline()
        if not line.startswith(says):
            raise TargetError(f"`bench {command}` did not start")
        yield line.removeprefix(says).strip()
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def deployed(stack: str, region: str | None) -> Target:
    """The functions that the outputs of a stack, or of the stacks in it, name; and the handlers
    that do nothing, where it was deployed with them.

    Raises:
        TargetError: no such stack, no function in its outputs, or AWS cannot be asked.
    """
    try:
        cloudformation = boto3.client("cloudformation", region_name=region)
        told = _outputs(cloudformation, stack)
        api = control.api(None, region)
        functions = _named(told, "Tokenizer")
        if not functions:
            raise TargetError(
                f"stack {stack} has no output {', '.join(_output(x) for x in LANGUAGES)}; deploy "
                "this project's template: sam build && sam deploy --guided"
            )
        configurations = {
            language: api.get_function_configuration(FunctionName=name)
            for language, name in functions.items()
        }
    except (BotoCoreError, ClientError) as error:
        raise TargetError(f"cannot find stack {stack}: {error}") from error
    label = _label(str(api.meta.endpoint_url))
    return Target(
        label=label,
        endpoint_url=None,
        region=api.meta.region_name,
        functions=_Functions(functions, stack),
        empties=_named(told, "Empty"),
        cpu_share_enforced=True if label == AWS else None,
        versions={
            language: x.get("Runtime", "container image") for language, x in configurations.items()
        },
        memory_mb={language: x["MemorySize"] for language, x in configurations.items()},
        spending=Spending(),
    )


class _Functions(dict[str, str]):
    """Names by language; asking for another says which there are."""

    def __init__(self, names: Mapping[str, str], stack: str) -> None:
        super().__init__(names)
        self._stack = stack

    def __missing__(self, language: str) -> str:
        raise TargetError(
            f"stack {self._stack} has no output {_output(language)}; name the languages that it "
            f"has: {' '.join(self)}"
        )


def _outputs(cloudformation: Any, stack: str) -> dict[str, str]:
    """Outputs by name, those of stacks within it below its own."""
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    found: dict[str, str] = {}
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    for resource in (x for page in pages for x in page["StackResourceSummaries"]):
        if resource["ResourceType"] == "AWS::CloudFormation::Stack":
            found |= _outputs(cloudformation, resource["PhysicalResourceId"])
    return found | {x["OutputKey"]: x["OutputValue"] for x in described.get("Outputs", [])}


def _named(outputs: Mapping[str, str], kind: str) -> dict[str, str]:
    """Function names by language, of the outputs that template.yaml gives them."""
    names = {language: outputs.get(_output(language, kind)) for language in LANGUAGES}
    return {language: name for language, name in names.items() if name}


def _label(url: str) -> str:
    """What a table says about where the functions ran."""
    host = urlsplit(url).hostname or ""
    return AWS if host.endswith(_AWS_DOMAINS) else f"AWS API at {url}"


def _output(language: str, kind: str = "Tokenizer") -> str:
    """The output of template.yaml that holds the name of a language's function."""
    return f"{language.capitalize()}{kind}Name"


# What is changed of a function is `control`'s; targets are where it is changed.


def force_cold(target: Target, function: str, memory_mb: int | None = None) -> None:
    """Make the next call of `function` a cold start; see `control.force_cold`."""
    control.force_cold(target.endpoint_url, target.region, function, memory_mb)


def memory_kept(target: Target, functions: Iterable[str]) -> AbstractContextManager[dict[str, int]]:
    """Functions whose configuration may be changed; see `control.kept`."""
    return control.kept(target.endpoint_url, target.region, functions)
