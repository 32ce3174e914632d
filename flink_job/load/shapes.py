"""Rate shapes: how many sentences are due when, and the batches that follow from it.

A shape is open loop: it says when sentence n is *due*, whatever the job can take. Sentence n is due
at the moment the shape's integral reaches n, so sentence 0 is due at 0 and everything here can be
computed again from the shape alone, by the source, by the ledger and after the run.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar

# A whole number of sentences that floating point puts a hair above itself is still that number.
_HAIR = 1e-6
# Parameters that are rates, by name.
_RATES = ("base", "low", "high", "rates")
# Parameters that are lengths of time that come again and again, so that none may be zero.
_LASTING = ("period", "every")
# In the notation, rates are parted by this.
_BETWEEN_RATES = "/"


class Shape(ABC):
    """A rate over time, in sentences/s, and its integral. Times are seconds since the start."""

    name: ClassVar[str]

    @abstractmethod
    def rate(self, t_s: float) -> float:
        """Momentary rate at `t_s`, in sentences/s."""

    @abstractmethod
    def integral(self, t_s: float) -> float:
        """Integral of the rate from 0 to `t_s`, in sentences, in closed form."""

    @abstractmethod
    def due_s(self, n: int) -> float:
        """When sentence `n` (from 0) is due; `inf` if the rate never gets there."""

    def count(self, t_s: float) -> int:
        """Sentences due before `t_s`."""
        return max(0, math.ceil(self.integral(t_s) - _HAIR))

    @property
    @abstractmethod
    def peak(self) -> float:
        """The highest rate, in sentences/s."""

    def times(self, factor: float) -> Shape:
        """The same shape with all its rates multiplied."""
        rates = {
            name: tuple(x * factor for x in rate) if isinstance(rate, tuple) else rate * factor
            for name in _RATES
            if (rate := getattr(self, name, None)) is not None
        }
        return replace(self, **rates)  # type: ignore[type-var]

    def __str__(self) -> str:
        """The shape as `parse` reads it."""
        values = asdict(self)  # type: ignore[call-overload]
        return f"{self.name}:" + ",".join(f"{key}={_text(x)}" for key, x in values.items())

    def to_dict(self) -> dict[str, Any]:
        """The shape as a record holds it; `from_dict` reads it."""
        return {"shape": self.name, **asdict(self)}  # type: ignore[call-overload]


class Steps(Shape):
    """Piecewise constant: the last piece for ever, or all pieces again every `_period` seconds."""

    _period: float = math.inf

    @abstractmethod
    def _pieces(self) -> list[tuple[float, float]]:
        """(start in s, rate in sentences/s), the first at 0."""

    @property
    def peak(self) -> float:
        return max(self._knots[1])

    def steps_until(self, length_s: float) -> list[tuple[float, float, float]]:
        """(start in s, end in s, rate in sentences/s) of each piece that starts before `length_s`;
        of a shape without a period."""
        starts, rates, _ = self._knots
        ends = [min(end, length_s) for end in [*starts[1:], length_s]]
        return [step for step in zip(starts, ends, rates, strict=True) if step[0] < length_s]

    @cached_property
    def _knots(self) -> tuple[list[float], list[float], list[float]]:
        """Starts, rates, and the integral at each start."""
        starts, rates = map(list, zip(*self._pieces(), strict=True))
        done = [0.0]
        for i in range(1, len(starts)):
            done.append(done[-1] + rates[i - 1] * (starts[i] - starts[i - 1]))
        return starts, rates, done

    @cached_property
    def _per_period(self) -> float:
        starts, rates, done = self._knots
        return done[-1] + rates[-1] * (self._period - starts[-1])

    def _split(self, t_s: float) -> tuple[int, float]:
        """Whole periods before `t_s`, and the time into its own."""
        if math.isinf(self._period):
            return 0, t_s
        periods = int(t_s // self._period)
        return periods, t_s - periods * self._period

    def rate(self, t_s: float) -> float:
        starts, rates, _ = self._knots
        _, within = self._split(t_s)
        return rates[bisect_right(starts, within) - 1] if t_s >= 0 else 0.0

    def integral(self, t_s: float) -> float:
        if t_s <= 0:
            return 0.0
        starts, rates, done = self._knots
        periods, within = self._split(t_s)
        i = bisect_right(starts, within) - 1
        before = periods * self._per_period if periods else 0.0
        return before + done[i] + rates[i] * (within - starts[i])

    def due_s(self, n: int) -> float:
        starts, rates, done = self._knots
        periods, left = 0, float(n)
        if not math.isinf(self._period):
            if self._per_period <= 0:
                return math.inf
            periods = int(n // self._per_period)
            left = n - periods * self._per_period
        # The last piece that starts with no more than `left` done: skips pieces of rate zero.
        i = bisect_right(done, left) - 1
        if rates[i] <= 0:
            return math.inf if math.isinf(self._period) else (periods + 1) * self._period
        offset = periods * self._period if periods else 0.0
        return offset + starts[i] + (left - done[i]) / rates[i]


@dataclass(frozen=True)
class Constant(Steps):
    """`base` sentences/s for ever."""

    name = "constant"
    base: float

    def _pieces(self) -> list[tuple[float, float]]:
        return [(0.0, self.base)]


@dataclass(frozen=True)
class Surge(Steps):
    """`base` sentences/s, but `factor` times that from `start` for `duration` (both s)."""

    name = "surge"
    base: float
    factor: float
    start: float
    duration: float

    def _pieces(self) -> list[tuple[float, float]]:
        end = self.start + self.duration
        surge = (self.start, self.base * self.factor)
        before = [(0.0, self.base)] if self.start > 0 else []
        return [*before, surge, (end, self.base)]


@dataclass(frozen=True)
class Flash(Steps):
    """`base` sentences/s; at `start` (s) at once `factor` times that, of which the excess then
    falls with time: in second k after `start` (from 1) it is k^-`alpha` of the first second's.
    After `duration` s it is gone."""

    name = "flash"
    base: float
    factor: float
    start: float
    duration: float
    alpha: float

    def _pieces(self) -> list[tuple[float, float]]:
        before = [(0.0, self.base)] if self.start > 0 else []
        excess = self.base * (self.factor - 1)
        falling = [
            (self.start + k - 1, self.base + excess * k**-self.alpha)
            for k in range(1, math.ceil(self.duration) + 1)
        ]
        return [*before, *falling, (self.start + self.duration, self.base)]


@dataclass(frozen=True)
class Trace(Steps):
    """`rates` (sentences/s) one after another, each for `every` s, then `base` for ever."""

    name = "trace"
    rates: tuple[float, ...]
    every: float
    base: float

    def _pieces(self) -> list[tuple[float, float]]:
        return [(i * self.every, rate) for i, rate in enumerate((*self.rates, self.base))]


@dataclass(frozen=True)
class Doubling(Steps):
    """Starts at `base` sentences/s and doubles every `every` s, `steps` times."""

    name = "doubling"
    base: float
    every: float
    steps: float

    def _pieces(self) -> list[tuple[float, float]]:
        return [(i * self.every, self.base * 2.0**i) for i in range(int(self.steps) + 1)]


@dataclass(frozen=True)
class Halving(Steps):
    """Starts at `base` sentences/s and halves every `every` s, `steps` times."""

    name = "halving"
    base: float
    every: float
    steps: float

    def _pieces(self) -> list[tuple[float, float]]:
        return [(i * self.every, self.base / 2.0**i) for i in range(int(self.steps) + 1)]


@dataclass(frozen=True)
class Ladder(Steps):
    """Starts at `base` sentences/s, doubles every `every` s, `steps` times, and halves again."""

    name = "ladder"
    base: float
    every: float
    steps: float

    def _pieces(self) -> list[tuple[float, float]]:
        up = range(int(self.steps) + 1)
        rungs = [*up, *reversed(up[:-1])]
        return [(i * self.every, self.base * 2.0**rung) for i, rung in enumerate(rungs)]


@dataclass(frozen=True)
class Square(Steps):
    """Nexmark's square wave: `low` for half a `period` (s), then `high` for the other half."""

    name = "square"
    low: float
    high: float
    period: float

    @property
    def _period(self) -> float:  # type: ignore[override]
        return self.period

    def _pieces(self) -> list[tuple[float, float]]:
        return [(0.0, self.low), (self.period / 2, self.high)]


@dataclass(frozen=True)
class Sine(Shape):
    """Nexmark's sine: from `low` up to `high` sentences/s and back within a `period` (s)."""

    name = "sine"
    low: float
    high: float
    period: float

    def rate(self, t_s: float) -> float:
        if t_s < 0:
            return 0.0
        middle, swing = (self.high + self.low) / 2, (self.high - self.low) / 2
        return middle - swing * math.cos(2 * math.pi * t_s / self.period)

    def integral(self, t_s: float) -> float:
        if t_s <= 0:
            return 0.0
        middle, swing = (self.high + self.low) / 2, (self.high - self.low) / 2
        turn = 2 * math.pi / self.period
        return middle * t_s - swing / turn * math.sin(turn * t_s)

    @property
    def peak(self) -> float:
        return max(self.low, self.high)

    def due_s(self, n: int) -> float:
        """By bisection: the integral has no closed inverse (it is Kepler's equation)."""
        middle = (self.high + self.low) / 2
        if middle <= 0:
            return math.inf
        # The sine moves the integral by at most swing·period/2π sentences, hence at most a period.
        low, high = max(0.0, n / middle - self.period), n / middle + self.period
        while high - low > 1e-9:
            half = (low + high) / 2
            if half in (low, high):
                break
            if self.integral(half) < n:
                low = half
            else:
                high = half
        return high if n else 0.0


SHAPES: dict[str, type[Shape]] = {
    shape.name: shape
    for shape in (Constant, Surge, Flash, Trace, Doubling, Halving, Ladder, Square, Sine)
}


def parse(text: str) -> Shape:
    """Read a shape from the command line, e.g. `surge:base=1000,factor=4,start=5,duration=20`.

    Raises:
        ValueError: what is wrong and how it should read.
    """
    name, _, rest = text.partition(":")
    values: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        values[key.strip()] = value
    return from_dict({**values, "shape": name.strip()})


def from_dict(values: dict[str, Any]) -> Shape:
    """The inverse of `Shape.to_dict`.

    Raises:
        ValueError: what is wrong and how it should read.
    """
    given = {key: value for key, value in values.items() if key != "shape"}
    shape = SHAPES.get(values.get("shape", ""))
    if shape is None:
        raise ValueError(f"no such shape: {values.get('shape')!r}; there are {', '.join(SHAPES)}")
    wanted = [field.name for field in fields(shape)]  # type: ignore[arg-type]
    example = f"{shape.name}:" + ",".join(f"{key}=…" for key in wanted)
    if set(given) != set(wanted):
        raise ValueError(f"{shape.name} takes exactly {', '.join(wanted)}: {example}")
    try:
        numbers = {
            key: _numbers(given[key]) if key == "rates" else float(given[key]) for key in wanted
        }
    except (TypeError, ValueError):
        raise ValueError(f"{shape.name} takes numbers: {example}") from None
    flat = [
        x for value in numbers.values() for x in (value if isinstance(value, tuple) else [value])
    ]
    if any(not math.isfinite(x) or x < 0 for x in flat) or 0 in map(numbers.get, _LASTING):
        above = " and ".join(_LASTING)
        raise ValueError(
            f"{shape.name} takes finite numbers from 0 up ({above} above 0): {example}"
        )
    return shape(**numbers)


def _text(value: float | Sequence[float]) -> str:
    if isinstance(value, float | int):
        return f"{value:g}"
    return _BETWEEN_RATES.join(f"{x:g}" for x in value)


def _numbers(values: str | Sequence[float]) -> tuple[float, ...]:
    """Raises ValueError if there are none."""
    several = values.split(_BETWEEN_RATES) if isinstance(values, str) else values
    if not several:
        raise ValueError("no rates")
    return tuple(map(float, several))


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Sentences [first, first + count), due from `due_first_s` to `due_last_s`.

    `closes_s` is when the batch is handed on: its last sentence if it is full, else its linger.
    """

    first: int
    count: int
    due_first_s: float
    due_last_s: float
    closes_s: float


def batches(shape: Shape, length_s: float, size: int, linger_ms: float) -> list[PlannedBatch]:
    """Every batch of a stream of `length_s`, in order: the whole plan, indexed by batch number.

    A batch closes when it has `size` sentences, or `linger_ms` after its first was due, or at the
    end of the stream, whichever comes first.

    Raises:
        ValueError: `size` < 1 or `linger_ms` < 0.
    """
    if size < 1 or linger_ms < 0:
        raise ValueError("a batch has at least one sentence and lingers 0 ms or longer")
    return list(_batches(shape, length_s, size, linger_ms / 1000))


def _batches(shape: Shape, length_s: float, size: int, linger_s: float) -> Iterator[PlannedBatch]:
    total = shape.count(length_s)
    first = 0
    while first < total:
        due_first_s = shape.due_s(first)
        timeout_s = min(due_first_s + linger_s, length_s)
        full_at = first + size - 1
        due_last_s = shape.due_s(full_at) if full_at < total else math.inf
        if due_last_s <= timeout_s:
            yield PlannedBatch(first, size, due_first_s, due_last_s, due_last_s)
            first += size
            continue
        count = max(1, min(shape.count(timeout_s), total, first + size) - first)
        due_last_s = shape.due_s(first + count - 1)
        yield PlannedBatch(first, count, due_first_s, due_last_s, max(timeout_s, due_last_s))
        first += count
