"""Money: what a run may cost, told and agreed to before it begins, kept to, and told at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from bench.facts.cost import PRICES, Usage

# Assumed for the estimate alone, in ms billed: above what any of our functions took with one CPU.
COLD_MS = 1000.0
WARM_MS = 50.0
# Failures for which no function was called, or whose calls are counted elsewhere.
_NO_CALLS = {"MemoryRefused", "TargetError", "FlinkError"}
# The shortest that a call in flight can be, so that there cannot be more of them.
_SHORTEST_MS = 5.0


class Overspent(click.ClickException):
    """A run has cost as much as it may. No failure of a target's: who goes on after one of those
    must not go on after this."""


@dataclass(frozen=True)
class Expected:
    """The most that a run is expected to use."""

    calls: float = 0.0
    gb_seconds: float = 0.0

    @classmethod
    def of(cls, calls: float, billed_ms: float, memory_mb: float) -> Expected:
        """`calls` calls, each billed `billed_ms`, of a function with so much memory."""
        return cls(calls, calls * billed_ms / 1000 * memory_mb / 1024)

    @classmethod
    def in_flight(cls, calls: int, seconds: float, memory_mb: float) -> Expected:
        """So many calls in flight all the time, however short they are."""
        return cls.of(calls * seconds * 1000 / _SHORTEST_MS, _SHORTEST_MS, memory_mb)

    def __add__(self, other: Expected) -> Expected:
        return Expected(self.calls + other.calls, self.gb_seconds + other.gb_seconds)

    @property
    def usd(self) -> float:
        return Usage(self.calls, self.gb_seconds).usd()

    def __str__(self) -> str:
        return (
            f"at most about {self.calls:,.0f} calls and ${self.usd:,.4f} "
            f"(list prices of {PRICES.region}, {PRICES.as_of}, without free tier; assumed: "
            f"{COLD_MS:g} ms a cold start, {WARM_MS:g} ms a warm call)"
        )


@dataclass
class Spending:
    """What the records of a run say was billed.

    Attributes:
        max_usd: more is not to be spent; None: there is no limit.
    """

    max_usd: float | None = None
    calls: float = 0.0
    gb_seconds: float = 0.0
    unknown: float = 0.0

    @property
    def usd(self) -> float:
        return Usage(self.calls, self.gb_seconds).usd()

    def expects(self, more: Expected) -> None:
        """Raise Overspent unless there is money left for so much more."""
        if self.max_usd is not None and self.usd + more.usd > self.max_usd:
            raise Overspent(
                f"spent ${self.usd:.4f} of --max-usd {self.max_usd:g}, and stopped: what comes "
                f"next may cost ${more.usd:.4f}"
            )

    def wrote(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Count a record of calls.

        Raises:
            Overspent: that was the last that may be spent.
        """
        match kind:
            case "cold" | "call":
                self._add(1, fields.get("billed_ms"), fields.get("memory_mb"))
            case "failure":
                if fields.get("error") in _NO_CALLS:
                    return
                self._add(1, None, None)
            case "lambda":
                calls = fields["calls"] + (fields.get("warm_up_calls") or 0)
                billed_ms = fields["billed_ms"] + (fields.get("warm_up_billed_ms") or 0.0)
                self._add(calls, billed_ms, fields.get("memory_mb"))
                if fields.get("memory_mb") is not None:
                    self.unknown += (fields.get("timed_out") or 0) + (fields.get("late") or 0)
            case _:
                return
        if self.max_usd is not None and self.usd >= self.max_usd:
            raise Overspent(f"spent ${self.usd:.4f} of --max-usd {self.max_usd:g}, and stopped")

    def _add(self, calls: int, billed_ms: float | None, memory_mb: float | None) -> None:
        self.calls += calls
        if billed_ms is None or memory_mb is None:
            self.unknown += calls
        else:
            self.gb_seconds += Usage.of(calls, billed_ms, memory_mb).gb_seconds

    def __str__(self) -> str:
        unknown = f", of which {self.unknown:,.0f} told no time" if self.unknown else ""
        return f"spent: {self.calls:,.0f} calls{unknown}, ${self.usd:.4f} at list prices"
