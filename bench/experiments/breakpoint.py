"""Where a job without help breaks: the rate doubles until it cannot keep up, and halves again;
then the edge is found by bisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.cluster.reporters import Listener
from bench.cluster.session import Elsewhere, on_flink
from bench.experiments import calibrate, drive
from bench.experiments.drive import Surge
from bench.facts.records import Run, frames
from bench.report.gather.steps import Step, ascent, edge, steps
from flink_job.load.shapes import Ladder

# In multiples of the measured capacity: the third step is at 80 % of it and the fourth at 160 %, as
# near to health and as far into overload as doubling gets at once.
FIRST_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """What to offer.

    Attributes:
        first: the rate that is doubled, in multiples of the measured capacity.
        doublings: how many times.
        step_s: how long each rate lasts.
        repetitions: of the whole ladder.
        bisections: rates to try between the last that was kept up with and the first that was not.
        like: the job that meets them.
    """

    first: float = FIRST_SHARE
    doublings: int = 3
    step_s: float = 5.0
    repetitions: int = 1
    bisections: int = 3
    like: Surge = field(default_factory=lambda: Surge(method="none", shape="", length_s=0.0))

    def ladder(self, base: float, doublings: int) -> Surge:
        """The job that meets a ladder of rates, `base` times the capacity its lowest."""
        return replace(
            self.like,
            shape=str(Ladder(base, self.step_s, doublings)),
            length_s=self.step_s * (2 * doublings + 1),
        )


def measure(
    run: Run,
    plan: Plan,
    *,
    worker_cpu: float,
    push_ms: int | None = None,
    where: Elsewhere | None = None,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
) -> tuple[float | None, float | None]:
    """Run the ladder, then a short one around each rate that bisection asks for.

    Args:
        push_ms: have Flink push its metrics too, so often; of a cluster of ours.
        where: the cluster of others to run on.

    Returns:
        The highest rate kept up with and the lowest that was not, sentences/s; None each where
        the ladder did not get there, in which case nothing is bisected.

    Raises:
        SurgeFailed, FlinkError: see there.
    """
    total = plan.repetitions + plan.bisections
    done = 0
    with ExitStack() as stack:
        listener = stack.enter_context(Listener()) if push_ms else None
        settings = listener.settings(push_ms) if listener and push_ms else {}
        on_progress("Flink starts", 0.0)
        cluster, worker = stack.enter_context(
            on_flink(where, run.folder / "flink", worker_cpu, settings=settings)
        )
        on_progress("calibration", 0.0)
        capacity_per_s = calibrate.measure(run, cluster, worker, plan.like, "before").per_s

        def meet(base: float, doublings: int, repetition: int, what: str) -> None:
            nonlocal done
            planned = replace(
                plan.ladder(base, doublings).at(capacity_per_s, worker_cpu),
                repetition=repetition,
                ordinal=done + 1,
            )

            def on_start(start_at_s: float) -> None:
                if listener:
                    listener.record(run, planned.name, start_at_s)

            def progress(seconds: float) -> None:
                on_progress(what, (done + min(1.0, seconds / planned.length_s)) / total)

            progress(0.0)
            drive.drive(planned, run, cluster, worker, None, None, progress, on_start)
            if listener:
                listener.pause()
            done += 1

        for repetition in range(1, plan.repetitions + 1):
            meet(plan.first, plan.doublings, repetition, "doubling, then halving")
        for number in range(plan.bisections):
            kept, broke = edge(found(run.path))
            if kept is None or broke is None:
                break
            middle_per_s = (kept + broke) / 2
            what = f"bisecting: {middle_per_s:,.0f} sentences/s"
            meet(middle_per_s / 2 / capacity_per_s, 1, number + 1, what)
    return edge(found(run.path))


def found(path: Path) -> Sequence[Step]:
    """The steps up of all ladders of a run, from its records."""
    records = frames(path)
    batches = dict(list(records["batch"].groupby("surge")))
    return [
        step
        for _, record in records["surge"].iterrows()
        for step in ascent(steps(record, batches[record["surge"]]))
    ]
