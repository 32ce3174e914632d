"""One clock for all processes of a job on one machine, which no step of the wall clock moves.

It is the kernel's monotonic clock, moved once to where the epoch was when the harness looked. A
process on another machine, where that clock is another one, goes by its own wall clock as it was
when the process began: its machine must keep time (NTP) for latencies to mean anything.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Anchor:
    """Where the epoch is on the monotonic clock of the machine that booted as `boot_id`."""

    boot_id: str
    offset_s: float


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


_anchor = Anchor(_boot_id(), time.time() - time.monotonic())


def anchor() -> Anchor:
    """This process's, for others to adopt."""
    return _anchor


def adopt(other: Anchor | None) -> None:
    """Go by the clock of another process, if it is one of this machine."""
    global _anchor
    if other is not None and other.boot_id == _anchor.boot_id:
        _anchor = other


def now_s() -> float:
    """Epoch seconds."""
    return time.monotonic() + _anchor.offset_s


def now_ms() -> float:
    """Epoch milliseconds."""
    return now_s() * 1000
