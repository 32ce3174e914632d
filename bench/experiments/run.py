"""The main job: what a language costs cold and per batch, then a surge with it and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import click

from bench import records
from bench.experiments import cold, compute, surge
from bench.flink import Cluster
from bench.lambdas.target import Target, force_cold
from bench.policy import Profile, Settings, policy

COLD_ROUNDS = 8
ENVIRONMENTS = 2
COMPUTE_ROUNDS = 12
MAX_WARMUP = 400


class NotMeasured(click.ClickException):
    """A figure that a later step needs has not been measured; its calls failed."""


# A surge to twice the capacity: without help the wait grows by a second each second.
SURGE = surge.Surge(
    method="none",
    shape="surge:base=1000,factor=4,start=5,duration=20",
    length_s=30.0,
    capacity_per_s=2000.0,
)


def measure(
    target: Target,
    run: records.Run,
    languages: Sequence[str],
    on_step: Callable[[str, float], None] = lambda what, share: None,
) -> None:
    """Cold starts, compute per batch, and the surges: without offload, then with each language.

    Args:
        on_step: told what is being done and which share of the whole is done.

    Raises:
        SurgeFailed, FlinkError, WrongAnswer, TooManyFailures: as the experiments do.
    """
    on_step("cold starts", 0.0)
    cold.measure(target, run, languages, rounds=COLD_ROUNDS)
    on_step("compute per batch", 0.2)
    compute.measure(
        target,
        run,
        compute.subjects(target, languages),
        environments=ENVIRONMENTS,
        rounds=COMPUTE_ROUNDS,
        max_warmup=MAX_WARMUP,
    )
    profiles = {
        language: profile(records.read(run.path), language, SURGE.batch_size)
        for language in languages
    }
    on_step("Flink starts", 0.35)
    with Cluster(run.folder / "flink", task_managers=2, slots=1) as cluster:
        surges = [SURGE, *(surge.offloading(SURGE, language) for language in languages)]
        for number, planned in enumerate(surges):

            def progress(seconds: float, number: int = number, what: str = planned.name) -> None:
                done = (number + min(1.0, seconds / SURGE.length_s)) / len(surges)
                on_step(f"surge, {what}", 0.4 + 0.6 * done)

            progress(0.0)
            rule = None
            if planned.language:
                force_cold(target, target.functions[planned.language])
                rule = policy(
                    "default",
                    Settings(
                        batch_size=planned.batch_size,
                        linger_ms=planned.linger_ms,
                        max_in_flight=planned.max_in_flight,
                        profile=profiles[planned.language],
                    ),
                )
            surge.drive(planned, run, cluster, target, rule, progress)


def profile(measured: Sequence[dict[str, object]], language: str, batch_size: int) -> Profile:
    """What calls of a language cost, from the `cold` and `call` records of a run.

    Raises:
        NotMeasured: none of its cold starts, or none of its steady calls, came to an answer.
    """

    def middle(kind: str, field: str, **where: object) -> float:
        values = [
            float(str(record[field]))
            for record in measured
            if record["kind"] == kind
            and record["language"] == language
            and record.get(field) is not None
            and all(record.get(k) == v for k, v in where.items())
        ]
        if not values:
            raise NotMeasured(f"no {kind} record of {language} has {field}")
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
