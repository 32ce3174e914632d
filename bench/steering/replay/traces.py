"""Open loop: policies over recorded metrics, where what they decide changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from bench.facts.records import open_records
from bench.steering.policy import Policy, Sample, Settings
from bench.steering.policy.references import Queue
from bench.steering.replay.closed import SETTINGS
from bench.steering.replay.judge import Decided, decided
from flink_job.load.shapes import Shape, Surge, from_dict


@dataclass(frozen=True)
class Trace:
    """Recorded metrics of one surge, with what is needed to judge decisions made on them.

    Attributes:
        name: of the file and of the surge in it.
        source: where it was recorded: the target of the run, or "simulated".
        method: what the job did about the surge while it was recorded.
        capacity_per_s: of all subtasks together, if it is known.
    """

    name: str
    source: str
    method: str
    shape: Shape
    capacity_per_s: float | None
    settings: Settings
    samples: list[Sample]


def read_traces(path: Path) -> list[Trace]:
    """All surges that have samples, in a file of records or in a run's folder.

    Raises:
        click.ClickException: it is not there, or holds no such surge.
    """
    with open_records(path) as file:
        records = list(_records(file))
    target = next((r.get("target") for r in records if r["kind"] == "run"), None)
    samples: dict[str, list[Sample]] = {}
    for record in records:
        if record["kind"] == "sample":
            samples.setdefault(record["surge"], []).append(Sample.from_record(record))
    name = path.name if path.is_dir() else path.stem
    traces = [
        _trace(
            name if len(samples) == 1 else f"{name}/{r['surge']}", target, r, samples[r["surge"]]
        )
        for r in records
        if r["kind"] == "surge" and r["surge"] in samples
    ]
    if not traces:
        raise click.ClickException(
            f"{path} holds no surge with samples; record one with `bench run` or `bench surge`"
        )
    return traces


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that died may be torn
            continue
        if isinstance(record, dict) and record.get("kind") in ("run", "surge", "sample"):
            yield record


def _trace(
    name: str, target: str | None, record: Mapping[str, Any], samples: list[Sample]
) -> Trace:
    capacity = record.get("capacity_per_s")
    return Trace(
        name=name,
        source=target or "no Lambda",
        method=record["method"],
        shape=from_dict(record["shape"]),
        capacity_per_s=capacity and capacity * record["parallelism"],
        settings=replace(
            SETTINGS,
            batch_size=record["batch_size"],
            linger_ms=record["linger_ms"],
            max_in_flight=max(1, record["max_in_flight"]),
            parallelism=record["parallelism"],
        ),
        samples=samples,
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
