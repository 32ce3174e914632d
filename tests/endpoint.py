"""Lambda endpoints that misbehave in ways in which neither AWS nor the local service can be made
to: for what the job does about them."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Endpoint = AbstractContextManager[str]

# Each is the whole body of an answer with status 200, and wrong in its own way.
WRONG_ANSWERS = (
    b"",
    b"not JSON",
    b"null",
    b"7",
    b'"text"',
    b"[]",
    b"{}",
    b'{"tokens": null}',
    b'{"tokens": {}}',
    b'{"tokens": []}',
    b'{"tokens": ["one"]}',
    b'{"tokens": [null]}',
    b'{"tokens": [["a", "b"]]}',
    b'{"tokens": [' + b",".join([b"3"] * 20) + b"]}",
    b'{"tokens": [' + b",".join([rb'"a\nb"'] * 20) + b"]}",
    b'{"tokens": [' + b",".join([b"null"] * 20) + b"]}",
    b'{"tokens": [' + b",".join([b'"a"'] * 20) + b"]}",  # whose answer?
    b'{"id": "another", "tokens": [' + b",".join([b'"a"'] * 20) + b"]}",
    b'\xff\xfe{"tokens": []}',
    b"[" * 20_000,
)
_ERRORS = ((500, b"null"), (500, b"[]"), (502, b"<html>"), (404, b'"x"'), (429, b"{}"), (200, None))


@contextmanager
def hanging() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    """Nobody listens there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def answering() -> Iterator[str]:
    """Gives one wrong answer after the other, and errors of every kind in between."""
    answers = itertools.cycle([*((200, body) for body in WRONG_ANSWERS), *_ERRORS])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = next(answers)
            if body is None:  # cut in the middle
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
