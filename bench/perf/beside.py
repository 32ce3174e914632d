"""Calls beside work that fills the worker, and what a sentence in a call costs it.

`python -m bench.perf.beside` prints, and fails if one misses its aim:
- how long shipping and sending downstream take while the worker, held to half a core, is saturated
  with work and half of its batches go to a warm function;
- the worker's CPU for a sentence called for, in batches of 100 and of 1,000, over that of one that
  is tokenized here (`words`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from bench.cluster.flink import ADAPTIVE, Cluster
from bench.cluster.worker import Worker
from bench.experiments import worth
from bench.experiments.drive import Surge, drive
from bench.facts.records import Run, read
from bench.lambdas.target import Target, open_target
from bench.perf.aims import Aim, conclude
from bench.report.gather import evidence
from bench.report.gather.worth import points
from bench.steering.policy import Decision, Policy, Sample

CPUS = 0.5
LANGUAGE = "java"
IN_FLIGHT = 8
# More than half a core can take, for as long as the JVM needs to get warm and as long again.
OFFERED_PER_S, LENGTH_S = 40_000, 10.0
MOST_CPU = {100: 1.2, 1000: 1.0}


class Half(Policy[None]):
    """Offloads half of the batches, whatever comes."""

    name = "half"

    def start(self) -> None:
        return None

    def step(self, state: None, sample: Sample) -> tuple[None, Decision]:
        return None, Decision(True, 0.5, IN_FLIGHT, "half")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        open_target() as target,
        Run("perf", target=target, results=Path(folder)) as run,
    ):
        took_ms = _beside_work(run, target)
        planned = worth.plan((LANGUAGE,), ("words",), (10,), tuple(MOST_CPU))
        worth.measure(target, run, planned, CPUS)
        (e,) = evidence.load([run.folder])
        cpu = {
            p.batch_size: p.called_us.value / float(p.here["worker_cpu_us"])
            for p in points(e)
            if p.called_us
        }
    p50_ms, p99_ms = np.quantile(took_ms, [0.5, 0.99])
    print(
        f"Half of the batches called for, {LANGUAGE}, the worker saturated at {CPUS} CPUs: "
        f"{len(took_ms):,} batches"
    )
    conclude(
        [
            Aim("shipping + sending downstream, p50, ms", float(p50_ms), most=15, digits=1),
            Aim("shipping + sending downstream, p99, ms", float(p99_ms), most=60, digits=1),
            *(
                Aim(f"CPU of a sentence in calls of {n:,} ÷ done here", cpu.get(n), most=most)
                for n, most in MOST_CPU.items()
            ),
        ]
    )


def _beside_work(run: Run, target: Target) -> list[float]:
    """Shipping and sending downstream of each batch that was called for, in ms, the first half of
    the run left out."""
    surge = Surge(
        method="operator",
        language=LANGUAGE,
        shape=f"constant:base={OFFERED_PER_S}",
        length_s=LENGTH_S,
        max_in_flight=IN_FLIGHT,
        warm=IN_FLIGHT,
        call_timeout_ms=10_000.0,
    )
    with (
        Cluster(
            run.folder / "flink-beside", task_managers=2, slots=1, settings=ADAPTIVE
        ) as cluster,
        Worker(cluster, CPUS) as worker,
    ):
        drive(surge, run, cluster, worker, target, Half())
    batches = [r for r in read(run.path) if r["kind"] == "batch" and r["way"] == "offloaded"]
    batches.sort(key=lambda r: float(r["sink_ms"]))
    return [float(r["shipping_ms"] + r["sending_ms"]) for r in batches[len(batches) // 2 :]]


if __name__ == "__main__":
    main()
