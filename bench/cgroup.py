"""CPU quotas and weights, set by the kernel's bandwidth control (`cpu.cfs_quota_us` in cgroup v1,
`cpu.max` in v2), where the machine lets us."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

# Short enough that waiting for the next period is no latency of its own.
PERIOD_US = 20_000
_LEAST_QUOTA_US = 1000  # the kernel refuses less
_PREFIX = "lambda-burst-"


def quota_us(cpus: float) -> int:
    """CPU time per period."""
    return max(_LEAST_QUOTA_US, int(PERIOD_US * cpus + 1e-9))


class Group:
    """A control group, with a quota of `cpus`. A process that writes `0` to the file `joins` joins
    it.

    In v1 that is the list of threads: a process just forked has one, and moving it alone spares it
    the kernel's lock over all processes, which costs 10 ms and more.
    """

    def __init__(self, folder: Path, cpus: float, v2: bool) -> None:
        folder.mkdir()
        self.folder = folder
        self.joins = folder / ("cgroup.procs" if v2 else "tasks")
        self._v2 = v2
        self._cpus: float | None = None
        self.limit(cpus)

    def limit(self, cpus: float) -> None:
        """Set the quota. Not again if it is that already: a write fills it up at once."""
        if cpus == self._cpus:
            return
        self._cpus = cpus
        quota = quota_us(cpus)
        if self._v2:
            (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        else:
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota))

    def hold(self, pid: int) -> None:
        """Move a process into the group, with all its threads. Raises OSError if it is gone."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def kill(self) -> None:
        """End what runs in it, also what has left its process group."""
        with contextlib.suppress(OSError):
            for pid in (self.folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)

    def throttled_s(self) -> float:
        """Time that its processes could have run and had no quota left."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            stat = dict(x.split() for x in (self.folder / "cpu.stat").read_text().splitlines())
            if "throttled_time" in stat:  # v1, ns
                return int(stat["throttled_time"]) / 1e9
            return int(stat["throttled_usec"]) / 1e6
        return 0.0


@dataclass(frozen=True)
class Groups:
    """Where this process may make control groups: `folder` is its own, named with its pid."""

    folder: Path
    v2: bool

    @classmethod
    def open(cls, times_usual_weight: int) -> Groups | None:
        """Make the folder, or return None where the machine does not let us set quotas.

        What earlier processes left that were killed is cleared away.

        Args:
            times_usual_weight: of all groups together, against a process outside, when the CPUs
                are scarce.
        """
        for base, v2 in _hierarchies():
            _remove_stale(base)
            groups = cls(base / f"{_PREFIX}{os.getpid()}", v2)
            try:
                groups.folder.mkdir()
                if v2:
                    for parent in (base, groups.folder):
                        (parent / "cgroup.subtree_control").write_text("+cpu")
                    (groups.folder / "cpu.weight").write_text(str(100 * times_usual_weight))
                else:
                    (groups.folder / "cpu.shares").write_text(str(1024 * times_usual_weight))
                groups.group("probe", 1.0)
                (groups.folder / "probe").rmdir()
            except OSError:
                groups.close()
                continue
            return groups
        return None

    @property
    def name(self) -> str:
        """ "cgroup v1" or "cgroup v2"."""
        return f"cgroup v{2 if self.v2 else 1}"

    def group(self, name: str, cpus: float) -> Group:
        """A new group. Raises OSError where the kernel refuses."""
        return Group(self.folder / name, cpus, self.v2)

    def close(self) -> None:
        """Remove all groups, with whatever still runs in them."""
        _remove(self.folder)


def count() -> int:
    """Control groups of ours, of all processes, that are there now."""
    return sum(
        1 for base, _ in _hierarchies() for own in base.glob(f"{_PREFIX}*") for _ in own.rglob("*/")
    )


def of(pid: int) -> list[Path]:
    """The folders of the groups that a process has made, and not removed."""
    found = (base / f"{_PREFIX}{pid}" for base, _ in _hierarchies())
    return [folder for folder in found if folder.is_dir()]


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
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir():
                _kill_and_remove(path)
        folder.rmdir()


def _kill_and_remove(folder: Path) -> None:
    """The last of the killed processes may take a moment to be gone."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            for pid in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            folder.rmdir()
            return
        time.sleep(0.01)
