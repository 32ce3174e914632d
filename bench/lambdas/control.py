"""What is changed of a function for measuring it, and put back.

Its requests are tried again, with a bound: by botocore's own rules where the network or AWS's rate
was the reason, by ours where another change is under way (409).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError

from flink_job.offload.endpoint import lambda_api

_ATTEMPTS = 6
_CHANGE_UNDER_WAY_S = 60.0
_VARIABLE = "COLD_START"
_MADE = "made to measure a cold start"  # which says what is to be deleted at the end


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
    variable a fresh value (and the function a memory size), and wait until that holds. An alias
    then means a version that is published of it, of which SnapStart first takes its snapshot.

    Raises:
        MemoryRefused: the account may not have that memory size.
        TargetError: the configuration was refused, or its variables cannot be read, so that setting
            one would lose the others; then nothing was changed. Or it is a version.
    """
    name, qualifier = _parted(function)
    if qualifier.isdigit() or qualifier == "$LATEST":
        raise TargetError(
            f"{function} is a version, which cannot be configured: no cold start can be forced. "
            "Let the stack's output name the function itself, or an alias"
        )
    now = _configuration(endpoint_url, region, name)
    variables = {**_variables(now, name), _VARIABLE: uuid.uuid4().hex}
    _update(endpoint_url, region, name, memory_mb or now["MemorySize"], variables)
    if qualifier:
        _publish(endpoint_url, region, name, qualifier)


@contextmanager
def kept(
    endpoint_url: str | None, region: str | None, functions: Iterable[str]
) -> Iterator[dict[str, int]]:
    """Functions whose configuration may be changed: at the end each has again the memory size and
    the variables that it began with, an alias its version, and versions made on the way are gone.
    One that cannot be put back does not keep the others.

    Yields:
        what memory each is configured with, MB.

    Raises:
        TargetError: a configuration cannot be asked for; or at the end, what was not put back.
    """
    before = {x: _Before.of(endpoint_url, region, x) for x in functions}
    failed = []
    try:
        yield {function: x.memory_mb for function, x in before.items()}
    finally:
        for function, was in before.items():
            try:
                _put_back(endpoint_url, region, function, was)
            except TargetError as error:
                failed.append(error.message)
        if failed:
            raise TargetError("not put back as it was: " + "; ".join(failed))


@dataclass(frozen=True)
class _Before:
    """What is put back: a function's configuration and, of an alias, the version that it means."""

    memory_mb: int  # of what is called
    configuration: dict[str, Any]
    version: str | None

    @classmethod
    def of(cls, endpoint_url: str | None, region: str | None, function: str) -> _Before:
        called = _configuration(endpoint_url, region, function)
        name, qualifier = _parted(function)
        own = _configuration(endpoint_url, region, name) if qualifier else called
        return cls(int(called["MemorySize"]), own, called["Version"] if qualifier else None)


def _put_back(endpoint_url: str | None, region: str | None, function: str, before: _Before) -> None:
    name, qualifier = _parted(function)
    if (
        before.version
        and _configuration(endpoint_url, region, function)["Version"] != before.version
    ):
        _release(endpoint_url, region, name, qualifier, before.version)
    was, now = before.configuration, _configuration(endpoint_url, region, name)
    if now["MemorySize"] == was["MemorySize"] and now.get("Environment") == was.get("Environment"):
        return
    _update(endpoint_url, region, name, was["MemorySize"], _variables(was, name))


def _publish(endpoint_url: str | None, region: str | None, function: str, alias: str) -> None:
    """Have an alias mean a new version of what its function is now."""
    client = api(endpoint_url, region)
    try:
        published = _patiently(client.publish_version, FunctionName=function, Description=_MADE)
        made = published["Version"]
        ready = client.get_waiter("published_version_active")
        ready.wait(FunctionName=function, Qualifier=made)
        _patiently(client.update_alias, FunctionName=function, Name=alias, FunctionVersion=made)
    except (BotoCoreError, ClientError) as error:
        raise TargetError(f"cannot publish a version of {function}: {error}") from error


def _release(
    endpoint_url: str | None, region: str | None, function: str, alias: str, version: str
) -> None:
    """Have an alias mean its version again, and delete those that were made for measuring."""
    client = api(endpoint_url, region)
    try:
        _patiently(client.update_alias, FunctionName=function, Name=alias, FunctionVersion=version)
        pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=function)
        for made in [x for page in pages for x in page["Versions"]]:
            if made["Version"] != "$LATEST" and made.get("Description") == _MADE:
                _patiently(client.delete_function, FunctionName=function, Qualifier=made["Version"])
    except (BotoCoreError, ClientError) as error:
        raise TargetError(f"the alias {alias} of {function}: {error}") from error


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
    client = api(endpoint_url, region)
    try:
        _patiently(
            client.update_function_configuration,
            FunctionName=function,
            MemorySize=memory_mb,
            Environment={"Variables": variables},
        )
        client.get_waiter("function_updated_v2").wait(FunctionName=function)
    except (BotoCoreError, ClientError) as error:
        if isinstance(error, ClientError) and "memorysize" in str(error).lower():
            raise MemoryRefused(f"{function} cannot have {memory_mb} MB: {error}") from error
        raise TargetError(f"cannot configure {function}: {error}") from error


def _patiently(operation: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """What an operation answers once no other change is under way, for which it waits a minute at
    most. Raises what boto3 raises."""
    deadline = time.monotonic() + _CHANGE_UNDER_WAY_S
    while True:
        try:
            return operation(**arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code != "ResourceConflictException" or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def _parted(function: str) -> tuple[str, str]:
    """The name or ARN of a function itself, and the version or alias that is named with it."""
    head, colon, name = function.rpartition("function:")
    bare, _, qualifier = name.partition(":")
    return f"{head}{colon}{bare}", qualifier
