"""What the operators tell about themselves, as ordinary Flink counters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

from flink_job.offload.batch import Call

if TYPE_CHECKING:  # whoever only wants the names need not load Flink
    from pyflink.datastream import RuntimeContext

Account = Literal["work", "local", "calls"]


# As Flink shows them, in the operator's scope.
NAMES = (
    "records",  # taken up, each once
    "localRecords",  # done here
    "localCpuNs",  # CPU time of the task's thread for those, sending them downstream included
    "workCpuNs",  # of that the work alone, which is what a call would spare
    "calledRecords",  # whose answers came
    "callCpuNs",  # CPU time for calls and their answers, in whichever thread, likewise
    "waitedNs",  # waiting for a free call, which Flink counts as busy
    "calls",
    "callsInFlight",  # a level, not a sum
    "failedCalls",
    "throttledCalls",
    "lateCalls",
)


class Counters:
    """One set of `NAMES` a subtask, all of them from the start.

    CPU time is what `spend` is told to put down to an account, from then until the next word. What
    goes to "work" goes to "local", too.
    """

    def __init__(self, runtime_context: RuntimeContext) -> None:
        group = runtime_context.get_metrics_group()
        counters = {name: group.counter(name) for name in NAMES}
        self.records = counters["records"]
        self.local_records = counters["localRecords"]
        self.called_records = counters["calledRecords"]
        self._cpu_ns = {
            "work": counters["workCpuNs"],
            "local": counters["localCpuNs"],
            "calls": counters["callCpuNs"],
        }
        self._waited_ns = counters["waitedNs"]
        self._calls = counters["calls"]
        self._in_flight = counters["callsInFlight"]
        self._failed = counters["failedCalls"]
        self._throttled = counters["throttledCalls"]
        self._late = counters["lateCalls"]
        self._account: Account | None = None
        self._since_ns = 0
        self._spent_ns = {"work": 0, "local": 0, "calls": 0}
        self._was_in_flight = 0

    def spend(self, account: Account) -> None:
        """From now on this thread's CPU time goes to `account`."""
        now_ns = time.thread_time_ns()
        if self._account is not None:
            self._spent_ns[self._account] += now_ns - self._since_ns
        self._account, self._since_ns = account, now_ns

    def settle(self, in_flight: int, call_cpu_ns: int) -> None:
        """Write down what has been spent, and `call_cpu_ns` of the threads that called."""
        self.spend("calls")
        self._account = None
        self._spent_ns["calls"] += call_cpu_ns
        self._spent_ns["local"] += self._spent_ns["work"]
        for account, spent_ns in self._spent_ns.items():
            if spent_ns:
                self._cpu_ns[account].inc(spent_ns)
                self._spent_ns[account] = 0
        if in_flight != self._was_in_flight:
            self._in_flight.inc(in_flight - self._was_in_flight)
            self._was_in_flight = in_flight

    def waited(self, seconds: float) -> None:
        """So long was waited for a free call."""
        self._waited_ns.inc(int(seconds * 1e9))

    def sent(self) -> None:
        """One more call."""
        self._calls.inc()

    def ended(self, call: Call) -> None:
        """A call has come to its end, or was given up."""
        if call.outcome == "late":
            self._late.inc()
        elif call.outcome == "failed":
            counter = (
                self._throttled if call.failure == "TooManyRequestsException" else self._failed
            )
            counter.inc()
