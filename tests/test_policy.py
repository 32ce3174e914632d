"""Policies as specified: four figures by replay, amounts by arithmetic, reasons in words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.steering.policy import POLICIES, Decision, Profile, Sample, Settings, policy
from bench.steering.policy.amount import NOTHING, amount
from bench.steering.policy.default import Default
from bench.steering.replay import closed
from bench.steering.replay.closed import SETTINGS, Figures
from bench.steering.replay.judge import alarms, detection_ms, p95, to_zero_ms
from bench.steering.replay.traces import over_ms, read_traces, replay
from bench.steering.simulation import Noise, latencies_ms, simulate
from flink_job.load.shapes import Constant, Sine, Surge, parse

TRACES = sorted((Path(__file__).parent / "data" / "traces").glob("*.jsonl"))
PROFILE = Profile(cold_start_ms=1000.0, compute_ms=10.0, shipping_ms=40.0)
KNOWS = Settings(batch_size=100, linger_ms=50.0, max_in_flight=10, profile=PROFILE)


# ------------------------------------------------------------------ the four figures


@pytest.fixture(scope="module", params=[True, False], ids=["schedule known", "not known"])
def figures(request: pytest.FixtureRequest) -> Figures:
    return closed.figures(closed.rule("default"), schedule_known=request.param)


def test_a_surge_is_detected_within_a_second(figures: Figures) -> None:
    assert len(figures.detection_ms) == 20
    assert p95(figures.detection_ms) <= 1000


def test_ten_minutes_at_80_percent_load_with_noise_raise_no_alarm(figures: Figures) -> None:
    assert figures.false_alarms == 0


def test_nothing_is_offloaded_any_more_5_seconds_after_the_surge(figures: Figures) -> None:
    assert p95(figures.to_zero_ms) <= 5000


def test_the_policy_does_not_flap_at_the_threshold(figures: Figures) -> None:
    assert figures.flaps <= 1


def test_the_figures_tell_a_bad_policy_from_a_good_one() -> None:
    found = closed.figures(closed.rule("threshold"))
    assert found.false_alarms > 100
    assert found.flaps > 20


# ------------------------------------------------------------------ in the model of the job


def p99_ms(name: str, settings: Settings = SETTINGS) -> float:
    return closed.relief(closed.rule(name, settings), settings).p99_ms


def test_the_default_relieves_a_surge_nearly_as_well_as_the_oracle() -> None:
    default, oracle, sponge = p99_ms("default"), p99_ms("oracle"), p99_ms("sponge")
    assert oracle < default < 1000 < 10_000 < sponge
    assert p99_ms("default", replace(SETTINGS, is_warm=True)) < 3 * oracle


def test_warming_up_while_the_load_rises_saves_the_cold_start() -> None:
    shape = Sine(low=1000, high=6000, period=40)
    slow = replace(SETTINGS, profile=replace(SETTINGS.profile, cold_start_ms=2000.0))

    def p99_ms(settings: Settings) -> float:
        rule = policy("default", settings)
        course = simulate(rule, shape, 40, 2000, settings, Noise(load=0.05), seed=0)
        return float(np.percentile(latencies_ms(course.made, 0, 40), 99))

    assert p99_ms(replace(slow, warms_up=True)) < p99_ms(slow) / 2


def test_the_model_without_offload_is_the_queue_that_arithmetic_says() -> None:
    """20 s at 4,000/s, of which 2,000/s are done: 40,000 sentences, 20 s, are left at the end."""
    shape = Surge(base=1000, factor=4, start=5, duration=20)
    settings = replace(SETTINGS, max_in_flight=1)
    quiet = Noise(service=0.0, pause_ms=0.0)
    course = simulate(_Nothing(settings), shape, 30, 2000, settings, quiet, seed=1)
    assert sum(made.batch.count for made in course.made) == shape.count(30)
    assert course.calls == course.cold_starts == 0
    last = max(latencies_ms(course.made, 24.9, 25.0))
    assert last == pytest.approx(20_000, rel=0.02)


class _Nothing(Default):
    def step(self, state, sample):  # type: ignore[no-untyped-def]
        return state, Decision(False, 0.0, 0, "told to do nothing")


def test_a_profile_that_promises_too_much_is_found_out() -> None:
    """Measured in peace a call took 6 ms; in the surge, on a busy machine, it takes 120."""
    shape = parse("surge:base=1000,factor=4,start=5,duration=20")
    told = replace(SETTINGS, max_in_flight=8, profile=Profile(150.0, 3.0, 3.0))
    real = replace(told, profile=Profile(300.0, 117.0, 3.0))
    course = simulate(policy("default", told), shape, 30, 2000, real, Noise(), seed=3)
    assert np.percentile(latencies_ms(course.made, 5, 25), 99) < 1500
    reasons = [d.reason for d in course.decisions]
    assert any("calls of 6 ms, taken for" in reason for reason in reasons)


# ------------------------------------------------------------------ how much


def test_the_share_is_what_the_local_tokenizer_cannot_do() -> None:
    """Planned at 90 % of 1,000/s, it takes 900 of 3,600: three quarters go."""
    found = amount(3600, 1000, 0, replace(KNOWS, max_in_flight=1000))
    assert found.share == pytest.approx(0.75)
    # 27 batches a second, in flight for a call of 50 ms and a local batch of 100, and half as many
    # again to spare; a call that is three times as slow needs more.
    assert found.in_flight == math.ceil(27 * 0.150 * 1.5)
    slow = amount(3600, 1000, 0, replace(KNOWS, max_in_flight=1000), slowness=3.0)
    assert slow == replace(found, in_flight=math.ceil(27 * 0.250 * 1.5))


def test_a_backlog_is_to_be_gone_in_the_time_to_catch_up() -> None:
    plenty = replace(KNOWS, max_in_flight=1000, catch_up_s=2.0)
    assert amount(2000, 1000, 3200, plenty) == amount(3600, 1000, 0, plenty)
    assert amount(800, 1000, 0, plenty) == NOTHING


@pytest.mark.parametrize("demand", [1000, 5000, 50_000, 1e7])
@pytest.mark.parametrize("most", [1, 2, 8])
def test_it_never_asks_for_more_than_the_concurrency_limit_gives(demand: float, most: int) -> None:
    settings = replace(KNOWS, max_in_flight=most)
    found = amount(demand, 1000, 10_000, settings)
    assert 1 <= found.in_flight <= most
    # As many batches as that many calls can carry, and no more.
    carried = most / 0.150 * 100
    assert found.share <= carried / (carried + 900) + 1e-9
    assert found.limited == (demand + 10_000 / settings.catch_up_s - 900 > carried)


def test_a_small_batch_needs_more_calls_for_the_same_sentences() -> None:
    plenty = replace(KNOWS, max_in_flight=1000)
    small = replace(plenty, batch_size=10)
    assert amount(5000, 1000, 0, small).in_flight >= 3 * amount(5000, 1000, 0, plenty).in_flight


# ------------------------------------------------------------------ overloaded, and why


def run(settings: Settings, samples: Iterator[Sample]) -> list[Decision]:
    rule = policy("default", settings)
    state, decisions = rule.start(), []
    for sample in samples:
        state, decision = rule.step(state, sample)
        decisions.append(decision)
    return decisions


def calm(polls: int) -> Iterator[Sample]:
    """80 % load, 0.25 s of it always on its way."""
    return (Sample(i * 250.0, 800, 800, 800, 200, 1, 0, 0, 0.8, 0.2, 0) for i in range(polls))


def flooded(polls: int, first: int = 20) -> Iterator[Sample]:
    """4,000/s offered and 1,000/s done, from poll `first` on."""
    yield from calm(first)
    for i in range(polls):
        behind = 200 + 750 * (i + 1)
        at_ms = (first + i) * 250.0
        yield Sample(at_ms, 4000, 1000, 1000, behind, 0, 0, 1, 1.0, 0.0, 0)


def test_a_decision_is_explained_in_one_line_with_its_figures() -> None:
    before, *_, after = run(KNOWS, flooded(4))
    assert "\n" not in before.reason + after.reason
    healthy = run(KNOWS, calm(10))[-1]
    assert healthy == replace(healthy, overloaded=False, share=0.0, in_flight=0)
    assert healthy.reason == "healthy: 800/s wanted, 1,000/s local, 0 behind (0.0 s)"
    assert after.overloaded
    assert after.reason.startswith(
        "overloaded: 4,000/s wanted, 1,000/s local, 2,200 behind (2.2 s)"
    )
    assert after.reason.endswith(f"{after.share:.0%} to Lambda in {after.in_flight} calls of 50 ms")


def test_the_limit_is_named_where_it_decides() -> None:
    last = run(replace(KNOWS, max_in_flight=2), flooded(4))[-1]
    assert last.in_flight == 2
    assert last.reason.endswith("in 2 calls of 50 ms (the limit is 2)")


def test_without_calls_the_verdict_is_the_same_and_nothing_is_offloaded() -> None:
    decisions = run(replace(KNOWS, max_in_flight=0), flooded(4))
    assert [d.overloaded for d in decisions] == [d.overloaded for d in run(KNOWS, flooded(4))]
    assert all((d.share, d.in_flight) == (0.0, 0) for d in decisions)


def test_one_bad_poll_is_no_overload() -> None:
    """A pause, then the rest of the work at once: the tokenizer is busy for one poll."""
    pause = Sample(20 * 250.0, 1100, 1100, 1000, 500, 1, 0, 0, 1.0, 0.0, 0)
    assert not any(d.overloaded for d in run(KNOWS, iter([*calm(20), pause])))


def test_relief_does_not_look_like_the_end_of_the_surge() -> None:
    """Once offloading works, nothing waits and the tokenizer is half idle; the load is still on."""
    relieved = (
        Sample(6000 + i * 250.0, 4000, 4000, 4000, 1000, 1, 0, 0, 0.5, 0.5, 0) for i in range(100)
    )
    decisions = run(KNOWS, iter([*flooded(4), *relieved]))
    assert all(d.overloaded and d.share > 0.5 for d in decisions[24:])


def test_a_burst_shorter_than_the_cold_start_is_not_worth_offloading() -> None:
    short, long = replace(KNOWS, expected_burst_s=0.8), replace(KNOWS, expected_burst_s=10.0)
    decision = run(short, flooded(1))[-1]
    assert decision.overloaded
    assert (decision.share, decision.in_flight) == (0.0, 0)
    assert "not worth it: the burst is over in 0.8 s" in decision.reason
    assert "the first answer of a cold start comes in 1.1 s" in decision.reason
    assert run(long, flooded(1))[-1].share > 0
    assert run(replace(short, is_warm=True), flooded(1))[-1].share > 0
    # It turned out longer, or left a queue that lasts longer than the start: now it is worth it.
    assert run(short, flooded(4))[-1].share > 0


def test_samples_without_a_schedule_or_without_metrics_are_no_accident() -> None:
    for gap in (
        Sample(0.0),
        Sample(0.0, tokenizer_busy=1.0),
        Sample(0.0, offered_per_s=0.0, processed_per_s=0.0, backlog=0, tokenizer_busy=0.0),
    ):
        for name in ("default", "sponge", "threshold"):
            rule = policy(name, KNOWS)
            state, decision = rule.step(rule.start(), gap)
            assert decision.reason
            rule.step(state, gap)


def test_a_job_that_starts_overloaded_learns_its_capacity_first() -> None:
    decisions = run(KNOWS, flooded(8, first=0))
    assert "capacity not known yet" in next(d for d in decisions if d.overloaded).reason
    assert decisions[-1].share > 0


# ------------------------------------------------------------------ the references


def test_sponge_follows_its_published_rule() -> None:
    """Queue delay over 2 s; 1 - processed / input + 0.1, at most 0.95; then 10 s of rest."""
    rule = policy("sponge", KNOWS)
    state, at_rest = rule.step(rule.start(), Sample(0.0, 1000, 1000, 1000, 1900))
    assert at_rest.share == 0
    state, decision = rule.step(state, Sample(1000.0, 2000, 1000, 1000, 2100))
    assert decision.share == pytest.approx(0.6)
    state, rested = rule.step(state, Sample(10_900.0, 2000, 2000, 2000, 0))
    assert rested == decision
    state, over = rule.step(state, Sample(11_000.0, 2000, 2000, 2000, 0))
    assert over.share == 0
    _, most = rule.step(state, Sample(30_000.0, 20_000, 1000, 1000, 9000))
    assert most.share == 0.95


def test_the_oracle_decides_before_the_surge_and_warms_up_before_that() -> None:
    shape = parse("surge:base=500,factor=4,start=10,duration=20")
    rule = policy("oracle", KNOWS, shape, capacity_per_s=1000)
    decisions = {at_s: rule.step(None, Sample(at_s * 1000.0))[1] for at_s in (5, 8.5, 9.5, 20, 31)}
    assert not decisions[5].warm
    assert decisions[8.5].warm > 0
    assert decisions[8.5].share == 0
    assert decisions[9.5].share == decisions[20].share > 0.5
    assert decisions[31].share == 0
    with pytest.raises(ValueError, match="has to know"):
        policy("oracle", KNOWS)


def test_an_unknown_policy_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="there are default, sponge, threshold, oracle"):
        policy("hope", KNOWS)


# ------------------------------------------------------------------ recorded metrics


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_recorded_surges_are_seen_in_time_and_nothing_else(path: Path) -> None:
    for trace in read_traces(path):
        course = replay(policy("default", trace.settings), trace)
        if isinstance(trace.shape, Constant):
            assert not alarms(course)
            continue
        assert isinstance(trace.shape, Surge)
        start_ms = trace.shape.start * 1000
        assert all(at >= start_ms for at in alarms(course))
        assert detection_ms(course, start_ms) <= 1000
        end_ms = over_ms(trace)
        assert end_ms is None or to_zero_ms(course, end_ms) <= 5000


def test_a_trace_is_labelled_by_where_it_comes_from() -> None:
    for path in TRACES:
        simulated = path.stem.startswith("simulated")
        assert all((t.source == "simulated") == simulated for t in read_traces(path))


def test_a_torn_or_foreign_file_is_a_clear_message(tmp_path: Path) -> None:
    torn = tmp_path / "records.jsonl"
    torn.write_text(TRACES[0].read_text()[:-40])
    assert read_traces(torn)
    assert read_traces(tmp_path)  # a run's folder
    torn.write_text(json.dumps({"v": 1, "kind": "end", "ok": True, "seconds": 1.0}))
    with pytest.raises(click.ClickException, match="holds no surge with samples"):
        read_traces(torn)
    with pytest.raises(click.ClickException, match="holds no"):
        read_traces(tmp_path / "nowhere.jsonl")


def test_the_command_prints_every_policy_beside_the_oracle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(closed, "FACTORS", (4.0,))
    monkeypatch.setattr(closed, "THRESHOLD_LOADS", (1.0,))
    monkeypatch.setattr(closed, "REPETITIONS", 1)
    result = CliRunner().invoke(main, ["policy", "--replay", str(TRACES[0])])
    assert result.exit_code == 0, result.output
    for title in ("Four figures", "How near", "while the load rises", "over recorded metrics"):
        assert title in result.output
    assert all(result.output.count(f"| {name} ") >= 2 for name in POLICIES)
