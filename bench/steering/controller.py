"""The controller's end of the control connections: it tells every subtask what to do.

See `flink_job.offload.control` for the protocol.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flink_job.offload.control import LEASE_S, LONGEST_LINE, Directive

_HEARTBEAT_S = LEASE_S / 8
# What a stranger may take of us before we hang up: so long in all, so many bytes, so many at once.
_HELLO_S, _HELLO_BYTES, _STRANGERS = 5.0, 1024, 64


class Controller:
    """Listens on a free port, as a context manager; thread-safe.

    Only subtasks that know `secret`, drawn anew for each controller, are told anything; everybody
    else is hung up on without an answer. What is said is not encrypted.

    Args:
        host: the address to listen on; on any but the loopback, other machines may connect.

    Raises:
        OSError: this machine has no such address.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.secret = secrets.token_hex(16)
        self._server = socket.create_server((host, 0))
        self._lock = threading.Condition()
        self._connections: dict[socket.socket, tuple[str, int]] = {}
        self._applied: dict[socket.socket, int] = {}
        self._heard: dict[str, int] = {}
        self._strangers = threading.BoundedSemaphore(_STRANGERS)
        self._closed = threading.Event()
        self.directive = Directive()
        self.address = f"{host}:{self._server.getsockname()[1]}"

    def __enter__(self) -> Controller:
        threading.Thread(target=self._accept, name="controller", daemon=True).start()
        threading.Thread(target=self._repeat, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        # close() alone neither wakes a thread that waits in accept() nor hangs up on a connection
        # that another thread reads from.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in list(self._connections):
                self._drop(connection)

    def connected(self) -> set[tuple[str, int]]:
        """The subtasks that listen now, as (vertex, subtask index)."""
        with self._lock:
            return set(self._connections.values())

    def publish(self, **changes: Any) -> int:
        """Change the directive, send it to all subtasks, and return its number."""
        with self._lock:
            self.directive = replace(self.directive, number=self.directive.number + 1, **changes)
            self._send_all()
            return self.directive.number

    def wait_applied(self, number: int, timeout_s: float) -> float | None:
        """Wait until every connected subtask has directive `number`.

        Returns:
            How long that took, in ms; None when some had not after `timeout_s`, or none is there.
        """
        started = time.monotonic()
        with self._lock:
            done = self._lock.wait_for(
                lambda: (
                    bool(self._connections)
                    and all(self._applied.get(c, -1) >= number for c in self._connections)
                ),
                timeout_s,
            )
        return (time.monotonic() - started) * 1000 if done else None

    def heard(self, vertex: str) -> int:
        """The number of the last directive that a subtask of the vertex has had, connected or not;
        0: none."""
        with self._lock:
            return self._heard.get(vertex, 0)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            if not self._strangers.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _repeat(self) -> None:
        while not self._closed.wait(_HEARTBEAT_S):
            with self._lock:
                self._send_all()

    def _listen(self, connection: socket.socket) -> None:
        try:
            who = self._known(connection)
        finally:
            self._strangers.release()
        with connection, connection.makefile("rb") as lines, suppress(OSError, ValueError):
            if who is None:
                return
            connection.settimeout(None)
            with self._lock:
                if self._closed.is_set():
                    return
                self._connections[connection] = who
                self._send(connection)
            while line := lines.readline(LONGEST_LINE):
                number = _applied(line)
                with self._lock:
                    self._applied[connection] = number
                    self._heard[who[0]] = max(number, self._heard.get(who[0], 0))
                    self._lock.notify_all()
        with self._lock:
            self._drop(connection)

    def _known(self, connection: socket.socket) -> tuple[str, int] | None:
        """Vertex and subtask index of who says hello with the secret; None for anybody else."""
        with suppress(OSError, ValueError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secret, vertex, subtask = _hello(_first_line(connection))
            if hmac.compare_digest(secret.encode(), self.secret.encode()):
                return vertex, subtask
        return None

    def _send_all(self) -> None:
        for connection in list(self._connections):
            self._send(connection)

    def _send(self, connection: socket.socket) -> None:
        """Never waits: who has not read for so long that its buffer is full is hung up on."""
        line = self.directive.to_line()
        try:
            if connection.send(line, socket.MSG_DONTWAIT) < len(line):
                self._drop(connection)
        except OSError:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._connections.pop(connection, None)
        self._applied.pop(connection, None)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        self._lock.notify_all()


def _first_line(connection: socket.socket) -> bytes:
    """What comes until a line's end; nothing is taken after it, since a subtask says no more before
    it is answered. Raises OSError or ValueError: it is too long, too late, or not all."""
    line = b""
    until_s = time.monotonic() + _HELLO_S
    while not line.endswith(b"\n"):
        connection.settimeout(max(0.001, until_s - time.monotonic()))
        more = connection.recv(_HELLO_BYTES + 1 - len(line))
        line += more
        if not more or len(line) > _HELLO_BYTES or time.monotonic() > until_s:
            raise ValueError("no hello")
    return line


def _hello(line: bytes) -> tuple[str, str, int]:
    """Secret, vertex and subtask index of a subtask that introduces itself. Raises ValueError."""
    message = _message(line)
    secret, vertex = message.get("secret"), message.get("hello")
    if not isinstance(secret, str) or not isinstance(vertex, str):
        raise ValueError("no hello")
    return secret, vertex, _number(message, "subtask")


def _applied(line: bytes) -> int:
    """The number of the directive that a subtask has now. Raises ValueError."""
    return _number(_message(line), "applied")


def _number(message: dict[str, Any], name: str) -> int:
    number = message.get(name)
    if type(number) is not int or number < 0:
        raise ValueError(f"{name} is no number from 0 up")
    return number


def _message(line: bytes) -> dict[str, Any]:
    """One message of a subtask. Raises ValueError unless it is a JSON object."""
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message
