"""What is changed of a function for measuring it, and put back.

Its requests are tried again, with a bound: by botocore's own rules where the network or AWS's rate
was the reason, by ours where another change is under way (409).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from flink_job.offload.endpoint import lambda_api

_ATTEMPTS = 6
_CHANGE_UNDER_WAY_S = 60.0
_VARIABLE = "COLD_START"


class TargetError(click.ClickException):
    """A target that cannot be used; the message says what to do."""


class MemoryRefused(TargetError):
    """A memory size that the account may not have."""


@cache
def api(endpoint_url: str | None, region: str | None) -> Any:
    """boto3's client for what is not Invoke.

    Raises:
        BotoCoreError, ValueError: see `lambda_api`.
    """
    return lambda_api(endpoint_url, region, attempts=_ATTEMPTS)


def force_cold(
    endpoint_url: str | None, region: str | None, function: str, memory_mb: int | None = None
) -> None:
    """Make the next call of `function` a cold start, on AWS and here alike: give an environment
    variable a fresh value (and the function a memory size), and wait until that holds.

    Raises:
        MemoryRefused: the account may not have that memory size.
        TargetError: the configuration was refused, or its variables cannot be read, so that setting
            one would lose the others; then nothing was changed.
    """
    now = _configuration(endpoint_url, region, function)
    variables = {**_variables(now, function), _VARIABLE: uuid.uuid4().hex}
    _update(endpoint_url, region, function, memory_mb or now["MemorySize"], variables)


@contextmanager
def kept(
    endpoint_url: str | None, region: str | None, functions: Iterable[str]
) -> Iterator[dict[str, int]]:
    """Functions whose configuration may be changed: at the end each has again the memory size and
    the variables that it began with. One that cannot be put back does not keep the others.

    Yields:
        what memory each is configured with, MB.

    Raises:
        TargetError: a configuration cannot be asked for; or at the end, what was not put back.
    """
    before = {x: _configuration(endpoint_url, region, x) for x in functions}
    failed = []
    try:
        yield {function: int(x["MemorySize"]) for function, x in before.items()}
    finally:
        for function, configuration in before.items():
            try:
                _put_back(endpoint_url, region, function, configuration)
            except TargetError as error:
                failed.append(error.message)
        if failed:
            raise TargetError("not put back as it was: " + "; ".join(failed))


def _put_back(
    endpoint_url: str | None, region: str | None, function: str, before: dict[str, Any]
) -> None:
    now = _configuration(endpoint_url, region, function)
    if now["MemorySize"] == before["MemorySize"] and now.get("Environment") == before.get(
        "Environment"
    ):
        return
    variables = _variables(before, function)
    _update(endpoint_url, region, function, before["MemorySize"], variables)


def _configuration(endpoint_url: str | None, region: str | None, function: str) -> dict[str, Any]:
    try:
        asked = api(endpoint_url, region).get_function_configuration(FunctionName=function)
        return dict(asked)
    except (BotoCoreError, ClientError) as error:
        raise TargetError(f"cannot ask for the configuration of {function}: {error}") from error


def _variables(configuration: dict[str, Any], function: str) -> dict[str, str]:
    environment = configuration.get("Environment", {})
    if error := environment.get("Error"):
        raise TargetError(
            f"the environment variables of {function} cannot be read ({error.get('ErrorCode')}: "
            f"{error.get('Message')}), so a cold start cannot be forced without losing them; "
            "nothing was changed. Allow kms:Decrypt with their key"
        )
    return dict(environment.get("Variables", {}))


def _update(
    endpoint_url: str | None,
    region: str | None,
    function: str,
    memory_mb: int,
    variables: dict[str, str],
) -> None:
    if _qualified(function):
        raise TargetError(
            f"{function} is a version or an alias, which cannot be configured: no cold start can "
            "be forced. Let the stack's output name the function itself"
        )
    client = api(endpoint_url, region)
    deadline = time.monotonic() + _CHANGE_UNDER_WAY_S
    while True:
        try:
            client.update_function_configuration(
                FunctionName=function, MemorySize=memory_mb, Environment={"Variables": variables}
            )
            client.get_waiter("function_updated_v2").wait(FunctionName=function)
            return
        except ClientError as error:
            code, words = error.response["Error"]["Code"], str(error)
            if code == "ResourceConflictException" and time.monotonic() < deadline:
                time.sleep(0.5)
                continue
            if "memorysize" in words.lower():
                raise MemoryRefused(f"{function} cannot have {memory_mb} MB: {error}") from error
            raise TargetError(f"cannot configure {function}: {error}") from error
        except BotoCoreError as error:
            raise TargetError(f"cannot configure {function}: {error}") from error


def _qualified(function: str) -> bool:
    """Whether a name or ARN names a version or an alias."""
    return ":" in function.rpartition("function:")[2]
