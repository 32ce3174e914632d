"""Where the functions are: a deployed stack on AWS, or the local Lambda service."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import click
from botocore.exceptions import BotoCoreError, ClientError

from bench.lambdas.local import runtimes
from bench.lambdas.local.template import EMPTIES, TOKENIZERS, TemplateError, read
from flink_job.offload.endpoint import lambda_api

LANGUAGES = ("python", "java", "node")
_LISTENS = "Lambda API on "
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


class TargetError(click.ClickException):
    """A target that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Target:
    """Functions that can be called, by language.

    Attributes:
        label: "local process", "local process, as on AWS (emulated)", "AWS Lambda", or "AWS API at
            ADDRESS" where that stands in for it.
        endpoint_url: None where boto3 finds it.
        region: None here.
        functions: names of the tokenizers.
        empties: names of the handlers that do nothing; none on a stack.
        aliases: second names of tokenizers.
        cpu_share_enforced: whether a function gets the CPU share of its memory size.
        versions: of the runtimes.
    """

    label: str
    endpoint_url: str | None
    region: str | None
    functions: Mapping[str, str]
    empties: Mapping[str, str]
    cpu_share_enforced: bool | None
    versions: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)


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
) -> Iterator[Target]:
    """The functions of a deployed stack, or (without `stack`) of a local service that lives as long
    as the context.

    Args:
        memory_mb, max_concurrency: of the local service; a stack has its own.
        aliases: languages whose tokenizer gets a second name, in the local service.
        as_on: "aws": the local service answers as late as AWS would.
        seed: of what that draws.

    Raises:
        TargetError: no such stack, no credentials, nothing built, …
    """
    if stack:
        if memory_mb or max_concurrency or aliases or as_on:
            raise TargetError(
                "memory, concurrency, second names and --as-on are the local service's only"
            )
        yield deployed(stack, region)
        return
    try:
        functions = {x.language: x.name for x in read(TOKENIZERS)}
        empties = {x.language: x.name for x in read(EMPTIES)} if EMPTIES.exists() else {}
    except TemplateError as error:
        raise TargetError(str(error)) from error
    second = {language: f"{functions[language]}Again" for language in aliases}
    options = [f"--alias={name}={functions[language]}" for language, name in second.items()]
    if memory_mb:
        options.append(f"--memory={memory_mb}")
    if max_concurrency:
        options.append(f"--max-concurrency={max_concurrency}")
    if as_on:
        options += [f"--as-on={as_on}", f"--seed={seed}"]
    with local_service(*options) as url:
        with urllib.request.urlopen(url, timeout=10) as answer:
            status = json.load(answer)
        yield Target(
            label=f"local process, as on {as_on.upper()} (emulated)" if as_on else "local process",
            endpoint_url=url,
            region=None,
            functions=functions,
            empties=empties,
            aliases=second,
            cpu_share_enforced=status["cpu_share_enforced"],
            versions=runtimes.told_versions(read(TOKENIZERS)),
        )


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
    """The functions that a stack's outputs name.

    Raises:
        TargetError: no such stack, an output is missing, or AWS cannot be asked.
    """
    try:
        described = boto3.client("cloudformation", region_name=region).describe_stacks(
            StackName=stack
        )
        outputs = {
            output["OutputKey"]: output["OutputValue"]
            for output in described["Stacks"][0].get("Outputs", [])
        }
        missing = [x for x in map(_output, LANGUAGES) if x not in outputs]
        if missing:
            raise TargetError(
                f"stack {stack} has no output {', '.join(missing)}; deploy this project's "
                "template: sam build && sam deploy --guided"
            )
        functions = {language: outputs[_output(language)] for language in LANGUAGES}
        api = lambda_api(None, region)
        configurations = {
            language: api.get_function_configuration(FunctionName=name)
            for language, name in functions.items()
        }
    except (BotoCoreError, ClientError) as error:
        raise TargetError(f"cannot find stack {stack}: {error}") from error
    return Target(
        label=_label(str(api.meta.endpoint_url)),
        endpoint_url=None,
        region=api.meta.region_name,
        functions=functions,
        empties={},
        cpu_share_enforced=True,
        versions={language: x["Runtime"] for language, x in configurations.items()},
    )


def force_cold(target: Target, function: str, memory_mb: int | None = None) -> None:
    """Make the next call of `function` a cold start, on AWS and here alike: give an environment
    variable a fresh value (and the function a memory size), and wait until that holds.

    Raises:
        TargetError: the configuration was refused.
    """
    api = _api(target.endpoint_url, target.region)
    try:
        configuration = api.get_function_configuration(FunctionName=function)
        variables = configuration.get("Environment", {}).get("Variables", {})
        api.update_function_configuration(
            FunctionName=function,
            MemorySize=memory_mb or configuration["MemorySize"],
            Environment={"Variables": {**variables, "COLD_START": uuid.uuid4().hex}},
        )
        api.get_waiter("function_updated_v2").wait(FunctionName=function)
    except (BotoCoreError, ClientError) as error:
        raise TargetError(f"cannot configure {function}: {error}") from error


def memory_mb(target: Target, function: str) -> int:
    """The memory size that `function` is configured with.

    Raises:
        TargetError: it cannot be asked.
    """
    try:
        api = _api(target.endpoint_url, target.region)
        return int(api.get_function_configuration(FunctionName=function)["MemorySize"])
    except (BotoCoreError, ClientError) as error:
        raise TargetError(f"cannot ask for the configuration of {function}: {error}") from error


@contextmanager
def memory_kept(target: Target, functions: Iterable[str]) -> Iterator[dict[str, int]]:
    """Functions whose memory size may be changed: at the end each has again what it began with.

    Yields:
        what each is configured with, MB.

    Raises:
        TargetError: a configuration cannot be asked for, or was refused.
    """
    configured = {function: memory_mb(target, function) for function in functions}
    try:
        yield configured
    finally:
        for function, size_mb in configured.items():
            force_cold(target, function, size_mb)


def _label(url: str) -> str:
    """What a table says about where the functions ran."""
    host = urlsplit(url).hostname or ""
    return "AWS Lambda" if host.endswith(_AWS_DOMAINS) else f"AWS API at {url}"


@cache
def _api(endpoint_url: str | None, region: str | None) -> Any:
    return lambda_api(endpoint_url, region)


def _output(language: str) -> str:
    """The output of template.yaml that holds the name of a language's tokenizer."""
    return f"{language.capitalize()}TokenizerName"
