"""What the calls of one surge are charged: also those that failed, timed out or came too late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from bench.facts.cost import Architecture, Usage


@dataclass(frozen=True)
class Bill:
    """Calls from a surge's start on, and warming up.

    Attributes:
        once: paid once a surge: cold starts and warm-up.
        running: paid for as long as the surge lasts.
        is_at_least: whether some call's billed time is not known, so that it is more than this.
    """

    once: Usage
    running: Usage
    is_at_least: bool

    @classmethod
    def of_invocations(
        cls, found: pd.DataFrame, calls: pd.Series[Any] | None, begin_ms: float
    ) -> Bill | None:
        """Of `invocation` records, those sent from `begin_ms` on; None if no memory is known."""
        paid = found[found["sent_ms"] >= begin_ms]
        memory = found["memory_mb"].dropna()
        memory_mb = float(memory.iloc[-1]) if len(memory) else _memory(calls)
        if memory_mb is None:
            return None
        # a throttled call was never run, so there is nothing to bill
        run = paid[~paid["failure"].fillna("").str.contains("TooManyRequests|Throttl|429")]
        return cls._of(run, calls, memory_mb)

    @classmethod
    def of_batches(
        cls, batches: pd.DataFrame, calls: pd.Series[Any] | None, begin_ms: float
    ) -> Bill | None:
        """Where there are no records of the calls: of the batches due from `begin_ms` on."""
        memory_mb = _memory(calls)
        paid = batches[(batches["due_first_ms"] >= begin_ms) & (batches["way"] != "local")]
        return None if memory_mb is None else cls._of(paid, calls, memory_mb)

    @classmethod
    def _of(cls, paid: pd.DataFrame, calls: pd.Series[Any] | None, memory_mb: float) -> Bill:
        init_ms = paid["init_ms"].fillna(0)
        billed_ms = paid["billed_ms"]
        started_ms = float(init_ms.where(billed_ms.notna(), 0).clip(upper=billed_ms).sum())
        warm_up, warm_up_ms = (
            0.0 if calls is None or pd.isna(calls[c]) else float(calls[c])
            for c in ("warm_up_calls", "warm_up_billed_ms")
        )
        return cls(
            once=Usage.of(warm_up, started_ms + warm_up_ms, memory_mb),
            running=Usage.of(len(paid), float(billed_ms.sum()) - started_ms, memory_mb),
            is_at_least=bool(billed_ms.isna().any()),
        )

    def usd(self, architecture: Architecture = "x86_64") -> float:
        """The list price of the whole surge."""
        return self.once.usd(architecture) + self.running.usd(architecture)

    def per_hour(self, seconds: float) -> Usage:
        """What goes on, scaled from a surge of so many seconds to an hour of surge; cold starts and
        warm-up, which come once, are not in it."""
        return self.running.scaled(3600 / seconds)


def _memory(calls: pd.Series[Any] | None) -> float | None:
    return None if calls is None or pd.isna(calls["memory_mb"]) else float(calls["memory_mb"])
