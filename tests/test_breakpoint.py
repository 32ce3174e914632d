"""`bench breakpoint` and `bench sweep`: what is offered, what is made of the records, and the
metrics that Flink pushes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from bench.cluster.reporters import Listener, parse
from bench.experiments import breakpoint as experiment
from bench.experiments import drive, sweep
from bench.experiments.calibrate import Capacity
from bench.experiments.drive import Surge
from bench.facts.records import Run, read
from bench.report import build
from bench.report.draw import breakpoint as breakpoint_plots
from bench.report.draw import sweep as sweep_plots
from bench.report.gather import evidence
from bench.report.gather.evidence import Evidence
from bench.report.gather.steps import edge
from bench.report.say import breakpoint
from bench.report.say import sweep as sweep_report
from flink_job.load import shapes
from tests import synthetic

Records = Iterator[tuple[str, dict[str, Any]]]
QUEUE = "tokenizer.Shuffle.Netty.Input.Buffers.inputQueueLength"


def surge_record(surge: Surge) -> dict[str, Any]:
    fields = asdict(surge)
    for name in drive.UNRECORDED:
        del fields[name]
    return fields | {
        "surge": surge.name,
        "shape": shapes.parse(surge.shape).to_dict(),
        "environment": "no Lambda",
        "started_at": "2026-11-22T10:00:00.000+00:00",
    }


def served(surge: Surge, capacity_per_s: float) -> Records:
    """The batches of a job whose tokenizer is a queue with this capacity."""
    free_s = 0.0
    plan = shapes.batches(shapes.parse(surge.shape), surge.length_s, 100, 50.0)
    for number, batch in enumerate(plan):
        free_s = max(free_s, batch.closes_s) + batch.count / capacity_per_s
        yield (
            "batch",
            {
                "surge": surge.name,
                "batch": number,
                "first": batch.first,
                "count": batch.count,
                "due_first_ms": batch.due_first_s * 1000,
                "due_last_ms": batch.due_last_s * 1000,
                "sink_ms": free_s * 1000,
                "way": "local",
                "subtask": 0,
            },
        )


def polled(surge: Surge, capacity_per_s: float, smoothed_s: float) -> Records:
    """A poll every 250 ms; Flink's own gauge follows `smoothed_s` late."""
    shape = shapes.parse(surge.shape)
    for tick in range(int(surge.length_s * 4)):
        at_s = tick / 4
        rate = shape.rate(at_s - 0.01)
        busy = min(1.0, rate / capacity_per_s)
        late = min(1.0, shape.rate(at_s - smoothed_s) / capacity_per_s)
        yield (
            "sample",
            {
                "surge": surge.name,
                "at_ms": at_s * 1000,
                "offered_per_s": rate,
                "processed_per_s": min(rate, capacity_per_s),
                "tokenizer_busy": busy,
                "source_backpressured": 0.0,
                "gauges": {"tokenizer.busyTimeMsPerSecond": late * 1000, QUEUE: 1.0},
            },
        )


def pushed(surge: Surge, capacity_per_s: float, every_ms: int) -> Records:
    """The accumulated busy time, pushed."""
    shape = shapes.parse(surge.shape)
    busy_ms = 0.0
    for at_ms in range(0, int(surge.length_s * 1000), every_ms):
        busy_ms += every_ms * min(1.0, shape.rate(at_ms / 1000 - 0.01) / capacity_per_s)
        fields = {"vertex": "tokenizer", "subtask": 0, "metric": "accumulateBusyTimeMs"}
        yield "push", {"surge": surge.name, "at_ms": float(at_ms), "value": busy_ms} | fields


def ladder(base: float = 200.0, doublings: int = 3) -> Surge:
    ladder = experiment.Plan(step_s=4.0).ladder(base / 1000, doublings)
    return ladder.at(capacity_per_s=1000.0, worker_cpu=0.4)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A ladder 200 → 1,600 → 200 sentences/s before a capacity of 1,000, polled and pushed."""

    def facts() -> Records:
        surge = ladder()
        yield "surge", surge_record(surge)
        yield from served(surge, 1000.0)
        yield from polled(surge, 1000.0, smoothed_s=2.4)
        yield from pushed(surge, 1000.0, 100)

    folder = tmp_path_factory.mktemp("results") / "20261122T100000Z-breakpoint"
    (e,) = evidence.load([synthetic.write(folder, facts(), target=None)])
    return e


def test_the_rate_doubles_until_it_breaks_and_halves_again(broken: Evidence) -> None:
    (found,) = breakpoint.ladders(broken)
    assert [(s.offered_per_s, s.state) for s in found.steps] == [
        (200, "kept up"),
        (400, "kept up"),
        (800, "kept up"),
        (1600, "broke"),
        (800, "catching up"),
        (400, "catching up"),
        (200, "kept up"),
    ]
    assert edge(found.steps) == (800, 1600)
    assert found.window == (12_000, 16_000)
    assert found.peak.served_per_s == pytest.approx(1000, rel=0.02)
    assert found.steps[2].served_per_s == pytest.approx(800, rel=0.02)


def test_bisection_closes_in_on_a_capacity_nobody_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def drive(surge: Surge, run: Run, *rest: Any) -> None:
        run.write("surge", **surge_record(surge))
        for kind, fields in served(surge, 1150.0):
            run.write(kind, **fields)

    @contextmanager
    def nowhere(*_: Any, **__: Any) -> Iterator[tuple[None, None]]:
        yield None, None

    def calibrated(*_: Any) -> Capacity:
        return Capacity(1000.0, 900.0, 1100.0)

    monkeypatch.setattr("bench.experiments.drive.drive", drive)
    monkeypatch.setattr("bench.experiments.calibrate.measure", calibrated)
    monkeypatch.setattr(experiment, "on_flink", nowhere)
    with Run("breakpoint", results=tmp_path) as run:
        plan = experiment.Plan(first=0.2, bisections=4)
        kept, broke = experiment.measure(run, plan, worker_cpu=0.4)
    assert kept is not None and broke is not None
    assert broke - kept == 800 / 2**4
    assert kept <= 1150 * 1.06 and broke >= 1150  # a step may leave 5 % over
    names = [r["surge"] for r in read(run.path) if r["kind"] == "surge"]
    assert len(set(names)) == 5
    with Run("breakpoint", results=tmp_path, suffix="low") as run:
        low = experiment.Plan(first=0.02)
        assert experiment.measure(run, low, worker_cpu=0.4) == (160.0, None)


def test_the_tables_say_where_it_breaks_and_what_shows_it(broken: Evidence) -> None:
    edges, steps, metrics, push = breakpoint.tables(broken)
    assert "keeps up with 800 sentences/s, not with 1,600" in edges.note
    assert [row[0] for row in edges.rows] == ["200", "400", "800", "1,600"]
    assert steps.columns[1:] == [f"{a}–{a + 4} s" for a in range(0, 28, 4)]
    by = {row[0]: row[1:] for row in steps.rows}
    assert by["**keeps up**"][2:5] == ["yes", "no", "catching up"]
    assert by["tokenizer: busy"][2:4] == ["80%", "100%"]
    after = {row[0]: row[3] for row in metrics.rows}
    assert after["tokenizer busy"] == "0.500"
    assert after["`tokenizer.busyTimeMsPerSecond`"] == "—"  # a calm of 12 s says nothing of it
    assert after["source back-pressured"] == after[f"`{QUEUE}`"] == "never"  # they did not move
    assert push.rows[0][0] == "tokenizer busy"
    assert "The push is quicker" in push.note


@pytest.mark.parametrize(
    ("capacity", "says"),
    [(5000.0, "It kept up with all of it"), (150.0, "could not keep up even with 200")],
)
def test_a_ladder_without_an_edge_says_so(capacity: float, says: str, tmp_path: Path) -> None:
    def facts() -> Records:
        yield "surge", surge_record(ladder())
        yield from served(ladder(), capacity)
        yield from polled(ladder(), capacity, smoothed_s=2.4)

    (e,) = evidence.load([synthetic.write(tmp_path / "20261122T100000Z-breakpoint", facts())])
    edges, steps = breakpoint.tables(e)
    assert says in edges.note and len(steps.columns) == 8
    (plot,) = breakpoint_plots.plots(e)
    assert says in plot.title


def test_what_is_pushed_is_differenced_over_as_long_as_what_is_polled(broken: Evidence) -> None:
    (found,) = breakpoint.ladders(broken)
    samples = breakpoint.as_samples(
        broken.frames["push"], "tokenizer_busy", list(found.samples.columns)
    )
    at = samples.set_index("at_ms")["tokenizer_busy"]
    assert at.loc[:200].isna().all()
    assert at.loc[11_900] == pytest.approx(0.8)
    assert 0.8 < at.loc[12_100] < at.loc[12_300] == pytest.approx(1.0)


def test_ladders_and_sweeps_have_parts_of_their_own_in_the_report(
    broken: Evidence, tmp_path: Path
) -> None:
    facts = (
        (kind, fields | {"varied": {"in-flight": value}} if kind == "surge" else fields)
        for value in (2, 8)
        for kind, fields in synthetic.surge(np.random.default_rng(value), f"operator-{value}")
    )
    run = synthetic.write(tmp_path / "20261122T100000Z-sweep-in-flight", facts)
    text = build.build([run], tmp_path / "report").with_name("report.md").read_text()
    assert "## Sweeps" in text and "Other surges" not in text
    (e,) = evidence.load([run])
    (table,) = sweep_report.tables(e)
    assert table.columns[0] == "calls in flight, at most"
    assert [row[0] for row in table.rows] == ["2", "8"]
    assert "no offload: p99, ms" not in table.columns  # nothing was run without
    (plot,) = sweep_plots.plots(e)
    assert plot.name == "sweep-in-flight"


def test_a_sweep_changes_one_thing_and_takes_turns() -> None:
    planned = sweep.plan("batch-size", [10, 100], "java", repetitions=3)
    assert {(s.method, s.language) for s in planned} == {("operator", "java"), ("none", None)}
    assert all(s.varied == {"batch-size": s.batch_size} for s in planned)
    turns = [[(s.method, s.batch_size) for s in planned if s.repetition == r] for r in (1, 2, 3)]
    assert sorted(turns[0]) == sorted(turns[1]) == sorted(turns[2])
    assert turns[0] != turns[1] or turns[1] != turns[2]


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    [
        ("poll-ms", 500, lambda s: s.poll_ms == 500),
        ("rate", 8, lambda s: "factor=8" in s.shape),
        ("parallelism", 2, lambda s: "base=2000," in s.at(2000.0, 0.4).shape),
        ("in-flight", 3, lambda s: s.max_in_flight == 3),
        ("memory", 512, lambda s: s.memory_mb == 512),
    ],
)
def test_each_parameter_sets_what_it_names(
    name: str, value: int, changed: Callable[[Surge], bool]
) -> None:
    assert all(changed(s) for s in sweep.plan(name, [value], "python"))


def test_a_value_too_small_is_refused() -> None:
    with pytest.raises(click.UsageError, match="memory goes from 128 up, not 64"):
        sweep.plan("memory", [64, 128], "python")


def test_statsd_lines_of_our_two_vertices_are_understood() -> None:
    head = "task-of-ours"
    assert parse(f"{head}.tokenizer.1.accumulateBusyTimeMs:12345|g") == (
        "tokenizer", 1, "accumulateBusyTimeMs", 12345.0,
    )  # fmt: skip
    assert parse(f"{head}.Source- sequence -> source.0.numRecordsOut:3|g") == (
        "source", 0, "numRecordsOut", 3.0,
    )  # fmt: skip
    name = "Shuffle.Netty.Input.Buffers.inPoolUsage"
    assert parse(f"{head}.tokenizer.0.{name}:0.25|g") == ("tokenizer", 0, name, 0.25)
    for other in ("", f"{head}.sink -> files.0.numRecordsIn:3|g", "host.jobmanager.x:1|g"):
        assert parse(other) is None


def test_the_listener_stamps_what_comes_while_it_records(tmp_path: Path) -> None:
    line = b"task-of-ours.tokenizer.0.numRecordsIn:7|g"
    with Run("breakpoint", results=tmp_path) as run, Listener() as listener:
        settings = listener.settings(100)
        assert settings["metrics.reporter.statsd.interval"] == "100 ms"
        to = ("127.0.0.1", settings["metrics.reporter.statsd.port"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(line, to)  # nobody has said of which surge
            time.sleep(0.1)
            listener.record(run, "none-1", time.time() - 2.0)
            sender.sendto(line + b"\nnonsense", to)
            deadline = time.monotonic() + 5
            while len(read(run.path)) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
    (push,) = [r for r in read(run.path) if r["kind"] == "push"]
    assert push["value"] == 7 and 2000 <= push["at_ms"] < 3000
