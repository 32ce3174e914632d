"""The one Lambda client, for AWS and for the local service: only the endpoint differs."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass, replace
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_REPORT_FIELDS = {
    "duration_ms": re.compile(r"\tDuration: ([\d.]+) ms"),
    "billed_ms": re.compile(r"\tBilled Duration: ([\d.]+) ms"),
    "memory_mb": re.compile(r"\tMemory Size: ([\d.]+) MB"),
    "max_memory_mb": re.compile(r"\tMax Memory Used: ([\d.]+) MB"),
    "init_ms": re.compile(r"\tInit Duration: ([\d.]+) ms"),
}


@dataclass(frozen=True)
class Report:
    """What a REPORT line says. A field that the line does not have is None, never zero.

    `bring_up_ms` is told by the local service alone, in a header of its own: from its decision to
    start an environment to the environment's first `next`.
    """

    duration_ms: float | None = None
    billed_ms: float | None = None
    memory_mb: float | None = None
    max_memory_mb: float | None = None
    init_ms: float | None = None
    bring_up_ms: float | None = None


def parse_report(log_tail: str) -> Report:
    """Read the REPORT line out of a log tail, field by field.

    Source: the AWS Lambda developer guide's text format, tab-separated `Name: value unit`.
    """
    line = next((x for x in log_tail.splitlines() if x.startswith("REPORT ")), "")
    found = {name: pattern.search(line) for name, pattern in _REPORT_FIELDS.items()}
    return Report(**{name: float(m.group(1)) for name, m in found.items() if m})


class CallFailed(Exception):
    """A call that brought no answer.

    `kind` is the short name of what happened: AWS's error code (`TooManyRequestsException`, …),
    the function's `errorType` (`InvalidBatch`, `Sandbox.Timedout`, …) or botocore's exception name.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Answer:
    """One answered call: the function's answer and what was seen from outside.

    `wall_ms` is the client's time from before the request to after the parsed answer.
    """

    value: dict[str, Any]
    wall_ms: float
    report: Report


def lambda_api(
    endpoint_url: str | None, region: str | None, timeout_s: float = 60.0, connections: int = 10
) -> Any:
    """boto3's client of the Lambda API. It never retries, since a retry repeats the work.

    Args: see `LambdaClient`.
    """
    # The local service asks for no credentials and no region, but boto3 signs every request.
    local = {"aws_access_key_id": "local", "aws_secret_access_key": "local"} if endpoint_url else {}
    return boto3.client(  # type: ignore[call-overload]
        "lambda",
        endpoint_url=endpoint_url,
        region_name=region or ("us-east-1" if endpoint_url else None),
        config=Config(
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            max_pool_connections=connections,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
        ),
        **local,
    )


class LambdaClient:
    """Calls functions synchronously. Thread-safe; never retries, since a retry repeats the work.

    Args:
        endpoint_url: the local service's address, or None for AWS itself.
        timeout_s: bound on connecting and on waiting for the answer, in seconds.
        connections: connections kept open, that is calls in flight at once.
    """

    def __init__(
        self,
        endpoint_url: str | None,
        region: str | None,
        timeout_s: float = 60.0,
        connections: int = 10,
    ) -> None:
        self._client = lambda_api(endpoint_url, region, timeout_s, connections)

    def invoke(self, function: str, event: Any) -> Answer:
        """Call `function` with `event` and wait for its answer.

        Raises:
            CallFailed: throttled, timed out, refused, or failed inside the function.
        """
        payload = json.dumps(event).encode()
        started = time.perf_counter()
        try:
            response = self._client.invoke(FunctionName=function, Payload=payload, LogType="Tail")
            body = json.loads(response["Payload"].read())
        except ClientError as error:
            details = error.response.get("Error", {})
            raise CallFailed(
                details.get("Code", "ClientError"), details.get("Message", "")
            ) from error
        except (BotoCoreError, OSError, ValueError) as error:
            raise CallFailed(type(error).__name__, str(error)) from error
        wall_ms = (time.perf_counter() - started) * 1000
        if "FunctionError" in response:
            raise CallFailed(body.get("errorType", "Unhandled"), body.get("errorMessage", ""))
        tail = base64.b64decode(response.get("LogResult", "")).decode(errors="replace")
        report = parse_report(tail)
        bring_up_ms = response["ResponseMetadata"]["HTTPHeaders"].get("x-bring-up-ms")
        if bring_up_ms is not None:
            report = replace(report, bring_up_ms=float(bring_up_ms))
        return Answer(body, wall_ms, report)
