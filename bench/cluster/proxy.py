"""A relay before an address, through which what passes can be broken: the job reaches Lambda and
its controller through one each, and the harness Flink's REST API."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import urlsplit

_LOOK_S = 0.02
_CONNECT_S = 5.0
_MISSING = 8

Read = Callable[[BinaryIO], bytes]


@dataclass(frozen=True)
class Trouble:
    """What becomes of what passes; nothing unless said.

    Attributes:
        refuses: whoever connects is hung up on, and so are those that are connected.
        silent: nothing passes; connections stay.
        cut: the connection ends when all but the last bytes of an answer have got through.
        over_s: an answer goes byte by byte and takes so long.
        times_slower: what an answer takes from its request on.
        says: instead of passing a request on, the whole answer to it.
        alters: makes another answer, or line, of the one that comes.
    """

    refuses: bool = False
    silent: bool = False
    cut: bool = False
    over_s: float | None = None
    times_slower: float = 1.0
    says: bytes | None = None
    alters: Callable[[bytes], bytes] | None = None


NONE = Trouble()


def http(stream: BinaryIO) -> bytes:
    """The next HTTP message, whole; empty at the end. Bodies have a Content-Length or are none."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    lengths = [
        x.split(b":")[1] for x in head.lower().split(b"\r\n") if x[:15] == b"content-length:"
    ]
    return head + stream.read(int(lengths[0]) if lengths else 0)


def line(stream: BinaryIO) -> bytes:
    """The next line; empty at the end."""
    return stream.readline()


def answer(status: int, body: bytes, *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def with_body(message: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """An HTTP answer with another body."""
    head, _, body = message.partition(b"\r\n\r\n")
    kept = [x for x in head.split(b"\r\n") if not x.lower().startswith(b"content-length:")]
    body = change(body)
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(body)]) + b"\r\n\r\n" + body


class Proxy:
    """Relays connections to `upstream`, message by message; a context manager, thread-safe.

    Args:
        read: takes the next message off a stream: `http` or `line`.
        upstream: `host:port` or a URL; may be set anew at any time, for connections to come.

    Attributes:
        changes: makes another request of each that comes; None: it passes as it is.
        asked: messages that clients have sent so far.
    """

    def __init__(self, read: Read, upstream: str = "") -> None:
        self.upstream = upstream
        self.changes: Callable[[bytes], bytes] | None = None
        self.asked = 0
        self._read = read
        self._trouble = NONE
        self._links: set[_Link] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        self._hang_up()

    @property
    def trouble(self) -> Trouble:
        """What becomes of what passes now."""
        return self._trouble

    @trouble.setter
    def trouble(self, trouble: Trouble) -> None:
        self._trouble = trouble
        if trouble.refuses:
            self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            links = list(self._links)
        for link in links:
            link.shut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        where = urlsplit(self.upstream if "//" in self.upstream else f"//{self.upstream}")
        try:
            if self._trouble.refuses:
                raise ConnectionRefusedError
            server = socket.create_connection((where.hostname, where.port), _CONNECT_S)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        link = _Link(client, server)
        with self._lock:
            self._links.add(link)
        up = threading.Thread(target=self._pump, args=(link, client, self._up), daemon=True)
        up.start()
        self._pump(link, server, self._down)
        up.join()
        with self._lock:
            self._links.discard(link)
        link.close()

    def _pump(
        self, link: _Link, source: socket.socket, passed: Callable[[_Link, bytes], None]
    ) -> None:
        with suppress(OSError, ValueError), source.makefile("rb") as stream:
            while message := self._read(stream):
                while self._trouble.silent and not link.is_over:
                    time.sleep(_LOOK_S)
                passed(link, message)
        link.shut()

    def _up(self, link: _Link, message: bytes) -> None:
        link.asked_s = time.monotonic()
        with self._lock:
            self.asked += 1
        if (says := self._trouble.says) is not None:
            link.client.sendall(says)
        else:
            link.server.sendall(self.changes(message) if self.changes else message)

    def _down(self, link: _Link, message: bytes) -> None:
        trouble = self._trouble
        if trouble.times_slower > 1:
            link.nap((trouble.times_slower - 1) * (time.monotonic() - link.asked_s))
        if trouble.alters:
            message = trouble.alters(message)
        if trouble.cut:
            link.client.sendall(message[:-_MISSING])
            link.shut()
        elif trouble.over_s:
            for number in range(len(message)):
                link.client.sendall(message[number : number + 1])
                link.nap(trouble.over_s / len(message))
        else:
            link.client.sendall(message)


@dataclass(eq=False)
class _Link:
    """Two connections that are one."""

    client: socket.socket
    server: socket.socket
    asked_s: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def nap(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._over.wait(seconds)

    def shut(self) -> None:
        """End both ways; what waits in a read notices."""
        self._over.set()
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in (self.client, self.server):
            end.close()
