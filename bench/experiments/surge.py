"""Several surges in one run: same seed, same schedule, in turn, one cluster."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, Literal

import click

from bench.cluster.flink import ADAPTIVE, Cluster
from bench.experiments import drive
from bench.experiments.drive import CALLING, Method, Surge
from bench.facts.records import Run, read
from bench.lambdas.target import Target, force_cold
from bench.steering.policy import Policy, Profile, Settings, policy
from flink_job.load.shapes import Sine, Square, parse
from flink_job.load.shapes import Surge as SurgeShape

# A surge to twice the capacity: without help, the wait grows by a second each second. The rates
# are small enough for two cores to carry Flink, the functions and the harness beside each other.
CAPACITY_PER_S = 750.0
BASE_PER_S = 375.0
FACTOR = 4.0
START_S = 5.0
DURATION_S = 20.0
AFTER_S = 5.0


Form = Literal["surge", "square", "sine"]


def plain(duration_s: float = DURATION_S, factor: float = FACTOR, form: Form = "surge") -> Surge:
    """The standard load, without offload: `BASE_PER_S`, and `factor` times that for `duration_s`.

    Args:
        form: "surge": once, at once, and with calm before and after; "square": twice, at once;
            "sine": gradually, up and down in `duration_s`.
    """
    peak = BASE_PER_S * factor
    shape, length_s = {
        "surge": (
            str(SurgeShape(BASE_PER_S, factor, START_S, duration_s)),
            START_S + duration_s + AFTER_S,
        ),
        "square": (str(Square(BASE_PER_S, peak, 2 * duration_s)), 4 * duration_s),
        "sine": (str(Sine(BASE_PER_S, peak, duration_s)), duration_s),
    }[form]
    return Surge(method="none", shape=shape, length_s=length_s, capacity_per_s=CAPACITY_PER_S)


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
        click.UsageError: more environments than calls may be in flight, or a method that has to be
            sized for a peak, and a load that has none.
    """
    if max(pools) > like.max_in_flight:
        raise click.UsageError(
            f"--warm {max(pools)}: only {like.max_in_flight} calls may be in flight at once"
        )
    rng = random.Random(seed)
    turn = [
        _sized(replace(like, method=method, language=language, warm=warm))
        for method in methods
        for language in (languages if method in CALLING else [None])
        for warm in (pools if method in CALLING else [0])
    ]
    return [
        replace(planned, repetition=repetition)
        for repetition in range(1, repetitions + 1)
        for planned in rng.sample(turn, len(turn))
    ]


def _sized(planned: Surge) -> Surge:
    """With method "bigger", the tokenizer has from the start what the surge needs at its peak."""
    if planned.method != "bigger" and not planned.method.startswith("scale-out"):
        return planned
    try:
        needed_per_s = planned.needed_per_s
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if planned.method == "bigger":
        return replace(planned, capacity_per_s=needed_per_s / planned.parallelism)
    return planned


def measure(
    target: Target | None,
    run: Run,
    planned: Sequence[Surge],
    *,
    policy_name: str = "default",
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> None:
    """Run the surges one after another on one cluster.

    Args:
        policy_name: of `bench.steering.policy`; what it must know of a language it takes from the
            run's `cold` and `call` records.
        on_progress: told what is being done, and which share of all has been.

    Raises:
        SurgeFailed, FlinkError, NotMeasured: see there.
    """
    measured = read(run.path)
    on_progress("Flink starts", 0.0)
    # A slot a process: source and sinks in one, the tokenizer in another, and so on.
    task_managers = max(s.slots for s in planned)
    with Cluster(run.folder / "flink", task_managers=task_managers, slots=1, settings=ADAPTIVE) as (
        cluster
    ):
        for number, planned_surge in enumerate(planned):
            now = replace(planned_surge, ordinal=number + 1)

            def progress(seconds: float, number: int = number, now: Surge = now) -> None:
                done = number + min(1.0, seconds / now.length_s)
                on_progress(now.name, done / len(planned))

            progress(0.0)
            if target and now.language:
                force_cold(target, target.functions[now.language], now.memory_mb)
            if now.method == "scale-out":
                cluster.add_task_manager(now.more_slots)
                cluster.wait_for_slots(now.slots + now.more_slots)
            rule = _rule(now, measured, policy_name)
            drive.drive(now, run, cluster, target, rule, progress)
            cluster.stop_task_managers(keep=task_managers)


def _rule(
    planned: Surge, measured: Sequence[dict[str, Any]], policy_name: str
) -> Policy[Any] | None:
    """Who decides. Without offload the decisions are made all the same, to see when they would."""
    if planned.method == "always":
        return None
    profile, calls = Profile(0.0, 1.0, 0.0), 0
    if planned.language:
        profile = profile_of(measured, planned.language, planned.batch_size)
        calls = planned.max_in_flight
    settings = Settings(
        batch_size=planned.batch_size,
        linger_ms=planned.linger_ms,
        max_in_flight=calls,
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
