"""The Lambda client of the worker, for AWS and for the local service: only the endpoint differs.

boto3 says who we are (profile, role, refresh), where the endpoint is, and how a request is signed;
what remains of a call is written for costing little, since a worker makes it to save work.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import ssl
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import orjson
import urllib3
from botocore.exceptions import BotoCoreError, NoCredentialsError
from botocore.parsers import create_parser
from botocore.utils import percent_encode

from flink_job.offload import endpoint, signing, wire

# An answer without an end must not become a message without an end.
_LONGEST_MESSAGE = 1000


@dataclass(frozen=True)
class Report:
    """What Lambda says an invocation took. A field that it does not tell is None, never zero.

    The last three are told by the local service alone, in headers of its own: `bring_up_ms` from
    its decision to start an environment to the environment's first `next`, `placement_ms` and
    `network_ms` as it imitates them.
    """

    duration_ms: float | None = None
    billed_ms: float | None = None
    memory_mb: float | None = None
    max_memory_mb: float | None = None
    init_ms: float | None = None
    restore_ms: float | None = None
    billed_restore_ms: float | None = None
    bring_up_ms: float | None = None
    placement_ms: float | None = None
    network_ms: float | None = None


_NOTHING = Report()
# Why a request had no reply.
_NO_REPLY = (BotoCoreError, OSError, wire.Unreachable, wire.Closed, wire.NoAnswer)
_ERRORS = create_parser("rest-json")

# Field of `Report`: its names in the text format and in the JSON format of the log.
_REPORTED = {
    "duration_ms": ("Duration", "durationMs"),
    "billed_ms": ("Billed Duration", "billedDurationMs"),
    "memory_mb": ("Memory Size", "memorySizeMB"),
    "max_memory_mb": ("Max Memory Used", "maxMemoryUsedMB"),
    "init_ms": ("Init Duration", "initDurationMs"),
    "restore_ms": ("Restore Duration", "restoreDurationMs"),
    "billed_restore_ms": ("Billed Restore Duration", "billedRestoreDurationMs"),
}
_TEXT_NAMES = {text: name for name, (text, _) in _REPORTED.items()}
_TEXT_FIELD = re.compile(r"\t([A-Z][A-Za-z ]+): ([\d.]+) (?:ms|MB)")
_LOCAL_HEADERS = {
    b"x-bring-up-ms": "bring_up_ms",
    b"x-placement-ms": "placement_ms",
    b"x-network-ms": "network_ms",
}


def parse_report(log_tail: str) -> Report:
    """Read the last report out of a log tail, field by field.

    Source: the AWS Lambda developer guide: text format, a line of tab-separated `Name: value unit`;
    JSON format, an object of type `platform.report`.
    """
    _, found, line = log_tail.rpartition("REPORT RequestId: ")
    if found:
        fields = _TEXT_FIELD.findall(line.partition("\n")[0])
        told = {_TEXT_NAMES[name]: _number(value) for name, value in fields if name in _TEXT_NAMES}
        return Report(**told)
    for line in reversed(log_tail.splitlines()):
        if '"platform.report"' in line:
            try:
                metrics = json.loads(line)["record"]["metrics"]
                return Report(**{x: _number(metrics.get(y)) for x, (_, y) in _REPORTED.items()})
            except (ValueError, LookupError, TypeError, AttributeError):
                continue  # what a function printed, or a line whose beginning was cut off
    return _NOTHING


def _number(told: Any) -> float | None:
    """A size or a time that was told, None if it is none."""
    try:
        value = float(told)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value >= 0 else None


class CallFailed(Exception):
    """A call that brought no answer.

    Attributes:
        kind: the short name of what happened. One of
            AWS's error code (`TooManyRequestsException`, …), or the HTTP status where it has none;
            the function's `errorType` (`InvalidBatch`, `Sandbox.Timedout`, …), else `Unhandled`;
            `WrongAnswer`: what came back is no answer;
            of connections, in botocore's words: `EndpointConnectionError` (none came about),
            `ConnectTimeoutError`, `ProxyConnectionError`, `SSLError`, `ReadTimeoutError`,
            `ConnectionClosedError` (it ended before the answer was whole);
            the name of boto3's exception where there are no credentials.
        report: of the invocation, which is billed though it failed; empty if there was none.
        wall_ms: from before the request until it had failed.
    """

    def __init__(
        self, kind: str, message: str, report: Report = _NOTHING, wall_ms: float = 0.0
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.report = report
        self.wall_ms = wall_ms


@dataclass(frozen=True)
class Answer:
    """One answered call: the function's answer and what was seen from outside.

    Attributes:
        value: the answer, parsed. A function may answer any JSON: whoever takes it must look.
        wall_ms: the client's time from before the request to after the parsed answer.
        report: empty if no log tail was asked for, but for what the local service tells besides.
    """

    value: Any
    wall_ms: float
    report: Report


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What requests to a function have in common within a second.

    Attributes:
        second: of the clock that signatures go by.
        head: of the request, up to the signature.
    """

    second: int
    head: bytes
    template: signing.Template


class LambdaClient:
    """Calls functions synchronously. Thread-safe; never retries, since a retry repeats the work.

    Args:
        endpoint_url: the local service's address; None for the endpoint that boto3 would take.
        region: None for the one that boto3 would take.
        timeout_s: bound on a call as a whole, in seconds, however its answer comes. Only looking up
            a host's name and fetching new credentials have bounds of their own.
        connections: connections that are kept open.
        connect_timeout_s: bound on opening a connection; without it, `timeout_s`.

    Raises:
        BotoCoreError: no region, a profile that does not exist, …; never with a local endpoint.
        ValueError: the endpoint is no URL.
    """

    def __init__(
        self,
        endpoint_url: str | None,
        region: str | None,
        timeout_s: float = 60.0,
        connections: int = 10,
        connect_timeout_s: float | None = None,
    ) -> None:
        self._endpoint = endpoint.resolve(endpoint_url, region)
        url = urlsplit(self._endpoint.url)
        self._host = url.netloc
        self._origin = f"{url.scheme}://{url.netloc}"
        self._functions = f"{url.path.rstrip('/')}/2015-03-31/functions"
        self._timeout_s = timeout_s
        self._wire = wire.Wire(
            self._origin,
            connections,
            connect_timeout_s or timeout_s,
            self._endpoint.ca_bundle,
            direct=self._endpoint.local,
        )
        self._prepared: dict[tuple[str, bool], _Prepared] = {}
        # What may wait: opening a connection, and fetching new credentials.
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="invoke")

    @property
    def cpu_ns(self) -> int:
        """CPU time that receiving answers to `start` has taken so far."""
        return self._wire.cpu_ns

    def invoke(self, function: str, event: Any, *, tail: bool = True) -> Answer:
        """Call `function` with `event` and wait for its answer.

        Args:
            function: its name, or its ARN, with or without a qualifier.
            event: JSON as bytes, which are sent as they are, or what is to be written as JSON.
            tail: ask for the end of the log, which has the figures of `Report`.

        Raises:
            CallFailed: throttled, timed out, refused, or failed inside the function.
        """
        payload = event if isinstance(event, bytes) else encode(event)
        started_s = time.monotonic()
        outcome: wire.Outcome | BotoCoreError | OSError
        try:
            request = self._request(function, payload, tail)
            outcome = self._wire.exchange(request, started_s + self._timeout_s)
        except _NO_REPLY as error:
            outcome = error
        return self._answer(outcome, started_s)

    def start(self, function: str, event: Any, *, tail: bool = True) -> Future[Answer]:
        """The same call without waiting for anything. What comes of it, `CallFailed` too, is the
        future's."""
        payload = event if isinstance(event, bytes) else encode(event)
        answer: Future[Answer] = Future()
        started_s = time.monotonic()

        def end(outcome: wire.Outcome | BotoCoreError | OSError) -> None:
            try:
                answer.set_result(self._answer(outcome, started_s))
            except Exception as error:
                answer.set_exception(error)

        def send(connection: wire.Connection) -> None:
            try:
                request = self._request(function, payload, tail)
            except Exception as error:  # of whoever provides credentials: nobody waits here
                self._wire.give_back(connection)
                if isinstance(error, _NO_REPLY):
                    end(error)
                else:
                    answer.set_exception(error)
            else:
                self._wire.begin(connection, request, started_s + self._timeout_s, end)

        try:
            connection = self._wire.take()
            if connection.sock is not None and self._is_prepared(function, tail):
                send(connection)
            else:
                self._threads.submit(send, connection)
        except (wire.Unreachable, RuntimeError) as error:  # the latter from the threads: closed
            end(wire.Unreachable(str(error)))
        return answer

    def close(self) -> None:
        """Hang up. Calls under way fail with ConnectionClosedError; there can be no more."""
        self._threads.shutdown(wait=False)
        self._wire.close()

    def _answer(self, outcome: wire.Outcome | BotoCoreError | OSError, started_s: float) -> Answer:
        """What came of a call that began at `started_s`. Raises CallFailed."""
        report = _NOTHING
        value: Any = None
        if isinstance(outcome, wire.Reply):
            report = _report(outcome.headers)
            failed = _failure(outcome)
            if failed is None:
                try:
                    value = decode(outcome.body)
                except ValueError as error:
                    failed = "WrongAnswer", f"what came back is not JSON: {error}"
        else:
            failed = self._kind(outcome), str(outcome) or type(outcome).__name__
        wall_ms = (time.monotonic() - started_s) * 1000
        if failed is not None:
            kind, message = failed
            raise CallFailed(kind, message[:_LONGEST_MESSAGE], report, wall_ms)
        return Answer(value, wall_ms, report)

    def _is_prepared(self, function: str, tail: bool) -> bool:
        """Whether a request needs nothing that would have to be waited for."""
        made = self._prepared.get((function, tail))
        return made is not None and made.second == int(time.time())

    def _request(self, function: str, payload: bytes, tail: bool) -> bytes:
        """All bytes of a signed request."""
        second = int(time.time())
        made = self._prepared.get((function, tail))
        if made is None or made.second != second:
            made = self._prepare(function, tail, second)
            self._prepared[function, tail] = made
        signature = made.template.signature(payload)
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (
            *(made.head, signature.encode()),
            *(len(payload), payload),
        )

    def _prepare(self, function: str, tail: bool, second: int) -> _Prepared:
        """What requests to a function have in common within a second, with the credentials that
        hold now."""
        if self._endpoint.credentials is None:
            raise NoCredentialsError()
        path = f"{self._functions}/{percent_encode(function)}/invocations"
        headers = {"Content-Type": "application/json", "Host": self._host}
        if tail:
            headers["X-Amz-Log-Type"] = "Tail"
        template = signing.template(
            f"{self._origin}{path}",
            headers,
            self._endpoint.credentials.get_frozen_credentials(),
            self._endpoint.service,
            self._endpoint.region,
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in template.headers.items())
        head = (
            f"POST {self._wire.target(path)} HTTP/1.1\r\n{lines}User-Agent: lambda-burst\r\n"
            f"Accept-Encoding: identity\r\nAuthorization: {template.authorization}"
        )
        return _Prepared(second, head.encode(), template)

    def _kind(self, error: Exception) -> str:
        """The short name of what kept a call from its answer, in botocore's words."""
        if isinstance(error, wire.NoAnswer):
            return "WrongAnswer"
        if isinstance(error, wire.Unreachable):
            return _unreachable(error.__cause__, through_proxy=self._wire.proxy_url is not None)
        if isinstance(error, TimeoutError):
            return "ReadTimeoutError"
        if isinstance(error, BotoCoreError):
            return type(error).__name__
        return "ConnectionClosedError"


def encode(event: Any) -> bytes:
    """JSON of an event, in UTF-8 as it is: escapes would count against Lambda's limit in bytes.

    Numbers that JSON does not have (NaN, infinity) become null.
    """
    try:
        return orjson.dumps(event)
    except TypeError:  # a lone surrogate, keys that are numbers, integers beyond 64 bits
        return json.dumps(event).encode()


def decode(body: bytes) -> Any:
    """What JSON says; all that the standard library takes for JSON is taken.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        try:
            return json.loads(body)
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _report(headers: dict[bytes, bytes]) -> Report:
    """What the headers of a reply tell of the invocation."""
    report = _NOTHING
    if encoded := headers.get(b"x-amz-log-result"):
        with suppress(binascii.Error):  # no log is no reason to lose an answer
            report = parse_report(base64.b64decode(encoded).decode(errors="replace"))
    told = {name: headers[header] for header, name in _LOCAL_HEADERS.items() if header in headers}
    return replace(report, **{k: _number(v) for k, v in told.items()}) if told else report


def _failure(reply: wire.Reply) -> tuple[str, str] | None:
    """Kind and message of a reply that is no answer; None if it is one."""
    if not 200 <= reply.status < 300:
        return _refusal(reply)
    if b"x-amz-function-error" in reply.headers:
        return function_error(reply.body)
    return None


def function_error(body: bytes) -> tuple[str, str]:
    """Kind and message of an error inside a function, whose body can be anything at all."""
    try:
        error = decode(body)
    except ValueError:
        error = None
    if not isinstance(error, dict):
        return "Unhandled", body[:_LONGEST_MESSAGE].decode(errors="replace")
    return str(error.get("errorType") or "Unhandled"), str(error.get("errorMessage") or "")


def _refusal(reply: wire.Reply) -> tuple[str, str]:
    """Code and message of an error of the API, as botocore reads them."""
    headers = {name.decode("latin-1"): x.decode("latin-1") for name, x in reply.headers.items()}
    received = {"status_code": reply.status, "headers": headers, "body": reply.body}
    try:
        error = _ERRORS.parse(received, None)["Error"]  # type: ignore[arg-type]
        kind, message = error["Code"], error["Message"]
    except Exception:  # botocore takes for granted that the body is an object
        kind, message = headers.get("x-amzn-errortype"), reply.body.decode(errors="replace")
    return str(kind or reply.status), str(message or "")


def _unreachable(cause: BaseException | None, through_proxy: bool) -> str:
    """Why no connection came about, in botocore's words."""
    refused = isinstance(cause, urllib3.exceptions.NewConnectionError)
    if isinstance(cause, (TimeoutError, urllib3.exceptions.ConnectTimeoutError)) and not refused:
        return "ConnectTimeoutError"  # of which urllib3 takes a refusal to be a kind
    if isinstance(cause, (ssl.SSLError, urllib3.exceptions.SSLError)):
        return "SSLError"
    if through_proxy:
        return "ProxyConnectionError"
    return "EndpointConnectionError"
