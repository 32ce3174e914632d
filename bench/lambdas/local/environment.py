"""One execution environment: a runtime process and the Runtime API that it talks to.

Source: the AWS Lambda developer guide, "Using the Lambda runtime API" (2018-06-01).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from bench.lambdas.local import logs, runtimes
from bench.lambdas.local.cpu import CpuShares, Group
from bench.lambdas.local.http import Listener, Request, Response
from bench.lambdas.local.logs import TAIL_BYTES
from bench.lambdas.local.storage import Storage, enter
from bench.lambdas.local.template import Function

RESPONSE_LIMIT_BYTES = 6_291_556  # what AWS accepts as an answer: 6 MB and 100 bytes
_PREFIX = "/2018-06-01/runtime/"
_ACCEPTED = Response(HTTPStatus.ACCEPTED, b'{"status":"OK"}')
_MEMORY_LOOKS_S = 0.05  # between two looks at what a busy environment occupies
_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl


class Undelivered(Exception):
    """The environment ended before the runtime took the invocation; another can have it."""


@dataclass(slots=True)
class Invocation:
    """What the runtime is given: an event and what its context says. `began` (perf_counter
    seconds) is set when it reaches the runtime, or before that where an init counts into it.
    `idle_s` is for how long nobody had called the function."""

    request_id: str
    payload: bytes
    arn: str
    client_context: str | None = None
    began: float | None = None
    idle_s: float = 0.0


@dataclass(slots=True, frozen=True)
class Outcome:
    """How an invocation ended. `status` is None, "error" or "timeout", as a REPORT line has it."""

    body: bytes
    duration_ms: float
    status: str | None = None


@dataclass(slots=True, frozen=True)
class Init:
    """How an environment came up, or did not.

    `init_ms` is the time from starting the process to its first `next`, what AWS calls Init
    Duration; `bring_up_ms` that from the decision to start it (control group, listening socket,
    process, init). `cpu_ms` is the CPU time of the process until then, None if it is gone. `output`
    is the last 4 KB of what it wrote until then.
    """

    init_ms: float
    cpu_ms: float | None
    bring_up_ms: float
    output: bytes
    failure: Outcome | None


def error_body(error_type: str, message: str) -> bytes:
    """AWS's body of an error that is not the handler's own."""
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


class Environment:
    """A process of the function's runtime interface client, in a process group (and, where there
    are CPU shares, a control group) of its own.

    `start` once, `invoke` one at a time, `kill` at any time. When nothing of it is left, `ended` is
    done and `on_end` is called.

    Attributes:
        ready: the runtime waits for an invocation.
        alive: it can be given invocations.
        max_memory_mb: highest resident memory seen, None if none was; looked at after init and
            after an invocation, but not more than ten times a second, since it costs 25 µs.
        idle_since: for whoever keeps it (monotonic seconds).
    """

    def __init__(
        self,
        function: Function,
        name: str,
        shares: CpuShares | None,
        storage: Storage,
        on_end: Callable[[Environment], None],
        log: Callable[[Function, str, bytes], object] | None = None,
    ) -> None:
        self.function = function
        self.max_memory_mb: int | None = None
        self.idle_since = 0.0
        self._name = name
        self._shares = shares
        self._storage = storage
        self._tmp: Path | None = None
        self._on_end = on_end
        self._log = log
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._initialised: asyncio.Future[Outcome | None] = self._loop.create_future()
        self._next: asyncio.Future[Response] | None = None
        self._assigned: tuple[Invocation, asyncio.Future[Outcome]] | None = None
        self._running: tuple[Invocation, asyncio.Future[Outcome]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._started_for = ""
        self._killed = False
        self._group: Group | None = None
        self._throttled_s = 0.0
        self._runtime_api: Listener | None = None
        self._output = bytearray()
        self._measured_at = 0.0
        self._memory_timer: asyncio.TimerHandle | None = None
        self._out_of_memory = False
        self._output_fd = self._exit_fd = self._memory_fd = -1

    @property
    def ready(self) -> bool:
        return self._next is not None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None and not self._killed

    @property
    def pid(self) -> int | None:
        """Of its process while that runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def throttled_s(self) -> float:
        """Time that its CPU quota has made it wait, seconds."""
        if self._group:
            self._throttled_s = self._group.throttled_s()
        return self._throttled_s

    async def start(self, request_id: str, timeout_s: float) -> Init:
        """Start the process for an invocation and wait for its first `next`, at most `timeout_s`.

        Raises:
            RuntimeMissing, OSError: it could not be started at all.
        """
        began = time.perf_counter()
        self._started_for = request_id
        try:
            await self._spawn()
        except BaseException:
            self._end_process()
            await self._clean_up()
            raise
        try:
            failure = await asyncio.wait_for(asyncio.shield(self._initialised), timeout_s)
        except TimeoutError:
            failure = Outcome(timeout_error(request_id, timeout_s), timeout_s * 1000, "timeout")
        now = time.perf_counter()
        cpu_ms = _cpu_ms(self.pid) if self.pid else None
        self._measure_memory()
        if failure:
            self.kill()
        init_ms, bring_up_ms = (now - self._started) * 1000, (now - began) * 1000
        return Init(init_ms, cpu_ms, bring_up_ms, self.take_output(), failure)

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Give the runtime an invocation, at once or as soon as it asks, and wait for the outcome.

        Raises:
            Undelivered: the environment ended before the runtime took it.
        """
        if not self.alive:
            raise Undelivered
        outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self._assigned = (invocation, outcome)
        if self._next is not None:
            waiting, self._next = self._next, None
            waiting.set_result(self._deliver())
        return await outcome

    async def exit_error(self, request_id: str) -> Outcome:
        """What an invocation comes to whose environment ended before it took it."""
        await self.ended
        code = self._process.returncode if self._process else 0
        return Outcome(self._exit_error(request_id, code), 0.0, "error")

    def _exit_error(self, request_id: str, code: int) -> bytes:
        return _exit_error(request_id, code, self._out_of_memory)

    def take_output(self) -> bytes:
        """The last 4 KB that the process wrote to stdout and stderr since this was last called."""
        self._read_output()
        output = bytes(self._output)
        self._output.clear()
        return output

    def log(self, text: bytes) -> None:
        """Add to the log what the process does not write itself."""
        if self._log:
            self._log(self.function, self._name, text)

    def kill(self) -> None:
        """End the process and its children at once; `ended` says when they are gone."""
        if self.alive and self._process:
            self._killed = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    # The process.

    async def _spawn(self) -> None:
        self._tmp = self._storage.folder(self._name)
        command = runtimes.command(self.function, self._tmp)
        self._runtime_api = await Listener.open(
            self._handle, RESPONSE_LIMIT_BYTES, lost=self._hung_up
        )
        address = f"127.0.0.1:{self._runtime_api.port}"
        variables = runtimes.surroundings(self.function, address, self._name)
        if self._tmp:
            variables["TMPDIR"] = str(self._tmp)
        self._output_fd, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_end, True)
        joins_fd = -1
        try:
            if self._shares:
                self._group = self._shares.group(self._name, self.function.memory_mb)
                self._group.lend_for_init()
                joins_fd = os.open(self._group.joins, os.O_WRONLY | os.O_CLOEXEC)
            self._started = time.perf_counter()
            self._process = await asyncio.to_thread(  # forking takes milliseconds; others go on
                subprocess.Popen,
                command,
                env=variables,
                cwd=self.function.task_root,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
                preexec_fn=_before_exec(joins_fd, os.getpid(), self._own_tmp),
            )
        finally:
            os.close(write_end)
            if joins_fd >= 0:
                os.close(joins_fd)
        self._exit_fd = os.pidfd_open(self._process.pid)
        self._memory_fd = os.open(f"/proc/{self._process.pid}/status", os.O_RDONLY)
        self._loop.add_reader(self._exit_fd, self._exited)
        self._loop.add_reader(self._output_fd, self._read_output)
        self._watch_memory()

    def _own_tmp(self) -> None:
        """In the child, before it becomes the runtime."""
        if self._storage.mounted:
            task_root = self.function.task_root
            enter(self.function.storage_mb, [task_root, *runtimes.needed(self.function)])
            os.chdir(task_root)

    def _exited(self) -> None:
        code = self._end_process()
        self._read_output()
        for timer in (self._timer, self._memory_timer):
            if timer:
                timer.cancel()
        self._init_ended(self._exit_error(self._started_for, code))
        if self._running:
            self._finish(self._exit_error(self._running[0].request_id, code), "error")
        if self._assigned:
            self._assigned[1].set_exception(Undelivered())
            self._assigned = None
        self._cleaning = self._loop.create_task(self._clean_up())  # kept: tasks are weakly held

    def _end_process(self) -> int:
        """See to it that neither the process nor anything it started runs; its exit code."""
        for fd in (self._exit_fd, self._output_fd):
            if fd >= 0:
                self._loop.remove_reader(fd)
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):  # an ended one is still a zombie
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._group:
            self._group.kill()
        return self._process.wait()

    async def _clean_up(self) -> None:
        if self._runtime_api:
            self._runtime_api.close()
        for fd in (self._output_fd, self._exit_fd, self._memory_fd):
            if fd >= 0:
                os.close(fd)
        self._output_fd = self._exit_fd = self._memory_fd = -1
        if self._group:
            self.throttled_s()
            group, self._group = self._group, None
            await group.remove()
        if self._tmp:
            await asyncio.to_thread(shutil.rmtree, self._tmp, True)
        self.ended.set_result(None)
        self._on_end(self)

    def _read_output(self) -> None:
        if self._output_fd < 0:
            return
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._output_fd, 65536):
                self.log(chunk)
                self._output += chunk
                del self._output[:-TAIL_BYTES]
                if len(chunk) < 4096:
                    return
            self._loop.remove_reader(self._output_fd)  # closed at the other end

    def _measure_memory(self) -> None:
        now = time.monotonic()
        if self._memory_fd < 0 or now - self._measured_at < 0.1:
            return
        self._measured_at = now
        if (seen := _status_mb(self._memory_fd, b"VmHWM:")) is not None:
            self.max_memory_mb = min(math.ceil(seen), self.function.memory_mb)

    def _watch_memory(self) -> None:
        """End it as AWS does once what it occupies is more than its memory size, looking while it
        is busy. What the kernel can take back (pages of files) is not counted."""
        self._memory_timer = None
        parts = [_status_mb(self._memory_fd, name) for name in (b"RssAnon:", b"RssShmem:")]
        if sum(x or 0.0 for x in parts) > self.function.memory_mb:
            self._out_of_memory = True
            self.max_memory_mb = self.function.memory_mb
            self.kill()
        elif self._running or not self._initialised.done():
            self._memory_timer = self._loop.call_later(_MEMORY_LOOKS_S, self._watch_memory)

    # The Runtime API.

    def _handle(self, request: Request) -> Response | asyncio.Future[Response]:
        action = request.path.removeprefix(_PREFIX)
        if action == "invocation/next":
            return self._wait_for_next()
        if request.method == "POST" and action == "init/error":
            self._init_ended(request.body)
            return _ACCEPTED
        kind, _, rest = action.partition("/")
        request_id, _, verb = rest.partition("/")
        if request.method != "POST" or kind != "invocation" or verb not in ("response", "error"):
            return Response(HTTPStatus.NOT_FOUND, error_body("NotFound", "no such path"))
        if not self._running or self._running[0].request_id != request_id:
            return Response(
                HTTPStatus.BAD_REQUEST, error_body("InvalidRequestID", "Invalid request ID")
            )
        if request.too_large:
            return self._refuse_large_response()
        if verb == "error":
            self._finish(request.body, "error")
        else:
            self._finish(request.body)
        return _ACCEPTED

    def _hung_up(self) -> None:
        """The runtime's connection is gone while it waits for work: it will take none any more."""
        self._next = None
        if self._running:  # given to it in this very moment, and not sent
            self._running[1].set_exception(Undelivered())
            self._running = None
        self.kill()

    def _init_ended(self, error: bytes | None = None) -> None:
        if not self._initialised.done():
            took_ms = (time.perf_counter() - self._started) * 1000
            if self._group:
                self._group.restore()
            self._initialised.set_result(Outcome(error, took_ms, "error") if error else None)

    def _wait_for_next(self) -> Response | asyncio.Future[Response]:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._init_ended()
        if self._assigned:
            return self._deliver()
        self._next = self._loop.create_future()
        return self._next

    def _deliver(self) -> Response:
        assert self._assigned is not None
        self._running, self._assigned = self._assigned, None
        invocation, _ = self._running
        now = time.perf_counter()
        invocation.began = invocation.began or now
        remaining_s = self.function.timeout_s - (now - invocation.began)
        self._timer = self._loop.call_later(remaining_s, self._timed_out)
        self._output.clear()
        if self._memory_timer is None:
            self._memory_timer = self._loop.call_later(_MEMORY_LOOKS_S, self._watch_memory)
        self.log(logs.start(invocation.request_id, self.function.log_format))
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + remaining_s) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
            "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        return Response(HTTPStatus.OK, invocation.payload, headers)

    def _finish(self, body: bytes, status: str | None = None) -> None:
        assert self._running is not None
        (invocation, outcome), self._running = self._running, None
        assert invocation.began is not None
        duration_ms = (time.perf_counter() - invocation.began) * 1000
        self._measure_memory()
        outcome.set_result(Outcome(body, duration_ms, status))

    def _refuse_large_response(self) -> Response:
        limit = f"maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
        self._finish(
            error_body("Function.ResponseSizeTooLarge", f"Response payload size exceeded {limit}"),
            "error",
        )
        return Response(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            error_body("RequestEntityTooLarge", f"Exceeded {limit}"),
        )

    def _timed_out(self) -> None:
        """Kill what runs longer than the function may, also after it has answered."""
        self._timer = None
        if self._running:
            self._finish(
                timeout_error(self._running[0].request_id, self.function.timeout_s),
                "timeout",
            )
        self.kill()


def _cpu_ms(pid: int) -> float | None:
    """CPU time of a process by its own clock, which is finer than what /proc says.

    Source: the kernel's MAKE_PROCESS_CPUCLOCK (include/linux/posix-timers_types.h).
    """
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2) * 1000
    return None


def timeout_error(request_id: str, timeout_s: float) -> bytes:
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return error_body("Sandbox.Timedout", message)


def _status_mb(fd: int, field: bytes) -> float | None:
    """A field in kB of /proc/PID/status, in MiB; None if the process is gone."""
    with contextlib.suppress(OSError, ValueError):
        status = os.pread(fd, 4096, 0)
        at = status.index(field) + len(field)
        return int(status[at : status.index(b"kB", at)]) / 1024
    return None


def _exit_error(request_id: str, code: int, out_of_memory: bool = False) -> bytes:
    if code == 0:
        reason = "Runtime exited without providing a reason"
    elif code < 0:
        reason = f"Runtime exited with error: signal: {_signal_name(-code)}"
    else:
        reason = f"Runtime exited with error: exit status {code}"
    kind = "Runtime.OutOfMemory" if out_of_memory else "Runtime.ExitError"
    return error_body(kind, f"RequestId: {request_id} Error: {reason}")


def _signal_name(number: int) -> str:
    """As Go, in which AWS's side is written, says it: killed, segmentation fault, …"""
    return (signal.strsignal(number) or str(number)).lower()


def _before_exec(joins_fd: int, parent: int, own_tmp: Callable[[], None]) -> Callable[[], None]:
    """What the child does before it becomes the runtime, so that init has the CPU share already,
    and so that the runtime dies with the service even if that is killed."""

    def before_exec() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if joins_fd >= 0:
            os.write(joins_fd, b"0")
        own_tmp()

    return before_exec
