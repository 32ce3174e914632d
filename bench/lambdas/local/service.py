"""The functions, their execution environments, and which invocation gets which."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import resource
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from bench.lambdas.local import logs
from bench.lambdas.local.cpu import CpuShares
from bench.lambdas.local.emulation import Emulation, wait
from bench.lambdas.local.environment import Environment, Init, Invocation, Outcome, Undelivered
from bench.lambdas.local.events import RETRY_DELAYS_S, Events, TooManyRequests
from bench.lambdas.local.storage import Storage
from bench.lambdas.local.template import Function

INIT_TIMEOUT_S = 10.0  # of AWS's init phase


class Ending(Exception):
    """The service is told to end and takes no more."""


@dataclass(slots=True, frozen=True)
class Result:
    """An invocation as its caller sees it. `bring_up_ms` is None where an environment was there,
    `placement_ms` also where AWS is not imitated."""

    outcome: Outcome
    log_tail: bytes
    bring_up_ms: float | None
    placement_ms: float | None


@dataclass(slots=True)
class _Obtained:
    """An environment for an invocation and, where it was started for it, how that went.

    `init_ms` is None where init is no phase of its own, and `bring_up_ms` is what the caller waited
    before the invocation's own time began. After a `failure` there is nothing to invoke.
    """

    environment: Environment
    new: bool = False
    log: bytes = b""
    init_ms: float | None = None
    bring_up_ms: float | None = None
    failure: Outcome | None = None
    placement_ms: float | None = None


@dataclass
class Pool:
    """A function and its environments; of the `idle` ones, the last used is last.

    Where a process ended by itself (a crash, a time-out), AWS keeps the place and initialises anew
    inside the next invocation: `to_reset` says since when (monotonic seconds) each waits for that.
    """

    function: Function
    updated_at: float = field(default_factory=time.time)
    revision: str = field(default_factory=lambda: str(uuid.uuid4()))
    environments: set[Environment] = field(default_factory=set)
    idle: list[Environment] = field(default_factory=list)
    to_reset: list[float] = field(default_factory=list)
    called_at: float = field(default_factory=time.monotonic)

    def called(self) -> float:
        """Note a call; seconds since the one before, or since the service began."""
        before, self.called_at = self.called_at, time.monotonic()
        return self.called_at - before

    def take(self) -> Environment | None:
        """An idle environment; rather one that waits than one still on its way to its `next`."""
        if not self.idle:
            return None
        chosen = next((x for x in reversed(self.idle) if x.ready), self.idle[-1])
        self.idle.remove(chosen)
        return chosen

    def give_back(self, environment: Environment) -> None:
        """Keep an environment for the next invocation, unless the function has changed since."""
        if environment.function is not self.function:
            environment.kill()
        elif environment.alive:
            environment.idle_since = time.monotonic()
            self.idle.append(environment)
        else:
            self.to_reset.append(time.monotonic())

    def forget(self, environment: Environment) -> None:
        self.environments.discard(environment)
        if environment in self.idle:  # it ended by itself
            self.idle.remove(environment)
            self.to_reset.append(time.monotonic())

    def end_idle(self, oldest: float) -> None:
        """End what has been idle since before `oldest` (monotonic seconds)."""
        for environment in [x for x in self.idle if x.idle_since < oldest]:
            self.idle.remove(environment)
            environment.kill()
        self.to_reset = [x for x in self.to_reset if x >= oldest]


class Service:
    """Starts environments when all are busy, reuses them, and lets idle ones go.

    Args:
        max_concurrency: invocations that may run at once, over all functions.
        idle_timeout_s: how long an environment may wait for its next invocation.
        retry_delays_s: before each further attempt at an event whose function failed.
        tell: is given a line about each event that was accepted and is given up.
        emulation: what AWS would add; None: nothing is added.
        storage: of the environments' /tmp; by default as this machine lets us.
        log: is given each function's log as it comes: function, log stream, output.
    """

    def __init__(
        self,
        functions: Iterable[Function],
        shares: CpuShares | None,
        max_concurrency: int,
        idle_timeout_s: float,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        tell: Callable[[str], object] = lambda _: None,
        emulation: Emulation | None = None,
        storage: Storage | None = None,
        log: Callable[[Function, str, bytes], object] | None = None,
    ) -> None:
        self.pools = {function.name: Pool(function) for function in functions}
        self.shares = shares
        self.storage = storage or Storage.open()
        self.max_concurrency = max_concurrency
        self.emulation = emulation
        self.events = Events(self._begin, retry_delays_s, tell)
        self._log = log
        self._idle_timeout_s = idle_timeout_s
        self._closed = False
        self._in_flight = 0
        self._throttled_s = 0.0  # of environments that have ended
        self._earlier_s = _children_s()  # of children that were not environments
        self._numbers = itertools.count(1)
        self.started = 0

    async def invoke(self, pool: Pool, invocation: Invocation) -> Result:
        """Run one invocation in an environment that has no other.

        Raises:
            TooManyRequests: `max_concurrency` invocations are running, or the function may have no
                further environment yet.
            Ending: the service ends before it is done.
            RuntimeMissing, OSError: no environment could be started.
        """
        return await self._begin(pool, invocation)

    def update(self, pool: Pool, **changes: object) -> None:
        """Change a function's configuration. Its environments end, busy ones after answering."""
        pool.function = dataclasses.replace(pool.function, **changes)  # type: ignore[arg-type]
        pool.updated_at, pool.revision = time.time(), str(uuid.uuid4())
        pool.end_idle(float("inf"))

    async def init_of(self, function: Function) -> Init:
        """Start an environment of any function, as a trial, and end it."""
        name = f"trial-{next(self._numbers)}"
        environment = Environment(function, name, self.shares, self.storage, _nothing)
        init = await environment.start("trial", INIT_TIMEOUT_S)
        environment.kill()
        await environment.ended
        return init

    async def expire_idle(self) -> None:
        """End environments that have been idle for too long; runs for ever."""
        while True:
            await asyncio.sleep(min(1.0, self._idle_timeout_s / 4))
            for pool in self.pools.values():
                pool.end_idle(time.monotonic() - self._idle_timeout_s)

    def usage(self) -> dict[str, float]:
        """What was used so far: CPU seconds of all environments that ever ran, their init and the
        processes that they waited for included; time that their quotas made them wait; CPU seconds
        of this process; environments started, and those that run."""
        functions_s, throttled_s = _children_s() - self._earlier_s, self._throttled_s
        running = [x for pool in self.pools.values() for x in pool.environments]
        for environment in running:
            functions_s += _cpu_s(environment.pid)
            throttled_s += environment.throttled_s()
        return {
            "functions_cpu_s": functions_s,
            "functions_throttled_s": throttled_s,
            "service_cpu_s": time.process_time(),
            "environments_started": self.started,
            "environments": len(running),
        }

    async def close(self) -> None:
        """End all environments and wait until nothing of them is left."""
        self._closed = True
        self.events.close()
        while environments := [x for pool in self.pools.values() for x in pool.environments]:
            for environment in environments:
                environment.kill()
            await asyncio.wait([x.ended for x in environments], timeout=1)
        if self.shares:
            self.shares.close()
        self.storage.close()

    def _begin(self, pool: Pool, invocation: Invocation) -> Coroutine[Any, Any, Result]:
        """Take room for an invocation, at once, and return what runs it and gives that back."""
        if self._in_flight >= self.max_concurrency:
            raise TooManyRequests
        self._in_flight += 1
        return self._run(pool, invocation)

    async def _run(self, pool: Pool, invocation: Invocation) -> Result:
        try:
            while True:
                obtained = await self._obtain(pool, invocation)
                try:
                    outcome = obtained.failure or await obtained.environment.invoke(invocation)
                except Undelivered:
                    if not obtained.new:
                        pool.give_back(obtained.environment)
                        continue
                    outcome = await obtained.environment.exit_error(invocation.request_id)
                if self._closed and outcome.status:
                    raise Ending
                pool.give_back(obtained.environment)
                return _result(obtained, invocation, outcome)
        finally:
            self._in_flight -= 1
            if not self._closed:
                self.events.run()

    async def _obtain(self, pool: Pool, invocation: Invocation) -> _Obtained:
        """An idle environment, or a new one.

        An init that fails is done once more inside the invocation, whose duration and timeout then
        count it, as on AWS; so is the init of an environment whose process had ended by itself.
        """
        environment = pool.take()
        if environment:
            return _Obtained(environment)
        if pool.to_reset:
            pool.to_reset.pop()
            return await self._initialised_within(pool, invocation)
        if self.emulation and not self.emulation.take_room(pool.function.name):
            raise TooManyRequests
        environment = self._new_environment(pool)
        init = await environment.start(invocation.request_id, INIT_TIMEOUT_S)
        if init.failure is None:
            return await self._placed(invocation, environment, init)
        log = init.output + logs.init_report(init.init_ms, init.failure.status or "").encode()
        return await self._initialised_within(pool, invocation, log, init.bring_up_ms)

    async def _placed(
        self, invocation: Invocation, environment: Environment, init: Init
    ) -> _Obtained:
        """A new environment once it would be up on AWS, where that is imitated.

        What it takes here before init is part of placement there; bring-up is what remains.
        """
        init_ms, bring_up_ms, placement_ms = init.init_ms, init.bring_up_ms, None
        if self.emulation:
            placement_ms = self.emulation.placement_ms(invocation.idle_s)
            init_ms = self.emulation.init_ms(environment.function, init_ms, init.cpu_ms or init_ms)
            bring_up_ms += await wait(placement_ms + init_ms - bring_up_ms) - placement_ms
            init_ms = min(init_ms, bring_up_ms)  # which has a timer's error of half a millisecond
        return _Obtained(
            environment, True, init.output, init_ms, bring_up_ms, placement_ms=placement_ms
        )

    async def _initialised_within(
        self, pool: Pool, invocation: Invocation, log: bytes = b"", waited_ms: float | None = None
    ) -> _Obtained:
        """An environment whose init is part of the invocation ("suppressed init")."""
        invocation.began = time.perf_counter()
        environment = self._new_environment(pool)
        init = await environment.start(invocation.request_id, pool.function.timeout_s)
        if self.emulation and init.failure is None:
            init_ms = self.emulation.init_ms(pool.function, init.init_ms, init.cpu_ms or 0.0)
            await wait(init_ms - init.init_ms)
        return _Obtained(environment, True, log + init.output, None, waited_ms, init.failure)

    def _new_environment(self, pool: Pool) -> Environment:
        if self._closed:
            raise Ending
        name = f"{pool.function.name}-{next(self._numbers)}"
        environment = Environment(
            pool.function,
            name,
            self.shares,
            self.storage,
            lambda ended: self._ended(pool, ended),
            self._log,
        )
        pool.environments.add(environment)
        self.started += 1
        return environment

    def _ended(self, pool: Pool, environment: Environment) -> None:
        pool.forget(environment)
        self._throttled_s += environment.throttled_s()


def _result(obtained: _Obtained, invocation: Invocation, outcome: Outcome) -> Result:
    environment = obtained.environment
    report = logs.Report(
        invocation.request_id,
        outcome.duration_ms,
        environment.function.memory_mb,
        environment.max_memory_mb,
        obtained.init_ms,
        outcome.status,
    )
    output, log_format = environment.take_output(), environment.function.log_format
    log_tail = logs.tail(obtained.log, output, report, log_format)
    environment.log(logs.end(report, log_format))
    return Result(outcome, log_tail, obtained.bring_up_ms, obtained.placement_ms)


def _cpu_s(pid: int | None) -> float:
    """CPU seconds of a process and of the children that it has waited for; 0 if it is gone."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:4]) if pid else 0.0
    except psutil.NoSuchProcess:
        return 0.0


def _children_s() -> float:
    """CPU seconds of the children that this process has waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _nothing(_: Environment) -> None:
    """Nobody keeps it."""
