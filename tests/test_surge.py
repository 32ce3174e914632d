"""Surges: what is planned, at which rates, on which worker; and one for real."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bench import cgroup
from bench.cli import main
from bench.cluster.flink import ADAPTIVE, Cluster
from bench.cluster.worker import Worker, default_cpu
from bench.experiments import calibrate, drive, surge
from bench.facts.records import Run, read
from bench.lambdas.target import Target
from bench.report.gather import evidence
from bench.report.say import drift
from bench.steering.policy import Profile, Settings, policy
from flink_job.load import traces
from flink_job.load.shapes import parse
from tests import synthetic


def test_the_calm_before_a_surge_may_be_as_long_as_flinks_gauges_look_back() -> None:
    planned = surge.plain(duration_s=10.0, calm_s=75.0)
    shape = parse(planned.shape)
    assert shape.rate(74.9) == surge.BASE and shape.rate(75.1) == surge.BASE * surge.FACTOR
    assert planned.calm_from_s == 85.0


def test_the_calm_after_a_surge_is_cut_once_nothing_waits_and_the_tokenizer_idles() -> None:
    planned = drive.Surge(
        method="operator",
        shape="surge:base=100,factor=4,start=1,duration=5",
        length_s=60.0,
        calm_from_s=6.0,
    )
    polls = [second / 4 for second in range(4 * 30)]

    def cut_s(backlog: Callable[[float], float], idle: Callable[[float], float]) -> float:
        tail = drive.Tail(planned)
        samples = (
            {"at_ms": s * 1000, "backlog": backlog(s), "tokenizer_idle": idle(s)} for s in polls
        )
        return next(at for x in samples if (at := tail.cut(x)) is not None)

    at_least = 6 + 8 + 0.5
    assert cut_s(lambda s: 0, lambda s: 0.5) == at_least
    assert cut_s(lambda s: 900 if s < 20 else 0, lambda s: 0.5) == 22.5
    # What was done twice after a restart hides what waits.
    assert cut_s(lambda s: 0, lambda s: 0.0 if s < 20 else 0.5) == 22.5


def test_the_planned_surges_take_turns_and_each_method_gets_what_it_is_about() -> None:
    planned = surge.plan(surge.plain(), ("none", "operator", "bigger"), ("python", "java"), 3, 1)

    assert len(planned) == 3 * (1 + 2 + 1)
    for repetition in (1, 2, 3):
        turn = [(x.method, x.language) for x in planned if x.repetition == repetition]
        assert sorted(turn, key=str) == sorted(
            [("none", None), ("operator", "python"), ("operator", "java"), ("bigger", None)],
            key=str,
        )


def test_warm_and_cold_pools_take_turns_too_where_there_is_a_pool() -> None:
    planned = surge.plan(surge.plain(), ("none", "operator"), ("java",), 2, 1, pools=(0, 8))

    for repetition in (1, 2):
        turn = sorted((x.method, x.warm) for x in planned if x.repetition == repetition)
        assert turn == [("none", 0), ("operator", 0), ("operator", 8)]


def test_the_same_plan_means_the_same_multiples_at_any_capacity() -> None:
    for capacity_per_s in (40.0, 4000.0):
        at = surge.plain(duration_s=10.0).at(capacity_per_s, worker_cpu=0.4)
        shape = parse(at.shape)
        assert shape.rate(1.0) == pytest.approx(0.5 * capacity_per_s)
        assert shape.rate(6.0) == pytest.approx(2.0 * capacity_per_s)
        assert (at.base, at.factor, at.capacity_per_s) == (0.5, 4.0, capacity_per_s)


@pytest.mark.parametrize(
    ("worker_cpu", "subtasks", "cpus"), [(0.3, 1, 0.75), (0.4, 1, 1.0), (0.8, 2, 1.0)]
)
def test_bigger_is_a_bigger_quota_and_past_one_core_more_subtasks(
    worker_cpu: float, subtasks: int, cpus: float
) -> None:
    planned = replace(surge.plain(), method="bigger").at(1000.0, worker_cpu)

    # twice the capacity at four fifths of utilisation
    assert planned.parallelism == subtasks
    assert planned.worker_cpu == pytest.approx(cpus)


def test_scaling_out_adds_workers_of_the_same_size() -> None:
    planned = replace(surge.plain(), method="scale-out").at(1000.0, 0.4)

    assert (planned.scaled_to, planned.more_workers, planned.worker_cpu) == (3, 2, None)


def test_the_schedule_goes_on_until_what_an_unrelieved_surge_leaves_can_be_gone() -> None:
    planned = surge.plain(duration_s=20.0)

    left_s = 20.0  # twice the capacity for 20 s leaves 20 s of work
    assert planned.length_s >= surge.CALM_S + 20.0 + left_s / (1 - surge.BASE)


def test_more_warm_environments_than_calls_in_flight_are_refused_before_anything_runs() -> None:
    with pytest.raises(click.UsageError, match="only 8 calls may be in flight"):
        surge.plan(surge.plain(), ("operator",), ("java",), 1, 1, pools=(9,))


@pytest.mark.parametrize("form", ["surge", "flash", "square", "sine"])
def test_whatever_the_form_it_peaks_at_the_multiple_and_is_sized_for_it(form: surge.Form) -> None:
    planned = replace(surge.plain(form=form), method="scale-out").at(1000.0, 0.4)

    assert parse(planned.shape).peak == pytest.approx(2000.0)
    assert planned.scaled_to == 3


def test_a_trace_is_replayed_over_the_capacity_with_a_calm_tail() -> None:
    planned = surge.traced(traces.read("amzn").replayed(surge.BASE)).at(1000.0, 0.4)

    shape = parse(planned.shape)
    assert planned.calm_from_s == 15.0
    assert planned.length_s > planned.calm_from_s
    assert shape.rate(planned.length_s) == pytest.approx(500.0)
    assert planned.base is not None and planned.factor is not None
    assert shape.peak == pytest.approx(planned.base * planned.factor * 1000.0, rel=1e-4)


def test_throughput_is_steady_when_the_last_windows_show_no_trend() -> None:
    warming = [100.0, 300.0, 500.0, 700.0, 800.0, 880.0, 930.0, 960.0]
    assert not calibrate.is_steady(warming)
    assert calibrate.is_steady([*warming, 970.0, 965.0, 975.0, 968.0])
    assert not calibrate.is_steady([970.0] * 9), "too few to know"


def test_a_worker_is_a_fifth_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, cpus in ((1, 0.25), (2, 0.4), (4, 0.8), (64, 1.0)):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert default_cpu() == pytest.approx(cpus)


def test_a_quota_is_written_as_each_version_of_control_groups_wants_it(tmp_path: Path) -> None:
    v2 = cgroup.Group(tmp_path / "v2", 0.4, v2=True)
    assert (v2.folder / "cpu.max").read_text() == "8000 20000"
    v2.limit(1.5)
    assert (v2.folder / "cpu.max").read_text() == "30000 20000"
    v1 = cgroup.Group(tmp_path / "v1", 0.4, v2=False)
    assert (v1.folder / "cpu.cfs_quota_us").read_text() == "8000"
    assert (v1.folder / "cpu.cfs_period_us").read_text() == "20000"
    (v1.folder / "cpu.stat").write_text("nr_periods 9\nthrottled_time 2500000000\n")
    (v2.folder / "cpu.stat").write_text("usage_usec 1\nthrottled_usec 2500000\n")
    assert v1.throttled_s() == v2.throttled_s() == 2.5


@pytest.mark.slow
@pytest.mark.proof
def test_a_held_worker_is_calibrated_and_a_surge_to_twice_that_is_late_and_whole(
    tmp_path: Path,
) -> None:
    """Real work under a real quota; nothing sleeps."""
    planned = replace(
        surge.plain(duration_s=4.0), operator="subwords", words_per_sentence=100, batch_size=10
    )
    nobody = policy("default", Settings(10, 50.0, 0, Profile(300.0, 3.0, 3.0)))
    with (
        Run("test", results=tmp_path) as run,
        Cluster(run.folder / "flink", task_managers=2, slots=1, settings=ADAPTIVE) as cluster,
        Worker(cluster, 0.3) as worker,
    ):
        capacity = calibrate.measure(run, cluster, worker, planned, "before")
        at = planned.at(capacity.per_s, 0.3)
        exact = drive.drive(at, run, cluster, worker, None, nobody)
        limit = worker.limit
    facts = read(run.path)
    assert exact.is_exact
    assert capacity.low_per_s <= capacity.per_s <= capacity.high_per_s
    late_ms = [x["sink_ms"] - x["due_last_ms"] for x in facts if x["kind"] == "batch"]
    assert max(late_ms) > 1500
    assert late_ms[-1] < max(late_ms) / 2, "the schedule went on until the queue was gone"
    surged = [x for x in facts if x["kind"] == "batch" and 5500 <= x["sink_ms"] < 9000]
    served_per_s = sum(x["count"] for x in surged) / 3.5
    assert 0.5 < served_per_s / capacity.per_s < 2, "what it was measured to do is what it does"
    spent = {x["role"]: x for x in facts if x["kind"] == "cpu"}
    assert spent.keys() >= {"worker", "source and sink", "jobmanager", "harness"}
    if limit != "none":
        assert spent["worker"]["throttled_s"] > 1
    assert not list(Path("/sys/fs/cgroup").glob(f"*/lambda-burst-{os.getpid()}"))


def decided(planned: drive.Surge, target: Target, results: Path) -> list[dict[str, Any]]:
    """What is recorded of a surge to twice the capacity, in which the policy has its way."""
    rule = policy("default", Settings(planned.batch_size, 50.0, 8, Profile(300.0, 3.0, 3.0)))
    with (
        Run("test", target=target, results=results) as run,
        Cluster(run.folder / "flink", task_managers=2, slots=1, settings=ADAPTIVE) as cluster,
        Worker(cluster, 0.3) as worker,
    ):
        capacity = calibrate.measure(run, cluster, worker, planned, "before")
        drive.drive(planned.at(capacity.per_s, 0.3), run, cluster, worker, target, rule)
    return read(run.path)


@pytest.mark.slow
@pytest.mark.proof
def test_work_that_is_not_worth_a_call_is_refused(target: Target, tmp_path: Path) -> None:
    planned = replace(surge.plain(duration_s=5.0), method="operator", language="java", warm=4)
    facts = decided(planned, target, tmp_path)
    decisions = [x for x in facts if x["kind"] == "decision"]
    assert {x["share"] for x in decisions} == {0.0}
    assert any("not worth it: a sentence takes" in x["reason"] for x in decisions)
    assert not [x for x in facts if x["kind"] == "invocation"]


@pytest.mark.slow
@pytest.mark.proof
def test_a_share_that_brings_nothing_is_taken_back(target: Target, tmp_path: Path) -> None:
    """Every call takes longer than it may."""
    planned = replace(
        surge.plain(duration_s=8.0),
        method="operator",
        language="node",
        warm=4,
        call_timeout_ms=0.5,
        operator="subwords",
        words_per_sentence=100,
        batch_size=25,
    )
    facts = decided(planned, target, tmp_path)
    shares = [x["share"] for x in facts if x["kind"] == "decision"]
    assert max(shares) > 0 and shares[-1] == 0
    reasons = [x["reason"] for x in facts if x["kind"] == "decision"]
    assert any("came too late; to be tried again in" in reason for reason in reasons)


@pytest.mark.parametrize(("after", "warned"), [(95.0, False), (109.0, False), (120.0, True)])
def test_a_capacity_that_drifts_out_of_its_interval_is_said(
    after: float, warned: bool, tmp_path: Path
) -> None:
    def facts() -> Iterator[tuple[str, dict[str, Any]]]:
        for when, per_s in (("before", 100.0), ("after", after)):
            yield (
                "capacity",
                {
                    "when": when, "operator": "words", "words_per_sentence": 10, "batch_size": 100,
                    "worker_cpu": 0.4, "worker_limit": "cgroup v1", "per_s": per_s,
                    "low_per_s": 90.0, "high_per_s": 110.0, "windows_per_s": [100.0],
                    "seconds": 9.0,
                },
            )  # fmt: skip

    folder = synthetic.write(tmp_path / "20261122T100000Z-surge", facts(), target=None)
    (e,) = evidence.load([folder])
    said = drift.drifted(e)
    assert bool(said) is warned
    if warned:
        assert "was 100 sentences/s (90 to 110) before the surges and 120 after" in said[0]


def test_a_rescaling_is_parted_as_flink_says() -> None:
    def span(state: str, enter_ms: int, leave_ms: int | None) -> dict[str, Any]:
        times = {"enterTimestampInMillis": enter_ms, "leaveTimestampInMillis": leave_ms}
        return {"state": state, **times}

    details: dict[str, Any] = {
        "startTimestampInMillis": 12_000,
        "endTimestampInMillis": 12_900,
        "triggerCause": "UPDATE_REQUIREMENT",
        "terminalState": "COMPLETED",
        "schedulerStates": [
            span("Executing", 2_000, 12_300),  # since long before it was asked for
            span("Restarting", 12_300, 12_800),
            span("CreatingExecutionGraph", 12_800, 12_900),
            span("Executing", 12_900, 12_900),
        ],
    }
    assert drive.rescale_record(details, start_ms=10_000.0) == {
        "at_ms": 2000.0,
        "trigger": "UPDATE_REQUIREMENT",
        "state": "COMPLETED",
        "total_ms": 900.0,
        "phases_ms": {"Executing": 300, "Restarting": 500, "CreatingExecutionGraph": 100},
    }
    running = {**details, "endTimestampInMillis": None, "terminalState": None}
    running["schedulerStates"] = [span("Restarting", 12_300, None)]
    unfinished = drive.rescale_record(running, 0.0)
    assert unfinished["state"] == "IN_PROGRESS" and unfinished["total_ms"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--speed 5", "--speed is for --trace"),
        ("--trace aapl --form sine --factor 3", "leave out --form, --factor"),
        ("--trace nowhere", "there are aapl, amzn, fb, llm-code, or give a file"),
        ("--trace aapl --calm 70", "leave out --calm"),
        ("--form sine --calm 70", "a sine begins at once"),
        ("--calm 0", "Invalid value for '--calm'"),
        ("--base 0", "Invalid value for '--base'"),
        ("--base nan", "Invalid value for '--base'"),
        ("--factor inf", "Invalid value for '--factor'"),
        ("--batch-size 0", "Invalid value for '--batch-size'"),
        ("--repetitions 0", "Invalid value for '--repetitions'"),
        ("--worker-cpu 0", "Invalid value for '--worker-cpu'"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_before_anything_starts(
    options: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["surge", *options.split()])
    assert result.exit_code == 2
    assert says in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())
