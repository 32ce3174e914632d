"""Rates that were seen somewhere, to replay; README.md beside this file says where."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from flink_job.load.shapes import Trace

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.txt")))

_EVERY = re.compile(r"#\s*every:\s*([\d.]+)\s*s\s*$")


@dataclass(frozen=True)
class Recorded:
    """A trace as it was recorded.

    Attributes:
        rates: one a line of the file, in whatever unit.
        every_s: how long a line lasted.
    """

    rates: tuple[float, ...]
    every_s: float

    def replayed(self, median_rate: float, speed: float | None = None) -> Trace:
        """The trace as a shape, scaled so that the median of its rates is `median_rate`, which the
        load stays at when it is over.

        Args:
            speed: how many times as fast as it was; None: a line a second.

        Raises:
            ValueError: its median is zero, so that nothing can be scaled by it.
        """
        middle = median(self.rates)
        if middle <= 0:
            raise ValueError("half of the rates or more are zero: their median cannot be scaled")
        rates = tuple(rate / middle * median_rate for rate in self.rates)
        return Trace(rates, self.every_s / speed if speed else 1.0, median_rate)


def read(name: str) -> Recorded:
    """The trace that is called `name` here, or else the file of that path: a rate a line, with
    comments from `#` on, of which `# every: N s` says how long a line lasted (1 s by default).

    Raises:
        ValueError: no such trace, or a line that is no rate; says which.
    """
    path = Path(__file__).with_name(f"{name}.txt") if name in NAMES else Path(name)
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"no trace {name!r} ({error}); there are {', '.join(NAMES)}, or give a file"
        ) from None
    rates, every_s = [], 1.0
    for number, line in enumerate(lines, 1):
        if said := _EVERY.match(line):
            every_s = float(said[1])
        if not (text := line.partition("#")[0].strip()):
            continue
        try:
            rate = float(text)
        except ValueError:
            rate = math.nan
        if not 0 <= rate < math.inf:
            raise ValueError(f"{name}, line {number}: {text!r} is no rate, a number from 0 up")
        rates.append(rate)
    if not rates or every_s <= 0:
        raise ValueError(f"{name} holds no rates; write one a line")
    return Recorded(tuple(rates), every_s)
