"""HTTP/1.1 for both APIs of the service: one request at a time per connection, whole bodies."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus

import httptools

MAX_HEAD_BYTES = 65_536  # of a request's line and headers
REQUEST_TIMEOUT_S = 60.0  # from a request's first byte to its last
_MOST_WAITING = 16  # requests read ahead of the answers; then we stop reading
_STATUS_LINES = {status.value: f"HTTP/1.1 {status} {status.phrase}" for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case; a body over the limit is empty and `too_large`;
    `first` is the first on its connection."""

    method: str = ""
    path: str = ""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    too_large: bool = False
    first: bool = True


@dataclass(slots=True, frozen=True)
class Response:
    """One answer. Its body is JSON unless a `Content-Type` says what it is; where there is none, as
    to a HEAD, a `Content-Length` may say how long it would be."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self, keep_alive: bool) -> bytes:
        lines = [_STATUS_LINES[self.status]]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != HTTPStatus.NO_CONTENT:
            if "Content-Type" not in self.headers:
                lines.append("Content-Type: application/json")
            if "Content-Length" not in self.headers:
                lines.append(f"Content-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


Handler = Callable[[Request], Response | Awaitable[Response]]


class Connection(asyncio.Protocol):
    """A server's side of one connection.

    `handle` is called with each whole request; requests that arrive before the answer to an
    earlier one wait their turn. A client that goes away does not stop what it asked for.

    Args:
        lost: called when the connection ends while a request waits for its answer. Where there is
            none, a client that closes its own half only still gets that answer.
        among: the open connections, which this one is one of while it is open.
    """

    def __init__(
        self,
        handle: Handler,
        max_body: int,
        lost: Callable[[], object] | None = None,
        among: set[Connection] | None = None,
    ) -> None:
        self._handle = handle
        self._max_body = max_body
        self._lost = lost
        self._among = set() if among is None else among
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._requests = 0
        self._request = Request()
        self._reading = self._in_head = False
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = self._write_paused = self._read_paused = self._no_more = False
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a request waits for its answer."""
        return self._busy

    def hang_up(self) -> None:
        if self._transport:
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._among.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._among.discard(self)
        self._waiting.clear()
        self._stop_clock()
        if self._busy and self._lost:
            self._lost()

    def eof_received(self) -> bool:
        """The client sends no more; whether it is still to be answered."""
        self._no_more = True
        return self._busy and self._lost is None

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._take_next()

    def data_received(self, data: bytes) -> None:
        if self._no_more:
            return
        if self._in_head or not self._reading:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(HTTPStatus.BAD_REQUEST)
        if self._in_head and self._head_size > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._reading and not self._deadline and not self._no_more:
            self._deadline = asyncio.get_running_loop().call_later(
                REQUEST_TIMEOUT_S, self._refuse, HTTPStatus.REQUEST_TIMEOUT
            )

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._request, self._body, self._body_size = Request(first=self._requests == 0), [], 0
        self._requests += 1
        self._reading = self._in_head = True

    def on_url(self, url: bytes) -> None:
        parts = httptools.parse_url(url)
        self._request.path = parts.path.decode("ascii") if parts.path else ""
        self._request.query = parts.query.decode("ascii") if parts.query else ""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("ascii").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_head, self._head_size = False, 0
        self._request.method = self._parser.get_method().decode("ascii")
        if self._request.headers.get("expect", "").lower() == "100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_size += len(data)
        if self._body_size > self._max_body:
            self._body = []
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        request = self._request
        request.too_large = self._body_size > self._max_body
        request.body = b"".join(self._body)
        self._body = []
        self._reading = False
        self._stop_clock()
        self._waiting.append((request, self._parser.should_keep_alive()))
        if len(self._waiting) >= _MOST_WAITING and self._transport:
            self._read_paused = True
            self._transport.pause_reading()
        self._take_next()

    # One request after the other.

    def _take_next(self) -> None:
        while self._waiting and not self._busy and not self._write_paused and self._transport:
            request, keep_alive = self._waiting.popleft()
            if self._read_paused and len(self._waiting) < _MOST_WAITING // 2:
                self._read_paused = False
                self._transport.resume_reading()
            self._busy = True
            result = self._handle(request)
            if isinstance(result, Response):
                self._answer(result, keep_alive)
            else:
                asyncio.ensure_future(result).add_done_callback(partial(self._answered, keep_alive))

    def _answered(self, keep_alive: bool, done: asyncio.Future[Response]) -> None:
        self._answer(_outcome(done), keep_alive)
        self._take_next()

    def _answer(self, response: Response, keep_alive: bool) -> None:
        self._busy = False
        if self._transport is None:
            return
        keep_alive = keep_alive and not (self._no_more and not self._waiting)
        self._transport.writelines([response.head(keep_alive), response.body])
        if not keep_alive:
            self._waiting.clear()
            self._transport.close()

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why, and hang up; what had been asked before gets no answer any more."""
        self._no_more = True
        self._waiting.clear()
        if self._transport:
            self._transport.write(Response(status).head(keep_alive=False))
            self._transport.close()

    def _stop_clock(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None


class Listener:
    """A port and the connections to it; to be closed, which hangs up on them."""

    def __init__(self, server: asyncio.Server, connections: set[Connection]) -> None:
        self._server, self._connections = server, connections
        self.port: int = server.sockets[0].getsockname()[1]

    @classmethod
    async def open(
        cls,
        handle: Handler,
        max_body: int,
        port: int = 0,
        lost: Callable[[], object] | None = None,
        host: str = "127.0.0.1",
    ) -> Listener:
        """Listen on a port (0: any free one) of an address of this machine.

        Raises:
            OSError: the port is taken, or the address is none of ours.
        """
        connections: set[Connection] = set()

        def connect() -> Connection:
            return Connection(handle, max_body, lost, connections)

        server = await asyncio.get_running_loop().create_server(connect, host, port)
        return cls(server, connections)

    def refuse_new(self) -> None:
        self._server.close()

    async def answered(self, within_s: float) -> None:
        """Wait until no request waits for its answer, but not for longer than that."""
        deadline = time.monotonic() + within_s
        while any(x.busy for x in self._connections) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.hang_up()


def _outcome(done: asyncio.Future[Response]) -> Response:
    if done.cancelled():
        return Response(HTTPStatus.SERVICE_UNAVAILABLE)
    if error := done.exception():
        context = {"message": "a request could not be handled", "exception": error}
        done.get_loop().call_exception_handler(context)
        return Response(HTTPStatus.INTERNAL_SERVER_ERROR)
    return done.result()
