"""The CPU share of an execution environment, by its memory size: 1,769 MB are one CPU.

Source: the AWS Lambda developer guide, "Configure Lambda function memory". Enforced by the kernel's
CPU bandwidth control (`cpu.cfs_quota_us` in cgroup v1, `cpu.max` in v2) where we may set it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

MB_PER_CPU = 1769
PERIOD_US = 20_000
# All environments together, against a process outside. On AWS nothing else wants their share;
# here a Flink cluster of dozens of threads does, and one group of usual weight would starve.
_TIMES_USUAL_WEIGHT = 10
_PREFIX = "lambda-burst-"


def quota_us(memory_mb: int) -> int:
    """CPU time per period; the kernel refuses less than 1,000 µs."""
    return max(1000, PERIOD_US * memory_mb // MB_PER_CPU)


class Group:
    """The control group of one environment. A process that writes `0` to the file `joins` joins it.

    In v1 that is the list of threads: a process just forked has one, and moving it alone spares it
    the kernel's lock over all processes, which costs 10 ms and more.
    """

    def __init__(self, folder: Path, memory_mb: int, v2: bool) -> None:
        folder.mkdir()
        self._folder = folder
        self._memory_mb, self._v2 = memory_mb, v2
        self.joins = folder / ("cgroup.procs" if v2 else "tasks")
        if not v2:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        self.restore()

    def lend_for_init(self) -> None:
        """A whole CPU at least, as AWS gives to an init: it takes no longer at 128 MB there."""
        self._limit(quota_us(max(self._memory_mb, MB_PER_CPU)))

    def restore(self) -> None:
        """The share of its memory size."""
        self._limit(quota_us(self._memory_mb))

    def _limit(self, us: int) -> None:
        if self._v2:
            (self._folder / "cpu.max").write_text(f"{us} {PERIOD_US}")
        else:
            (self._folder / "cpu.cfs_quota_us").write_text(str(us))

    def kill(self) -> None:
        """End what runs in it, also what has left its process group."""
        _kill_all(self._folder)

    def throttled_s(self) -> float:
        """Time that its processes could have run and had no quota left."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            stat = dict(x.split() for x in (self._folder / "cpu.stat").read_text().splitlines())
            if "throttled_time" in stat:  # v1, ns
                return int(stat["throttled_time"]) / 1e9
            return int(stat["throttled_usec"]) / 1e6
        return 0.0

    async def remove(self) -> None:
        """Remove the group; the last of its killed processes may take a moment to be gone."""
        for _ in range(500):
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class CpuShares:
    """Where this process may make control groups: `folder` is its own, named with its pid."""

    folder: Path
    v2: bool

    @classmethod
    def open(cls) -> CpuShares | None:
        """Make the folder, or return None where the machine does not let us set CPU shares.

        What earlier services left that were killed is cleared away.
        """
        for base, v2 in _hierarchies():
            _remove_stale(base)
            shares = cls(base / f"{_PREFIX}{os.getpid()}", v2)
            try:
                shares.folder.mkdir()
                if v2:
                    for parent in (base, shares.folder):
                        (parent / "cgroup.subtree_control").write_text("+cpu")
                    (shares.folder / "cpu.weight").write_text(str(100 * _TIMES_USUAL_WEIGHT))
                else:
                    (shares.folder / "cpu.shares").write_text(str(1024 * _TIMES_USUAL_WEIGHT))
                shares.group("probe", MB_PER_CPU)
                (shares.folder / "probe").rmdir()
            except OSError:
                shares.close()
                continue
            return shares
        return None

    def __str__(self) -> str:
        return f"cgroup v{2 if self.v2 else 1}, period {PERIOD_US // 1000} ms"

    def group(self, name: str, memory_mb: int) -> Group:
        return Group(self.folder / name, memory_mb, self.v2)

    def close(self) -> None:
        _remove(self.folder)


def _hierarchies() -> list[tuple[Path, bool]]:
    """Mounted hierarchies that can have a CPU controller, with whether they are v2."""
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(","):
            found.append((Path(mount), False))
        elif kind == "cgroup2":
            found.append((Path(mount), True))
    return found


def _remove_stale(base: Path) -> None:
    for folder in base.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX)
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a service's folder and its groups, with whatever still runs in them."""
    with contextlib.suppress(OSError):
        for group in (path for path in folder.iterdir() if path.is_dir()):
            _kill_all(group)
            group.rmdir()
        folder.rmdir()


def _kill_all(group: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
