"""The functions, their execution environments, and which invocation gets which."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bench.lambdas.local import logs
from bench.lambdas.local.cpu import CpuShares
from bench.lambdas.local.environment import Environment, Invocation, Outcome, Undelivered
from bench.lambdas.local.template import Function

INIT_TIMEOUT_S = 10.0  # of AWS's init phase


class TooManyRequests(Exception):
    """As many invocations run as may; none at the end."""


@dataclass(slots=True, frozen=True)
class Result:
    """An invocation as its caller sees it. `bring_up_ms` is None where an environment was there."""

    outcome: Outcome
    log_tail: bytes
    bring_up_ms: float | None


@dataclass(slots=True)
class _Obtained:
    """An environment for an invocation and, where it was started for it, how that went.

    `init_ms` is None where init is no phase of its own. After a `failure` there is nothing to
    invoke.
    """

    environment: Environment
    log: bytes = b""
    init_ms: float | None = None
    bring_up_ms: float | None = None
    failure: Outcome | None = None


@dataclass
class Pool:
    """A function and its environments; of the `idle` ones, the last used is last."""

    function: Function
    updated_at: float = field(default_factory=time.time)
    revision: str = field(default_factory=lambda: str(uuid.uuid4()))
    environments: set[Environment] = field(default_factory=set)
    idle: list[Environment] = field(default_factory=list)

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

    def forget(self, environment: Environment) -> None:
        self.environments.discard(environment)
        if environment in self.idle:
            self.idle.remove(environment)


class Service:
    """Starts environments when all are busy, reuses them, and lets idle ones go.

    Args:
        max_concurrency: invocations that may run at once, over all functions.
        idle_timeout_s: how long an environment may wait for its next invocation.
    """

    def __init__(
        self,
        functions: Iterable[Function],
        shares: CpuShares | None,
        max_concurrency: int,
        idle_timeout_s: float,
    ) -> None:
        self.pools = {function.name: Pool(function) for function in functions}
        self.shares = shares
        self.max_concurrency = max_concurrency
        self._idle_timeout_s = idle_timeout_s
        self._closed = False
        self._in_flight = 0
        self._events: deque[tuple[Pool, Invocation]] = deque()
        self._event_tasks: set[asyncio.Task[Result]] = set()
        self._numbers = itertools.count(1)

    async def invoke(self, pool: Pool, invocation: Invocation) -> Result:
        """Run one invocation in an environment that has no other.

        Raises:
            TooManyRequests: `max_concurrency` invocations are running.
            RuntimeMissing, OSError: no environment could be started.
        """
        if self._in_flight >= self.max_concurrency:
            raise TooManyRequests
        self._in_flight += 1
        try:
            while True:
                obtained = await self._obtain(pool, invocation)
                try:
                    outcome = obtained.failure or await obtained.environment.invoke(invocation)
                except Undelivered:
                    continue
                pool.give_back(obtained.environment)
                return _result(obtained, invocation, outcome)
        finally:
            self._in_flight -= 1
            self._run_events()

    def enqueue(self, pool: Pool, invocation: Invocation) -> None:
        """Run an invocation that nobody waits for, as soon as there is room. It is not retried."""
        self._events.append((pool, invocation))
        self._run_events()

    def update(self, pool: Pool, **changes: object) -> None:
        """Change a function's configuration. Its environments end, busy ones after answering."""
        pool.function = dataclasses.replace(pool.function, **changes)  # type: ignore[arg-type]
        pool.updated_at, pool.revision = time.time(), str(uuid.uuid4())
        for environment in pool.idle:
            environment.kill()
        pool.idle.clear()

    async def expire_idle(self) -> None:
        """End environments that have been idle for too long; runs for ever."""
        while True:
            await asyncio.sleep(min(1.0, self._idle_timeout_s / 4))
            oldest = time.monotonic() - self._idle_timeout_s
            for pool in self.pools.values():
                for environment in [x for x in pool.idle if x.idle_since < oldest]:
                    pool.idle.remove(environment)
                    environment.kill()

    async def close(self) -> None:
        """End all environments and wait until nothing of them is left."""
        self._closed = True
        self._events.clear()
        while environments := [x for pool in self.pools.values() for x in pool.environments]:
            for environment in environments:
                environment.kill()
            await asyncio.wait([x.ended for x in environments], timeout=1)
        if self.shares:
            self.shares.close()

    def _run_events(self) -> None:
        while self._events and self._in_flight + len(self._event_tasks) < self.max_concurrency:
            task = asyncio.create_task(self.invoke(*self._events.popleft()))
            self._event_tasks.add(task)
            task.add_done_callback(self._event_tasks.discard)

    async def _obtain(self, pool: Pool, invocation: Invocation) -> _Obtained:
        """An idle environment, or a new one.

        An init that fails is done once more inside the invocation, whose duration and timeout then
        count it, as on AWS.
        """
        environment = pool.take()
        if environment:
            return _Obtained(environment)
        environment = self._new_environment(pool)
        init = await environment.start(invocation.request_id, INIT_TIMEOUT_S)
        if init.failure is None:
            return _Obtained(environment, init.output, init.init_ms, init.bring_up_ms)
        log = init.output + logs.init_report(init.init_ms, init.failure.status or "").encode()
        first_ms = init.bring_up_ms
        invocation.began = time.perf_counter()
        environment = self._new_environment(pool)
        init = await environment.start(invocation.request_id, pool.function.timeout_s)
        return _Obtained(
            environment, log + init.output, None, first_ms + init.bring_up_ms, init.failure
        )

    def _new_environment(self, pool: Pool) -> Environment:
        if self._closed:
            raise TooManyRequests
        name = f"{pool.function.name}-{next(self._numbers)}"
        environment = Environment(pool.function, name, self.shares, pool.forget)
        pool.environments.add(environment)
        return environment


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
    log_tail = logs.tail(obtained.log, environment.take_output(), report)
    return Result(outcome, log_tail, obtained.bring_up_ms)
