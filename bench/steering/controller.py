"""The controller's end of the control connections: it tells every subtask what to do.

See `flink_job.offload.control` for the protocol.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import replace
from types import TracebackType

from flink_job.offload.control import Directive


class Controller:
    """Listens on a free port of 127.0.0.1, as a context manager; thread-safe."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Condition()
        self._connections: dict[socket.socket, tuple[str, int]] = {}
        self._applied: dict[socket.socket, int] = {}
        self.directive = Directive()
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Controller:
        threading.Thread(target=self._accept, name="controller", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # close() alone does not wake a thread that waits in accept().
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def connected(self) -> set[tuple[str, int]]:
        """The subtasks that listen now, as (vertex, subtask index)."""
        with self._lock:
            return set(self._connections.values())

    def publish(self, **changes: float | int | None) -> int:
        """Change the directive, send it to all subtasks, and return its number."""
        with self._lock:
            self.directive = replace(
                self.directive,
                number=self.directive.number + 1,
                **changes,  # type: ignore[arg-type]
            )
            for connection in list(self._connections):
                self._send(connection)
            return self.directive.number

    def wait_applied(self, number: int, timeout_s: float) -> float | None:
        """Wait until every connected subtask has directive `number`.

        Returns:
            How long that took, in ms; None when some had not after `timeout_s`.
        """
        started = time.monotonic()
        with self._lock:
            done = self._lock.wait_for(
                lambda: all(self._applied.get(c, -1) >= number for c in self._connections),
                timeout_s,
            )
        return (time.monotonic() - started) * 1000 if done else None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for line in connection.makefile():
                    message = json.loads(line)
                    with self._lock:
                        if "hello" in message:
                            self._connections[connection] = (message["hello"], message["subtask"])
                            self._send(connection)
                        else:
                            self._applied[connection] = message["applied"]
                            self._lock.notify_all()
            except (OSError, ValueError):
                pass
            with self._lock:
                self._connections.pop(connection, None)
                self._applied.pop(connection, None)
                self._lock.notify_all()

    def _send(self, connection: socket.socket) -> None:
        try:
            connection.sendall(self.directive.to_line())
        except OSError:
            self._connections.pop(connection, None)
