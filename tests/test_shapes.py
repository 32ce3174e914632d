"""Rate shapes and the batch plan: closed forms against sums, and every sentence in one batch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from flink_job.load import traces
from flink_job.load.shapes import PlannedBatch, Shape, Steps, batches, from_dict, parse

pytestmark = pytest.mark.beside

SHAPES = [
    "constant:base=333.3",
    "surge:base=1000,factor=4,start=5,duration=20",
    "surge:base=1000,factor=0.5,start=0,duration=3",
    "flash:base=100,factor=10,start=5,duration=20,alpha=1",
    "flash:base=200,factor=4,start=0,duration=2.5,alpha=0.5",
    "trace:rates=100/0/1500/300,every=2.5,base=200",
    "doubling:base=100,every=5,steps=4",
    "halving:base=1600,every=2.5,steps=5",
    "ladder:base=100,every=2,steps=3",
    "square:low=0,high=700,period=7",
    "square:low=300,high=1200,period=12",
    "sine:low=0,high=1000,period=10",
    "sine:low=200,high=900,period=30",
]
all_shapes = pytest.mark.parametrize("shape", [parse(text) for text in SHAPES], ids=str)


@all_shapes
def test_the_integral_is_the_sum_of_the_rate(shape: Shape) -> None:
    step_s = 0.001
    summed = 0.0
    for i in range(40_000):
        if i % 5_000 == 0:
            assert shape.integral(i * step_s) == pytest.approx(summed, rel=1e-3, abs=1.5)
        summed += shape.rate((i + 0.5) * step_s) * step_s


@all_shapes
def test_a_sentence_is_due_when_as_many_were_before_it(shape: Shape) -> None:
    for n in (1, 2, 77, 500, 999, 1000, 5000, 12_345):
        due_s = shape.due_s(n)
        assert shape.integral(due_s) == pytest.approx(n, abs=1e-4)
        assert shape.count(due_s - 1e-6) <= n <= shape.count(due_s + 1e-6)


@all_shapes
def test_sentences_come_in_order_and_the_first_at_once_if_there_is_a_rate(shape: Shape) -> None:
    dues = [shape.due_s(n) for n in range(2000)]
    assert dues == sorted(dues)
    assert dues[0] == 0.0 or shape.rate(0.0) == 0.0


def test_a_surge_is_its_base_times_its_factor_while_it_lasts() -> None:
    shape = parse("surge:base=1000,factor=4,start=5,duration=20")
    assert [shape.rate(t) for t in (0, 4.999, 5, 24.999, 25, 1000)] == [
        1000, 1000, 4000, 4000, 1000, 1000,
    ]  # fmt: skip
    assert shape.count(30) == 5 * 1000 + 20 * 4000 + 5 * 1000


def test_a_flash_jumps_and_its_excess_falls_by_the_power_of_time() -> None:
    shape = parse("flash:base=100,factor=9,start=5,duration=4,alpha=1")
    assert [shape.rate(t) for t in (4.9, 5, 5.9, 6, 7, 8, 9, 99)] == pytest.approx(
        [100, 900, 900, 100 + 800 / 2, 100 + 800 / 3, 100 + 800 / 4, 100, 100]
    )
    assert shape.peak == 900


def test_a_trace_is_its_rates_one_after_another_and_then_its_base() -> None:
    shape = parse("trace:rates=5/80/20,every=2,base=10")
    assert [shape.rate(t) for t in (0, 1.9, 2, 4, 6, 99)] == [5, 5, 80, 20, 10, 10]
    assert shape.count(8) == 2 * (5 + 80 + 20 + 10)


@all_shapes
def test_a_multiple_of_a_shape_has_all_its_rates_multiplied(shape: Shape) -> None:
    triple = shape.times(3.0)
    assert [triple.rate(t) for t in (0, 2, 6, 11)] == pytest.approx(
        [3 * shape.rate(t) for t in (0, 2, 6, 11)]
    )
    assert triple.peak == pytest.approx(3 * shape.peak)
    assert shape.peak == pytest.approx(max(shape.rate(k / 100) for k in range(4000)), rel=0.01)


@pytest.mark.parametrize("name", traces.NAMES)
def test_a_trace_that_comes_along_is_a_burst_over_half_the_capacity(name: str) -> None:
    shape = traces.read(name).replayed(0.5)
    assert sorted(shape.rates)[len(shape.rates) // 2] == pytest.approx(0.5, rel=0.2)
    assert shape.peak > 2, "no burst over the capacity"
    assert shape.every == 1.0


def test_the_speed_of_a_trace_is_over_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("# my own\n# every: 60 s\n10\n30  # the burst\n\n10\n")
    shape = traces.read(str(file)).replayed(0.5, speed=30)
    assert (shape.rates, shape.every, shape.base) == ((0.5, 1.5, 0.5), 2.0, 0.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\n-2\n", "line 2: '-2' is no rate"),
        ("1\nmany\n", "line 2: 'many' is no rate"),
        ("nan\n", "line 1"),
        ("# nothing\n", "holds no rates"),
        (None, "there are aapl, amzn, fb, llm-code, or give a file"),
    ],
)
def test_a_trace_that_cannot_be_read_says_where(
    text: str | None, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=says):
        traces.read(str(file))


def test_a_trace_that_is_mostly_nothing_cannot_be_scaled() -> None:
    with pytest.raises(ValueError, match="their median cannot be scaled"):
        traces.Recorded((0.0, 0.0, 9.0), 1.0).replayed(0.5)


def test_doubling_and_halving_stop_after_their_steps() -> None:
    doubling = parse("doubling:base=100,every=5,steps=3")
    halving = parse("halving:base=800,every=5,steps=3")
    assert [doubling.rate(t) for t in (0, 5, 10, 15, 20, 99)] == [100, 200, 400, 800, 800, 800]
    assert [halving.rate(t) for t in (0, 5, 10, 15, 20, 99)] == [800, 400, 200, 100, 100, 100]


def test_a_ladder_doubles_and_halves_again() -> None:
    ladder = parse("ladder:base=100,every=5,steps=2")
    assert isinstance(ladder, Steps)
    assert ladder.steps_until(25.0) == [
        (0, 5, 100), (5, 10, 200), (10, 15, 400), (15, 20, 200), (20, 25, 100),
    ]  # fmt: skip
    assert ladder.steps_until(12.0)[-1] == (10, 12, 400)


def test_square_and_sine_have_their_mean_over_a_period() -> None:
    for text in ("square:low=100,high=300,period=600", "sine:low=100,high=300,period=600"):
        shape = parse(text)
        assert shape.count(600) == shape.count(1200) - shape.count(600) == 200 * 600
        assert shape.rate(0) == 100
    assert parse("sine:low=100,high=300,period=600").rate(300) == pytest.approx(300)


def test_nothing_is_due_where_the_rate_stays_zero() -> None:
    assert parse("constant:base=0").due_s(1) == math.inf
    assert parse("constant:base=0").count(100) == 0
    # A piece without rate is skipped: the next sentence is due when the rate comes back.
    assert parse("square:low=0,high=10,period=2").due_s(10) == 3.0


@all_shapes
def test_a_shape_survives_text_and_record(shape: Shape) -> None:
    assert parse(str(shape)) == shape
    assert from_dict(shape.to_dict()) == shape


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("spike:base=1", "there are constant, surge"),
        ("surge:base=1000,factor=4", "surge:base=…,factor=…,start=…,duration=…"),
        ("constant:base=fast", "takes numbers"),
        ("constant:base=-1", "from 0 up"),
        ("constant:base=inf", "finite"),
        ("sine:low=0,high=1,period=0", "period and every above 0"),
        ("trace:rates=1/2,every=0,base=1", "period and every above 0"),
        ("trace:rates=1/x,every=1,base=1", "takes numbers"),
        ("trace:rates=,every=1,base=1", "takes numbers"),
    ],
)
def test_a_shape_that_cannot_be_read_says_how_it_should_be(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(text)


@all_shapes
@pytest.mark.parametrize(("size", "linger_ms"), [(100, 50.0), (1, 0.0), (1000, 10_000.0), (7, 3.0)])
def test_every_sentence_is_in_exactly_one_batch(shape: Shape, size: int, linger_ms: float) -> None:
    length_s = 9.0
    plan = batches(shape, length_s, size, linger_ms)
    assert [b.first for b in plan] == [0, *(b.first + b.count for b in plan)][: len(plan)]
    assert sum(b.count for b in plan) == shape.count(length_s)
    for batch in plan:
        assert 1 <= batch.count <= size
        assert batch.due_first_s == shape.due_s(batch.first)
        assert batch.due_last_s == shape.due_s(batch.first + batch.count - 1)
        assert batch.due_first_s <= batch.due_last_s <= batch.closes_s <= length_s + 1e-6
        assert batch.closes_s <= batch.due_first_s + linger_ms / 1000 + 1e-6


def test_a_batch_closes_when_full_or_when_it_has_lingered() -> None:
    shape = parse("surge:base=100,factor=100,start=1,duration=1")
    plan = batches(shape, 2.0, 100, 50.0)
    slow, fast = plan[0], plan[-1]
    assert slow == PlannedBatch(0, 5, 0.0, 0.04, 0.05)
    assert fast.count == 100
    assert fast.closes_s == fast.due_last_s


def test_a_plan_needs_a_size_and_a_time() -> None:
    with pytest.raises(ValueError, match="at least one sentence"):
        batches(parse("constant:base=1"), 1.0, 0, 50.0)
