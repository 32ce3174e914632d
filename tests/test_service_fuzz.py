"""Whatever is sent to the local Lambda service: an answer or a hang-up, no crash, no growth."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.lambdas.local.api import LambdaApi
from bench.lambdas.local.configuration import Refused, changes
from bench.lambdas.local.environment import Environment
from bench.lambdas.local.http import Connection, Request, Response
from bench.lambdas.local.service import Service
from bench.lambdas.local.storage import Storage
from bench.lambdas.local.template import Function
from tests.proofs import proof

pytestmark = pytest.mark.beside

FUNCTION = Function("F", "python3.11", "h.h", Path("/nowhere"))
FUZZ = settings(
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=300,
    suppress_health_check=list(HealthCheck),
)
Result = TypeVar("Result")

# What clients send, to be bent.
WELL_FORMED = [
    b"POST /2015-03-31/functions/F/invocations HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /2015-03-31/functions/F/invocations?Qualifier=$LATEST HTTP/1.1\r\nHost: h\r\n"
    b"X-Amz-Invocation-Type: DryRun\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'7\r\n{"a": 1\r\n1\r\n}\r\n0\r\n\r\n',
    b"PUT /2015-03-31/functions/F/configuration HTTP/1.1\r\nContent-Length: 18\r\n"
    b'Expect: 100-continue\r\n\r\n{"MemorySize": 512}',
    b"GET /2015-03-31/functions/ HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
]
PIECES = [
    *(b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b":", b"%", b"%00", b"0\r\n\r\n", b"-1", b"9" * 30),
    *(b"HTTP/9.9", b"Upgrade: x\r\nConnection: upgrade\r\n", b"Content-Length: 5\r\n", b"[" * 99),
]


def within_a_service(ask: Callable[[Service], Awaitable[Result]]) -> Result:
    """Run against a service without room for a single invocation, so that nothing is started; an
    exception that nobody caught fails the test."""

    async def run() -> Result:
        uncaught: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: uncaught.append(what))
        service = Service([FUNCTION], None, 0, 60, storage=Storage(mounted=True))
        result = await ask(service)
        assert not uncaught
        return result

    return asyncio.run(run())


class Wire(asyncio.Transport):
    """A transport that keeps what is written until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def bent(rng: random.Random) -> bytes:
    """One or two requests with a few bytes removed, doubled, changed, or put in."""
    data = bytearray(b"".join(rng.choices(WELL_FORMED, k=rng.randint(1, 2))))
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                del data[at : at + rng.randint(1, 20)]
            case 1:
                data[at:at] = data[at : at + rng.randint(1, 20)]
            case 2:
                data[at] = rng.randrange(256)
            case _:
                data[at:at] = rng.choice(PIECES)
        if not data:
            return b""
    return bytes(data)


def occupied_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.parametrize("inputs", [20_000, *proof(100_000)])
def test_bent_requests_do_no_harm(inputs: int) -> None:
    rng = random.Random(11)

    async def talk(service: Service) -> dict[str, int]:
        api, seen = LambdaApi(service), {"answered": 0, "refused": 0, "waited for": 0}
        after_warm_up_mb = 0.0
        for number in range(inputs):
            connection, wire = Connection(api.handle, 1000), Wire()
            connection.connection_made(wire)
            data = bent(rng)
            at = rng.randrange(len(data) + 1)
            for piece in (data[:at], data[at:]):
                if piece and not wire.closed:
                    connection.data_received(piece)
            for _ in range(4):
                await asyncio.sleep(0)
            connection.connection_lost(None)
            assert not wire.written or wire.written.startswith(b"HTTP/1.1 "), data
            status = wire.written[9:12]
            assert status[:1] != b"5", (data, wire.written)
            outcome = "refused" if wire.closed else "answered" if status else "waited for"
            seen[outcome] += 1
            if number == inputs // 10:
                after_warm_up_mb = occupied_mb()
        assert occupied_mb() - after_warm_up_mb < 10
        return seen

    seen = within_a_service(talk)
    assert min(seen.values()) > inputs / 100, f"one-sided: {seen}"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
names = st.sampled_from(["F", "F:$LATEST", "F:1", "G", "", "%", "a" * 65, "F%3A%24LATEST", "é"])
actions = st.sampled_from(["invocations", "configuration", "", "code", "invocations/x", "%2F"])
fields = st.sampled_from(
    [
        *("MemorySize", "Timeout", "Environment", "EphemeralStorage", "LoggingConfig", "Runtime"),
        *("Handler", "Description", "Layers", "VpcConfig", "RevisionId", "FunctionName", "Else"),
    ]
)
members = st.sampled_from(["Variables", "Size", "LogFormat", "Mode", "AWS_REGION", "A1"])
nested = values | st.dictionaries(members, values | st.dictionaries(members, values), max_size=2)
configurations = st.dictionaries(fields, nested, max_size=4)
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
    path=st.builds(lambda x, y: f"/2015-03-31/functions/{x}/{y}", names, actions) | st.text(),
    query=st.sampled_from(["", "Qualifier=1", "Qualifier=", "Qualifier=%24LATEST", "x&&=", "%"]),
    headers=st.dictionaries(
        st.sampled_from(["x-amz-invocation-type", "x-amz-client-context", "x-amz-log-type"]),
        st.sampled_from(["Event", "DryRun", "Tail", "e30=", "bnVsbA==", "====", "\xff", ""]),
    ),
    body=st.binary(max_size=30)
    | configurations.map(lambda x: json.dumps(x).encode())
    | values.map(lambda x: json.dumps(x).encode()),
    too_large=st.booleans(),
)


@FUZZ
@given(st.lists(requests, max_size=5))
def test_every_request_to_the_api_is_answered_in_aws_words(asked: list[Request]) -> None:
    async def ask(service: Service) -> list[Response]:
        api = LambdaApi(service)
        return [await api.handle(request) for request in asked]

    for request, response in zip(asked, within_a_service(ask), strict=True):
        assert response.status < 500, (request, response)
        body = json.loads(response.body) if response.body else {}
        if response.status >= 400:
            assert response.headers["x-amzn-ErrorType"], request
            assert body["Message"], request
        response.head(keep_alive=True)


@FUZZ
@given(configurations | values)
def test_a_configuration_is_refused_or_can_be_run(wanted: Any) -> None:
    try:
        changed = changes(wanted, FUNCTION)
    except Refused as error:
        assert error.kind.endswith("Exception")
        return
    assert changed.keys() <= set(Function.__dataclass_fields__)
    assert 128 <= changed.get("memory_mb", 128) <= 10_240
    assert all(map(os.fsencode, changed.get("variables", {})))


@FUZZ
@given(
    st.lists(
        st.builds(
            Request,
            method=st.sampled_from(["GET", "POST", "PUT"]),
            path=st.sampled_from(
                [
                    "/2018-06-01/runtime/invocation/next",
                    "/2018-06-01/runtime/invocation/1/response",
                    "/2018-06-01/runtime/invocation/2/error",
                    "/2018-06-01/runtime/init/error",
                    "/2018-06-01/runtime/invocation//",
                ]
            )
            | st.text(),
            body=st.binary(max_size=9),
            too_large=st.booleans(),
        ),
        max_size=12,
    )
)
def test_a_runtime_that_says_nonsense_is_answered(said: list[Request]) -> None:
    async def listen() -> None:
        environment = Environment(FUNCTION, "some", None, Storage(mounted=True), lambda _: None)
        for request in said:
            answer = environment._handle(request)
            if isinstance(answer, Response):
                assert answer.status in (200, 202, 400, 404)
                assert HTTPStatus(answer.status)

    asyncio.run(listen())
