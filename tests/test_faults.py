"""`bench faults` and `bench soak`: what is planned, what is said of the records, and a few real
faults in the middle of real surges."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.experiments import faults, soak
from bench.facts.records import Run
from bench.lambdas.target import Target
from bench.report.gather import evidence
from bench.report.gather.faults import outcomes
from bench.report.say import faults as say_faults
from bench.report.say import soak as say_soak
from flink_job.load.shapes import parse
from tests import record, synthetic

Fact = tuple[str, dict[str, Any]]


def surge_record(name: str, **fields: Any) -> Fact:
    return "surge", {
        "surge": name,
        "method": "operator",
        "language": "node",
        "repetition": 1,
        "workload": "sentences",
        "seed": 1,
        "shape": {"shape": "constant", "base": 100.0},
        "length_s": 20.0,
        "batch_size": 50,
        "linger_ms": 50.0,
        "parallelism": 1,
        "max_in_flight": 8,
        "ordered": False,
        "environment": "local process",
        "started_at": "2026-11-22T10:00:00.000+00:00",
        **fields,
    }


def batch_record(surge: str, number: int, due_ms: float, latency_ms: float) -> Fact:
    return "batch", {
        "surge": surge,
        "batch": number,
        "first": number * 50,
        "count": 50,
        "due_first_ms": due_ms - 50,
        "due_last_ms": due_ms,
        "sink_ms": due_ms + latency_ms,
        "way": "local",
        "subtask": 0,
    }


def decided(surge: str, at_ms: float, share: float) -> Fact:
    return "decision", {
        "surge": surge,
        "at_ms": at_ms,
        "overloaded": share > 0,
        "share": share,
        "in_flight": 8,
        "reason": "so",
        "inputs": {},
    }


def called(surge: str, number: int, sent_ms: float, failure: str | None = None) -> Fact:
    return "invocation", {
        "surge": surge,
        "subtask": 0,
        "call": number,
        "batches": 1,
        "sentences": 50,
        "sent_ms": sent_ms,
        "outcome": "failed" if failure else "answered",
        "failure": failure,
    }


def broken(surge: str, name: str, **fields: Any) -> Fact:
    fault = next(x for x in faults.FAULTS if x.name == name)
    return "fault", {
        "surge": surge,
        "fault": name,
        "part": fault.part,
        "done": fault.done,
        "deaf": fault.deaf,
        "from_ms": 5000.0,
        "until_ms": 9000.0,
        "restarts": 0,
        "ok": True,
        **fields,
    }


def ledger(surge: str, **counts: int) -> Fact:
    none = {"lost": 0, "duplicated": 0, "wrong": 0, "out_of_order": 0}
    return "ledger", {"surge": surge, "expected": 1000, "delivered": 1000, **none, **counts}


def made(folder: Path, facts: list[Fact]) -> evidence.Evidence:
    (e,) = evidence.load([synthetic.write(folder / "20261122T100000Z-faults", iter(facts))])
    return e


def test_each_fault_is_planned_as_often_as_asked_in_an_order_of_the_seed() -> None:
    planned = faults.plan(faults.NAMES, 6, "node", "operator", ordered=False, seed=1)
    again = faults.plan(faults.NAMES, 6, "node", "operator", ordered=False, seed=1)
    names = [x.fault.name for x in planned]
    assert names == [x.fault.name for x in again]
    times = Counter[str]()
    for x in planned:
        times[x.fault.name] += len(x.starts_s)
    assert times == dict.fromkeys(faults.NAMES, 6)
    assert names[: len(faults.NAMES)] != list(faults.NAMES)
    assert len({x.job.name for x in planned}) == len(planned)
    # What is gone for good, or changes the job for good, breaks in a job of its own.
    assert {len(x.starts_s) for x in planned if x.fault.name == "controller-gone"} == {1}


def test_a_job_has_a_surge_for_each_time_that_its_fault_breaks() -> None:
    one, two = faults.plan(("throttled",), 6, "node", "operator", ordered=False, seed=1)
    assert (one.starts_s, two.starts_s) == ((3.0, 20.0, 37.0, 54.0), (3.0, 20.0))
    shape = parse(two.job.shape)
    rates = [shape.rate(t) for t in (2.5, 3.5, 11.5, 12.5, 19.5, 20.5, 28.5, 29.5, 100.0)]
    assert rates == [0.5, 2.0, 2.0, 0.5, 0.5, 2.0, 2.0, 0.5, 0.5]
    assert two.job.calm_from_s == 29.0


def test_the_time_until_normal_ends_with_the_last_batch_that_was_late(tmp_path: Path) -> None:
    late = {6000: 1500.0, 7000: 2500.0, 8000: 900.0}
    facts = [surge_record("a"), ledger("a"), broken("a", "errors"), decided("a", 4000, 0.5)]
    facts += [batch_record("a", i, i * 1000, late.get(i * 1000, 60.0)) for i in range(20)]
    facts += [decided("a", 6000, 0.0), decided("a", 9500, 0.4)]
    facts += [called("a", 1, 5100, "ServiceException"), called("a", 2, 9600)]
    (outcome,) = outcomes(made(tmp_path, facts))
    assert (outcome.normal_ms, outcome.worst_ms) == (4500.0, 2500.0)
    assert (outcome.share_before, outcome.share_least, outcome.share_after) == (0.5, 0.0, 0.4)
    assert outcome.failed == {"ServiceException": 1}
    assert outcome.outlived is None


def test_what_was_not_normal_by_the_end_took_longer_than_was_watched(tmp_path: Path) -> None:
    facts = [surge_record("a"), ledger("a"), broken("a", "frozen"), decided("a", 4000, 0.5)]
    facts += [batch_record("a", i, i * 1000, 1500.0 if i > 5 else 60.0) for i in range(20)]
    (table,) = say_faults.tables(made(tmp_path, facts))
    assert dict(zip(table.columns, table.rows[0], strict=True))["normal again after"] == "> 15.5 s"


def test_faults_of_one_job_are_told_apart_and_its_ledger_counts_once(tmp_path: Path) -> None:
    late = {6000: 1500.0, 16000: 1200.0}
    facts = [surge_record("a"), ledger("a", lost=3)]
    facts += [broken("a", "errors", from_ms=f, until_ms=f + 4000.0) for f in (5000.0, 15000.0)]
    facts += [batch_record("a", i, i * 1000, late.get(i * 1000, 60.0)) for i in range(30)]
    facts += [called("a", 1, 6000.0, "ServiceException")]
    facts += [called("a", 2, 16000.0, "TooManyRequestsException")]
    facts += [decided("a", 4000, 0.5), decided("a", 6000, 0.0), decided("a", 14000, 0.7)]
    facts += [decided("a", 16000, 0.2)]
    first, second = outcomes(made(tmp_path, facts))
    assert (first.normal_ms, second.normal_ms) == (2500.0, 2200.0)
    assert first.failed == {"ServiceException": 1}
    assert second.failed == {"TooManyRequestsException": 1}
    assert (first.share_before, first.share_least, first.share_after) == (0.5, 0.0, 0.7)
    assert (second.share_before, second.share_least) == (0.7, 0.2)
    (table,) = say_faults.tables(made(tmp_path / "again", facts))
    assert table.rows[0][1:3] == ["2", "3 / 0 / 0"]
    assert "2 faults in 1 jobs" in table.note


def test_a_call_after_the_lease_of_a_silent_controller_is_counted(tmp_path: Path) -> None:
    facts = [surge_record("a"), ledger("a"), broken("a", "controller-frozen")]
    facts += [called("a", 1, 6000.0), called("a", 2, 8000.0), called("a", 3, 9500.0)]
    (outcome,) = outcomes(made(tmp_path, facts))
    assert outcome.outlived == 1


def test_what_is_not_known_is_no_zero(tmp_path: Path) -> None:
    facts = [surge_record("a"), broken("a", "disk-full", ok=False, error="the job is lost")]
    facts += [surge_record("b"), broken("b", "frozen", from_ms=None, not_broken="nobody to freeze")]
    (table,) = say_faults.tables(made(tmp_path, facts))
    rows = {row[0].partition(":")[0]: row for row in table.rows}
    assert rows["disk-full"][2] == rows["disk-full"][3] == "—"
    assert rows["frozen"][1] == "0 of 1"
    assert "disk-full failed: the job is lost." in table.note
    assert "frozen not broken: nobody to freeze." in table.note


def test_what_is_recorded_of_a_fault_for_the_readme_says_the_same(tmp_path: Path) -> None:
    facts = [surge_record("a"), ledger("a"), broken("a", "nonsense"), decided("a", 4000, 0.5)]
    facts += [batch_record("a", i, i * 1000, 1500.0 if i == 6 else 60.0) for i in range(20)]
    facts += [called("a", i, i * 500.0, None if i % 2 else "ServiceException") for i in range(30)]
    whole = made(tmp_path / "whole", facts)
    kept = [({"kind": kind, **fields}) for kind, fields in facts]
    fewer = [(x.pop("kind"), x) for x in list(record.told(kept))]
    assert len(fewer) < len(facts)
    assert say_faults.tables(made(tmp_path / "kept", fewer))[0].rows == (
        say_faults.tables(whole)[0].rows
    )


def test_order_is_told_where_it_was_asked_for(tmp_path: Path) -> None:
    facts = [surge_record("a", ordered=True), ledger("a", out_of_order=3), broken("a", "errors")]
    (table,) = say_faults.tables(made(tmp_path, facts))
    assert table.rows[0][table.columns.index("out of order")] == "3"


def test_an_unknown_fault_is_refused_with_those_that_there_are() -> None:
    result = CliRunner().invoke(main, ["faults", "--fault", "earthquake"])
    assert result.exit_code == 2
    assert "tokenizer-killed" in result.output


def test_a_soak_fits_its_minutes_and_ends_in_calm() -> None:
    spells = soak.plan(5, ["python", "java"], True, seed=3)
    assert spells == soak.plan(5, ["python", "java"], True, seed=3)
    load = soak.shape(spells, 5)
    assert len(load.rates) == 300 and set(load.rates[-10:]) == {load.base}
    assert {spell.language for spell in spells} == {"python", "java"}
    assert any(spell.fault for spell in spells)


def held(at_ms: float, memory_mb: float) -> Fact:
    return "soak", {
        "surge": "a",
        "at_ms": at_ms,
        "role": "worker",
        "pid": 7,
        "memory_mb": memory_mb,
        "threads": 40,
        "files": 100,
    }


@pytest.mark.parametrize(("grows_mb", "verdict"), [(0.0, "Flat"), (1.0, "Grew")])
def test_a_soak_names_what_grew(grows_mb: float, verdict: str, tmp_path: Path) -> None:
    load = {"shape": "trace", "rates": [40.0] * 100, "every": 1.0, "base": 40.0}
    facts = [surge_record("a", shape=load, length_s=100.0), ledger("a")]
    facts += [held(s * 1000.0, 700 + grows_mb * s) for s in range(100)]
    facts += [batch_record("a", s, s * 1000.0, 60.0) for s in range(100)]
    (table,) = say_soak.tables(made(tmp_path, facts))
    assert verdict in table.note
    assert ("worker (memory, MB)" in table.note) == (grows_mb > 0)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize(
    "fault", ["another-answer", "tokenizer-killed", "service-frozen", "rescale-up"]
)
def test_a_fault_loses_nothing(fault: str, target: Target, tmp_path: Path) -> None:
    once = fault == "rescale-up"
    times = 1 if once else 2
    planned = faults.plan((fault,), times, "node", "operator", ordered=True, seed=1, surge_s=6.0)
    with Run("faults", target=target, results=tmp_path) as run:
        faults.measure(target, run, planned, worker_cpu=0.4, capacity_per_s=500.0)

    (e,) = evidence.load([run.folder])
    found = outcomes(e)
    assert len(found) == times and len({x.job for x in found}) == 1
    for outcome in found:
        assert outcome.ok and outcome.broken, outcome
        assert (outcome.lost, outcome.duplicated, outcome.wrong) == (0, 0, 0)
        assert outcome.out_of_order == 0
        if fault == "another-answer":
            assert outcome.failed.keys() == {"WrongAnswer"}
        if fault == "tokenizer-killed":
            assert outcome.restarts
