"""The pure parts of the local Lambda service: templates read, log lines worded, HTTP spoken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.lambdas.local import http
from bench.lambdas.local.http import Connection, Request, Response
from bench.lambdas.local.logs import Report, init_report, tail
from bench.lambdas.local.runtimes import RUNTIMES, command, surroundings
from bench.lambdas.local.template import Function, TemplateError, read, read_all
from flink_job.offload import client as lambda_client

pytestmark = pytest.mark.beside

TEMPLATE = Path(__file__).parent / "handlers" / "template.yaml"


# Templates.


def test_a_template_gives_functions_with_globals_and_parameters_applied() -> None:
    first, second, *_ = read(TEMPLATE)
    assert first == Function(
        name="Obedient",
        runtime="python3.11",
        handler="obedient.handler",
        task_root=TEMPLATE.parent / "python",
        memory_mb=1769,
        timeout_s=5,
        variables={"SHARED": "from Globals", "OWN": "1"},
    )
    assert second.timeout_s == 1
    assert [x.language for x in (first, read(TEMPLATE)[-1])] == ["python", "node"]


def test_a_second_name_and_a_memory_size_can_be_given() -> None:
    functions = {x.name: x for x in read_all([TEMPLATE], ["Again=Obedient"], memory_mb=256)}
    assert functions["Again"].handler == functions["Obedient"].handler
    assert {x.memory_mb for x in functions.values()} == {256}


@pytest.mark.parametrize("alias", ["Again", "Again=Nobody", "=Obedient"])
def test_a_wrong_second_name_is_refused(alias: str) -> None:
    with pytest.raises(TemplateError, match="NEW=EXISTING of Obedient, Impatient"):
        read_all([TEMPLATE], [alias])


# What a runtime is started with.


def java(options: str = "") -> Function:
    variables = {"JAVA_TOOL_OPTIONS": options} if options else {}
    return Function("F", "java17", "p.H::handle", Path("/"), memory_mb=1000, variables=variables)


@pytest.mark.skipif(not (RUNTIMES / "java/jni").exists(), reason="needs the Java runtime client")
def test_java_starts_with_awss_options_unless_the_function_has_its_own() -> None:
    assert {"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx850m"} < set(command(java()))
    assert "-XX:TieredStopAtLevel=1" not in command(java("-XX:TieredStopAtLevel=4"))
    assert "-Xmx850m" not in command(java("-XX:MaxRAMPercentage=50"))


def test_a_function_cannot_overwrite_what_the_runtime_needs() -> None:
    function = Function("F", "python3.11", "h", Path("/"), variables={"_HANDLER": "x", "OWN": "1"})
    seen = surroundings(function, "127.0.0.1:1", "stream")
    assert seen["_HANDLER"] == "h"
    assert seen["OWN"] == "1"


# Log lines.


def test_a_cold_report_has_every_field_and_bills_the_init() -> None:
    report = Report("id", 1.234, 128, 40, init_ms=56.7)
    assert report.line() == (
        "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 58 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 40 MB\tInit Duration: 56.70 ms\t\n"
    )
    assert lambda_client.parse_report(report.line()) == lambda_client.Report(
        duration_ms=1.23, billed_ms=58, memory_mb=128, max_memory_mb=40, init_ms=56.7
    )


def test_what_is_not_known_is_not_reported() -> None:
    line = Report("id", 2.0, 128, None, status="timeout").line()
    assert line.endswith("Billed Duration: 2 ms\tMemory Size: 128 MB\tStatus: timeout\t\n")


def test_a_tail_is_the_end_of_the_log() -> None:
    log = tail(init_report(1.5, "error").encode(), b"own line", Report("id", 1, 128, 40)).decode()
    assert log.splitlines()[:4] == [
        "INIT_REPORT Init Duration: 1.50 ms\tPhase: init\tStatus: error",
        "START RequestId: id Version: $LATEST",
        "own line",
        "END RequestId: id",
    ]
    assert tail(b"", b"x" * 5000, Report("id", 1, 128, 40))[-4096:].startswith(b"xxx")


# HTTP.


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def speak(*chunks: bytes | None, max_body: int = 100) -> tuple[list[Request], Wire]:
    """Requests seen and what was answered; requests to /later are answered in a later turn. None
    among the chunks is the end of what the client sends."""
    seen: list[Request] = []
    wire = Wire()

    async def answer(request: Request) -> Response:
        await asyncio.sleep(0.01)
        return Response(200, request.path.encode())

    def handle(request: Request) -> Response | asyncio.Task[Response]:
        seen.append(request)
        if request.path == "/later":
            return asyncio.ensure_future(answer(request))
        return Response(200, request.path.encode())

    async def talk() -> None:
        connection = Connection(handle, max_body)
        connection.connection_made(wire)
        for chunk in chunks:
            if chunk is not None:
                connection.data_received(chunk)
            elif not connection.eof_received():
                wire.close()
        await asyncio.sleep(0.05)
        connection.connection_lost(None)
        await asyncio.sleep(0.02)

    asyncio.run(talk())
    return seen, wire


def test_requests_on_one_connection_are_answered_in_order() -> None:
    request = b"GET %s HTTP/1.1\r\n\r\n"
    seen, wire = speak(request % b"/later" + request % b"/soon")
    assert [x.path for x in seen] == ["/later", "/soon"]
    assert wire.written.index(b"/later") < wire.written.index(b"/soon")
    assert not wire.closed


def test_a_body_may_come_in_pieces_and_chunks() -> None:
    head = b"POST /x?a=b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    (request,), _ = speak(head[:20], head[20:], b"3\r\nabc\r\n2\r", b"\nde\r\n0\r\n\r\n")
    assert (request.method, request.query, request.body) == ("POST", "a=b", b"abcde")


def test_a_body_over_the_limit_is_not_kept() -> None:
    (request,), _ = speak(b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n" + b"x" * 101)
    assert request.too_large
    assert request.body == b""


def test_a_client_that_asks_is_told_to_continue() -> None:
    _, wire = speak(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", b"x")
    assert wire.written.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_what_is_not_http_is_refused_and_hung_up_on() -> None:
    _, wire = speak(b"\x16\x03\x01 hello\r\n\r\n")
    assert wire.written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert wire.closed


def test_connection_close_is_honoured() -> None:
    _, wire = speak(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert b"Connection: close" in wire.written
    assert wire.closed


def test_a_client_that_closes_its_half_is_still_answered() -> None:
    seen, wire = speak(b"GET /later HTTP/1.1\r\n\r\n", None)
    assert [x.path for x in seen] == ["/later"]
    assert wire.written.endswith(b"/later")
    assert wire.closed
    _, wire = speak(b"GET /later HTTP/1.1\r\nHos", None)
    assert wire.closed
    assert not wire.written


def test_a_request_that_does_not_come_to_its_end_is_timed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "REQUEST_TIMEOUT_S", 0.02)
    for beginning in (b"G", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"):
        seen, wire = speak(beginning)
        assert not seen
        assert wire.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert wire.closed
    _, wire = speak(b"GET / HTTP/1.1\r\n\r\n")
    assert not wire.closed, "an idle connection may stay"


def test_a_head_without_end_is_refused() -> None:
    line = b"x: " + b"y" * 1000 + b"\r\n"
    _, wire = speak(b"GET / HTTP/1.1\r\n", *[line] * 70)
    assert wire.written.startswith(b"HTTP/1.1 431 ")
    assert wire.closed
    seen, wire = speak(*[b"GET / HTTP/1.1\r\n" + line * 60 + b"\r\n"] * 3)
    assert len(seen) == 3, "each request has a head of its own"


def test_requests_are_not_read_ahead_without_end() -> None:
    seen, wire = speak(*[b"GET /later HTTP/1.1\r\n\r\n"] * 20)
    assert wire.paused
    assert len(seen) < 20


def test_what_is_no_target_or_wants_another_protocol_does_no_harm() -> None:
    for request in (
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ):
        _, wire = speak(request, b"more")
        assert wire.written.startswith(b"HTTP/1.1 ")
