"""HTTP/1.1 for both APIs of the service: one request at a time per connection, whole bodies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import httptools

_STATUS_LINES = {status.value: f"HTTP/1.1 {status} {status.phrase}" for status in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One request. Header names are lower case; a body over the limit is empty and `too_large`."""

    method: str = ""
    path: str = ""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    too_large: bool = False


@dataclass(slots=True, frozen=True)
class Response:
    """One answer; its body is JSON."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def head(self, keep_alive: bool) -> bytes:
        lines = [_STATUS_LINES[self.status]]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Type: application/json\r\nContent-Length: {len(self.body)}")
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


Handler = Callable[[Request], Response | Awaitable[Response]]


class Connection(asyncio.Protocol):
    """A server's side of one connection.

    `handle` is called with each whole request; requests that arrive before the answer to an
    earlier one wait their turn. A client that goes away does not stop what it asked for.
    """

    def __init__(self, handle: Handler, max_body: int) -> None:
        self._handle = handle
        self._max_body = max_body
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._request = Request()
        self._body: list[bytes] = []
        self._body_size = 0
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, UnicodeDecodeError):
            if self._transport:
                self._transport.write(Response(HTTPStatus.BAD_REQUEST).head(keep_alive=False))
                self._transport.close()

    # What httptools calls.

    def on_message_begin(self) -> None:
        self._request, self._body, self._body_size = Request(), [], 0

    def on_url(self, url: bytes) -> None:
        parts = httptools.parse_url(url)
        self._request.path = parts.path.decode("ascii")
        self._request.query = parts.query.decode("ascii") if parts.query else ""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("ascii").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
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
        self._waiting.append((request, self._parser.should_keep_alive()))
        if not self._busy:
            self._take_next()

    # One request after the other.

    def _take_next(self) -> None:
        request, keep_alive = self._waiting.popleft()
        self._busy = True
        result = self._handle(request)
        if isinstance(result, Response):
            self._answer(result, keep_alive)
        else:
            asyncio.ensure_future(result).add_done_callback(
                lambda done: self._answer(_outcome(done), keep_alive)
            )

    def _answer(self, response: Response, keep_alive: bool) -> None:
        self._busy = False
        if self._transport is None:
            return
        self._transport.writelines([response.head(keep_alive), response.body])
        if not keep_alive:
            self._transport.close()
        elif self._waiting:
            self._take_next()


def _outcome(done: asyncio.Future[Response]) -> Response:
    if done.cancelled():
        return Response(HTTPStatus.SERVICE_UNAVAILABLE)
    if error := done.exception():
        context = {"message": "a request could not be handled", "exception": error}
        done.get_loop().call_exception_handler(context)
        return Response(HTTPStatus.INTERNAL_SERVER_ERROR)
    return done.result()
