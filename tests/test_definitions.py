"""What the figures of a surge mean, on records whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.report import build
from bench.report.gather import calls, evidence, latency, surges
from bench.report.gather.evidence import Evidence
from bench.report.gather.surges import Setting, Surge
from bench.report.say import answer, metrics, money, relief
from tests import synthetic

pytestmark = pytest.mark.beside

Records = Iterator[tuple[str, dict[str, Any]]]
START_MS = 5000.0
WINDOW = (START_MS, 15_000.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def one(tmp_path: Path, facts: Records, name: str = "20261122T100000Z-surge") -> Evidence:
    (group,) = evidence.load([synthetic.write(tmp_path / name, facts)])
    return group


def setting(tmp_path: Path, facts: Records) -> Setting:
    (found,) = surges.settings(surges.surges(one(tmp_path, facts)))
    return found


def batches(latency_ms: Callable[[float], float], length_ms: float = 30_000.0) -> pd.DataFrame:
    """A batch of 10 sentences every 25 ms; `latency_ms` of the due time."""
    due = np.arange(0, length_ms, 25.0)
    return pd.DataFrame(
        {
            "due_first_ms": due,
            "due_last_ms": due,
            "count": 10,
            "sink_ms": due + [latency_ms(x) for x in due],
            "way": "local",
        }
    )


# Normal, and normal again


def test_normal_is_taken_from_what_was_at_the_sink_before_the_surge() -> None:
    """A second of calm that is still under way when the surge begins says nothing of calm."""
    s = latency.sentences(batches(lambda t: 100.0 if t < 4000 else 3000.0))
    assert latency.normal_ms(s, WINDOW) == 100.0


def test_all_arms_of_a_setting_have_one_normal(tmp_path: Path) -> None:
    def facts() -> Records:
        yield from synthetic.surge(rng(), "a", "none", None)
        for kind, fields in synthetic.surge(rng(), "b", "operator", "java"):
            if kind == "batch" and fields["due_first_ms"] < START_MS:
                fields = {**fields, "sink_ms": fields["sink_ms"] + 4000}  # a slow start
            yield kind, fields

    arms = setting(tmp_path, facts()).arms
    assert len({a.value("normal_ms") for a in arms}) == 1


@pytest.mark.parametrize(
    ("during", "after", "back_after_ms"),
    [(100.0, 100.0, 0.0), (200.0, 100.0, 10_000.0), (400.0, 400.0, float("inf"))],
)
def test_what_takes_twice_as_long_all_through_the_surge_is_not_back_before_its_end(
    during: float, after: float, back_after_ms: float
) -> None:
    def one_of(t: float) -> float:
        return 100.0 if t < WINDOW[0] else during if t < WINDOW[1] else after

    s = latency.sentences(batches(one_of))
    assert latency.recovery_ms(s, WINDOW, 100.0) == back_after_ms


def test_one_sentence_in_ten_that_is_late_is_not_normal() -> None:
    s = latency.sentences(batches(lambda t: 500.0 if t >= START_MS and t % 250 == 0 else 100.0))
    assert latency.recovery_ms(s, WINDOW, 100.0) == float("inf")


def test_what_is_not_back_is_shown_so_and_counts_as_later_than_anything(tmp_path: Path) -> None:
    def facts() -> Records:
        # without offload the queue is still there at the end
        for i in range(3):
            yield from synthetic.surge(rng(), f"n-{i}", "none", None, repetition=i)

    found = setting(tmp_path, facts())
    base = found.baseline
    assert base is not None and base.value("recovery_ms") == float("inf")
    cells = {row[0]: row[1] for row in relief.surge(found).rows}
    assert cells["latency normal again after, ms"].startswith("> 19,")


def test_excess_is_what_was_waited_beyond_normal_until_the_queue_is_gone() -> None:
    s = latency.sentences(batches(lambda t: 1100.0 if START_MS <= t < 20_000 else 100.0))
    # 15 s of 400 sentences/s, each a second too long; five seconds of them after the surge
    assert latency.excess_s(s, WINDOW, 100.0) == pytest.approx(6000)


# Quantiles count batches


@pytest.mark.parametrize(("n", "is_given"), [(99, False), (100, True)])
def test_a_high_quantile_needs_a_hundred_batches_however_many_sentences(
    n: int, is_given: bool
) -> None:
    s = latency.sentences(batches(lambda t: t, 25.0 * n))
    assert s.count == 10 * n and s.batches == n
    assert (s.tail(0.99) is not None) == is_given


# Waiting


def test_waiting_is_parted_and_what_is_not_parted_stays_in_sight() -> None:
    frame = pd.DataFrame(
        {f"{p}_ms": [np.nan, np.nan] for p in latency.PARTS}
        | {"waiting_ms": [100.0, 100.0], "filling_ms": [50.0, np.nan]}
        | {"queueing_ms": [30.0, np.nan], "call_wait_ms": [20.0, np.nan]}
    )
    parts = latency.parts_of(frame)
    assert list(parts["filling"]) == [50.0, 0.0]
    assert list(parts["waiting"]) == [0.0, 100.0]
    assert list(parts.sum(axis=1)) == [100.0, 100.0]


# Detection


def test_detection_is_the_moment_of_the_decision_and_missing_it_is_infinite(tmp_path: Path) -> None:
    def facts() -> Records:
        yield from synthetic.surge(rng(), "a", detection_ms=600)
        for kind, fields in synthetic.surge(rng(), "b"):
            yield kind, fields | ({"overloaded": False} if kind == "decision" else {})

    a, b = surges.surges(one(tmp_path, facts()))
    assert a.detection_ms == 750.0  # the first of its decisions, every 250 ms, after 600 ms
    assert b.detection_ms == float("inf")


def test_false_alarms_are_counted_by_their_beginnings_with_a_bound_an_hour(tmp_path: Path) -> None:
    def facts() -> Records:
        for kind, fields in synthetic.surge(rng(), "a"):
            early = kind == "decision" and fields["at_ms"] in (1000.0, 1250.0, 3000.0)
            yield kind, fields | ({"overloaded": True} if early else {})

    found = setting(tmp_path, facts())
    (surge,) = found.arms[0].surges
    assert (surge.false_alarms, surge.calm_hours) == (2, 5 / 3600)
    said = "\n".join(answer.answer(one(tmp_path, facts(), "20261122T100001Z-surge"), [found]))
    assert "2 false alarms in 0.0833 minutes of calm, so at most 4,533 an hour" in said


def test_a_surge_that_the_worker_can_just_do_is_no_overload_to_be_seen(tmp_path: Path) -> None:
    def facts(factor: float) -> Records:
        for kind, fields in synthetic.surge(rng(), "a"):
            if kind == "surge":
                fields |= {"base": 0.5, "factor": factor, "capacity_per_s": 1000.0}
            yield kind, fields

    (just,) = setting(tmp_path / "just", facts(2.0)).arms[0].surges
    (more,) = setting(tmp_path / "more", facts(2.1)).arms[0].surges
    assert just.detection_ms is None
    assert more.detection_ms is not None


def test_a_load_without_a_surge_is_calm_all_along_unless_the_worker_can_just_do_it(
    tmp_path: Path,
) -> None:
    def facts(base: float) -> Records:
        for kind, fields in synthetic.surge(rng(), "a"):
            if kind == "surge":
                fields["shape"] |= {"factor": 1.0}
                fields |= {"base": base, "factor": 1.0, "capacity_per_s": 1000.0}
            elif kind == "decision":
                fields["overloaded"] = fields["at_ms"] in (1000.0, 8000.0)
            elif kind == "sample":
                fields["backlog"] = 700.0 if fields["at_ms"] == 8000.0 else 100.0
            yield kind, fields

    found = setting(tmp_path / "calm", facts(0.8))
    (calm,) = found.arms[0].surges
    assert (calm.false_alarms, calm.false_alarms_behind) == (2, 1)
    assert calm.calm_hours == calm.window[1] / 3_600_000
    assert (calm.detection_ms, calm.to_zero_ms) == (None, None)
    said = "\n".join(answer.answer(one(tmp_path / "again", facts(0.8)), [found]))
    assert "2 false alarms (1 of them with half a second's work waiting) in" in said
    (edge,) = setting(tmp_path / "edge", facts(0.97)).arms[0].surges
    assert (edge.false_alarms, edge.calm_hours, edge.detection_ms) == (0, 0.0, None)


# Which metric shows it


@pytest.mark.parametrize("duration", [2.0, 60.0])
def test_the_threshold_of_a_metric_does_not_hang_on_the_bursts_length(
    tmp_path: Path, duration: float
) -> None:
    def facts() -> Records:
        length = START_MS / 1000 + duration + 5
        for kind, fields in synthetic.surge(
            rng(), "a", "none", None, duration=duration, length=length
        ):
            if kind == "sample":
                grown = max(0.0, fields["at_ms"] - START_MS) * 2.5
                fields = {**fields, "backlog": 20.0 + grown, "gauges": {}}
            yield kind, fields

    base = setting(tmp_path, facts()).baseline
    assert base is not None
    (backlog,) = [m for m in metrics.shown(base.surges[0]) if m.metric.startswith("backlog")]
    assert backlog.threshold == 21.0  # the calm's 20, and 5 %
    assert backlog.delay_ms == 500.0  # 250 ms in it is beyond, the alarm is at the second sample


def test_a_smoothed_gauge_is_judged_only_after_a_calm_longer_than_it_looks_back(
    tmp_path: Path,
) -> None:
    def facts(start: float) -> Records:
        for kind, fields in synthetic.surge(
            rng(), "a", "none", None, base=80, capacity=150, start=start, length=start + 15
        ):
            if kind == "sample":
                busy = 900.0 if fields["at_ms"] > (start + 3) * 1000 else 300.0
                fields = {**fields, "gauges": {"tokenizer.busyTimeMsPerSecond": busy}}
            yield kind, fields

    for start, name in ((5.0, "20261122T100000Z-a"), (70.0, "20261122T100001Z-b")):
        base = surges.settings(surges.surges(one(tmp_path, facts(start), name)))[0].baseline
        assert base is not None
        (gauge,) = [m for m in metrics.shown(base.surges[0]) if m.is_gauge]
        assert gauge.needs_calm == (start < 60)
        assert gauge.is_seen == (start > 60)


def test_all_repetitions_count_and_one_miss_of_three_does_not_hide(tmp_path: Path) -> None:
    def facts() -> Records:
        for i in range(3):
            for kind, fields in synthetic.surge(rng(), f"a-{i}", "none", None, repetition=i):
                if kind == "sample" and i == 0:
                    fields = {**fields, "tokenizer_busy": 0.5}
                yield kind, fields

    table = metrics.table(setting(tmp_path, facts()))
    assert table is not None
    (busy,) = [row for row in table.rows if row[0] == "tokenizer busy"]
    assert busy[3].endswith("–never)") and busy[4] == "at times: missed in 1 of 3"


# Break-even


def rising(java_ms: float, python_ms: float = 1.0, environments: int = 8) -> Records:
    """Java starts 200 ms later; each of its calls takes `java_ms`, each of Python's `python_ms`."""
    for kind, fields in synthetic.cold(rng(), n=8):
        init_ms = 250.0 if fields["language"] == "java" else 50.0
        if fields["accepted"]:
            yield kind, {**fields, "init_ms": init_ms, "first_call_ms": 1.0}
    for kind, fields in synthetic.compute(rng(), environments=environments, warmup=300):
        ms = java_ms if fields["language"] == "java" else python_ms
        yield kind, {**fields, "compute_ms": ms, "duration_ms": ms}


def test_java_breaks_even_when_what_it_gained_is_what_it_started_later(tmp_path: Path) -> None:
    even = calls.break_even(one(tmp_path, rising(0.5)))
    assert even is not None and even.estimate is not None
    assert even.estimate.value == pytest.approx(1 + 200 / 0.5, abs=1.5)
    assert even.estimate.low is not None and len(even.calls) == 8


def test_java_that_gains_nothing_never_breaks_even(tmp_path: Path) -> None:
    even = calls.break_even(one(tmp_path, rising(1.0)))
    assert even is not None and set(even.calls) == {float("inf")}


def test_passes_that_are_not_steady_do_not_say_what_comes_later(tmp_path: Path) -> None:
    def falling() -> Records:
        for kind, fields in rising(0.9):
            if kind == "call" and fields["language"] == "java":
                fields = {**fields, "duration_ms": 20.0 / fields["call_number"] ** 0.8}
            yield kind, fields

    even = calls.break_even(one(tmp_path, falling()))
    assert even is not None and even.estimate is None and even.unsteady == 8


def test_a_run_without_cold_starts_says_nothing_of_breaking_even(tmp_path: Path) -> None:
    assert calls.break_even(one(tmp_path, synthetic.compute(rng(), warmup=300))) is None


# What may be set side by side


def run_of(tmp_path: Path, name: str, languages: tuple[str, ...], revision: str = "0") -> Path:
    machine = {**synthetic.MACHINE, "git_revision": revision * 40}
    facts = synthetic.cold(rng(), n=8, languages=languages)
    return synthetic.write(tmp_path / name, facts, machine=machine, languages=list(languages))


def test_a_run_of_one_language_does_not_enter_a_comparison(tmp_path: Path) -> None:
    whole = run_of(tmp_path, "20261122T100000Z-cold", synthetic.LANGUAGES)
    alone = run_of(tmp_path, "20261122T100001Z-cold", ("python",))
    (e,) = evidence.load([whole, alone])
    assert set(calls.cold_samples(e)["run"]) == {whole.name}
    assert e.pooling() == [f"cold: left out, not all languages in them: {alone.name}"]


def test_runs_of_other_code_are_not_pooled(tmp_path: Path) -> None:
    old = run_of(tmp_path, "20261122T100000Z-cold", synthetic.LANGUAGES, "1")
    new = run_of(tmp_path, "20261122T100001Z-cold", synthetic.LANGUAGES, "2")
    (e,) = evidence.load([old, new])
    assert set(calls.cold_samples(e)["run"]) == {new.name}
    assert f"cold: left out, of other code than {new.name}: {old.name}" in e.pooling()


def test_languages_from_different_runs_are_not_ranked(tmp_path: Path) -> None:
    folders = [
        run_of(tmp_path, f"20261122T10000{i}Z-cold", (x,))
        for i, x in enumerate(synthetic.LANGUAGES)
    ]
    (e,) = evidence.load(folders)
    assert "nothing is compared across them" in e.pooling()[0]
    assert "Take " not in "\n".join(answer.answer(e, []))


# Money


def test_cold_starts_are_paid_once_a_surge_and_not_by_the_hour(tmp_path: Path) -> None:
    (surge,) = surges.surges(one(tmp_path, synthetic.surge(rng(), "a")))
    bill = surge.bill
    assert bill is not None and not bill.is_at_least
    billed_s = surge.invocations["billed_ms"].sum() / 1000
    init_s = surge.invocations["init_ms"].sum() / 1000
    gb = 1769 / 1024
    assert bill.once.gb_seconds == pytest.approx(init_s * gb)
    assert bill.running.gb_seconds == pytest.approx((billed_s - init_s) * gb)
    assert bill.per_hour(10.0).gb_seconds == pytest.approx((billed_s - init_s) * gb * 360)


def test_calls_that_failed_or_came_late_are_billed_and_unknown_ones_make_it_at_least(
    tmp_path: Path,
) -> None:
    def facts() -> Records:
        number = 0
        for kind, fields in synthetic.surge(rng(), "a"):
            if kind == "invocation":
                number += 1
                if number == 1:
                    fields = {**fields, "outcome": "failed", "failure": "Unhandled"}
                if number == 2:
                    fields = {**fields, "outcome": "late", "billed_ms": None}
            yield kind, fields

    found = setting(tmp_path, facts())
    (surge,) = found.arms[0].surges
    assert surge.bill is not None and surge.bill.is_at_least
    assert surge.bill.running.requests == len(surge.invocations)
    assert (surge.counts["failed"], surge.counts["late"]) == (1, 1)
    table = money.per_surge(found)
    assert table is not None and table.rows[0][2].startswith("≥ $")


def test_calls_and_workers_turn_over_at_a_share_of_the_time_for_both_roundings(
    tmp_path: Path,
) -> None:
    found = setting(tmp_path, synthetic.surge(rng(), "a"))
    turn = money.turning(found, found.arms[0])
    assert turn is not None
    # 800 → 4,000 sentences/s; half a CPU does 1,500; a KPU is used to 80 %: 1/3 and 5/3 KPUs
    assert turn[0].kpus == pytest.approx(4 / 3)
    assert turn[1].kpus == 1
    hour = found.arms[0].value("usd_per_hour_x86_64")
    assert hour is not None
    kpu_hour = 0.11 + 50 * 0.10 / 730
    assert turn[1].share == pytest.approx(kpu_hour / hour)


# Cold arms, and partial runs


def test_a_cold_arm_whose_cold_starts_nobody_waited_for_is_said_so(tmp_path: Path) -> None:
    def facts() -> Records:
        for kind, fields in synthetic.surge(rng(), "a"):
            if kind == "batch":
                fields = {**fields, "bring_up_ms": 0.0, "init_ms": None}
            yield kind, fields

    table = relief.surge(setting(tmp_path, facts()))
    assert "No cold start was waited for in the surge by: Python" in table.note


def only(kinds: set[str], facts: Records) -> Records:
    return ((kind, fields) for kind, fields in facts if kind in kinds)


PARTIAL: dict[str, Callable[[], Records]] = {
    "nothing": lambda: iter(()),
    "cold starts of one language": lambda: synthetic.cold(rng(), n=2, languages=("java",)),
    "one pass": lambda: synthetic.compute(rng(), environments=1, warmup=3, sizes=(100,)),
    "no offload alone": lambda: synthetic.surge(rng(), "a", "none", None),
    "offload alone": lambda: synthetic.surge(rng(), "a", "operator", "node"),
    "always alone": lambda: synthetic.surge(rng(), "a", "always", "java"),
    "scaling out alone": lambda: synthetic.surge(rng(), "a", "scale-out", None),
    "a surge that died": lambda: only({"surge", "batch"}, synthetic.surge(rng(), "a")),
    "no batch reached the sink": lambda: only({"surge"}, synthetic.surge(rng(), "a")),
    "no calm before": lambda: synthetic.surge(rng(), "a", "none", None, start=0.0),
    "an arm and a language once": lambda: (
        fact
        for method, language in (("none", None), ("operator", "python"), ("scale-out", None))
        for fact in synthetic.surge(rng(), method, method, language)
    ),
}


@pytest.mark.parametrize("name", PARTIAL)
def test_a_partial_run_makes_a_report(tmp_path: Path, name: str) -> None:
    run = synthetic.write(tmp_path / "20261122T100000Z-run", PARTIAL[name]())
    page = build.build([run], tmp_path / "report")
    text = (page.parent / "report.md").read_text(encoding="utf-8")
    assert "**Not in these runs:**" in text
    assert "nan" not in text and "None" not in text


def test_a_surge_alone_is_its_own_kin(tmp_path: Path) -> None:
    (surge,) = surges.surges(one(tmp_path, synthetic.surge(rng(), "a")))
    assert isinstance(surge, Surge)
    assert replace(surge, kin=[]).normal_ms == surge.own_normal_ms
