"""The worker's client gives the answers and the errors that boto3 gives, and costs no more time
than it is allowed."""

from __future__ import annotations

import base64
import datetime
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import NoRegionError, ProfileNotFound

from bench.lambdas.target import Target, local_service
from bench.perf.boto import BotoClient
from flink_job.offload import endpoint
from flink_job.offload.client import Answer, CallFailed, LambdaClient, Report, parse_report
from flink_job.offload.endpoint import lambda_api
from tests.waiting import eventually

TEMPLATE = Path(__file__).parent / "handlers" / "template.yaml"
LIMIT = 2  # invocations at once

Client = LambdaClient | BotoClient
CLIENTS = [LambdaClient, BotoClient]


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the account that the tests may run under."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture(autouse=True, params=["waits", "waits for nothing"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds of a call that is waited for holds of one that is only started."""

    def started(client: LambdaClient, function: str, event: Any, *, tail: bool = True) -> Answer:
        return client.start(function, event, tail=tail).result(60)

    if request.param == "waits for nothing":
        monkeypatch.setattr(LambdaClient, "invoke", started)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with local_service(f"--template={TEMPLATE}", f"--max-concurrency={LIMIT}") as address:
        yield address


def failure(client: Client, function: str = "F", event: Any = None, **options: Any) -> CallFailed:
    with pytest.raises(CallFailed) as failed:
        client.invoke(function, event or {}, **options)
    return failed.value


# A server that answers with any bytes at all.


@dataclass
class Faulty:
    """Reads one request after another and does with each what `script` says."""

    url: str
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)


Script = Callable[[socket.socket], Any]


@contextmanager
def faulty(script: Script, certificate: Path | None = None) -> Iterator[Faulty]:
    """A server on a free port; `script` gets the connection after each whole request."""
    server = socket.create_server(("127.0.0.1", 0))
    scheme = "https" if certificate else "http"
    state = Faulty(f"{scheme}://127.0.0.1:{server.getsockname()[1]}")
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            while request := read_request(connection):
                state.requests.append(request)
                if script(connection) == "close":
                    connection.close()
                    return
            state.hung_up.set()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                state.connections += 1
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with closing(server):
        yield state
        server.shutdown(socket.SHUT_RDWR)


def read_request(connection: socket.socket) -> tuple[str, dict[str, str], bytes] | None:
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        if not data:
            return None
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return first, dict(line.split(": ", 1) for line in lines), body


def reply(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def sends(data: bytes) -> Script:
    return lambda connection: connection.sendall(data)


def sends_and_closes(data: bytes) -> Script:
    def script(connection: socket.socket) -> str:
        connection.sendall(data)
        return "close"

    return script


# The same answers.


@pytest.mark.parametrize(
    "event",
    [
        {"sentence": "Größe 𝄞 \u2028 \x7f"},
        {"numbers": [0, -1.5, 2**53, 2**63, 1e300]},
        {"nothing": None, "empty": [], "yes": True},
        {"a lone surrogate": "\ud800"},
        [],
        "text",
    ],
)
def test_answers_are_those_of_boto3(url: str, event: Any) -> None:
    ours, theirs = (seen_by(client(url, None), event) for client in CLIENTS)
    assert ours == theirs


def seen_by(client: Client, event: Any) -> Any:
    """What the function got; or how the call failed, if it did."""
    try:
        return client.invoke("NodeObedient", event).value["event"]
    except CallFailed as failed:
        return failed.kind


@pytest.mark.parametrize("language", ["python", "java", "node"])
def test_the_tokenizers_answer_both_alike(target: Target, language: str) -> None:
    event = {"sentences": ["Der Fluß, DIE Brücke", "ΟΔΟΣ 42", ""]}
    answers = [
        client(target.endpoint_url, None).invoke(target.functions[language], event)
        for client in CLIENTS
    ]
    assert answers[0].value["tokens"] == answers[1].value["tokens"]
    for answer in answers:
        assert answer.wall_ms > 0
        assert answer.report.duration_ms and answer.report.billed_ms and answer.report.memory_mb


def test_json_that_is_ready_is_sent_as_it_is() -> None:
    with faulty(sends(reply(b"{}"))) as server:
        LambdaClient(server.url, None).invoke("F", b'{ "sentences": ["as it is"] }')
    assert server.requests[0][2] == b'{ "sentences": ["as it is"] }'


def test_an_event_is_sent_as_utf_8_not_escaped() -> None:
    with faulty(sends(reply(b"{}"))) as server:
        LambdaClient(server.url, None).invoke("F", {"sentences": ["Größe"]})
    assert server.requests[0][2].decode() == '{"sentences":["Größe"]}'


@pytest.mark.parametrize("value", [None, [], "text", 5, {"tokens": None}])
def test_any_json_is_an_answer(value: Any) -> None:
    with faulty(sends(reply(json.dumps(value).encode()))) as server:
        assert LambdaClient(server.url, None).invoke("F", {}).value == value
        assert BotoClient(server.url, None).invoke("F", {}).value == value


@pytest.mark.parametrize("name", ["Obedient:$LATEST", "000000000000:function:Obedient"])
def test_a_function_may_be_named_by_arn_and_qualifier(url: str, name: str) -> None:
    assert LambdaClient(url, None).invoke(name, {}).value["function"] == "Obedient"


# The same errors.

FAILURES: dict[str, tuple[str, Any, str]] = {
    "unknown function": ("Nobody", {}, "ResourceNotFoundException"),
    "no name": ("no/name?", {}, "ValidationException"),
    "no JSON": ("Obedient", b"{", "InvalidRequestContentException"),
    "too large a request": ("Obedient", {"x": "x" * 6_291_456}, "RequestTooLargeException"),
    "too large an answer": ("Obedient", {"bytes": 6_291_600}, "Function.ResponseSizeTooLarge"),
    "raised": ("Obedient", {"raise": "bad luck"}, "ValueError"),
    "ended": ("Obedient", {"exit": 3}, "Runtime.ExitError"),
    "killed": ("Obedient", {"kill": 1}, "Runtime.ExitError"),
    "timed out": ("Impatient", {"sleep": 3}, "Sandbox.Timedout"),
    "raised in init": ("RaisesInInit", {}, "RuntimeError"),
    "ended in init": ("ExitsInInit", {}, "Runtime.ExitError"),
    "nothing to import": ("NoSuchModule", {}, "Runtime.ImportModuleError"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_failures_have_the_kind_that_boto3_gives(url: str, case: str) -> None:
    function, event, kind = FAILURES[case]
    ours, theirs = (failure(client(url, None), function, event) for client in CLIENTS)
    assert ours.kind == theirs.kind == kind
    assert without_ids(ours.message) == without_ids(theirs.message)


def without_ids(message: str) -> str:
    """A message without the request's id and what else is another in every call."""
    return " ".join(x for x in message.split() if x.count("-") != 4)[:1000]


@pytest.mark.parametrize("language", ["python", "java", "node"])
def test_an_invalid_batch_has_the_kind_that_boto3_gives(target: Target, language: str) -> None:
    function = target.functions[language]
    ours, theirs = (
        failure(client(target.endpoint_url, None), function, {"sentences": [1]})
        for client in CLIENTS
    )
    assert (ours.kind, ours.message) == (theirs.kind, theirs.message)
    assert ours.kind.endswith("InvalidBatch")


def test_a_throttled_call_has_the_kind_that_boto3_gives(url: str) -> None:
    clients = [client(url, None) for client in CLIENTS]
    calling = LambdaClient(url, None)
    with ThreadPoolExecutor(LIMIT) as threads:
        busy = [threads.submit(calling.invoke, "Obedient", {"sleep": 4}) for _ in range(LIMIT)]
        time.sleep(1.5)
        failures = [failure(client, "Obedient") for client in clients]
        assert [x.kind for x in failures] == ["TooManyRequestsException"] * 2
        assert failures[0].message == failures[1].message == "Rate Exceeded."
        assert all(isinstance(call.result(), Answer) for call in busy)


BROKEN: dict[str, tuple[Script, str]] = {
    "hangs up": (sends_and_closes(b""), "ConnectionClosedError"),
    "cut in the first line": (sends_and_closes(b"HTTP/1.1 2"), "ConnectionClosedError"),
    "cut in the body": (sends_and_closes(reply(b"{}")[:-1]), "ConnectionClosedError"),
    "cut in a chunk": (
        sends_and_closes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1"),
        "ConnectionClosedError",
    ),
    "no HTTP": (sends_and_closes(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "ConnectionClosedError"),
    "empty": (sends(reply(b"")), "WrongAnswer"),
    "no JSON": (sends(reply(b"<html>")), "WrongAnswer"),
    "cut JSON": (sends(reply(b'{"tokens": [')), "WrongAnswer"),
    "no text": (sends(reply(b"\xff\xfe\xfa")), "WrongAnswer"),
    "nested without end": (sends(reply(b"[" * 200_000)), "WrongAnswer"),
    "an error by header": (
        sends(
            reply(b'{"message": "no"}', "403 Forbidden", x_amzn_ErrorType="AccessDenied:http://x")
        ),
        "AccessDenied",
    ),
    "an error by type": (
        sends(reply(b'{"__type": "com.amazon#ThrottlingException"}', "400 Bad Request")),
        "ThrottlingException",
    ),
    "an error by code": (sends(reply(b'{"code": "Odd", "message": 5}', "409 No")), "Odd"),
    "a code that is a number": (sends(reply(b'{"code": 7}', "409 No")), "7"),
    "an error without a body": (sends(reply(b"", "503 Busy")), "503"),
    "an error in HTML": (sends(reply(b"<html>502</html>", "502 Bad Gateway")), "502"),
    "an error in words": (sends(reply(b"go away", "400 No")), "400"),
    "an error beyond HTTP": (sends(reply(b"{}", "599 ?")), "599"),
    "elsewhere": (sends(reply(b"", "302 Found", Location="http://127.0.0.1:9/")), "302"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_has_the_kind_that_boto3_gives(case: str) -> None:
    script, kind = BROKEN[case]
    with faulty(script) as server:
        assert failure(LambdaClient(server.url, None)).kind == kind
        assert failure(BotoClient(server.url, None)).kind == kind


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_a_head_that_is_cut_is_no_empty_answer(head: bytes) -> None:
    """boto3 takes it for one."""
    with faulty(sends_and_closes(head)) as server:
        assert failure(LambdaClient(server.url, None)).kind == "ConnectionClosedError"


def test_nobody_listening_has_the_kind_that_boto3_gives() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    assert [failure(client(url, None)).kind for client in CLIENTS] == [
        "EndpointConnectionError"
    ] * 2


def test_a_name_that_nobody_has_has_the_kind_that_boto3_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account(monkeypatch)
    url = "http://nobody.invalid:80"
    assert [failure(client(url, None)).kind for client in CLIENTS] == [
        "EndpointConnectionError"
    ] * 2


def test_an_endpoint_that_hangs_has_the_kind_that_boto3_gives() -> None:
    with faulty(lambda connection: time.sleep(2)) as server:
        for client in [kind(server.url, None, timeout_s=0.3) for kind in CLIENTS]:
            started = time.monotonic()
            assert failure(client).kind == "ReadTimeoutError"
            assert time.monotonic() - started < 1


def test_an_endpoint_that_does_not_take_a_connection_is_given_up() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # until the kernel takes no more
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}"
        client = LambdaClient(url, None, timeout_s=30, connect_timeout_s=0.3)
        started = time.monotonic()
        assert failure(client).kind == "ConnectTimeoutError"
        assert time.monotonic() - started < 2
        for one in waiting:
            one.close()


ERROR_BODIES = [b"null", b'"text"', b"[1]", b"5", b"", b"{", b'{"errorType": null}', b'{"a": 1}']


@pytest.mark.parametrize("body", ERROR_BODIES)
def test_an_error_of_a_function_may_have_any_body(body: bytes) -> None:
    with faulty(sends(reply(body, X_Amz_Function_Error="Unhandled"))) as server:
        ours, theirs = (failure(client(server.url, None)) for client in CLIENTS)
    assert ours.kind == theirs.kind == "Unhandled"


@pytest.mark.parametrize(
    "body", [*ERROR_BODIES, b"\xff\xfe", b'{"message": {"a": []}}', b"[" * 9999]
)
@pytest.mark.parametrize("status", ["400 No", "429 Too Many", "500 Oops"])
def test_a_refusal_may_have_any_body(status: str, body: bytes) -> None:
    """boto3 itself falls over some of these."""
    with faulty(sends(reply(body, status, x_amzn_ErrorType="Kind"))) as server:
        assert failure(LambdaClient(server.url, None)).kind in ("Kind", status[:3])
    with faulty(sends(reply(body, status))) as server:
        assert failure(LambdaClient(server.url, None)).kind == status[:3]


def test_it_never_calls_twice() -> None:
    with faulty(sends(reply(b"{}", "503 Busy"))) as server:
        failure(LambdaClient(server.url, None))
        assert len(server.requests) == 1
    with faulty(sends_and_closes(b"")) as server:
        failure(LambdaClient(server.url, None))
        assert len(server.requests) == 1


def test_a_refusal_that_comes_before_the_request_was_read_is_heard() -> None:
    refusal = reply(b"{}", "413 Too Large", x_amzn_ErrorType="RequestTooLargeException")

    def refuse_at_once(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(refusal + b"")
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.3)

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=refuse_at_once, args=(server,))
        thread.start()
        client = LambdaClient(f"http://127.0.0.1:{server.getsockname()[1]}", None, timeout_s=5)
        kind = failure(client, event={"x": "x" * 6_000_000}).kind
        thread.join()
    assert kind in ("RequestTooLargeException", "ConnectionClosedError")


# Time.


@pytest.mark.parametrize(
    "trickle",
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
    ids=["in the head", "in the body"],
)
def test_an_answer_that_trickles_does_not_outlast_the_time_of_a_call(trickle: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(trickle)
        for _ in range(100):
            connection.sendall(b"a")
            time.sleep(0.05)

    with faulty(drip) as server:
        client = LambdaClient(server.url, None, timeout_s=0.5)
        started = time.monotonic()
        failed = failure(client)
        assert failed.kind == "ReadTimeoutError"
        assert 0.4 < time.monotonic() - started < 1
        assert failed.wall_ms == pytest.approx(500, abs=200)


def test_a_request_that_is_not_taken_does_not_outlast_the_time_of_a_call() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        client = LambdaClient(f"http://127.0.0.1:{server.getsockname()[1]}", None, timeout_s=0.5)
        started = time.monotonic()
        assert failure(client, event={"x": "x" * 6_000_000}).kind == "ReadTimeoutError"
        assert time.monotonic() - started < 1


def test_an_answer_without_an_end_is_given_up() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 1_000_000)

    with faulty(flood) as server:
        assert failure(LambdaClient(server.url, None, timeout_s=30)).kind == "WrongAnswer"


# Connections.


def test_a_connection_is_kept_and_closing_hangs_up() -> None:
    with faulty(sends(reply(b"{}"))) as server:
        client = LambdaClient(server.url, None)
        for _ in range(5):
            client.invoke("F", {})
        assert server.connections == 1
        assert not server.hung_up.is_set()
        client.close()
        assert server.hung_up.wait(1)
        assert failure(client).kind == "EndpointConnectionError"


def test_closing_ends_calls_under_way() -> None:
    with faulty(lambda connection: time.sleep(5)) as server, ThreadPoolExecutor(2) as threads:
        client = LambdaClient(server.url, None)
        calls = [threads.submit(failure, client) for _ in range(2)]
        eventually(lambda: len(server.requests) == 2)
        started = time.monotonic()
        client.close()
        assert [call.result(2).kind for call in calls] == ["ConnectionClosedError"] * 2
        assert time.monotonic() - started < 1


def test_a_connection_that_the_other_side_closed_is_not_used_again() -> None:
    once = sends_and_closes(reply(b"{}"))
    with faulty(once) as server:
        client = LambdaClient(server.url, None)
        for _ in range(3):
            client.invoke("F", {})
            time.sleep(0.05)
        assert server.connections == 3


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
    ],
    ids=["close", "HTTP/1.0", "until it closes"],
)
def test_an_answer_may_end_the_connection(head: bytes) -> None:
    with faulty(sends_and_closes(head)) as server:
        client = LambdaClient(server.url, None)
        assert [client.invoke("F", {}).value for _ in range(2)] == [{}, {}]
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + reply(b"[1]"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n2\r\n1]\r\n0\r\n\r\n",
    ],
    ids=["100 first", "in chunks"],
)
def test_an_answer_may_come_in_any_form_of_http(answer: bytes) -> None:
    with faulty(sends(answer)) as server:
        client = LambdaClient(server.url, None)
        assert [client.invoke("F", {}).value for _ in range(2)] == [[1], [1]]
        assert server.connections == 1


def test_starting_a_call_waits_for_nothing_and_its_time_is_bounded() -> None:
    with faulty(lambda connection: time.sleep(5)) as server:
        client = LambdaClient(server.url, None, timeout_s=1)
        for _ in range(2):
            started = time.monotonic()
            calls = [client.start("F", {"n": n}) for n in range(20)]
            assert time.monotonic() - started < 0.5
            kinds = {str(call.exception(3)).partition(":")[0] for call in calls}
            assert kinds == {"ReadTimeoutError"}
            assert time.monotonic() - started < 1.8


def test_whatever_keeps_a_call_from_being_signed_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: Any) -> None:
        raise RuntimeError("a provider of credentials of somebody's own")

    with faulty(sends(reply(b"{}"))) as server:
        client = LambdaClient(server.url, None)
        monkeypatch.setattr(client, "_prepare", odd)
        assert "somebody's own" in str(client.start("F", {}).exception(5))
        monkeypatch.undo()
        assert client.start("F", {}).result(5).value == {}


def test_a_request_that_the_socket_does_not_take_at_once_is_sent_on(url: str) -> None:
    client = LambdaClient(url, None)
    events = [{"n": n, "x": "x" * 5_000_000} for n in range(LIMIT)]
    for _ in range(2):
        answers = [client.start("Obedient", event) for event in events]
        assert [call.result(20).value["event"]["n"] for call in answers] == [*range(LIMIT)]


def test_calls_that_are_started_are_received_by_one_thread() -> None:
    with faulty(sends(reply(b"{}"))) as server:
        client = LambdaClient(server.url, None, connections=4)
        before = set(threading.enumerate())
        for _ in range(50):
            calls = [client.start("F", {}) for _ in range(4)]
            assert [call.result(5).value for call in calls] == [{}] * 4
        new = [x for x in threading.enumerate() if x not in before]
        (receiver,) = (x for x in new if x.name == "receiver")
        assert sum(x.name.startswith("invoke") for x in new) <= 4
        client.close()
        eventually(lambda: not receiver.is_alive())


def test_many_threads_get_each_their_own_answer(url: str) -> None:
    client = LambdaClient(url, None)
    with ThreadPoolExecutor(LIMIT) as threads:
        sent = range(100)
        got = threads.map(lambda n: client.invoke("NodeObedient", {"n": n}).value["event"], sent)
        assert [x["n"] for x in got] == list(sent)


# Signature, credentials, endpoint: boto3's.


def account(monkeypatch: pytest.MonkeyPatch, token: str | None = None) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)


@pytest.mark.parametrize(
    "function", ["F", "arn:aws:lambda:us-east-1:000000000000:function:F:$LATEST"]
)
@pytest.mark.parametrize("token", [None, "a/token+of=a session"])
@pytest.mark.parametrize("tail", [True, False])
def test_the_signature_is_the_one_that_botocore_makes(
    monkeypatch: pytest.MonkeyPatch, function: str, token: str | None, tail: bool
) -> None:
    account(monkeypatch, token)
    with faulty(sends(reply(b"{}"))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        client = LambdaClient(None, None)
        for event in ({"sentences": ["ä"]}, b"{}", {}):  # all but the last within a second
            client.invoke(function, event, tail=tail)
        monkeypatch.setattr(time, "time", lambda: 1e9)
        client.invoke(function, {}, tail=tail)
    for first, headers, body in server.requests:
        path = first.split(" ")[1]
        signed = headers.pop("Authorization")
        for unsigned in ("User-Agent", "Accept-Encoding", "Content-Length"):
            headers.pop(unsigned)
        assert ("X-Amz-Log-Type" in headers) == tail
        assert headers.get("X-Amz-Security-Token") == token
        moment = datetime.datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda at=moment: at)
        request = AWSRequest("POST", f"{server.url}{path}", headers, body)
        credentials = Credentials("AKIDEXAMPLE", "secret", token)
        SigV4Auth(credentials, "lambda", "eu-west-1").add_auth(request)
        assert signed == request.headers["Authorization"]


def test_boto3_sends_to_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    function = "arn:aws:lambda:us-east-1:000000000000:function:F:$LATEST"
    with faulty(sends(reply(b"{}"))) as server:
        for client in CLIENTS:
            client(f"{server.url}/base/", None).invoke(function, {})
        ours, theirs = (first for first, _, _ in server.requests)
    assert ours == theirs


def test_credentials_are_renewed_while_the_client_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def renew() -> dict[str, str]:
        made.append(f"AKID{len(made)}")
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
        return {
            "access_key": made[-1],
            "secret_key": "secret",
            "token": "token",
            "expiry_time": soon.isoformat(),
        }

    credentials = RefreshableCredentials.create_from_metadata(renew(), renew, "test")
    with faulty(sends(reply(b"{}"))) as server:
        found = endpoint.Endpoint(server.url, "eu-west-1", "lambda", credentials, None, True)
        monkeypatch.setattr(endpoint, "resolve", lambda *_: found)
        client = LambdaClient(None, None)
        for moment in (1e9, 1e9 + 1, 1e9 + 2):  # a signature is of a second
            monkeypatch.setattr(time, "time", lambda moment=moment: moment)
            client.invoke("F", {})
    keys = [
        headers["Authorization"].split("=")[1].split("/")[0] for _, headers, _ in server.requests
    ]
    assert keys == made[1:]
    assert len(set(keys)) == 3


def test_the_profile_says_region_endpoint_and_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with faulty(sends(reply(b"{}"))) as server:
        (tmp_path / "config").write_text(
            f"[profile work]\nregion = ap-south-1\nendpoint_url = {server.url}\n"
            "aws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret\n"
        )
        monkeypatch.setenv("AWS_PROFILE", "work")
        LambdaClient(None, None).invoke("F", {})
        scope = server.requests[0][1]["Authorization"].split(",")[0]
    assert "Credential=AKIDPROFILE/" in scope
    assert scope.endswith("/ap-south-1/lambda/aws4_request")


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
def test_aws_is_found_where_boto3_finds_it(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    account(monkeypatch)
    assert endpoint.resolve(None, region).url == lambda_api(None, region).meta.endpoint_url
    assert not endpoint.resolve(None, region).local


def test_what_is_missing_on_aws_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoRegionError):
        LambdaClient(None, None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert failure(LambdaClient(None, "us-east-1")).kind == "NoCredentialsError"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ProfileNotFound):
        LambdaClient(None, "us-east-1")


def test_a_local_endpoint_asks_for_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("this is no configuration")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_RETRY_MODE", "bogus")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for client in CLIENTS:
        assert client(url, None).invoke("Obedient", {}).value["function"] == "Obedient"
    assert lambda_api(url, None).get_function_configuration(FunctionName="Obedient")


def test_loopback_in_the_environment_goes_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    account(monkeypatch)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with faulty(sends(reply(b"{}"))) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        assert LambdaClient(None, None).invoke("F", {}).value == {}


@pytest.mark.parametrize("url", ["127.0.0.1:3001", "ftp://127.0.0.1", "http://", ""])
def test_what_is_no_address_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((ValueError, NoRegionError)):
        LambdaClient(url, None)


# Encrypted, and through proxies, as on AWS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key for `lambda.test` and 127.0.0.1."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=lambda.test", "-keyout", str(path), "-out", f"{path}.crt"),
            *("-addext", "subjectAltName=DNS:lambda.test,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_a_server_is_trusted_by_the_bundle_that_boto3_takes(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch)
    with faulty(sends(reply(b"[1]")), certificate) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", f"{certificate}.crt")
        client = LambdaClient(None, None)
        assert [client.invoke("F", {}).value for _ in range(3)] == [[1]] * 3
        assert server.connections == 1
        client.close()
        assert server.hung_up.wait(1)


def test_a_server_that_nobody_vouches_for_is_refused_as_boto3_does(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch)
    with faulty(sends(reply(b"{}")), certificate) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        assert [failure(client(None, None)).kind for client in CLIENTS] == ["SSLError"] * 2
        assert not server.requests


def test_a_server_that_is_another_is_refused_as_boto3_does(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch)
    monkeypatch.setenv("AWS_CA_BUNDLE", f"{certificate}.crt")
    with faulty(sends(reply(b"{}")), certificate) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.replace("127.0.0.1", "localhost"))
        assert [failure(client(None, None)).kind for client in CLIENTS] == ["SSLError"] * 2
        assert not server.requests


def test_an_encrypted_answer_that_trickles_is_bounded_too(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch)

    def drip(connection: socket.socket) -> None:
        for byte in reply(b"x" * 1000):
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    with faulty(drip, certificate) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_CA_BUNDLE", f"{certificate}.crt")
        started = time.monotonic()
        assert failure(LambdaClient(None, None, timeout_s=0.5)).kind == "ReadTimeoutError"
        assert time.monotonic() - started < 1.5


@contextmanager
def proxy(towards: str) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """An HTTP proxy: opens a tunnel to `towards` for whoever asks for one, and answers `[2]` to
    what it is asked to fetch itself."""
    seen: list[tuple[str, dict[str, str], bytes]] = []
    server = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve(connection: socket.socket) -> None:
        with connection:
            request = read_request(connection)
            assert request
            seen.append(request)
            if not request[0].startswith("CONNECT"):
                connection.sendall(reply(b"[2]"))
                return
            host, port = towards.rsplit("/", 1)[1].split(":")
            with socket.create_connection((host, int(port))) as behind:
                connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=pump, args=(behind, connection), daemon=True)
                back.start()
                pump(connection, behind)
                back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with closing(server):
        yield f"127.0.0.1:{server.getsockname()[1]}", seen
        server.shutdown(socket.SHUT_RDWR)


def test_aws_is_reached_through_the_proxy_of_the_environment(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch)
    monkeypatch.setenv("AWS_CA_BUNDLE", f"{certificate}.crt")
    with faulty(sends(reply(b"[1]")), certificate) as server, proxy(server.url) as (address, seen):
        monkeypatch.setenv("HTTPS_PROXY", f"http://who:secret@{address}")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://lambda.test")
        client = LambdaClient(None, None)
        assert [client.invoke("F", {}).value for _ in range(3)] == [[1]] * 3
        client.close()
    ((first, headers, _),) = seen
    assert first.startswith("CONNECT lambda.test:443 ")
    assert base64.b64decode(headers["Proxy-Authorization"].split()[1]) == b"who:secret"
    assert server.requests[0][1]["Host"] == "lambda.test"


def test_what_is_not_encrypted_is_fetched_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    account(monkeypatch)
    with proxy("") as (address, seen):
        monkeypatch.setenv("HTTP_PROXY", f"http://{address}")
        for client in CLIENTS:
            assert client("http://lambda.test", None).invoke("F", {}).value == [2]
    assert seen[0][0] == seen[1][0]


def test_a_proxy_that_is_not_there_has_the_kind_that_boto3_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account(monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    for client in CLIENTS:
        assert failure(client("https://lambda.test", None)).kind == "ProxyConnectionError"
    monkeypatch.setenv("NO_PROXY", "lambda.test")
    assert failure(LambdaClient("https://lambda.test", None)).kind == "EndpointConnectionError"


# What is reported.


def test_the_log_is_asked_for_only_where_it_is_wanted(url: str) -> None:
    client = LambdaClient(url, None)
    client.invoke("Obedient", {})
    assert client.invoke("Obedient", {}, tail=False).report == Report()
    assert client.invoke("Obedient", {}, tail=True).report.duration_ms


@pytest.mark.parametrize("case", ["raised", "ended", "timed out", "too large an answer"])
def test_a_call_that_failed_keeps_the_report_that_it_is_billed_by(url: str, case: str) -> None:
    function, event, _ = FAILURES[case]
    failed = failure(LambdaClient(url, None), function, event)
    assert failed.report.duration_ms and failed.report.billed_ms
    assert failed.wall_ms > 0


def test_a_call_that_was_refused_has_no_report(url: str) -> None:
    assert failure(LambdaClient(url, None), "Nobody").report == Report()


REPORT = "REPORT RequestId: 3f\tDuration: 1.25 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
JSON_REPORT = {
    "type": "platform.report",
    "record": {
        "requestId": "3f",
        "status": "success",
        "metrics": {"durationMs": 1.25, "billedDurationMs": 2, "memorySizeMB": 128},
    },
}


@pytest.mark.parametrize(
    ("tail", "report"),
    [
        ("", Report()),
        ("START RequestId: 3f\nhello\n", Report()),
        (REPORT, Report(1.25, 2, 128)),
        (
            f"{REPORT}Max Memory Used: 30 MB\tInit Duration: 90.5 ms\t\n",
            Report(1.25, 2, 128, 30, 90.5),
        ),
        (
            f"{REPORT}Restore Duration: 412.3 ms\tBilled Restore Duration: 60 ms\t\n",
            Report(1.25, 2, 128, restore_ms=412.3, billed_restore_ms=60),
        ),
        (f"{REPORT}Status: timeout\nXRAY TraceId: 1-2\tSegmentId: 3\n", Report(1.25, 2, 128)),
        (f"REPORT of mine\tDuration: 9 ms\n{REPORT}", Report(1.25, 2, 128)),
        (f"{REPORT.replace('1.25', '7')}\n{REPORT}", Report(1.25, 2, 128)),
        (f"no line end{REPORT}", Report(1.25, 2, 128)),
        ("REPORT RequestId: 3f\tDuration: 1.2.5 ms\tMemory Size: 128 MB", Report(memory_mb=128)),
        ("INIT_REPORT Init Duration: 5 ms\tPhase: init\tStatus: error\n", Report()),
        (json.dumps(JSON_REPORT), Report(1.25, 2, 128)),
        (f'{{"level": "INFO"}}\n{json.dumps(JSON_REPORT)}\n', Report(1.25, 2, 128)),
        (json.dumps(JSON_REPORT)[9:], Report()),
        ('{"type": "platform.report", "record": null}', Report()),
        (f'{json.dumps(JSON_REPORT)}\n"platform.report" said I', Report(1.25, 2, 128)),
        (
            json.dumps(JSON_REPORT).replace('"durationMs"', '"restoreDurationMs": 3, "durationMs"'),
            Report(1.25, 2, 128, restore_ms=3),
        ),
        (json.dumps(JSON_REPORT).replace("1.25", '"odd"'), Report(None, 2, 128)),
    ],
)
def test_a_report_is_read_field_by_field(tail: str, report: Report) -> None:
    assert parse_report(tail) == report


def test_what_the_local_service_tells_besides_is_read() -> None:
    told = reply(b"{}", X_Bring_Up_Ms="12.5", X_Placement_Ms="75", X_Network_Ms="6.6")
    with faulty(sends(told)) as server:
        report = LambdaClient(server.url, None).invoke("F", {}).report
    assert report == Report(bring_up_ms=12.5, placement_ms=75, network_ms=6.6)


@pytest.mark.parametrize("log", ["%%%", "AAAAA", base64.b64encode(b"\xff\xfe").decode()])
def test_a_log_that_cannot_be_read_loses_no_answer(log: str) -> None:
    odd = reply(b"[1]", X_Amz_Log_Result=log, X_Bring_Up_Ms="soon")
    with faulty(sends(odd)) as server:
        answer = LambdaClient(server.url, None).invoke("F", {})
    assert (answer.value, answer.report) == ([1], Report())
