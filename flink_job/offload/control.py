"""The current decision, as an operator sees it.

A controller outside the job listens on one TCP address; every subtask keeps one connection to it,
whichever TaskManager it runs in, and is told of each new decision the moment it is made. One JSON
object a line both ways: decisions and the start signal come in, `hello` and `applied` go out.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

_RETRY_S = 0.25


@dataclass(frozen=True)
class Directive:
    """What the subtasks are to do now.

    Attributes:
        number: counts up with every change; what a subtask acknowledges.
        share: of the tokenizer's input that goes to Lambda, 0 to 1.
        in_flight: calls that each subtask may have in flight at once.
        start_at_s: epoch seconds at which the schedule starts, or None while it has not been set.
    """

    number: int = 0
    share: float = 0.0
    in_flight: int = 0
    start_at_s: float | None = None

    def to_line(self) -> bytes:
        """The directive as one line on the wire."""
        return json.dumps(asdict(self)).encode() + b"\n"


class Control:
    """A subtask's end of the control connection; read `directive` whenever it is needed.

    A lost connection is retried for ever and meanwhile nothing is offloaded: a controller that
    died in a surge must not leave its last decision behind.

    Args:
        address: `host:port` of the controller.
        vertex, subtask: who is asking, for the controller's log.
    """

    def __init__(self, address: str, vertex: str, subtask: int) -> None:
        self.directive = Directive()
        self._address = address
        self._hello = {"hello": vertex, "subtask": subtask}
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)
        self._thread.start()

    def wait_for_start(self) -> float:
        """Block until the schedule's start is known and return it, in epoch seconds."""
        while self.directive.start_at_s is None and not self._closed.wait(0.01):
            pass
        return self.directive.start_at_s or time.time()

    def close(self) -> None:
        """Hang up."""
        self._closed.set()
        if self._socket is not None:
            self._socket.close()

    def _listen(self) -> None:
        host, port = self._address.rsplit(":", 1)
        while not self._closed.is_set():
            try:
                with socket.create_connection((host, int(port)), timeout=5) as connection:
                    self._socket = connection
                    connection.settimeout(None)
                    _send(connection, self._hello)
                    for line in connection.makefile():
                        self.directive = Directive(**json.loads(line))
                        _send(connection, {"applied": self.directive.number})
            except (OSError, ValueError):
                pass
            start = self.directive.start_at_s
            self.directive = Directive(start_at_s=start)
            self._closed.wait(_RETRY_S)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")
