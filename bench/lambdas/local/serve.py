"""Runs the local Lambda service until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from statistics import median

import uvloop

from bench.lambdas.local.api import REQUEST_LIMIT_BYTES, LambdaApi
from bench.lambdas.local.cpu import CpuShares
from bench.lambdas.local.emulation import Emulation
from bench.lambdas.local.http import Listener
from bench.lambdas.local.runtimes import other_version
from bench.lambdas.local.service import Service
from bench.lambdas.local.template import TOKENIZERS, WITH_EMPTIES, Function, read

_REFERENCE_INITS = 3


def serve(
    functions: Sequence[Function],
    *,
    port: int,
    max_concurrency: int,
    idle_timeout_s: float,
    retry_delays_s: Sequence[float],
    with_parent: bool,
    say: Callable[[str], object],
    tell: Callable[[str], object],
    emulation: Emulation | None = None,
    listen: str | None = None,
) -> None:
    """Serve `functions` on 127.0.0.1:`port` (0: any free one) until SIGINT or SIGTERM, or until
    standard input closes if `with_parent`. Nothing is left then.

    Args:
        retry_delays_s: before each further attempt at an event whose function failed.
        say: is given what there is; first of all, where it listens.
        tell: is given what went wrong behind the callers' backs.
        emulation: what AWS would add to each call; None: nothing is added.
        listen: a further address, for calls alone.

    Raises:
        OSError: the port is taken, or that address is none of ours.
    """

    def service() -> Service:
        return Service(
            functions,
            CpuShares.open(),
            max_concurrency,
            idle_timeout_s,
            retry_delays_s,
            tell,
            emulation,
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        empties = _empties(functions)
        if emulation and not empties and TOKENIZERS.exists():
            empties = _empties(read(TOKENIZERS, WITH_EMPTIES))
        runner.run(_serve(service, empties, port, with_parent, say, listen))


def _empties(functions: Sequence[Function]) -> list[Function]:
    """The handlers that do nothing and can run here."""
    return [x for x in functions if x.name.endswith("Empty") and not x.obstacle]


async def _serve(
    open_service: Callable[[], Service],
    empties: Sequence[Function],
    port: int,
    with_parent: bool,
    say: Callable[[str], object],
    listen: str | None,
) -> None:
    loop = asyncio.get_running_loop()
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told_to_end.set)
    if with_parent:
        try:
            loop.add_reader(sys.stdin.fileno(), ends_with_input, loop, told_to_end)
        except PermissionError:  # a file or /dev/null, which is at its end already
            told_to_end.set()
    service = open_service()
    api = LambdaApi(service)
    expiry = loop.create_task(service.expire_idle())
    listeners: list[Listener] = []
    try:
        if service.emulation:
            await _measure_references(service, service.emulation, empties)
        listeners.append(await Listener.open(api.handle, REQUEST_LIMIT_BYTES, port))
        port = listeners[0].port
        if listen not in (None, "127.0.0.1"):
            listeners.append(
                await Listener.open(api.handle_call, REQUEST_LIMIT_BYTES, port, host=str(listen))
            )
        say(f"Lambda API on http://127.0.0.1:{port}")
        if listen:
            say(f"calls alone on http://{listen}:{port}, by anybody who reaches it")
        for line in _description(service):
            say(line)
        await told_to_end.wait()
        for listener in listeners:
            listener.refuse_new()
    finally:
        expiry.cancel()
        await service.close()
        for listener in listeners:
            await listener.answered(within_s=1)
            listener.close()


async def _measure_references(
    service: Service, emulation: Emulation, empties: Sequence[Function]
) -> None:
    """Tell the emulation what the init of a handler that does nothing costs here, where we have one
    in a language that is served."""
    served = {pool.function.language for pool in service.pools.values()}
    for function in (x for x in empties if x.language in served):
        inits = [await service.init_of(function) for _ in range(_REFERENCE_INITS)]
        known = [x.cpu_ms for x in inits if x.cpu_ms is not None and x.failure is None]
        if known:
            emulation.references_ms[function.language] = median(known)


def _description(service: Service) -> list[str]:
    functions = [pool.function for pool in service.pools.values()]
    lines = [
        f"  {x.name:<20} cannot run here: {x.obstacle}"
        if x.obstacle
        else f"  {x.name:<20} {x.runtime:<12} {x.memory_mb:>6} MB {x.timeout_s:>4} s  {x.handler}"
        for x in functions
    ]
    for function in functions:
        if here := other_version(function):
            lines.append(f"{function.name} asks for {function.runtime} and runs on {here} here")
    if asking := [x.name for x in functions if x.snap_start]:
        lines.append(
            f"SnapStart of {', '.join(asking)}: nothing is restored here; each initialises"
        )
    lines.append(f"/tmp: {service.storage}")
    lines.append("memory: looked at every 50 ms in a busy environment, which ends if it has more")
    if service.shares:
        lines.append(f"CPU shares by memory size: {service.shares}")
    else:
        lines.append("CPU shares by memory size: not enforced (no cgroup that we may write)")
    if service.emulation:
        lines.append(
            f"as on AWS (emulated, parameters {service.emulation.version}): network, placement, "
            f"init, {service.emulation.new_environments} new environments per 10 s and function"
        )
    return lines


def ends_with_input(loop: asyncio.AbstractEventLoop, closed: asyncio.Event) -> None:
    """Take what standard input has; at its end, say so."""
    data = b""
    with contextlib.suppress(OSError):
        data = os.read(sys.stdin.fileno(), 4096)
    if not data:
        loop.remove_reader(sys.stdin.fileno())
        closed.set()
