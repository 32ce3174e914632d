"""The state of the machine that a run was measured on, and how noisy it was."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import psutil

# What is said of processes that are not ours to be held or counted.
NOT_OURS = "not known, the cluster is not ours"

LOOPS = 7
_LOOP_STEPS = 400_000  # about 20 ms
_SPREAD_LIMIT = 0.10
_DRIFT_LIMIT = 0.10


def state(function_versions: Mapping[str, str], cpu_share_enforced: bool | None) -> dict[str, Any]:
    """What a run's first record says of the machine; see RECORDS.md.

    Args:
        function_versions: versions of the runtimes the functions run on, which the harness cannot
            see itself; they go before those of the same name found here.
        cpu_share_enforced: whether an environment gets the CPU share of its memory size.
    """
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "os": _os_name(),
        "versions": {**_versions(), **function_versions},
        "git_revision": _git_revision(),
        "cpu_share_enforced": cpu_share_enforced,
    }


def calibrate(loops: int = LOOPS) -> list[float]:
    """Milliseconds that a fixed pure-Python loop took, `loops` times over."""
    return [_busy_loop_ms() for _ in range(loops)]


def load_1m() -> float:
    """The operating system's load average of the last minute."""
    return os.getloadavg()[0]


def noise(
    before_ms: Sequence[float], after_ms: Sequence[float] | None, load_1m: float, cores: int
) -> list[str]:
    """Why the figures of a run deserve doubt, in words; empty if nothing speaks against them.

    Args:
        before_ms, after_ms: the calibrations (`calibrate`) around the run; None if it died.
        load_1m: the load average when the run began, so without its own load.
    """
    warnings = []
    for when, times in (("before", before_ms), ("after", after_ms or [])):
        inner = sorted(times)[1:-1]  # one interruption is no noise
        if inner and (spread := (inner[-1] - inner[0]) / median(inner)) > _SPREAD_LIMIT:
            warnings.append(f"the calibration loop varied by {spread:.0%} {when} the run")
    if after_ms:
        drift = median(after_ms) / median(before_ms) - 1
        if abs(drift) > _DRIFT_LIMIT:
            slower = "slower" if drift > 0 else "faster"
            warnings.append(f"the machine was {abs(drift):.0%} {slower} after the run than before")
    if load_1m > cores / 2:
        warnings.append(f"the load was {load_1m:.1f} on {cores} cores before the run began")
    return warnings


def _busy_loop_ms() -> float:
    started = time.perf_counter()
    total = 0
    for i in range(_LOOP_STEPS):
        total += i & 7
    return (time.perf_counter() - started) * 1000


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()


def _versions() -> dict[str, str]:
    """Runtimes on the path and the packages this project declares; what is absent is left out."""
    required = metadata.requires("lambda-burst") or []
    packages = [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    found = {name: _package_version(name) for name in packages}
    found["flink"] = found.pop("apache-flink", None)
    found["python"] = platform.python_version()
    found["java"] = _first_match(r'version "([^"]+)"', "java", "-version")
    found["node"] = _first_match(r"v(\S+)", "node", "--version")
    return {name: version for name, version in sorted(found.items()) if version}


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The commit, with `-dirty` if tracked files differ from it; None outside of a checkout."""
    root = Path(__file__).parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    return _first_match(r"(\S+)", *command, "--exclude=*")


def _first_match(pattern: str, *command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else None
