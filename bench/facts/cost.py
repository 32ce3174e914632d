"""What AWS would charge for calls, from their billed milliseconds and memory, and for workers.

Prices are data with a date; nothing else here knows one. On a local process the billed time is
this machine's, so a cost computed from it is an estimate and is to be called that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["x86_64", "arm64"]


@dataclass(frozen=True)
class Prices:
    """List prices in USD: of AWS Lambda, without free tier, and the free tier of a month; of
    Managed Service for Apache Flink, which sells workers as KPUs (1 vCPU, 4 GB), each with running
    storage, and charges some more KPUs an application for orchestration.

    Initialisation of managed zip runtimes is billed since 2025-08-01, so the billed milliseconds
    of a cold call include it.
    """

    as_of: str
    region: str
    gb_second: dict[Architecture, float]
    request: float
    free_requests: int
    free_gb_seconds: int
    kpu_hour: float
    storage_gb_month: float
    storage_gb_per_kpu: int
    orchestration_kpus: int


PRICES = Prices(
    as_of="2026-11",
    region="us-east-1",
    gb_second={"x86_64": 0.0000166667, "arm64": 0.0000133334},
    request=0.20 / 1_000_000,
    free_requests=1_000_000,
    free_gb_seconds=400_000,
    kpu_hour=0.11,
    storage_gb_month=0.10,
    storage_gb_per_kpu=50,
    orchestration_kpus=1,
)


HOURS_IN_A_MONTH = 730


def kpus_usd_per_hour(kpus: float, prices: Prices = PRICES) -> float:
    """An hour of so many KPUs and of the running storage that comes with each."""
    storage = prices.storage_gb_per_kpu * prices.storage_gb_month / HOURS_IN_A_MONTH
    return kpus * (prices.kpu_hour + storage)


@dataclass(frozen=True)
class Usage:
    """What is charged for: calls, and the memory held for the time billed."""

    requests: float
    gb_seconds: float

    @classmethod
    def of(cls, calls: float, billed_ms: float, memory_mb: float) -> Usage:
        """Of `calls` calls billed `billed_ms` altogether in functions of `memory_mb` MiB."""
        return cls(calls, billed_ms / 1000 * memory_mb / 1024)

    def scaled(self, factor: float) -> Usage:
        """`factor` times as much, e.g. 1e6 / sentences for a million of them."""
        return Usage(self.requests * factor, self.gb_seconds * factor)

    def usd(self, architecture: Architecture = "x86_64", prices: Prices = PRICES) -> float:
        """The list price, without free tier."""
        return self.requests * prices.request + self.gb_seconds * prices.gb_second[architecture]

    def free_tier_share(self, prices: Prices = PRICES) -> float:
        """The share of a month's free tier used up: of requests or GB-s, whichever is larger."""
        return max(self.requests / prices.free_requests, self.gb_seconds / prices.free_gb_seconds)
