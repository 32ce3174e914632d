"""Open loop: policies over recorded metrics, where what they decide changes nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from bench.facts.records import open_records
from bench.steering.policy import Policy, Sample, Settings
from bench.steering.policy.references import Queue
from bench.steering.replay.closed import SETTINGS
from bench.steering.replay.judge import Decided, decided
from flink_job.load.shapes import Constant, Shape, Surge, from_dict


@dataclass(frozen=True)
class Trace:
    """Recorded metrics of one surge, with what is needed to judge decisions made on them.

    Attributes:
        name: of the file and of the surge in it.
        source: where it was recorded: the target of the run, or "simulated".
        method: what the job did about the surge while it was recorded.
        shape: None where nobody knows the schedule.
        capacity_per_s: of all subtasks together, if it is known.
        backlogs: sentences due and not taken up, by the time of a sample: for who judges, no policy
            is told.
    """

    name: str
    source: str
    method: str
    shape: Shape | None
    capacity_per_s: float | None
    settings: Settings
    samples: list[Sample]
    backlogs: Mapping[float, float] = field(default_factory=dict)


def read_traces(path: Path) -> list[Trace]:
    """All surges that have samples, in a file of records or in a run's folder; and what
    `bench metrics --record` has seen of each job.

    Raises:
        click.ClickException: it is not there, or holds no such surge.
    """
    with open_records(path) as file:
        records = list(_records(file))
    target = next((r.get("target") for r in records if r["kind"] == "run"), None)
    samples: dict[str, list[Sample]] = {}
    backlogs: dict[str, dict[float, float]] = {}
    for record in records:
        if record["kind"] == "sample":
            samples.setdefault(record["surge"], []).append(Sample.from_record(record))
            if record.get("backlog") is not None:
                backlogs.setdefault(record["surge"], {})[record["at_ms"]] = record["backlog"]
    name = path.name if path.is_dir() else path.stem
    traces = [
        _trace(
            name if len(samples) == 1 else f"{name}/{r['surge']}",
            target,
            r,
            samples[r["surge"]],
            backlogs.get(r["surge"], {}),
        )
        for r in records
        if r["kind"] == "surge" and r["surge"] in samples
    ]
    traces += _watched(name, [r for r in records if r["kind"] == "vertex"])
    if not traces:
        raise click.ClickException(
            f"{path} holds no surge with samples; record one with `bench run` or `bench surge`, or "
            "any job of two vertices and more with `bench metrics --record`"
        )
    return traces


def _watched(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Trace]:
    """What `bench.cluster.watch` has seen, a trace a job: of its first vertex, which is the source,
    and of the busiest of the others, which stands for the tokenizer. Records count as sentences."""
    traces = []
    for job in dict.fromkeys(row["job"] for row in rows):
        of_job = [row for row in rows if row["job"] == job]
        source = of_job[0]["vertex_id"]
        others = defaultdict(list)
        for row in of_job:
            if row["vertex_id"] != source and row["busy"] is not None:
                others[row["vertex_id"]].append(row["busy"])
        if not others:
            continue
        busiest = max(others, key=lambda id: fmean(others[id]))
        samples, of_source, subtasks = [], None, 1
        for row in of_job:
            if row["vertex_id"] == source:
                of_source = row
            elif row["vertex_id"] == busiest and of_source is not None:
                subtasks = max(subtasks, row["subtasks"])
                samples.append(_sample(row, of_source, of_job[0]["at_s"]))
        if samples:
            settings = replace(SETTINGS, parallelism=subtasks)
            traces.append(
                Trace(f"{name}/{job[:6]}", "bench metrics", "—", None, None, settings, samples)
            )
    return traces


def _sample(row: Mapping[str, Any], source: Mapping[str, Any], start_s: float) -> Sample:
    return Sample(
        at_ms=(row["at_s"] - start_s) * 1000,
        emitted_per_s=source["records_out_per_s"],
        processed_per_s=row["records_in_per_s"],
        source_busy=source["busy"],
        source_idle=source["idle"],
        source_backpressured=source["backpressured"],
        tokenizer_busy=row["busy"],
        tokenizer_idle=row["idle"],
        tokenizer_backpressured=row["backpressured"],
    )


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that died may be torn
            continue
        if isinstance(record, dict) and record.get("kind") in ("run", "surge", "sample", "vertex"):
            yield record


def _trace(
    name: str,
    target: str | None,
    record: Mapping[str, Any],
    samples: list[Sample],
    backlogs: Mapping[float, float],
) -> Trace:
    capacity = record.get("capacity_per_s")
    shape = from_dict(record["shape"])
    if isinstance(shape, Surge) and shape.factor == 1:  # a load without one
        shape = Constant(shape.base)
    return Trace(
        name=name,
        source=target or "no Lambda",
        method=record["method"],
        shape=shape,
        capacity_per_s=capacity and capacity * record["parallelism"],
        settings=replace(
            SETTINGS,
            batch_size=record["batch_size"],
            linger_ms=record["linger_ms"],
            max_in_flight=max(1, record["max_in_flight"]),
            parallelism=record["parallelism"],
        ),
        samples=samples,
        backlogs=backlogs,
    )


def over_ms(trace: Trace) -> float | None:
    """When the surge and the queue that it left are over; None if the trace ends before that.

    What is offered within half a second is no queue.
    """
    if not isinstance(trace.shape, Surge):
        return None
    over, queue = (trace.shape.start + trace.shape.duration) * 1000, Queue()
    for sample in trace.samples:
        queue = queue.look(trace.shape, sample)
        if queue.backlog > trace.shape.rate(sample.at_ms / 1000) * 0.5:
            over = max(over, sample.at_ms)
    return over if over < trace.samples[-1].at_ms else None


def replay(rule: Policy[Any], trace: Trace) -> Decided:
    """Run a policy over recorded samples. What it decides changes nothing in what was recorded."""
    state, decisions = rule.start(), []
    for sample in trace.samples:
        state, decision = rule.step(state, sample)
        decisions.append(decision)
    return decided(trace.samples, decisions)
