"""HTTP to one host: urllib3 opens connections and keeps them, httptools reads what comes back.

urllib3's own way of a request through a connection costs three times what reading and writing the
socket does, most of it in objects that nobody looks at. So only its pool is used here: opening,
TLS, proxies, keeping alive.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httptools
import urllib3
from botocore.httpsession import ProxyConfiguration, create_urllib3_context, get_cert_path
from urllib3.util.ssl_match_hostname import CertificateError

# Far beyond the 6 MB that Lambda answers with: what is larger is no answer of a function.
LARGEST_REPLY_BYTES = 64 * 2**20
_CHUNK_BYTES = 64 * 2**10
_GRACE_S = 0.02
_SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
]


class Unreachable(Exception):
    """No connection came about; nothing was sent. The cause says why."""


class Closed(Exception):
    """The connection ended, or what came over it was not HTTP, before the reply was whole."""


class NoAnswer(Exception):
    """A reply that is larger than any answer can be."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. Header names are lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Wire:
    """Connections to one host. Thread-safe; a connection carries one request at a time.

    Args:
        url: `http://` or `https://`, host, port where it is not the scheme's own; no path.
        connections: kept open while nothing goes over them; there can be more at once.
        connect_timeout_s: bound on opening a connection.
        ca_bundle: file of the certificates that are trusted, instead of botocore's.
        direct: never through a proxy, whatever the environment says.
    """

    def __init__(
        self,
        url: str,
        connections: int,
        connect_timeout_s: float,
        ca_bundle: str | None = None,
        direct: bool = False,
    ) -> None:
        parts = urlsplit(url)
        proxies = {} if direct or proxy_bypass(parts.netloc) else getproxies()
        configuration = ProxyConfiguration(proxies)
        self.proxy_url: str | None = configuration.proxy_url_for(url)
        options: dict[str, Any] = {"maxsize": connections, "socket_options": _SOCKET_OPTIONS}
        if parts.scheme == "https":
            options["ssl_context"] = create_urllib3_context()
            options["ca_certs"] = ca_bundle or get_cert_path(True)
            options["cert_reqs"] = "CERT_REQUIRED"
        if self.proxy_url:
            headers = configuration.proxy_headers_for(self.proxy_url)
            self._manager: urllib3.PoolManager = urllib3.ProxyManager(
                self.proxy_url, proxy_headers=headers, **options
            )
        else:
            self._manager = urllib3.PoolManager(**options)
        self._pool = self._manager.connection_from_url(url)
        self._tunnel = bool(self.proxy_url) and parts.scheme == "https"
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._busy: set[Any] = set()

    def target(self, path: str) -> str:
        """How a request names a path: a proxy that passes it on wants to know the host, too."""
        return f"{self._url}{path}" if self.proxy_url and not self._tunnel else path

    def exchange(self, request: bytes, deadline_s: float) -> Reply:
        """Send a request, wait for the whole reply.

        Args:
            deadline_s: of `time.monotonic()`; nothing waits more than 20 ms beyond it.

        Raises:
            Unreachable: there is no connection; its cause is a TimeoutError if that took too long.
            TimeoutError: the deadline passed after the connection had come about.
            Closed, NoAnswer: see there.
        """
        try:
            connection: Any = self._pool._get_conn()  # of which `urlopen` is the public user
        except urllib3.exceptions.ClosedPoolError as error:
            raise Unreachable("the client is closed") from error
        self._busy.add(connection)
        reusable = False
        try:
            if connection.sock is None:
                self._connect(connection, deadline_s)
            sock = connection.sock
            refused: OSError | None = None
            try:
                _bound(sock, deadline_s)
                sock.sendall(request)
            except TimeoutError:
                raise
            except OSError as error:  # whoever refuses a request may do so before it has it all
                refused = error
            reply, reusable = _receive(sock, deadline_s, refused)
            return reply
        finally:
            self._busy.discard(connection)
            if not reusable:
                connection.close()
            self._pool._put_conn(connection)

    def close(self) -> None:
        """Hang up: connections that are kept are closed, requests under way end with `Closed`."""
        self._pool.close()
        self._manager.clear()
        for connection in list(self._busy):
            if (sock := connection.sock) is not None:
                with suppress(OSError):  # it has hung up first
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _connect(self, connection: Any, deadline_s: float) -> None:
        try:
            connection.timeout = min(self._connect_timeout_s, _left(deadline_s))
            if self._tunnel:
                self._pool._prepare_proxy(connection)
            else:
                connection.connect()
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise Unreachable(str(error)) from error
        except CertificateError as error:
            raise Unreachable(str(error)) from ssl.SSLCertVerificationError(str(error))


class _Incoming:
    """What httptools calls while a reply comes in."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[bytes, bytes] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.head_is_whole = False
        self.is_whole = False
        self.keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.head_is_whole = True

    def on_body(self, data: bytes) -> None:
        self.body.append(data)
        self.size += len(data)

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() < 200:  # 100 Continue: the reply itself is yet to come
            self.headers.clear()
            self.head_is_whole = False
        else:
            self.is_whole = True
            self.keeps_alive = self.parser.should_keep_alive()

    @property
    def ends_with_the_connection(self) -> bool:
        return (
            self.head_is_whole
            and b"content-length" not in self.headers
            and b"transfer-encoding" not in self.headers
        )


def _receive(sock: socket.socket, deadline_s: float, refused: OSError | None) -> tuple[Reply, bool]:
    """A whole reply, and whether the connection can carry another request."""
    incoming = _Incoming()
    parser = incoming.parser
    while not incoming.is_whole:
        _bound(sock, deadline_s)
        try:
            data = sock.recv(_CHUNK_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(refused or error)) from error
        if not data:
            if incoming.ends_with_the_connection:
                break
            raise Closed(str(refused or "the other side hung up before its answer was whole"))
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Closed(f"what came is not HTTP: {error}") from error
        if incoming.size > LARGEST_REPLY_BYTES:
            raise NoAnswer(f"the answer is larger than {LARGEST_REPLY_BYTES:,} bytes")
    reply = Reply(parser.get_status_code(), incoming.headers, b"".join(incoming.body))
    return reply, incoming.keeps_alive and refused is None


def _bound(sock: socket.socket, deadline_s: float) -> None:
    """Let what is next on a socket wait until the deadline, give or take `_GRACE_S`: a bound that
    is right already costs no system call."""
    left_s = _left(deadline_s)
    bound_s = sock.gettimeout()
    if bound_s is None or abs(bound_s - left_s) > _GRACE_S:
        sock.settimeout(left_s)


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s
