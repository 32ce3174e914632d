"""The CPU share of an execution environment, by its memory size: 1,769 MB are one CPU.

Source: the AWS Lambda developer guide, "Configure Lambda function memory".
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from bench import cgroup
from bench.cgroup import PERIOD_US

MB_PER_CPU = 1769
# All environments together, against a process outside. On AWS nothing else wants their share;
# here a Flink cluster of dozens of threads does, and one group of usual weight would starve.
_TIMES_USUAL_WEIGHT = 10


def cpus(memory_mb: int) -> float:
    """CPUs that an environment may use."""
    return memory_mb / MB_PER_CPU


class Group(cgroup.Group):
    """The control group of one environment."""

    def __init__(self, folder: Path, memory_mb: int, v2: bool) -> None:
        super().__init__(folder, cpus(memory_mb), v2)
        self._memory_mb = memory_mb

    def lend_for_init(self) -> None:
        """A whole CPU at least, as AWS gives to an init: it takes no longer at 128 MB there."""
        self.limit(max(1.0, cpus(self._memory_mb)))

    def restore(self) -> None:
        """The share of its memory size."""
        self.limit(cpus(self._memory_mb))

    async def remove(self) -> None:
        """Remove the group; the last of its killed processes may take a moment to be gone."""
        for _ in range(500):
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class CpuShares:
    """Makes the groups of environments."""

    groups: cgroup.Groups

    @classmethod
    def open(cls) -> CpuShares | None:
        """None where the machine does not let us set CPU shares."""
        groups = cgroup.Groups.open(_TIMES_USUAL_WEIGHT)
        return cls(groups) if groups else None

    @property
    def folder(self) -> Path:
        return self.groups.folder

    def __str__(self) -> str:
        return f"{self.groups.name}, period {PERIOD_US // 1000} ms"

    def group(self, name: str, memory_mb: int) -> Group:
        return Group(self.folder / name, memory_mb, self.groups.v2)

    def close(self) -> None:
        """Remove all groups, with whatever still runs in them."""
        self.groups.close()
