"""An edge of AWS that fails now and then: a proxy whose faults a test plans."""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, str, dict[str, Any]] | None  # status, error type, body; None: hang up
Fault = Callable[[str, str, bytes], Answer | bool]  # of method, path, body; False: none


class Edge:
    """Attributes: `faults`: asked in turn about each request; one that is used is gone."""

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.asked: list[str] = []

    def fail(self, method: str, path: str, answer: Answer, times: int = 1) -> None:
        """Answer the next requests whose path contains `path` like that."""

        def fault(asked: str, where: str, body: bytes) -> Answer | bool:
            return answer if asked == method and path in where else False

        self.faults.extend([fault] * times)

    def answer(self, method: str, path: str, body: bytes) -> Answer | bool:
        self.asked.append(f"{method} {path}")
        for fault in self.faults:
            answer = fault(method, path, body)
            if answer is not False:
                self.faults.remove(fault)
                return answer
        return False


@contextmanager
def edge(upstream: str) -> Iterator[tuple[Edge, str]]:
    """An edge before an endpoint, and its address."""
    faulty = Edge()
    behind = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = faulty.answer(self.command, self.path, body)
            if answer is None:
                self.close_connection = True
                return
            if isinstance(answer, tuple):
                status, kind, told = answer
                self._say(status, {"x-amzn-ErrorType": kind}, json.dumps(told).encode())
                return
            asked = http.client.HTTPConnection(behind, timeout=30)
            headers = {**self.headers}
            asked.request(self.command, self.path, body, headers)
            response = asked.getresponse()
            kept = {k: v for k, v in response.getheaders() if k.lower() != "content-length"}
            self._say(response.status, kept, response.read())
            asked.close()

        def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = _pass

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield faulty, f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
