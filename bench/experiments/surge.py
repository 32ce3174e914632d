"""Several surges in one run: same seed, same schedule, in turn, one cluster."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from typing import Any, Literal

import click

from bench.cluster.flink import ADAPTIVE, Cluster, Jobs
from bench.cluster.session import Elsewhere, on_flink
from bench.experiments import calibrate, drive
from bench.experiments.drive import CALLING, Method, Surge
from bench.facts.records import Run, read
from bench.lambdas.target import MemoryRefused, Target, force_cold
from bench.steering.policy import Policy, Profile, Settings, policy
from flink_job.load.shapes import Flash, Shape, Sine, Square, Trace, parse
from flink_job.load.shapes import Surge as SurgeShape

# From half of what the worker can do to twice that: without help, the wait grows by a second each
# second. In multiples of the capacity, so that the same command means the same on any machine.
BASE = 0.5
FACTOR = 4.0
CALM_S = 5.0
DURATION_S = 20.0
# What waits at the surge's end must be gone before the schedule ends; see `_tail_s`.
_SHORTEST_TAIL_S, _LONGEST_TAIL_S = 12.0, 90.0

# How a flash falls: in the bursts of NAB's Twitter volumes about as 1/t.
FLASH_ALPHA = 1.0

Form = Literal["surge", "flash", "square", "sine"]


def plain(
    duration_s: float = DURATION_S,
    factor: float = FACTOR,
    form: Form = "surge",
    base: float = BASE,
    calm_s: float = CALM_S,
) -> Surge:
    """The standard load, without offload: `base` times the capacity, and `factor` times that for
    `duration_s`. Its shape is in multiples of the capacity.

    Args:
        form: "surge": once, at once, and with calm before and after; "flash": likewise, but falling
            from its first second on; "square": twice, at once; "sine": gradually, up and down in
            `duration_s`.
        calm_s: before a surge or a flash.
    """
    peak = base * factor
    forms: dict[Form, tuple[Shape, float]] = {
        "surge": (SurgeShape(base, factor, calm_s, duration_s), calm_s + duration_s),
        "flash": (Flash(base, factor, calm_s, duration_s, FLASH_ALPHA), calm_s + duration_s),
        "square": (Square(base, peak, 2 * duration_s), 4 * duration_s),
        "sine": (Sine(base, peak, duration_s), duration_s),
    }
    shape, end_s = forms[form]
    return _planned(shape, end_s, base, factor, form in ("surge", "flash"))


def traced(trace: Trace) -> Surge:
    """A load seen somewhere, without offload, in multiples of the capacity."""
    end_s = len(trace.rates) * trace.every
    return _planned(trace, end_s, trace.base, trace.peak / trace.base, has_tail=True)


def _planned(shape: Shape, end_s: float, base: float, factor: float, has_tail: bool) -> Surge:
    return Surge(
        method="none",
        shape=str(shape),
        length_s=end_s + (_tail_s(shape, end_s) if has_tail else 0.0),
        calm_from_s=end_s if has_tail else None,
        base=base,
        factor=factor,
    )


def _tail_s(shape: Shape, end_s: float) -> float:
    """How long what an unrelieved load leaves takes to be done beside the calm that follows, and
    half as long again; the schedule is cut once it is.

    Args:
        shape: in multiples of the capacity.
    """
    left_s, step_s = 0.0, 0.1
    for k in range(round(end_s / step_s)):
        left_s = max(0.0, left_s + (shape.rate(k * step_s) - 1) * step_s)
    spare = max(0.05, 1 - shape.rate(end_s))
    return min(_LONGEST_TAIL_S, max(_SHORTEST_TAIL_S, 1.5 * left_s / spare))


class NotMeasured(click.ClickException):
    """A figure that a later step needs has not been measured; its calls failed."""


def plan(
    like: Surge,
    methods: Sequence[Method],
    languages: Sequence[str],
    repetitions: int,
    seed: int,
    pools: Sequence[int] = (0,),
) -> list[Surge]:
    """What to run: every method, the calling ones with every language and each of `pools`, the
    numbers of environments that are up before the start; in an order drawn anew for each
    repetition.

    Raises:
        click.UsageError: more environments than calls may be in flight.
    """
    if max(pools) > like.max_in_flight:
        raise click.UsageError(
            f"--warm {max(pools)}: only {like.max_in_flight} calls may be in flight at once"
        )
    rng = random.Random(seed)
    turn = [
        replace(like, method=method, language=language, warm=warm)
        for method in methods
        for language in (languages if method in CALLING else [None])
        for warm in (pools if method in CALLING else [0])
    ]
    return [
        replace(planned, repetition=repetition)
        for repetition in range(1, repetitions + 1)
        for planned in rng.sample(turn, len(turn))
    ]


def measure(
    target: Target | None,
    run: Run,
    planned: Sequence[Surge],
    *,
    worker_cpu: float,
    policy_name: str = "default",
    where: Elsewhere | None = None,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> None:
    """Calibrate, run the surges one after another on one cluster, and calibrate again.

    Args:
        planned: their shapes in multiples of the capacity.
        worker_cpu: CPUs of each TaskManager that runs tokenizer subtasks.
        policy_name: of `bench.steering.policy`; what it must know of a language it takes from the
            run's `cold` and `call` records.
        where: the cluster of others to run on.
        on_progress: told what is being done, and which share of all has been.

    Raises:
        SurgeFailed, FlinkError, NotMeasured: see there.
    """
    measured = read(run.path)
    on_progress("Flink starts", 0.0)
    # A slot a process: source and sinks in one, the tokenizer in another, and so on.
    task_managers = max(s.slots for s in planned)
    folder = run.folder / "flink"
    with on_flink(where, folder, worker_cpu, task_managers=task_managers, settings=ADAPTIVE) as (
        cluster,
        worker,
    ):
        kinds = list(dict.fromkeys(map(_kind, planned)))
        works = {_kind(s): s for s in reversed(planned)}
        total = len(planned) + 2 * len(kinds)
        capacities = {}
        for number, kind in enumerate(kinds):
            on_progress("calibration", number / total)
            capacities[kind] = calibrate.measure(run, cluster, worker, works[kind], "before").per_s
        for number, one in enumerate(planned):
            now = replace(one.at(capacities[_kind(one)], worker_cpu), ordinal=number + 1)
            done = len(kinds) + number

            def progress(seconds: float, done: int = done, now: Surge = now) -> None:
                on_progress(now.name, (done + min(1.0, seconds / now.length_s)) / total)

            progress(0.0)
            if target and now.language and not ready(target, run, now):
                continue
            decides = _decides(now, measured, policy_name)
            with _task_managers(cluster, now, task_managers):
                drive.drive(now, run, cluster, worker, target, decides, progress)
        for number, kind in enumerate(kinds):
            on_progress("calibration", (len(kinds) + len(planned) + number) / total)
            calibrate.measure(run, cluster, worker, works[kind], "after")


@contextmanager
def _task_managers(cluster: Jobs, now: Surge, usual: int) -> Iterator[None]:
    """As many as a surge needs, and `usual` after it; those of others are as many as they are."""
    if not isinstance(cluster, Cluster):
        yield
        return
    for _ in range(now.slots - len(cluster.task_manager_pids())):
        cluster.add_task_manager(1)
    if now.method == "scale-out":
        for _ in range(now.more_workers):
            cluster.add_task_manager(1)
        cluster.wait_for_slots(now.slots + now.more_workers)
    yield
    cluster.stop_task_managers(keep=usual)


def ready(target: Target, run: Run, now: Surge) -> bool:
    """Whether a surge may call its function, which is cold then. A memory size that the account may
    not have is a `failure` record, and the other surges go on.

    Raises:
        Overspent: it may cost more than is left to be spent.
        TargetError: see `force_cold`.
    """
    assert now.language
    target.expects(now.language, now.max_in_flight, now.length_s, now.memory_mb)
    function = target.functions[now.language]
    try:
        force_cold(target, function, now.memory_mb)
    except MemoryRefused as error:
        run.write(
            "failure",
            language=now.language,
            function=function,
            error=type(error).__name__,
            message=error.message,
            where=f"surge: {now.name}",
            at_ms=run.elapsed_ms,
        )
        return False
    return True


def _kind(planned: Surge) -> tuple[object, ...]:
    """What a worker's capacity depends on."""
    return (
        planned.workload,
        planned.operator,
        planned.words_per_sentence,
        planned.batch_size,
        planned.linger_ms,
    )


def _decides(
    planned: Surge, measured: Sequence[dict[str, Any]], policy_name: str
) -> Policy[Any] | None:
    """Who decides. Without offload the decisions are made all the same, to see when they would."""
    if planned.method == "always":
        return None
    profile = Profile(0.0, 1.0, 0.0)
    if planned.language:
        profile = profile_of(measured, planned.language, planned.batch_size)
    return rule(planned, profile, policy_name)


def rule(planned: Surge, profile: Profile, policy_name: str = "default") -> Policy[Any]:
    """A policy of `bench.steering.policy`, told what it may know of a surge and what calls cost."""
    settings = Settings(
        batch_size=planned.batch_size,
        linger_ms=planned.linger_ms,
        max_in_flight=planned.max_in_flight if planned.language else 0,
        profile=profile,
        parallelism=planned.parallelism,
        expected_burst_s=planned.expected_burst_s,
        is_warm=planned.warm > 0,
        warms_up=planned.warms_up,
    )
    capacity_per_s = planned.capacity_per_s and planned.capacity_per_s * planned.parallelism
    return policy(policy_name, settings, parse(planned.shape), capacity_per_s)


def profile_of(measured: Sequence[dict[str, Any]], language: str, batch_size: int) -> Profile:
    """What calls of a language cost, from the `cold` and `call` records of a run.

    Raises:
        NotMeasured: none of its cold starts, or none of its steady calls, came to an answer.
    """

    def middle(kind: str, field: str, **where: object) -> float:
        values = [
            float(record[field])
            for record in measured
            if record["kind"] == kind
            and record["language"] == language
            and record.get(field) is not None
            and all(record.get(k) == v for k, v in where.items())
        ]
        if not values:
            raise NotMeasured(f"no {kind} record of {language} has {field}; see the failures")
        return median(values)

    warm = {"phase": "steady", "sentences": batch_size}
    duration_ms = middle("call", "duration_ms", **warm)
    wall_ms = middle("call", "wall_ms", **warm)
    first_ms = middle("cold", "wall_ms", handler="tokenizer", accepted=True)
    return Profile(
        cold_start_ms=max(0.0, first_ms - wall_ms),
        compute_ms=duration_ms,
        shipping_ms=max(0.0, wall_ms - duration_ms),
    )
