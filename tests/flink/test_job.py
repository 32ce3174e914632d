"""The Flink job, on a real cluster: every method delivers exactly what must come out, whatever the
endpoint, the controller and the cluster do meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.flink import Cluster, FlinkError, wait_until
from bench.cluster.metrics import JobMonitor
from bench.experiments.drive import submit
from bench.facts import ledger
from bench.lambdas.target import Target
from bench.steering.controller import Controller
from flink_job import clock
from flink_job.offload.settings import Offloading
from flink_job.settings import JobSettings, Method
from tests.endpoint import Endpoint, answering, hanging, refusing
from tests.proofs import proof

pytestmark = pytest.mark.slow

PARTS = (
    *("filling", "queueing", "call_wait", "shipping", "network", "placement", "bring_up"),
    *("computing", "sending"),
)


class Job:
    """One job, from its submission to what came out of it.

    Args:
        endpoint: of the functions; None: nobody is called.
        changes: of the settings.
    """

    def __init__(
        self,
        cluster: Cluster,
        controller: Controller,
        folder: Path,
        endpoint: str | None = None,
        function: str | None = None,
        **changes: Any,
    ) -> None:
        self.cluster, self.controller = cluster, controller
        self.output = folder / "output"
        self.start_s = 0.0
        self.settings = JobSettings(
            **{
                "method": "operator",
                "workload": "sentences",
                "seed": 1,
                "shape": "constant:base=1000",
                "length_s": 4.0,
                "batch_size": 20,
                "control": controller.address,
                "secret": controller.secret,
                "clock": clock.anchor(),
                "output": str(self.output),
                "offloading": Offloading(
                    function or "",
                    endpoint_url=endpoint,
                    control=controller.address,
                    secret=controller.secret,
                    call_timeout_ms=1000.0,
                ),
                "checkpoint_ms": 500,
                **changes,
            }
        )
        cluster.wait_for_slots(2 * self.settings.parallelism)
        self.id = submit(cluster, self.settings)

    def start(self, share: float = 0.0, in_flight: int = 8, batches_per_call: int = 1) -> None:
        wait_until(lambda: self.cluster.running(self.id), 90, "all tasks running")
        callers = 0 if self.settings.method == "none" else self.settings.parallelism
        wait_until(
            lambda: len(self.controller.connected()) == 1 + callers, 90, "all to be connected"
        )
        self.start_s = clock.now_s() + 0.3
        self.controller.publish(
            job={"start_at_s": self.start_s},
            share=share,
            in_flight=in_flight,
            batches_per_call=batches_per_call,
        )

    def finish(self) -> list[dict[str, Any]]:
        """Wait for the end; all lines of the sink, which hold exactly what must come out."""
        wait_until(lambda: self.cluster.state(self.id) == "FINISHED", 120, "the job to finish")
        lines = list(ledger.read_output(self.output))
        self.ledger = ledger.check(self.settings, lines, self.start_s)
        assert self.ledger.is_exact, self.ledger
        return lines


Run = Callable[..., Job]


@pytest.fixture
def run(cluster: Cluster, target: Target, tmp_path: Path) -> Iterator[Run]:
    """Submits a job; `language` calls the real function. Nothing runs on after the test."""
    jobs = []
    with Controller() as controller:

        def submit_one(language: str | None = None, **changes: Any) -> Job:
            if language:
                changes["function"] = target.functions[language]
                changes["endpoint"] = target.endpoint_url
            job = Job(cluster, controller, tmp_path, **changes)
            jobs.append(job)
            return job

        yield submit_one
        for job in jobs:
            with suppress(FlinkError):
                cluster.cancel(job.id)
            wait_until(partial(has_ended, cluster, job.id), 30, "the job to end")


def has_ended(cluster: Cluster, job: str) -> bool:
    return cluster.state(job) in ("FINISHED", "CANCELED", "FAILED")


def batches(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["kind"] == "batch"]


def calls(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["kind"] == "call"]


@pytest.mark.parametrize(
    ("method", "language", "ordered", "share", "together"),
    [
        ("operator", "java", True, 0.5, 1),
        ("source", "python", True, 0.5, 4),
        *proof(
            ("none", None, False, 0.0, 1),
            ("operator", "python", False, 0.5, 1),
            ("source", "node", False, 0.5, 1),
            ("always", "java", False, 1.0, 4),
        ),
    ],
)
def test_every_method_delivers_exactly_what_must_come_out_and_says_how(
    method: Method, language: str | None, ordered: bool, share: float, together: int, run: Run
) -> None:
    job = run(language, method=method, ordered=ordered)
    job.start(share, batches_per_call=together)

    lines = job.finish()

    offloaded = [line for line in batches(lines) if line["way"] == "offloaded"]
    assert len(offloaded) / len(batches(lines)) == pytest.approx(share, abs=0.35)
    assert bool(offloaded) == bool(language)
    if ordered:
        assert job.ledger.out_of_order == 0
    answered = {c["number"]: c for c in calls(lines) if c["outcome"] == "answered"}
    assert {line["call"] for line in offloaded} <= answered.keys()
    assert sum(c["records"] for c in answered.values()) == sum(x["count"] for x in offloaded)
    assert max((c["batches"] for c in answered.values()), default=1) <= together
    for line in batches(lines):
        times = ["due_first_ms", "closed_ms", "taken_at_ms", "sent_at_ms", "returned_at_ms"]
        moments = [*(line[x] for x in times), line["sink_at_us"] / 1000]
        assert moments == sorted(moments)
        parts = [line[f"{x}_ms"] for x in PARTS if line.get(f"{x}_ms") is not None]
        assert min(parts) >= 0
        assert sum(parts) == pytest.approx(line["returned_at_ms"] - line["sent_at_ms"], abs=0.01)


def test_a_batch_is_whole_where_two_flatmaps_feed_one_sink(run: Run, cluster: Cluster) -> None:
    job = run("python", max_parallelism=2, length_s=10.0)
    job.start(share=0.3)
    time.sleep(2)

    cluster.rescale(job.id, ("tokenizer",), 2)

    assert {line["subtask"] for line in batches(job.finish())} == {0, 1}


def test_what_was_in_flight_in_a_killed_task_manager_comes_out_once(
    run: Run, cluster: Cluster
) -> None:
    job = run("python", length_s=20.0, ordered=True)
    job.start(share=0.5)
    monitor = JobMonitor(cluster.rest, job.id, lambda s: 0, job.start_s, 1)
    before = told(monitor, lambda: clock.now_s() < job.start_s + 4)

    (pid,) = cluster.task_managers_of(job.id, "tokenizer")
    os.kill(pid, signal.SIGKILL)
    cluster.add_task_manager(1)  # for those who come after
    after = told(monitor, lambda: cluster.state(job.id) != "FINISHED")

    lines = job.finish()
    cluster.bury()
    # Flink's question to the killed one was under way, and no other is asked meanwhile.
    assert before and after
    assert cluster.failure(job.id)
    assert job.ledger.out_of_order == 0
    assert {line["way"] for line in batches(lines)} >= {"offloaded", "local"}


def told(monitor: JobMonitor, goes_on: Callable[[], bool]) -> list[dict[str, Any]]:
    """What Flink tells of a job meanwhile."""
    samples = []
    while goes_on():
        with suppress(FlinkError, LookupError):
            samples.append(monitor.sample())
        time.sleep(0.2)
    return [sample for sample in samples if sample]


@pytest.mark.parametrize(
    ("method", "endpoint"),
    [
        ("operator", hanging),
        *proof(("operator", refusing), ("source", hanging), ("source", refusing)),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_an_endpoint_that_does_not_answer_costs_a_bounded_wait(
    method: Method, endpoint: Callable[[], Endpoint], run: Run
) -> None:
    with endpoint() as address:
        job = run(method=method, endpoint=address, function="f")
        job.start(share=0.5)
        lines = job.finish()

    assert {line["way"] for line in batches(lines)} == {"local", "fallback"}
    failed = calls(lines)
    assert failed and all(c["outcome"] in ("failed", "late") for c in failed)
    late_ms = [x["sink_at_us"] / 1000 - x["due_last_ms"] for x in batches(lines)]
    assert max(late_ms) < 5000


def test_any_answer_at_all_ends_as_a_failed_call_with_a_reason(run: Run) -> None:
    with answering() as address:
        job = run(endpoint=address, function="f", length_s=6.0)
        job.start(share=0.5)
        lines = job.finish()

    assert {line["way"] for line in batches(lines)} == {"local", "fallback"}
    assert all(c["outcome"] == "failed" and c["failure"] for c in calls(lines))
    assert len({c["failure"] for c in calls(lines)}) > 5
    assert not job.cluster.failure(job.id)


@pytest.mark.parametrize("when", ["while calls hang", *proof("before the start")])
def test_a_cancelled_job_is_gone_at_once(when: str, run: Run, cluster: Cluster) -> None:
    with hanging() as address:
        job = run(endpoint=address, function="f", method="always", length_s=30.0)
        if when == "before the start":
            wait_until(lambda: cluster.running(job.id), 90, "all tasks running")
        else:
            job.start(share=1.0)
            time.sleep(2)

        cluster.cancel(job.id)

        wait_until(lambda: cluster.state(job.id) == "CANCELED", 30, "the job to be cancelled")
    at_ms = cluster.rest.get(f"/jobs/{job.id}")["timestamps"]
    assert at_ms["CANCELED"] - at_ms["CANCELLING"] <= 1000


@pytest.mark.proof
def test_a_decision_does_not_outlive_its_controller(
    cluster: Cluster, target: Target, tmp_path: Path
) -> None:
    with Controller() as controller:
        job = Job(
            cluster,
            controller,
            tmp_path,
            target.endpoint_url,
            target.functions["node"],
            length_s=8.0,
        )
        job.start(share=0.7)
        wait_until(lambda: clock.now_s() > job.start_s + 2, 30, "two seconds of offload")
    gone_ms = clock.now_s() * 1000

    lines = batches(job.finish())

    def ways(after_ms: float, before_ms: float) -> set[str]:
        return {x["way"] for x in lines if after_ms < x["taken_at_ms"] < before_ms}

    assert "offloaded" in ways(0, gone_ms)
    assert ways(gone_ms + 500, float("inf")) == {"local"}


def test_a_job_that_cannot_start_says_why(cluster: Cluster, tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text('{"method": "none"}')
    with pytest.raises(FlinkError, match="JobSettings"):
        cluster.submit("flink_job.job", "--settings", str(settings))
