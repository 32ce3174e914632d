"""Runs the local Lambda service until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence

import uvloop

from bench.lambdas.local.api import REQUEST_LIMIT_BYTES, LambdaApi
from bench.lambdas.local.cpu import CpuShares
from bench.lambdas.local.http import Connection
from bench.lambdas.local.service import Service
from bench.lambdas.local.template import Function


def serve(
    functions: Sequence[Function],
    *,
    port: int,
    max_concurrency: int,
    idle_timeout_s: float,
    with_parent: bool,
    say: Callable[[str], object],
) -> None:
    """Serve `functions` on 127.0.0.1:`port` (0: any free one) until SIGINT or SIGTERM, or until
    standard input closes if `with_parent`. Nothing is left then.

    Says first where it listens.

    Raises:
        OSError: the port is taken.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(functions, port, max_concurrency, idle_timeout_s, with_parent, say))


async def _serve(
    functions: Sequence[Function],
    port: int,
    max_concurrency: int,
    idle_timeout_s: float,
    with_parent: bool,
    say: Callable[[str], object],
) -> None:
    loop = asyncio.get_running_loop()
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told_to_end.set)
    if with_parent:
        loop.add_reader(sys.stdin.fileno(), _read_until_closed, loop, told_to_end)
    service = Service(functions, CpuShares.open(), max_concurrency, idle_timeout_s)
    api = LambdaApi(service)
    expiry = loop.create_task(service.expire_idle())
    try:
        server = await loop.create_server(
            lambda: Connection(api.handle, REQUEST_LIMIT_BYTES), "127.0.0.1", port
        )
        port = server.sockets[0].getsockname()[1]
        say(f"Lambda API on http://127.0.0.1:{port}")
        for line in _description(functions, service):
            say(line)
        await told_to_end.wait()
        server.close()
    finally:
        expiry.cancel()
        await service.close()


def _description(functions: Sequence[Function], service: Service) -> list[str]:
    lines = [
        f"  {x.name:<20} {x.runtime:<12} {x.memory_mb:>6} MB {x.timeout_s:>4} s  {x.handler}"
        for x in functions
    ]
    if service.shares:
        lines.append(f"CPU shares by memory size: {service.shares}")
    else:
        lines.append("CPU shares by memory size: not enforced (no cgroup that we may write)")
    return lines


def _read_until_closed(loop: asyncio.AbstractEventLoop, closed: asyncio.Event) -> None:
    data = b""
    with contextlib.suppress(OSError):
        data = os.read(sys.stdin.fileno(), 4096)
    if not data:
        loop.remove_reader(sys.stdin.fileno())
        closed.set()
