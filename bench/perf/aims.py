"""What a perf command ends with: every figure beside its aim."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate


@dataclass(frozen=True)
class Aim:
    """A figure and the most or the least that it may be.

    Attributes:
        what: the figure's name, its unit included.
        value: as it was measured; None where it could not be, which misses the aim.
        most, least: the bounds, inclusive; one of them or both.
        digits: after the point, as it is printed.
    """

    what: str
    value: float | None
    most: float | None = None
    least: float | None = None
    digits: int = 2

    @property
    def is_met(self) -> bool:
        return (
            self.value is not None
            and (self.most is None or self.value <= self.most)
            and (self.least is None or self.value >= self.least)
        )

    @property
    def row(self) -> list[str]:
        """What is printed of it."""
        bounds = [
            f"{sign} {bound:,.{self.digits}f}"
            for sign, bound in (("≥", self.least), ("≤", self.most))
            if bound is not None
        ]
        value = "—" if self.value is None else f"{self.value:,.{self.digits}f}"
        return [self.what, value, ", ".join(bounds), "yes" if self.is_met else "MISSED"]


def conclude(aims: Sequence[Aim]) -> None:
    """Print every figure beside its aim; exit with code 1 if one is missed."""
    headers = ["figure", "measured", "aim", "met"]
    print()
    print(tabulate([x.row for x in aims], headers, tablefmt="github", disable_numparse=True))
    missed = sum(not x.is_met for x in aims)
    if missed:
        sys.exit(f"{missed} of {len(aims)} aims missed")
