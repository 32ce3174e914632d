"""The Flink job, on a real cluster: every method delivers exactly what must come out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from bench.cluster.flink import ADAPTIVE, Cluster, FlinkError, wait_until
from bench.experiments import drive, surge
from bench.experiments.drive import Method, Surge
from bench.facts import ledger
from bench.facts.records import Run, read
from bench.lambdas.target import Target
from bench.steering.controller import Controller
from bench.steering.policy import Profile, Settings, policy

pytestmark = pytest.mark.slow

# Four times 200 sentences/s for 4 s, where 400 can be done.
SHORT = Surge(
    method="none",
    shape="surge:base=200,factor=4,start=3,duration=4",
    length_s=9.0,
    batch_size=20,
    capacity_per_s=400.0,
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("flink")
    with Cluster(folder, task_managers=4, slots=1, settings=ADAPTIVE) as cluster:
        yield cluster


def run_one(
    planned: Surge, cluster: Cluster, target: Target, folder: Path
) -> tuple[ledger.Ledger, list[dict[str, Any]]]:
    settings = Settings(
        batch_size=planned.batch_size,
        linger_ms=planned.linger_ms,
        max_in_flight=planned.max_in_flight if planned.language else 0,
        profile=Profile(cold_start_ms=300.0, compute_ms=3.0, shipping_ms=3.0),
        warms_up=planned.warms_up,
    )
    with Run("test", target=target, results=folder) as run:
        exact = drive.drive(planned, run, cluster, target, policy("default", settings))
    return exact, read(run.path)


@pytest.mark.parametrize(
    ("method", "language", "ordered"),
    [
        ("operator", "python", False),
        ("operator", "java", True),
        ("source", "node", False),
        ("source", "python", True),
        ("always", "java", False),
    ],
)
def test_a_surge_is_offloaded_and_nothing_is_lost_twice_or_wrong(
    method: Method,
    language: str,
    ordered: bool,
    cluster: Cluster,
    target: Target,
    tmp_path: Path,
) -> None:
    planned = replace(SHORT, method=method, language=language, ordered=ordered)

    exact, facts = run_one(planned, cluster, target, tmp_path)

    assert exact.is_exact
    assert exact.delivered == exact.expected == 200 * 5 + 800 * 4
    batches = [x for x in facts if x["kind"] == "batch"]
    offloaded = [x for x in batches if x["way"] == "offloaded"]
    assert offloaded
    if ordered:
        assert exact.out_of_order == 0
    if method == "always":
        assert len(offloaded) == len(batches)
    for x in offloaded:
        parts = sum(
            x[f"{part}_ms"] for part in ("waiting", "shipping", "bring_up", "computing", "sending")
        )
        assert parts == pytest.approx(x["sink_ms"] - x["due_first_ms"], abs=250)


@pytest.mark.parametrize("method", ["scale-out", "scale-out-new"])
def test_a_job_that_is_scaled_out_delivers_exactly_once(
    method: Method, cluster: Cluster, target: Target, tmp_path: Path
) -> None:
    planned = replace(SHORT, method=method, capacity_per_s=500.0, length_s=14.0)
    at_start = len(cluster.task_manager_pids())

    exact, facts = run_one(planned, cluster, target, tmp_path)

    assert exact.is_exact
    assert {x["subtask"] for x in facts if x["kind"] == "batch"} == {0, 1}
    assert len(cluster.task_manager_pids()) - at_start == (method == "scale-out-new")
    cluster.stop_task_managers(keep=at_start)


@pytest.mark.parametrize("method", ["none", "bigger"])
def test_what_is_not_relieved_comes_out_late_and_whole(
    method: Method, cluster: Cluster, target: Target, tmp_path: Path
) -> None:
    (planned,) = surge.plan(replace(SHORT, length_s=14.0), [method], [], 1, seed=1)

    exact, facts = run_one(planned, cluster, target, tmp_path)

    assert exact.is_exact
    late = [x for x in facts if x["kind"] == "batch" and x["sink_ms"] - x["due_last_ms"] > 2000]
    assert bool(late) == (method == "none")


def test_environments_are_started_while_the_load_rises(
    cluster: Cluster, target: Target, tmp_path: Path
) -> None:
    rising = replace(
        SHORT, method="operator", language="node", shape="sine:low=100,high=700,period=12"
    )

    exact, facts = run_one(replace(rising, warms_up=True, length_s=12.0), cluster, target, tmp_path)

    assert exact.is_exact
    decisions = [x for x in facts if x["kind"] == "decision"]
    warmed = next(x["at_ms"] for x in decisions if x["warm"])
    assert warmed < next(x["at_ms"] for x in decisions if x["overloaded"])
    (calls,) = [x for x in facts if x["kind"] == "lambda"]
    assert calls["warm_up_calls"] == max(x["warm"] for x in decisions)
    assert calls["warm_up_billed_ms"] > 0


def test_two_subtasks_share_the_work_and_both_hear_of_every_decision(
    cluster: Cluster, target: Target, tmp_path: Path
) -> None:
    planned = replace(SHORT, method="operator", language="python", parallelism=2)
    planned = replace(planned, capacity_per_s=200.0)

    exact, facts = run_one(planned, cluster, target, tmp_path)

    assert exact.is_exact
    batches = [x for x in facts if x["kind"] == "batch" and x["way"] == "offloaded"]
    assert {x["subtask"] for x in batches} == {0, 1}
    applied = [x["applied_ms"] for x in facts if x["kind"] == "decision" and x.get("applied_ms")]
    assert applied
    assert max(applied) < 250


def test_what_was_in_flight_in_a_killed_task_manager_comes_out_once(
    target: Target, tmp_path: Path
) -> None:
    planned = replace(SHORT, method="operator", language="python", length_s=12.0)
    output = tmp_path / "output"
    notice_soon = {"heartbeat.timeout": "10 s", "heartbeat.interval": "2 s"}
    with (
        Cluster(tmp_path / "flink", task_managers=3, slots=1, settings=notice_soon) as cluster,
        Controller() as control,
    ):
        settings = planned.job_settings(target, control.address, str(output))
        job = cluster.submit("flink_job.job", "--settings", settings.to_json())
        wait_until(lambda: cluster.running(job), 90, "all tasks running")
        wait_until(lambda: len(control.connected()) == 2, 90, "both subtasks connected")
        control.publish(start_at_s=time.time() + 0.5, share=0.5, in_flight=4)
        time.sleep(6)

        os.kill(tokenizers_process(cluster, job), signal.SIGKILL)

        wait_until(lambda: cluster.state(job) == "FINISHED", 120, "the job to finish")
        attempts = cluster.rest.get(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]
    lines = list(ledger.read_output(output))
    assert attempts
    assert ledger.check(settings, lines).is_exact
    assert {line["way"] for line in lines} >= {"offloaded", "local"}


def tokenizers_process(cluster: Cluster, job: str) -> int:
    """The pid of the TaskManager that runs the tokenizer."""
    vertex = cluster.rest.vertices(job)["tokenizer"]
    manager = cluster.rest.get(f"/jobs/{job}/vertices/{vertex}/taskmanagers")["taskmanagers"][0]
    port = int(manager["endpoint"].rsplit(":", 1)[1])
    return next(pid for pid in cluster.task_manager_pids() if port in listening(pid))


def listening(pid: int) -> set[int]:
    import psutil

    connections = psutil.Process(pid).net_connections("tcp")
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}


def test_a_job_that_cannot_start_says_why(cluster: Cluster) -> None:
    with pytest.raises(FlinkError, match="JobSettings"):
        cluster.submit("flink_job.job", "--settings", '{"method": "none"}')


def test_the_planned_surges_take_turns_and_each_method_gets_what_it_is_about() -> None:
    planned = surge.plan(surge.plain(), ("none", "operator", "bigger"), ("python", "java"), 3, 1)

    assert len(planned) == 3 * (1 + 2 + 1)
    for repetition in (1, 2, 3):
        turn = [(x.method, x.language) for x in planned if x.repetition == repetition]
        assert sorted(turn, key=str) == sorted(
            [("none", None), ("operator", "python"), ("operator", "java"), ("bigger", None)],
            key=str,
        )
    bigger = next(x for x in planned if x.method == "bigger")
    assert bigger.capacity_per_s == pytest.approx(surge.BASE_PER_S * surge.FACTOR / 0.8)
    scaled = replace(SHORT, method="scale-out")
    assert (scaled.scaled_to, scaled.more_slots) == (3, 4)  # 800 / 0.8 of 400 each


def test_warm_and_cold_pools_take_turns_too_where_there_is_a_pool() -> None:
    planned = surge.plan(surge.plain(), ("none", "operator"), ("java",), 2, 1, pools=(0, 8))

    for repetition in (1, 2):
        turn = sorted((x.method, x.warm) for x in planned if x.repetition == repetition)
        assert turn == [("none", 0), ("operator", 0), ("operator", 8)]


@pytest.mark.parametrize(
    ("form", "method", "pool", "problem"),
    [
        ("surge", "operator", 9, "only 8 calls may be in flight"),
        ("sine", "scale-out", 0, "needs a surge and a declared capacity"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(
    form: surge.Form, method: Method, pool: int, problem: str
) -> None:
    with pytest.raises(click.UsageError, match=problem):
        surge.plan(surge.plain(form=form), (method,), ("java",), 1, 1, pools=(pool,))
