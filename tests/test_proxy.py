"""The relay through which what passes can be broken, before a real service."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.cluster import proxy
from bench.cluster.proxy import NONE, Proxy, Trouble

BODY = b'{"tokens": ["a", "b"]}'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        body = asked or BODY
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def relay() -> Iterator[Proxy]:
    """Before a service that answers each POST with its body, or with `BODY`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Proxy(proxy.http, f"http://127.0.0.1:{server.server_port}") as relay:
            yield relay
        server.shutdown()
        thread.join()


def ask(relay: Proxy, body: bytes = b"", timeout_s: float = 5.0) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(relay.address, timeout=timeout_s)
    try:
        connection.request("POST", "/", body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_what_is_in_no_trouble_passes_as_it_is(relay: Proxy) -> None:
    large = b"x" * 3_000_000
    assert ask(relay) == (200, BODY)
    assert ask(relay, large) == (200, large)


def test_trouble_comes_and_goes_on_one_connection(relay: Proxy) -> None:
    connection = http.client.HTTPConnection(relay.address, timeout=5)
    seen = []
    for trouble in (NONE, Trouble(says=proxy.answer(429, b"{}")), NONE):
        relay.trouble = trouble
        connection.request("POST", "/", b"")
        reply = connection.getresponse()
        seen.append((reply.status, reply.read()))
    connection.close()
    assert seen == [(200, BODY), (429, b"{}"), (200, BODY)]


def test_an_answer_is_altered(relay: Proxy) -> None:
    def fewer(body: bytes) -> bytes:
        return json.dumps({"tokens": json.loads(body)["tokens"][1:]}).encode()

    relay.trouble = Trouble(alters=lambda message: proxy.with_body(message, fewer))
    assert ask(relay) == (200, b'{"tokens": ["b"]}')


def test_an_answer_is_cut_in_the_middle(relay: Proxy) -> None:
    relay.trouble = Trouble(cut=True)
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(relay)


def test_an_answer_comes_byte_by_byte(relay: Proxy) -> None:
    relay.trouble = Trouble(over_s=0.3)
    began_s = time.monotonic()
    assert ask(relay) == (200, BODY)
    assert time.monotonic() - began_s > 0.3


def test_who_is_silent_holds_what_comes_and_passes_it_on_later(relay: Proxy) -> None:
    relay.trouble = Trouble(silent=True)
    with pytest.raises(TimeoutError):
        ask(relay, timeout_s=0.2)
    threading.Timer(0.2, lambda: setattr(relay, "trouble", NONE)).start()
    assert ask(relay) == (200, BODY)


def test_who_refuses_hangs_up_on_all(relay: Proxy) -> None:
    host, port = relay.address.split(":")
    with socket.create_connection((host, int(port)), 5) as connected:
        time.sleep(0.1)
        relay.trouble = Trouble(refuses=True)
        with pytest.raises(OSError):
            if not connected.recv(1):
                raise ConnectionResetError
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(relay)


def test_nothing_of_it_is_left(relay: Proxy) -> None:
    relay.trouble = Trouble(silent=True)
    with pytest.raises(TimeoutError):
        ask(relay, timeout_s=0.2)
    relay.__exit__(None, None, None)
    deadline_s = time.monotonic() + 5
    while relay._links and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not relay._links
