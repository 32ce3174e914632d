"""HTTP to one host: urllib3 opens connections and keeps them, httptools reads what comes back.

A request is exchanged for its reply in one go, or only begun, by a thread that has other things to
do: then the reply is received by one thread for all that are under way. A thread for each would
fight that one over the interpreter's lock, some 25 times a call, which cost more than the calls.

urllib3's own way of a request through a connection costs three times what reading and writing the
socket does, most of it in objects that nobody looks at. So only its pool is used here: opening,
TLS, proxies, keeping alive.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
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
# How often the receiver looks whether a deadline has passed, and for how long it waits for more.
_DEADLINES_S, _IDLE_S = 0.05, 5.0
# What a socket that does not wait says when it would have to.
_WOULD_WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
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


# What came of a request that was begun.
Outcome = Reply | Unreachable | TimeoutError | Closed | NoAnswer
Connection = Any  # urllib3's


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
        self._busy: set[Connection] = set()
        self._receiver = _Receiver(self._done_with)

    @property
    def cpu_ns(self) -> int:
        """CPU time that receiving has taken so far."""
        return self._receiver.cpu_ns

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
        connection = self.take()
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
            self._done_with(connection, reusable)

    def take(self) -> Connection:
        """A connection, for `begin`. Raises Unreachable: the wire is closed."""
        try:
            connection = self._pool._get_conn()  # of which `urlopen` is the public user
        except urllib3.exceptions.ClosedPoolError as error:
            raise Unreachable("the client is closed") from error
        self._busy.add(connection)
        return connection

    def begin(
        self,
        connection: Connection,
        request: bytes,
        deadline_s: float,
        on_end: Callable[[Outcome], None],
    ) -> None:
        """Send a request over a connection that was taken. This waits only if that is not open yet
        (`connection.sock` is None): for it to open.

        Args:
            deadline_s: of `time.monotonic()`; nothing takes more than 70 ms longer.
            on_end: called once, by another thread or, if nothing could be sent, by this one. It
                must not wait.
        """
        try:
            if connection.sock is None:
                self._connect(connection, deadline_s)
            if connection.sock.gettimeout() != 0:
                connection.sock.setblocking(False)
        except (Unreachable, OSError) as error:
            self._done_with(connection, False)
            on_end(error if isinstance(error, Unreachable) else Closed(str(error)))
            return
        self._receiver.begin(_Exchange(connection, memoryview(request), deadline_s, on_end))

    def give_back(self, connection: Connection) -> None:
        """Do without a connection that was taken."""
        self._done_with(connection, connection.sock is not None)

    def _done_with(self, connection: Connection, reusable: bool) -> None:
        self._busy.discard(connection)
        if not reusable:
            connection.close()
        self._pool._put_conn(connection)

    def close(self) -> None:
        """Hang up: connections that are kept are closed, requests under way end with `Closed`."""
        self._receiver.close()
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

    def take(self, data: bytes, refused: OSError | None) -> bool:
        """Take what came, nothing if the other side has hung up; and say whether that was all.

        Args:
            refused: what kept the request from being sent.

        Raises:
            Closed, NoAnswer: see there.
        """
        if not data:
            if self._ends_with_the_connection:
                return True
            raise Closed(str(refused or "the other side hung up before its answer was whole"))
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Closed(f"what came is not HTTP: {error}") from error
        if self.size > LARGEST_REPLY_BYTES:
            raise NoAnswer(f"the answer is larger than {LARGEST_REPLY_BYTES:,} bytes")
        return self.is_whole

    def reply(self, refused: OSError | None) -> tuple[Reply, bool]:
        """What came, and whether the connection can carry another request."""
        reply = Reply(self.parser.get_status_code(), self.headers, b"".join(self.body))
        return reply, self.keeps_alive and refused is None

    @property
    def _ends_with_the_connection(self) -> bool:
        return (
            self.head_is_whole
            and b"content-length" not in self.headers
            and b"transfer-encoding" not in self.headers
        )


def _receive(sock: socket.socket, deadline_s: float, refused: OSError | None) -> tuple[Reply, bool]:
    """A whole reply, and whether the connection can carry another request."""
    incoming = _Incoming()
    while True:
        _bound(sock, deadline_s)
        try:
            data = sock.recv(_CHUNK_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed(str(refused or error)) from error
        if incoming.take(data, refused):
            return incoming.reply(refused)


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


class _Exchange:
    """A request that was begun."""

    def __init__(
        self,
        connection: Connection,
        unsent: memoryview,
        deadline_s: float,
        on_end: Callable[[Outcome], None],
    ) -> None:
        self.connection = connection
        self.socket: socket.socket = connection.sock
        self.deadline_s = deadline_s
        self.on_end = on_end
        self._unsent = unsent
        self._refused: OSError | None = None
        self._incoming = _Incoming()

    def send(self) -> bool:
        """Send on, and say whether there is no more to be sent."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except _WOULD_WAIT:
            return False
        except OSError as error:  # whoever refuses a request may do so before it has it all
            self._refused, self._unsent = error, self._unsent[:0]
        return True

    def receive(self) -> tuple[Outcome, bool] | None:
        """Take what has come: the outcome, and whether the connection can carry another request;
        None if there is more to come."""
        try:
            while True:
                data = self.socket.recv(_CHUNK_BYTES)
                if self._incoming.take(data, self._refused):
                    reply, reusable = self._incoming.reply(self._refused)
                    return reply, reusable and not self._unsent
        except _WOULD_WAIT:
            return None
        except (Closed, NoAnswer) as error:
            return error, False
        except OSError as error:
            return Closed(str(self._refused or error)), False


class _Receiver:
    """Sends what a socket did not take at once, and receives, in one thread, which there is while
    there are requests.

    Args:
        done_with: is given connections back, and whether they can carry another request.
    """

    def __init__(self, done_with: Callable[[Connection, bool], None]) -> None:
        self._done_with = done_with
        self._lock = threading.Lock()
        self._epoll: select.epoll | None = None
        self._under_way: dict[int, _Exchange] = {}
        self._is_closed = False
        self.cpu_ns = 0

    def begin(self, exchange: _Exchange) -> None:
        is_sent = exchange.send()
        file = exchange.socket.fileno()
        with self._lock:
            if not self._is_closed:
                if self._epoll is None:
                    self._epoll = select.epoll()
                    threading.Thread(target=self._run, name="receiver", daemon=True).start()
                self._under_way[file] = exchange
                events = select.EPOLLIN if is_sent else select.EPOLLIN | select.EPOLLOUT
                self._epoll.register(file, events)
                return
        self._done_with(exchange.connection, False)
        exchange.on_end(Closed("the client is closed"))

    def close(self) -> None:
        """The thread ends when what is under way has ended."""
        with self._lock:
            self._is_closed = True

    def _run(self) -> None:
        epoll = self._epoll
        assert epoll is not None
        before_ns, look_s, busy_s = self.cpu_ns, 0.0, time.monotonic()
        with epoll:
            while True:
                for file, events in epoll.poll(_DEADLINES_S):
                    self._go_on(epoll, file, events)
                if (now_s := time.monotonic()) > look_s:
                    look_s = now_s + _DEADLINES_S
                    for file, exchange in list(self._under_way.items()):
                        if now_s > exchange.deadline_s:
                            self._end(epoll, file, TimeoutError("timed out"), False)
                    with self._lock:
                        if self._under_way:
                            busy_s = now_s
                        elif self._is_closed or now_s > busy_s + _IDLE_S:
                            self._epoll = None
                            return
                self.cpu_ns = before_ns + time.thread_time_ns()

    def _go_on(self, epoll: select.epoll, file: int, events: int) -> None:
        exchange = self._under_way[file]
        if events & select.EPOLLOUT and exchange.send():
            epoll.modify(file, select.EPOLLIN)
        if events & ~select.EPOLLOUT and (ended := exchange.receive()):
            self._end(epoll, file, *ended)

    def _end(self, epoll: select.epoll, file: int, outcome: Outcome, reusable: bool) -> None:
        with self._lock:
            exchange = self._under_way.pop(file)
        epoll.unregister(file)
        self._done_with(exchange.connection, reusable)
        exchange.on_end(outcome)
