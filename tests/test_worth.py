"""`bench worth`: what is run, what is made of looks at the saturated job and of the records, and
what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cluster.metrics import fresh
from bench.experiments import worth as experiment
from bench.experiments.calibrate import Look
from bench.report import build
from bench.report.draw import worth as plots
from bench.report.gather import evidence, worth
from bench.report.gather.evidence import Evidence
from bench.report.gather.worth import Own
from bench.report.say import worth as say
from tests import synthetic

pytestmark = pytest.mark.beside

QUOTA = 0.4
THROUGH_US = 6.0
WEIGHTS_US = {"words": 5.0, "subwords": 60.0}
BYTES = {10: 60.0, 100: 600.0}


def call_cost_us(size: int, bytes_: float) -> float:
    """What a sentence in a call costs in these records."""
    return 1000.0 / size + 10.0 + 0.02 * bytes_


def fact(
    language: str | None, operator: str, length: int, size: int, **fields: Any
) -> tuple[str, dict[str, Any]]:
    weight_us = WEIGHTS_US[operator] * length / 10
    cpu_us = THROUGH_US + (call_cost_us(size, BYTES[length]) if language else weight_us)
    called = {
        "max_in_flight": 8,
        "call_cpu_us": 9.0,
        "calls_per_s": 100.0,
        "in_flight": 4.0,
        "unanswered_calls": 0,
        "call_ms": 20.0,
        "call_p99_ms": 100.0,
        "duration_ms": 5.0,
        "billed_ms": 6.0,
        "memory_mb": 1769.0,
    }
    alone = {"local_cpu_us": weight_us}
    return "worth", {
        "language": language,
        "operator": operator,
        "words_per_sentence": length,
        "bytes": BYTES[length],
        "batch_size": size,
        "worker_cpu": QUOTA,
        "worker_limit": "cgroup v2",
        "per_s": QUOTA * 1e6 / cpu_us,
        "windows_per_s": [QUOTA * 1e6 / cpu_us] * 6,
        "steady": True,
        "share_called": 1.0 if language else 0.0,
        "worker_cpu_us": cpu_us,
        "windows_cpu_us": [cpu_us * x for x in (0.95, 1.0, 1.0, 1.0, 1.0, 1.05)],
        "worker_cpu_used": QUOTA,
        **(called if language else alone),
        **fields,
    }


def facts() -> Iterator[tuple[str, dict[str, Any]]]:
    for operator in WEIGHTS_US:
        for length in BYTES:
            for size in (10, 100, 1000):
                for language in (None, "java"):
                    yield fact(language, operator, length, size)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("results") / "20261125T100000Z-worth"
    (e,) = evidence.load([synthetic.write(folder, facts())])
    return e


def test_each_work_is_measured_here_and_in_each_language_and_those_stay_together() -> None:
    planned = experiment.plan(("java", "node"), ("words",), (10, 100), (10, 100))
    assert [x.ordinal for x in planned] == list(range(1, 13))
    for i in range(0, 12, 3):
        turn = planned[i : i + 3]
        assert len({(x.words_per_sentence, x.batch_size) for x in turn}) == 1
        assert {x.language for x in turn} == {None, "java", "node"}
        assert all((x.method == "always") == (x.language is not None) for x in turn)
    orders = [tuple(x.language for x in planned[i : i + 3]) for i in range(0, 12, 3)]
    assert len(set(orders)) > 1, "who comes first is drawn"


def test_figures_are_of_the_steady_windows_alone() -> None:
    """Four windows of warm-up, in which all is ten times as dear, then six of which a quarter is
    done here."""
    looks, counted, cpu_s = [Look(0.0, {}, 0.0)], dict.fromkeys(experiment.LOCAL, 0.0), 0.0
    counted |= dict.fromkeys(experiment.CALLS, 0.0)
    for window in range(10):
        dear = 10.0 if window < 4 else 1.0
        counted = {
            "localRecords": counted["localRecords"] + 100,
            "localCpuNs": counted["localCpuNs"] + 100 * 60_000 * dear,
            "calledRecords": counted["calledRecords"] + 300,
            "callCpuNs": counted["callCpuNs"] + 300 * 9_000 * dear,
        }
        cpu_s += 400 * 30e-6 * dear
        looks.append(Look((window + 1) * 2.0, counted, cpu_s))
    found = experiment.figures(looks)
    assert found["per_s"] == 200
    assert found["share_called"] == 0.75
    assert found["local_cpu_us"] == pytest.approx(60)
    assert found["call_cpu_us"] == pytest.approx(9)
    assert found["worker_cpu_us"] == pytest.approx(30)
    assert found["windows_cpu_us"] == pytest.approx([30] * 6)
    assert found["worker_cpu_used"] == pytest.approx(0.006)


def test_a_look_waits_for_an_answer_that_is_new() -> None:
    """Flink answers with what it had, as often as it is asked, until its fetch is back."""
    answers = iter([1, 1, 1, 1, 2, 3])
    assert fresh(lambda: next(answers)) == 2
    assert fresh(lambda: 7) == 7, "a job that stands still has no new one"


def test_calls_are_told_by_those_that_came_late_in_the_job_and_were_answered() -> None:
    looks = [Look(float(i), {"calls": 10.0 * i, "callsInFlight": 3.0}, 0.0) for i in range(11)]
    calls = [
        {
            "outcome": "answered" if i % 2 else "failed",
            "wall_ms": 500.0 if i < 200 else 20.0,
            "duration_ms": None if i % 3 else 5.0,
            "billed_ms": None if i % 3 else 6.0,
            "memory_mb": None if i % 3 else 512.0,
        }
        for i in range(400)
    ]
    found = experiment.call_figures(calls, looks)
    assert found["calls_per_s"] == 10
    assert found["in_flight"] == 3
    assert found["call_ms"] == 20 and found["call_p99_ms"] == 20
    assert (found["duration_ms"], found["billed_ms"], found["memory_mb"]) == (5, 6, 512)
    few = experiment.call_figures(calls[-20:], looks)
    assert few["call_p99_ms"] is None, "too few for a p99"


def test_break_even_is_what_a_call_costs_whatever_the_work_weighs(measured: Evidence) -> None:
    found = worth.points(measured)
    assert len(found) == 12
    for p in found:
        cost = p.break_even_us
        assert cost is not None and cost.least is not None and cost.most is not None
        assert cost.value == pytest.approx(call_cost_us(p.batch_size, p.bytes))
        assert cost.least < cost.value < cost.most
        assert (p.relief > 1) == (p.weight_us > cost.value)
        assert p.relief == pytest.approx(p.relief_by_cpu)
        assert p.held_back_by == "worker"


def test_what_is_done_here_beside_the_calls_is_not_their_cost(tmp_path: Path) -> None:
    """A quarter found no free call: the process then spends what both cost together."""
    here_us, called_us = 60 + THROUGH_US, call_cost_us(100, 60) + THROUGH_US
    both_us = 0.25 * here_us + 0.75 * called_us
    mixed = {
        "share_called": 0.75,
        "worker_cpu_us": both_us,
        "windows_cpu_us": [both_us] * 6,
        "worker_cpu_used": 0.2,
    }
    mostly_here = {"share_called": 0.1}
    run = synthetic.write(
        tmp_path / "20261125T100000Z-worth",
        iter(
            [
                fact(None, "subwords", 10, 100),
                fact("java", "subwords", 10, 100, **mixed),
                fact("node", "subwords", 10, 100, **mostly_here),
                fact("node", "words", 10, 100),  # nothing to hold it against
            ]
        ),
    )
    (e,) = evidence.load([run])
    java, node = worth.points(e)
    assert java.break_even_us is not None
    assert java.break_even_us.value == pytest.approx(call_cost_us(100, 60))
    assert java.held_back_by == "calls"
    assert node.break_even_us is None and node.relief_by_cpu is None
    (table,) = say.tables(e)
    assert "Node" not in table.note


def test_the_answer_says_from_which_weight_on_and_what_is_worth_it(measured: Evidence) -> None:
    (table,) = say.tables(measured)
    # 1,000 µs a call and 10 a sentence, and 0.02 for each of 60 or 600 bytes
    assert "111–122 µs in calls of 10, 21.2–32.0 µs in calls of 100" in table.note
    assert "worth it: subwords of 10 words (calls of 100, 1,000)" in table.note
    assert "not: subwords of 10 words (calls of 10), words of 10 words (calls of 10, " in table.note
    assert len(table.rows) == 12
    (plot,) = plots.plots(measured)
    assert plot.name == "worth-java"
    assert "a call costs the worker 12.2 to 122 µs" in plot.title


def test_the_report_has_a_part_of_it(measured: Evidence, tmp_path: Path) -> None:
    run = synthetic.write(tmp_path / "20261125T100000Z-worth", facts())
    text = build.build([run], tmp_path / "report").with_name("report.md").read_text()
    assert "## Worth offloading" in text and "worth-java" in text


@pytest.mark.parametrize(
    ("us", "bytes_", "verdict", "beyond"),
    [
        (350.0, 300.0, "**Worth it**: calls of 100 records", False),
        (350.0, 1200.0, "**Worth it**", True),
        (5000.0, 300.0, "**Worth it**: calls of 10 records", True),
        (15.0, 60.0, "**It helps, but not enough**", False),
        (10.0, 300.0, "**Not worth it**", False),
    ],
)
def test_an_operator_of_ones_own_gets_an_answer_that_says_where_it_extrapolates(
    measured: Evidence, us: float, bytes_: float, verdict: str, beyond: bool
) -> None:
    table = say.own(measured, Own(us, bytes_, "java", factor=3.0))
    assert table is not None
    assert table.note.startswith(verdict)
    assert ("Beyond what was measured" in table.note) == beyond
    assert "scaling out" in table.note


def test_a_surge_needs_the_share_that_leaves_the_worker_what_it_can_do(
    measured: Evidence,
) -> None:
    own = Own(350.0, 300.0, "java", factor=2.0)
    (_, middle, _) = worth.expected(worth.points(measured), own)
    cost_us = call_cost_us(100, 300)
    relief = (350 + THROUGH_US) / (cost_us + THROUGH_US)
    assert middle.break_even_us.value == pytest.approx(cost_us)
    assert middle.relief == pytest.approx(relief)
    assert middle.share is not None and middle.calls_per_s is not None
    offered_per_s = 2 * QUOTA * 1e6 / (350 + THROUGH_US)
    worker_us = (1 - middle.share) * (350 + THROUGH_US) + middle.share * (cost_us + THROUGH_US)
    assert offered_per_s * worker_us / 1e6 == pytest.approx(0.9 * QUOTA)
    assert middle.calls_per_s == pytest.approx(middle.share * offered_per_s / 100)
    # 35 ms of work, 15 ms that calls took on top of theirs; half as many again as the mean
    assert middle.call_ms == pytest.approx(50)
    assert middle.in_flight == pytest.approx(middle.calls_per_s * 0.05 * 1.5)


def test_more_calls_in_flight_than_were_measured_are_said_to_be_so(measured: Evidence) -> None:
    table = say.own(measured, Own(20_000.0, 300.0, "java", factor=40.0))
    assert table is not None
    assert "calls in flight, measured were 8 at most" in table.note


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--own-us", "350", "--language", "java"], "bench worth java makes them"),
        (["--bytes", "400"], "say its weight too"),
        (["java", "--own-us", "350"], "--language"),
        (["--own-us", "nan"], "not a number above 0"),
        (["--batch-size", "0"], "integers from 1 up"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_to_do(
    line: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.facts.records.RESULTS", tmp_path)
    result = CliRunner().invoke(main, ["worth", *line])
    assert result.exit_code != 0
    assert says in result.output
    assert "Traceback" not in result.output


def test_the_newest_records_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.facts.records.RESULTS", tmp_path)
    synthetic.write(tmp_path / "20261125T100000Z-worth", facts())
    result = CliRunner().invoke(main, ["worth", "--own-us", "350", "--bytes", "400"])
    assert result.exit_code == 0, result.output
    assert "An operator of 350 µs and 400 bytes a record, offloaded to Java" in result.output


def test_what_was_measured_with_more_subtasks_shows_how_it_grows_and_nothing_else(
    tmp_path: Path,
) -> None:
    def grown() -> Iterator[tuple[str, dict[str, Any]]]:
        for n, times in ((1, 1.0), (2, 1.9), (4, 2.5)):
            yield fact(None, "words", 10, 100, parallelism=n, per_s=1000.0 * times)
            yield fact("java", "words", 10, 100, parallelism=n, per_s=500.0 * times)

    (e,) = evidence.load([synthetic.write(tmp_path / "20261122T100000Z-worth", grown())])
    assert len(worth.points(e)) == 1
    _, table = say.tables(e)
    assert [row[1:4] for row in table.rows] == [
        ["1", "1,000 (1.00×)", "500 (1.00×)"],
        ["2", "1,900 (1.90×)", "950 (1.90×)"],
        ["4", "2,500 (2.50×)", "1,250 (2.50×)"],
    ]


def test_each_number_of_subtasks_is_planned_with_each_work() -> None:
    planned = experiment.plan(("java",), ("words",), (10,), (100,), subtasks=(1, 2))
    assert sorted((x.parallelism, x.language or "here") for x in planned) == [
        (1, "here"), (1, "java"), (2, "here"), (2, "java"),
    ]  # fmt: skip
