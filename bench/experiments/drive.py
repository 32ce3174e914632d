"""One Flink job through one rate shape, watched and steered, and everything about it recorded."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import click

from bench.cluster.flink import Cluster, FlinkError, Jobs, poll, wait_until
from bench.cluster.metrics import JobMonitor
from bench.cluster.worker import CpuAccount, Worker
from bench.experiments.relief import ELSEWHERE, Nothing, Offload, Place, Relief, ScaleOut
from bench.facts import ledger
from bench.facts.records import Run
from bench.lambdas.pool import Pool
from bench.lambdas.target import Target, usage
from bench.steering.controller import Controller
from bench.steering.policy import Decision, Policy, Sample
from flink_job import clock
from flink_job.load.shapes import parse
from flink_job.offload.settings import Offloading
from flink_job.settings import JobSettings

_CONNECT_TIMEOUT_S = 90.0
# From "everybody is connected" to the first sentence: time for the start signal to arrive.
_LEAD_S = 0.5
# Who sizes a job for a peak leaves it some air, or the queue of one pause never goes away.
_UTILISATION = 0.8
Method = Literal["none", "operator", "source", "always", "scale-out", "scale-out-new", "bigger"]
# Fields of `Surge` that its record has in another form, or elsewhere.
UNRECORDED = (
    "shape",
    "ordinal",
    "poll_ms",
    "memory_mb",
    "worker_cpu",
    "calm_from_s",
    "scale_out_as",
    "tail_every",
)
CALLING: tuple[Method, ...] = ("operator", "source", "always")
# Methods that start, end or enlarge TaskManagers.
CHANGING: tuple[Method, ...] = ("scale-out", "scale-out-new", "bigger")
# A surge goes on, calm, for so long after its end, and until nothing has waited for so long.
_CALM_S, _GONE_S = 8.0, 2.0
# Of the time, at least, in which a tokenizer that has nothing waiting waits itself.
_IDLES = 0.08
# A job that has not ended so long after its schedule hangs.
_OVERTIME_S = 180.0
# A decision lasts as long as there is something to go by.
_BLIND_S = 5.0
_BLIND = Decision(False, 0.0, 0, "Flink tells nothing")
# What a policy sees of a sample: nothing of the schedule.
_SEEN = {field.name for field in fields(Sample)} - {"gauges"}
_CALL_FIELDS = (
    "subtask",
    "batches",
    "outcome",
    "failure",
    "wall_ms",
    "duration_ms",
    "billed_ms",
    "init_ms",
    "bring_up_ms",
    "network_ms",
    "placement_ms",
    "memory_mb",
)


@dataclass(frozen=True)
class Surge:
    """One job to run.

    Attributes:
        method: "none": nothing is done; "operator", "source": who offloads; "always": every batch
            goes to Lambda, surge or not; "scale-out": as many tokenizer subtasks as the peak needs,
            in free slots or ("scale-out-new") in a new TaskManager; "bigger": a tokenizer as fast
            as the peak needs, all along.
        language: of the function, None when nothing is offloaded.
        shape: the offered rate, in the notation of `flink_job.load.shapes`: in multiples of the
            capacity while that is not known, then in sentences/s (see `at`).
        base, factor: the calm rate in multiples of the capacity, and the surge's over that; None
            where the load has no such parts.
        calm_from_s: from then on the load is calm, so that the schedule may be cut once what waited
            is gone; None: it is not cut.
        capacity_per_s: measured, of one local tokenizer subtask, sentences/s.
        worker_cpu: CPUs of each tokenizer's TaskManager; None: the worker's usual quota.
        tail_every: of so many calls, one asks for the log tail, which parts its time.
        scale_out_as: whose times scaling out takes besides its own; see `relief.ELSEWHERE`.
        operator: what the flatmap does: "words" or "subwords".
        words_per_sentence: mean length of the sentences.
        ordinal: tells the surges of one run apart.
        max_in_flight: calls that may be in flight at once.
        warm: environments that are up before the start.
        warms_up: whether the policy may have environments started when the load rises.
        expected_burst_s: how long an overload is expected to last, if that is known.
        memory_mb: of the function; None: as it is configured.
        varied: what a sweep varies, and its value here.
    """

    method: Method
    shape: str
    length_s: float
    language: str | None = None
    repetition: int = 1
    ordinal: int = 1
    seed: int = 1
    workload: str = "sentences"
    operator: str = "words"
    words_per_sentence: int = 10
    batch_size: int = 100
    linger_ms: float = 50.0
    capacity_per_s: float | None = None
    base: float | None = None
    factor: float | None = None
    calm_from_s: float | None = None
    worker_cpu: float | None = None
    call_timeout_ms: float = 3000.0
    tail_every: int = 1
    scale_out_as: Place = "here"
    parallelism: int = 1
    max_in_flight: int = 8
    ordered: bool = False
    warm: int = 0
    warms_up: bool = False
    expected_burst_s: float | None = None
    memory_mb: int | None = None
    poll_ms: float = 250.0
    varied: dict[str, int] | None = None

    @property
    def name(self) -> str:
        """The surge's id within a run."""
        kind = [self.method, self.language, "ordered" if self.ordered else None]
        return "-".join([*filter(None, kind), str(self.ordinal)])

    @property
    def needed_per_s(self) -> float:
        """Capacity of all tokenizers together that the peak of the load needs, sentences/s."""
        return parse(self.shape).peak / _UTILISATION

    @property
    def scaled_to(self) -> int:
        """Tokenizer subtasks that the job may come to have."""
        if not self.method.startswith("scale-out") or self.capacity_per_s is None:
            return self.parallelism
        return max(self.parallelism, math.ceil(self.needed_per_s / self.capacity_per_s))

    @property
    def slots(self) -> int:
        """Task slots that the job takes: one for each tokenizer and for each sink."""
        return 2 * self.parallelism

    @property
    def more_workers(self) -> int:
        """Tokenizer subtasks that scaling out adds, each in a TaskManager of its own."""
        return self.scaled_to - self.parallelism

    def at(self, capacity_per_s: float, worker_cpu: float) -> Surge:
        """The surge, planned in multiples of the capacity, at the capacity that was measured.

        Args:
            capacity_per_s: of one tokenizer subtask with `worker_cpu` CPUs, sentences/s.
        """
        shape = parse(self.shape).times(capacity_per_s * self.parallelism)
        now = replace(self, shape=str(shape), capacity_per_s=capacity_per_s)
        if self.method != "bigger":
            return now
        # A bigger quota or, past one core, more subtasks: an interpreter is no more than a core.
        cpus = now.needed_per_s / capacity_per_s * worker_cpu
        subtasks = max(self.parallelism, math.ceil(cpus - 1e-9))
        return replace(now, parallelism=subtasks, worker_cpu=cpus / subtasks)

    def job_settings(
        self, target: Target | None, controller: Controller, output: str
    ) -> JobSettings:
        """What the job is told."""
        method = self.method if self.method in CALLING else "none"
        offloading = None
        if target and self.language:
            offloading = Offloading(
                target.functions[self.language],
                endpoint_url=target.called_at or target.endpoint_url,
                region=target.region,
                control=controller.address,
                secret=controller.secret,
                call_timeout_ms=self.call_timeout_ms,
                tail_every=self.tail_every,
            )
        return JobSettings(
            method=method,  # type: ignore[arg-type]
            workload=self.workload,
            seed=self.seed,
            shape=self.shape,
            length_s=self.length_s,
            control=controller.address,
            secret=controller.secret,
            clock=clock.anchor(),
            output=output,
            batch_size=self.batch_size,
            linger_ms=self.linger_ms,
            operator=self.operator,
            words_per_sentence=self.words_per_sentence,
            parallelism=self.parallelism,
            max_parallelism=self.scaled_to,
            ordered=self.ordered,
            offloading=offloading,
        )


class SurgeFailed(click.ClickException):
    """The job failed, or its output is not what must come out. What was measured is recorded."""


def drive(
    surge: Surge,
    run: Run,
    cluster: Jobs,
    worker: Worker,
    target: Target | None,
    policy: Policy[Any] | None,
    progress: Callable[[float], None] = lambda seconds: None,
    on_start: Callable[[float], None] = lambda start_at_s: None,
    reach: Callable[[JobSettings], JobSettings] = lambda settings: settings,
    calm_s: float = _CALM_S,
) -> ledger.Ledger:
    """Run one surge to its end and record everything about it.

    Args:
        policy: decides whether there is an overload and what to offload; None: nobody decides.
        progress: told the seconds of the schedule that have passed.
        on_start: told when the schedule starts, in epoch seconds.
        reach: changes what the job is told, such as the way to whom it talks.
        calm_s: how long a surge goes on, calm, after its end, at least.

    Raises:
        SurgeFailed: the job failed, or something was lost, duplicated or wrong.
    """
    output = run.folder / "output" / surge.name
    shape = parse(surge.shape)
    with Controller(cluster.listen) as controller, warm_pool(surge, target) as pool:
        settings = reach(surge.job_settings(target, controller, str(output.resolve())))
        run.write(
            "surge",
            surge=surge.name,
            environment=target.label if target else "no Lambda",
            shape=shape.to_dict(),
            policy=policy.name if policy else None,
            worker_limit=worker.limit,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            **{k: v for k, v in asdict(surge).items() if k not in UNRECORDED},
            scale_out_as=None if surge.scale_out_as == "here" else surge.scale_out_as,
            worker_cpu=worker.quota(surge.worker_cpu),
        )
        cluster.wait_for_slots(surge.slots)
        job = submit(cluster, settings)
        account: CpuAccount | None = None
        try:
            start_at_s = start(surge, cluster, worker, controller, job)
            account = CpuAccount(cluster, worker, _usage(target))
            on_start(start_at_s)

            def due(t_s: float) -> int:
                return shape.count(min(t_s, surge.length_s))

            monitor = JobMonitor(cluster.rest, job, due, start_at_s, settings.max_parallelism)
            relief = _relief(surge, cluster, controller, job, pool)
            watched = _Watched(surge, cluster, worker, controller, job, account)
            cut = _steer(watched, run, monitor, policy, relief, progress, calm_s)
            if (state := cluster.state(job)) != "FINISHED":
                raise SurgeFailed(f"{surge.name}: the job is {state}: {cluster.failure(job)}")
        except BaseException:
            with suppress(FlinkError):
                cluster.cancel(job)
            raise
        finally:
            lines = list(ledger.read_output(output)) if output.exists() else []
            if account:
                delivered = sum(line["count"] for line in lines if line["kind"] == "batch")
                for fields in account.records(delivered):
                    run.write("cpu", surge=surge.name, **fields)
            start_s = controller.directive.job.get("start_at_s", 0.0)
            if surge.method.startswith("scale-out"):
                with suppress(FlinkError):
                    for details in reversed(cluster.rescales(job)):
                        if details["triggerCause"] != "INITIAL_SCHEDULE":
                            fields = rescale_record(details, start_s * 1000)
                            run.write("rescale", surge=surge.name, **fields)
            for line in lines:
                if line["kind"] == "batch":
                    run.write("batch", surge=surge.name, **batch_record(line, start_s * 1000))
                else:
                    run.write("invocation", surge=surge.name, **call_record(line, start_s * 1000))
            if surge.language:
                calls, billed_ms = pool.spent() if pool else (0, 0.0)
                run.write(
                    "lambda",
                    surge=surge.name,
                    **calls_record(lines),
                    warm_up_calls=calls,
                    warm_up_billed_ms=billed_ms,
                )
    # Cut short is only what the source heard of.
    until_s = math.inf
    if cut is not None and controller.heard("source") >= cut:
        until_s = controller.directive.job["until_s"]
    return _settle(surge, run, ledger.check(settings, lines, start_s, until_s))


def submit(cluster: Jobs, settings: JobSettings) -> str:
    """Submit our job and return its id. The settings hold a secret, so they go by a file that
    nobody else can read, and not by the command line."""
    file = cluster.folder / "settings.json"
    file.touch(mode=0o600)
    file.write_text(settings.to_json())
    try:
        return cluster.submit("flink_job.job", "--settings", str(file))
    finally:
        file.unlink()


def start(surge: Surge, cluster: Jobs, worker: Worker, controller: Controller, job: str) -> float:
    """Wait until every subtask is there and held, then give the signal.

    Returns:
        the start of the schedule, epoch s.

    Raises:
        FlinkError: they are not in time, or the job has failed.
    """
    wait_until(lambda: cluster.running(job), _CONNECT_TIMEOUT_S, "all tasks running")
    callers = surge.parallelism if surge.method in CALLING else 0
    wait_until(
        lambda: len(controller.connected()) >= 1 + callers,
        _CONNECT_TIMEOUT_S,
        "every subtask to connect to the controller",
    )
    wait_until(
        lambda: worker.hold(job, surge.worker_cpu), _CONNECT_TIMEOUT_S, "the worker to be known"
    )
    start_at_s = clock.now_s() + _LEAD_S
    share = 1.0 if surge.method == "always" else 0.0
    in_flight = -(-surge.max_in_flight // surge.parallelism) if share else 0
    controller.publish(job={"start_at_s": start_at_s}, share=share, in_flight=in_flight)
    return start_at_s


@contextmanager
def warm_pool(surge: Surge, target: Target | None) -> Iterator[Pool | None]:
    """The environments of the function that is called, if one is; `warm` of them up."""
    if target is None or surge.language is None:
        yield None
        return
    with closing(Pool(target, target.functions[surge.language], surge.max_in_flight)) as pool:
        pool.warm_up(surge.warm)
        pool.wait()
        yield pool


def _relief(
    surge: Surge, cluster: Jobs, controller: Controller, job: str, pool: Pool | None
) -> Relief:
    if surge.method in ("operator", "source") and pool:
        return Offload(controller, surge.parallelism, pool)
    if surge.method in ("scale-out", "scale-out-new") and isinstance(cluster, Cluster):
        new = surge.more_workers if surge.method == "scale-out-new" else 0
        return ScaleOut(cluster, job, surge.scaled_to, new, ELSEWHERE[surge.scale_out_as])
    return Nothing()


@dataclass(frozen=True)
class _Watched:
    """A surge that runs, and what is looked after meanwhile."""

    surge: Surge
    cluster: Jobs
    worker: Worker
    controller: Controller
    job: str
    account: CpuAccount


def _steer(
    watched: _Watched,
    run: Run,
    monitor: JobMonitor,
    policy: Policy[Any] | None,
    relief: Relief,
    progress: Callable[[float], None],
    calm_s: float,
) -> int | None:
    """Poll, decide and act until the job has ended.

    Returns:
        the number of the directive that cut the schedule short; None: none did.

    Raises:
        SurgeFailed: it has not long after its schedule.
    """
    surge, job, cluster = watched.surge, watched.job, watched.cluster
    state = policy.start() if policy else None
    deadline_s = time.monotonic() + surge.length_s + _OVERTIME_S
    tail, cut = Tail(surge, calm_s), None
    seen_s = time.monotonic()
    # So that polls and surge are in no fixed phase.
    time.sleep(random.Random(f"{surge.seed}/{surge.name}").uniform(0, surge.poll_ms / 1000))
    for _ in poll(surge.poll_ms / 1000):
        if time.monotonic() > deadline_s:
            raise SurgeFailed(
                f"{surge.name}: the job still runs {_OVERTIME_S:.0f} s after its schedule; "
                f"{cluster.logs}"
            )
        try:
            if cluster.state(job) in ("FINISHED", "FAILED", "CANCELED"):
                break
            watched.worker.hold(job, surge.worker_cpu)
            watched.account.look()
            measured = monitor.sample()
        except (FlinkError, LookupError, TypeError, AttributeError, ValueError):
            # Nobody answers for a moment, or not as Flink does; the job ends, or is being rescaled.
            measured = None
        if measured is None:
            if policy and time.monotonic() - seen_s > _BLIND_S:
                relief.apply(_BLIND)
            continue
        seen_s = time.monotonic()
        run.write("sample", surge=surge.name, **measured)
        progress(measured["at_ms"] / 1000)
        if (until_s := tail.cut(measured)) is not None:
            said = watched.controller.directive.job
            cut = watched.controller.publish(job={**said, "until_s": until_s})
        if policy is None:
            continue
        state, decision = policy.step(state, Sample.from_record(measured))
        if not surge.language:
            decision = replace(decision, share=0.0, in_flight=0, warm=0)
        applied_ms = relief.apply(decision)
        run.write("decision", surge=surge.name, **decision_record(measured, decision, applied_ms))
    return cut


class Tail:
    """Says where the calm tail of a surge may be cut: `calm_s` after its end, and not before all
    that waited is gone. The schedule is the harness's, so it may look at the backlog by it; after a
    restart, which has some sentences counted twice, only a tokenizer that idles shows that."""

    def __init__(self, surge: Surge, calm_s: float = _CALM_S) -> None:
        shape = parse(surge.shape)
        self._calm_s = calm_s
        self._end_s = math.inf if surge.calm_from_s is None else surge.calm_from_s
        # Always on their way: what an open batch and two polls hold.
        calm_per_s = 0.0 if math.isinf(self._end_s) else shape.rate(self._end_s)
        self._usual = calm_per_s * (surge.linger_ms + 2 * surge.poll_ms) / 1000
        self._usual += 2 * surge.batch_size
        self._gone_since_s: float | None = None
        self._is_cut = False

    def cut(self, measured: dict[str, Any]) -> float | None:
        """The second of the schedule to cut it at, told once."""
        now_s = measured["at_ms"] / 1000
        backlog = measured.get("backlog")
        waits = backlog is None or backlog > self._usual
        if self._is_cut or now_s < self._end_s or waits or _never_idle(measured):
            self._gone_since_s = None
            return None
        if self._gone_since_s is None:
            self._gone_since_s = now_s
        if now_s < self._end_s + self._calm_s or now_s < self._gone_since_s + _GONE_S:
            return None
        self._is_cut = True
        return float(now_s + _LEAD_S)


def _never_idle(measured: dict[str, Any]) -> bool:
    return float(measured.get("tokenizer_idle") or 0.0) < _IDLES


def decision_record(
    measured: dict[str, Any], decision: Decision, applied_ms: float | None
) -> dict[str, Any]:
    """The fields of a `decision` record."""
    return {
        "at_ms": measured["at_ms"],
        "overloaded": decision.overloaded,
        "share": decision.share,
        "in_flight": decision.in_flight,
        "warm": decision.warm,
        "reason": decision.reason,
        "applied_ms": applied_ms,
        "inputs": {k: v for k, v in measured.items() if k in _SEEN},
    }


def rescale_record(details: dict[str, Any], start_ms: float) -> dict[str, Any]:
    """The fields of a `rescale` record: one of `Cluster.rescales`, in ms since the start."""
    began_ms, ended_ms = details["startTimestampInMillis"], details["endTimestampInMillis"]
    phases_ms: Counter[str] = Counter()
    for span in details["schedulerStates"]:
        # The first has lasted since before; the last may not be over.
        enter_ms = max(began_ms, span["enterTimestampInMillis"])
        leave_ms = span["leaveTimestampInMillis"] or enter_ms
        phases_ms[span["state"]] += max(0, leave_ms - enter_ms)
    return {
        "at_ms": began_ms - start_ms,
        "trigger": details["triggerCause"],
        "state": details["terminalState"] or "IN_PROGRESS",
        "total_ms": None if ended_ms is None else float(ended_ms - began_ms),
        "phases_ms": dict(phases_ms),
    }


def batch_record(line: dict[str, Any], start_ms: float) -> dict[str, Any]:
    """The fields of a `batch` record: a line of the sink, in ms since the schedule's start."""
    returned_ms, sink_ms = line["returned_at_ms"], line["sink_at_us"] / 1000
    return {
        "batch": line["number"],
        "first": line["first"],
        "count": line["count"],
        "due_first_ms": line["due_first_ms"] - start_ms,
        "due_last_ms": line["due_last_ms"] - start_ms,
        "sink_ms": sink_ms - start_ms,
        "way": line["way"],
        "subtask": line["subtask"],
        "call": line["call"],
        "waiting_ms": line["sent_at_ms"] - line["due_first_ms"],
        "filling_ms": line["closed_ms"] - line["due_first_ms"],
        "queueing_ms": line["taken_at_ms"] - line["closed_ms"],
        "call_wait_ms": line["sent_at_ms"] - line["taken_at_ms"],
        "shipping_ms": line["shipping_ms"],
        "network_ms": line["network_ms"],
        "placement_ms": line["placement_ms"],
        "bring_up_ms": line["bring_up_ms"],
        "computing_ms": line["computing_ms"],
        "sending_ms": sink_ms - returned_ms,
    }


def call_record(line: dict[str, Any], start_ms: float) -> dict[str, Any]:
    """The fields of an `invocation` record: a line of the sink, in ms since the start."""
    fields = {name: line[name] for name in _CALL_FIELDS}
    return {
        "call": line["number"],
        "sentences": line["records"],
        "sent_ms": line["sent_at_ms"] - start_ms,
        **fields,
    }


def calls_record(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of a `lambda` record: what became of the calls of one surge."""
    calls = [line for line in lines if line["kind"] == "call"]
    failures = Counter(call["failure"] for call in calls if call["outcome"] == "failed")
    known = {"throttled": "TooManyRequestsException", "timed_out": "Sandbox.Timedout"}
    counts = {field: failures.pop(kind, 0) for field, kind in known.items()}
    return {
        "calls": len(calls),
        "cold_starts": sum(call["init_ms"] is not None for call in calls),
        **counts,
        "late": sum(call["outcome"] == "late" for call in calls),
        "failed": sum(failures.values()),
        "billed_ms": float(sum(call["billed_ms"] or 0.0 for call in calls)),
        "memory_mb": next((x["memory_mb"] for x in calls if x["memory_mb"] is not None), None),
    }


def _usage(target: Target | None) -> Callable[[], Mapping[str, float]] | None:
    """What the local service says of its CPU time; None where there is none."""
    if target is None or target.endpoint_url is None:
        return None
    return partial(usage, target)


def _settle(surge: Surge, run: Run, result: ledger.Ledger) -> ledger.Ledger:
    run.write("ledger", surge=surge.name, **asdict(result))
    if not result.is_exact:
        raise SurgeFailed(
            f"{surge.name}: of {result.expected} sentences {result.lost} were lost, "
            f"{result.duplicated} came twice, {result.wrong} came out wrong; see {run.path}"
        )
    return result
