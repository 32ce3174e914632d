"""Runs the stand-in for AWS until it is told to end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import uvloop
from moto.cloudformation.models import cloudformation_backends
from moto.logs.models import logs_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from bench.lambdas.aws import resources, stacks
from bench.lambdas.aws.endpoint import Endpoint
from bench.lambdas.aws.functions import Functions, LogGroups
from bench.lambdas.local.api import ACCOUNT, LambdaApi
from bench.lambdas.local.cpu import CpuShares
from bench.lambdas.local.http import Listener
from bench.lambdas.local.runtimes import REGION
from bench.lambdas.local.serve import ends_with_input
from bench.lambdas.local.service import Service

_LARGEST_UPLOAD = 512 * 1024**2
_IDLE_TIMEOUT_S = 600.0
_SETTINGS = (
    ("AWS_ENDPOINT_URL", ""),
    ("AWS_DEFAULT_REGION", REGION),
    ("AWS_ACCESS_KEY_ID", "local"),
    ("AWS_SECRET_ACCESS_KEY", "local"),
)


def serve(
    *,
    port: int,
    max_concurrency: int,
    keep: Path | None,
    with_parent: bool,
    say: Callable[[str], object],
    tell: Callable[[str], object],
) -> None:
    """Serve on 127.0.0.1:`port` (0: any free one) until SIGINT or SIGTERM, or until standard input
    closes if `with_parent`.

    Args:
        keep: a folder for the unpacked code and, at the end, logs and templates; None: all that is
            removed.
        say: is given what there is; first of all, where it listens.
        tell: is given what went wrong behind the callers' backs.

    Raises:
        OSError: the port is taken.
    """
    with (
        _folder(keep) as folder,
        ThreadPoolExecutor(1, "moto") as thread,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(_serve(folder, thread, port, max_concurrency, with_parent, say, tell))
        if keep:
            thread.submit(_write_down, folder).result()


async def _serve(
    folder: Path,
    thread: ThreadPoolExecutor,
    port: int,
    max_concurrency: int,
    with_parent: bool,
    say: Callable[[str], object],
    tell: Callable[[str], object],
) -> None:
    loop = asyncio.get_running_loop()
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told_to_end.set)
    if with_parent:
        loop.add_reader(sys.stdin.fileno(), ends_with_input, loop, told_to_end)
    service = Service(
        [],
        CpuShares.open(),
        max_concurrency,
        _IDLE_TIMEOUT_S,
        tell=tell,
        log=LogGroups(thread).write,
    )
    for library in ("moto", "samtranslator"):  # a stack's events say what these would
        logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="moto")
    stacks.install()
    resources.install()
    application = DomainDispatcherApplication(create_backend_app)
    functions = Functions(service, folder / "code", thread)
    endpoint = Endpoint(LambdaApi(service, functions.pool_of), application, functions, thread)
    expiry = loop.create_task(service.expire_idle())
    listener: Listener | None = None
    try:
        listener = await Listener.open(endpoint.handle, _LARGEST_UPLOAD, port)
        endpoint.host = f"localhost:{listener.port}"
        say(f"AWS API on http://{endpoint.host}")
        for name, value in _SETTINGS:
            say(f"  export {name}={value or f'http://{endpoint.host}'}")
        await told_to_end.wait()
        listener.refuse_new()
    finally:
        expiry.cancel()
        await service.close()
        if listener:
            await listener.answered(within_s=1)
            listener.close()


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bench-aws-") as folder:
        yield Path(folder)


def _write_down(folder: Path) -> None:
    """Logs as GROUP/STREAM.log, and what each stack came to."""
    for group in logs_backends[ACCOUNT][REGION].groups.values():
        for stream in group.streams.values():
            path = folder / "logs" / group.name.strip("/") / f"{stream.log_stream_name}.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(event.message for event in stream.events))
    for stack in cloudformation_backends[ACCOUNT][REGION].stacks.values():
        path = folder / "stacks" / f"{stack.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs = {x["OutputKey"]: x["OutputValue"] for x in stack.outputs or []}
        kept = {"status": stack.status, "outputs": outputs, "template": stack.template_dict}
        path.write_text(json.dumps(kept, indent=1))
