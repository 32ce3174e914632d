"""The current decision, as an operator sees it.

A controller outside the job listens on one TCP address; every subtask keeps one connection to it,
whichever TaskManager it runs in, and is told of each new decision the moment it is made. One JSON
object a line both ways: directives come in, `hello` and `applied` go out. The controller repeats
its directive several times a second; a subtask that hears nothing for `LEASE_S`, or something that
is no directive, offloads nothing until it does: a controller that died, froze or went mad in a
surge must not leave its last decision behind.
"""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

LEASE_S = 2.0
_RETRY_S = 0.25
LONGEST_LINE = 65_536


@dataclass(frozen=True)
class Directive:
    """What the subtasks are to do now.

    Attributes:
        number: counts up with every change; what a subtask acknowledges.
        share: of the flatmap's input that goes to Lambda, 0 to 1.
        in_flight: calls that each subtask may have in flight at once.
        batches_per_call: batches that one call may take when they queue.
        job: whatever the job's own operators are to be told, passed through.
    """

    number: int = 0
    share: float = 0.0
    in_flight: int = 0
    batches_per_call: int = 1
    job: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (self.number, self.in_flight, self.batches_per_call)
        if not all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in numbers):
            raise ValueError(f"not whole numbers from 0 up: {numbers}")
        if isinstance(self.share, bool) or not isinstance(self.share, int | float):
            raise ValueError(f"share is no number: {self.share!r}")
        if not (math.isfinite(self.share) and 0 <= self.share <= 1):
            raise ValueError(f"share is {self.share}, not 0 to 1")
        if self.batches_per_call < 1 or not isinstance(self.job, Mapping):
            raise ValueError("batches_per_call is 1 at least, job a mapping")

    def to_line(self) -> bytes:
        """The directive as one line on the wire."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @staticmethod
    def from_line(line: bytes) -> Directive:
        """The inverse of `to_line`. Raises ValueError for anything else."""
        try:
            return Directive(**json.loads(line))
        except (TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"no directive: {error}") from error


class Control:
    """A subtask's end of the control connection; read `directive` whenever it is needed.

    Args:
        address: `host:port` of the controller; None: there is none, and `otherwise` always holds.
        secret: that the controller wants to hear.
        vertex, subtask: who is asking, for the controller's log.
        otherwise: the directive as long as none is known.
    """

    def __init__(
        self,
        address: str | None,
        secret: str,
        vertex: str,
        subtask: int,
        otherwise: Directive | None = None,
    ) -> None:
        self._otherwise = otherwise or Directive()
        self.directive = self._otherwise
        self._hello = {"hello": vertex, "subtask": subtask, "secret": secret}
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        if address is not None:
            self._thread = threading.Thread(
                target=self._listen, args=(address,), name="control", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        if self._socket is not None:
            # A reader holds the connection open: close() alone would neither wake it nor hang up.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(timeout=1)

    def _listen(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        while not self._closed.is_set():
            with suppress(OSError, ValueError):
                self._obey(socket.create_connection((host, int(port)), timeout=LEASE_S))
            # What the job was told otherwise, such as when it started, goes on to hold.
            self.directive = replace(self._otherwise, job=self.directive.job)
            self._closed.wait(_RETRY_S)

    def _obey(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            self._socket = connection
            _send(connection, self._hello)
            while not self._closed.is_set():
                line = lines.readline(LONGEST_LINE)
                if not line:
                    return
                directive = Directive.from_line(line)
                is_new = directive.number != self.directive.number
                self.directive = directive
                if is_new:
                    _send(connection, {"applied": directive.number})


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")
