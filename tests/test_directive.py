"""The control protocol: input that nobody would send ends as a refusal, and a decision ends with
who made it."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench.steering import controller as controllers
from bench.steering.controller import Controller
from flink_job.offload.control import LEASE_S, Control, Directive
from tests.waiting import eventually

ODD: list[Any] = [
    *(None, True, False, -1, 0, 7, 1.5, -0.0, 1e308, 10**400, float("inf"), float("nan")),
    *("", "1", "\ud800", "x" * 1000, [], [[]], {}, {"a": None}, 2**63, -(10**30)),
]


def bent(randomness: random.Random, message: dict[str, Any]) -> bytes:
    """A line that is not, or not quite, what `message` would be on the wire."""
    message = dict(message)
    for _ in range(randomness.choice([0, 1, 1, 2])):
        message[randomness.choice([*message, "other"])] = randomness.choice(ODD)
    for _ in range(randomness.choice([0, 0, 0, 1])):
        message.pop(randomness.choice([*message]))
    if randomness.random() < 0.1:
        return json.dumps(randomness.choice([*ODD, [message]])).encode() + b"\n"
    line = bytearray(json.dumps(message).encode())
    for _ in range(randomness.choice([0, 0, 1, 3])):
        line[randomness.randrange(len(line))] = randomness.randrange(256)
    if randomness.random() < 0.05:
        return b"[" * 60_000 + b"\n"
    if randomness.random() < 0.1:
        del line[randomness.randrange(len(line)) :]
    return bytes(line).replace(b"\n", b" ") + b"\n"


def test_a_bent_line_is_a_directive_within_bounds_or_a_value_error() -> None:
    randomness = random.Random(20261125)
    good = {"number": 3, "share": 0.5, "in_flight": 8, "batches_per_call": 4, "job": {"a": 1}}
    refused = 0
    for _ in range(20_000):
        line = bent(randomness, good)
        try:
            directive = Directive.from_line(line)
        except ValueError:
            refused += 1
            continue
        assert 0 <= directive.share <= 1, line
        assert min(directive.number, directive.in_flight) >= 0, line
        assert directive.batches_per_call >= 1, line
        assert isinstance(directive.job, dict), line
        assert Directive.from_line(directive.to_line()) == directive
    assert 5_000 < refused < 18_000


@pytest.fixture
def controller() -> Iterator[Controller]:
    with Controller() as controller:
        yield controller


def connect(controller: Controller, *lines: bytes) -> socket.socket:
    host, port = controller.address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=5)
    for line in lines:
        connection.sendall(line)
    return connection


def hello(controller: Controller) -> dict[str, Any]:
    return {"hello": "tokenizer", "subtask": 0, "secret": controller.secret}


def is_hung_up_on(connection: socket.socket) -> bool:
    """Whether the other side has hung up by the time that a directive would have come."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_who_does_not_introduce_himself_is_hung_up_on(controller: Controller) -> None:
    randomness = random.Random(1)
    for odd in ({"subtask": x} for x in ODD if type(x) is not int or x < 0):
        line = json.dumps({**hello(controller), **odd}).encode() + b"\n"
        with connect(controller, line) as connection:
            assert is_hung_up_on(connection), odd
    for _ in range(300):
        connect(controller, bent(randomness, hello(controller))).close()
    with connect(controller, json.dumps(hello(controller)).encode() + b"\n") as connection:
        assert Directive.from_line(connection.makefile("rb").readline()) == Directive()
        eventually_connected(controller, {("tokenizer", 0)})


def test_who_acknowledges_nonsense_is_hung_up_on(controller: Controller) -> None:
    introduction = json.dumps(hello(controller)).encode() + b"\n"
    for odd in (x for x in ODD if type(x) is not int or x < 0):
        line = json.dumps({"applied": odd}).encode() + b"\n"
        with connect(controller, introduction, line) as connection:
            assert is_hung_up_on(connection), odd
    eventually_connected(controller, set())


def heard(connection: socket.socket) -> bytes:
    """All that comes until the other side hangs up. Raises TimeoutError: it does not."""
    said = b""
    while True:
        try:
            more = connection.recv(65_536)
        except ConnectionError:  # hung up on with something unread
            return said
        if not more:
            return said
        said += more


@pytest.mark.parametrize(
    "shown",
    ["", "x", None, 7, "one short", "one more", "another"],
)
def test_who_does_not_know_the_secret_is_told_nothing(
    controller: Controller, shown: object
) -> None:
    near = {
        "one short": controller.secret[:-1],
        "one more": controller.secret + "0",
        "another": Controller().secret,
    }
    greeting = {**hello(controller), "secret": near.get(str(shown), shown)}
    with connect(controller, json.dumps(greeting).encode() + b"\n") as connection:
        controller.publish(share=1.0)
        assert heard(connection) == b""
    assert controller.connected() == set()


def test_half_a_secret_and_silence_is_hung_up_on(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controllers, "_HELLO_S", 0.5)
    began_s = time.monotonic()
    half = json.dumps(hello(controller)).encode()[:-20]
    with connect(controller, half) as silent, connect(controller) as mute:
        assert heard(silent) == heard(mute) == b""
    assert 0.3 < time.monotonic() - began_s < 3.0


def test_a_secret_that_comes_drop_by_drop_is_out_of_time(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controllers, "_HELLO_S", 0.5)
    with connect(controller) as connection:
        with pytest.raises(ConnectionError):
            for byte in json.dumps(hello(controller)).encode():
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        assert heard(connection) == b""


def test_a_hello_without_end_is_hung_up_on(controller: Controller) -> None:
    with connect(controller, b"x" * 100_000) as connection:
        assert heard(connection) == b""


def test_what_a_subtask_has_heard_is_known_after_it_has_gone(controller: Controller) -> None:
    assert controller.heard("tokenizer") == 0
    number = controller.publish(share=0.5)
    introduction = json.dumps(hello(controller)).encode() + b"\n"
    with connect(controller, introduction) as connection:
        assert Directive.from_line(connection.makefile("rb").readline()).number == number
        connection.sendall(json.dumps({"applied": number}).encode() + b"\n")
        eventually(lambda: controller.heard("tokenizer") == number, LEASE_S)
    eventually_connected(controller, set())
    controller.publish(share=0.0)
    assert (controller.heard("tokenizer"), controller.heard("source")) == (number, 0)


def test_strangers_who_wait_do_not_keep_subtasks_out_for_good(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controllers, "_HELLO_S", 0.5)
    strangers = [connect(controller) for _ in range(200)]
    try:
        time.sleep(0.8)
        with connect(controller, json.dumps(hello(controller)).encode() + b"\n") as connection:
            assert Directive.from_line(connection.makefile("rb").readline()) == Directive()
    finally:
        for stranger in strangers:
            stranger.close()


@pytest.mark.parametrize(
    ("then", "within_s"), [("leaves", 0.5), ("goes mad", 0.5), ("freezes", LEASE_S + 0.5)]
)
def test_a_decision_does_not_outlive_its_controller(then: str, within_s: float) -> None:
    decided = Directive(number=1, share=0.7, in_flight=8, job={"start_at_s": 1.0})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        control = Control(f"127.0.0.1:{listening.getsockname()[1]}", "secret", "tokenizer", 0)
        connection, _ = listening.accept()
        with connection:
            connection.sendall(decided.to_line())
            eventually(lambda: control.directive == decided, 2)
            if then == "leaves":
                connection.shutdown(socket.SHUT_RDWR)
            elif then == "goes mad":
                connection.sendall(b'{"number": 2, "share": 12.5}\n')
            eventually(lambda: control.directive.share == 0, within_s)
            assert control.directive == Directive(job=decided.job)
            control.close()


def eventually_connected(controller: Controller, expected: set[tuple[str, int]]) -> None:
    eventually(lambda: controller.connected() == expected, LEASE_S)
