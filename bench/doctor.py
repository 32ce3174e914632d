"""What the machine must have: what is there, in which version, and what brings the rest.

The system's packages are listed in scripts/packages, the Python packages in requirements.lock; what
set-up makes itself is listed here. Commands call `require` with the names of what they need.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
# Versions of a JDK that will do: 17 or later.
_JDKS = r"(1[7-9]|[2-9]\d|\d{3,})\b"
SET_UP = "make setup"


@dataclass(frozen=True)
class Finding:
    """One thing the project needs: `version` is None if it is missing, `fix` brings it."""

    name: str
    version: str | None
    needed_for: str
    fix: str
    optional: bool = False

    @property
    def ok(self) -> bool:
        return self.version is not None or self.optional


class Missing(click.ClickException):
    """Something that a command needs is not on this machine."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        found = list(findings)
        names = ", ".join(finding.name for finding in found)
        fixes = "; ".join(dict.fromkeys(finding.fix for finding in found))
        super().__init__(f"missing here: {names}. Bring it with: {fixes}")


def examine() -> list[Finding]:
    """Everything that is needed, found or missing, in the order in which set-up brings it."""
    commands = [_command(name) for name in COMMANDS]
    parts = (_part(name) for name in PARTS)
    return [*commands, _python(), _packages(), *parts, _quotas()]


def require(*names: str) -> None:
    """Raise `Missing`, in one line, unless each of the named `COMMANDS` and `PARTS` is there."""
    findings = [_command(name) if name in COMMANDS else _part(name) for name in names]
    if missing := [finding for finding in findings if not finding.ok]:
        raise Missing(missing)


# Commands of the system: (Debian packages, the first preferred; what it is needed for).
COMMANDS: dict[str, tuple[list[str], str]] = {
    command: (packages.split(","), needed_for)
    for command, packages, needed_for in (
        line.split(maxsplit=2)
        for line in (ROOT / "scripts" / "packages").read_text().splitlines()
        if not line.startswith("#")
    )
}

# What set-up makes: (the file that proves it, what it is needed for).
PARTS: dict[str, tuple[str, str]] = {
    "python runtime": (".runtimes/python/.made-from", "running the Python function here"),
    "java runtime": (".runtimes/java/.made-from", "running the Java function here"),
    "node runtime": (".runtimes/node/.made-from", "running the Node function here"),
    "functions": (".aws-sam/build/template.yaml", "calling them; built by sam"),
}


def _part(name: str) -> Finding:
    proof, needed_for = PARTS[name]
    version = proof.rpartition("/")[0] if (ROOT / proof).exists() else None
    return Finding(name, version, needed_for, SET_UP)


def _command(name: str) -> Finding:
    packages, needed_for = COMMANDS[name]
    version = command_version(name)
    if name == "javac" and not re.match(_JDKS, version or ""):
        version = None
    fix = _as_root(f"apt-get install {packages[0]}")
    return Finding(name, version, needed_for, fix, optional=name == "chromium")


def _python() -> Finding:
    # Thread mode loads Python into Flink's JVM, as a shared library.
    fits = (3, 11) <= sys.version_info < (3, 13) and sysconfig.get_config_var("Py_ENABLE_SHARED")
    version = platform.python_version() if fits else None
    return Finding(
        "python 3.11 or 3.12 with libpython", version, "PyFlink", f"PYTHON=/path/to/it {SET_UP}"
    )


def _quotas() -> Finding:
    """What holds the job's worker to a share of a CPU; without it, a core is its limit."""
    from bench.cgroup import Groups
    from bench.cluster.worker import default_cpu

    found = None
    if groups := Groups.open(times_usual_weight=1):
        found = f"{groups.name}; --worker-cpu is {default_cpu():g} unless given"
        groups.close()
    return Finding(
        "CPU quotas",
        found,
        "holding the worker to its share; else a core is its limit, and every table says so",
        "run as root, where control groups may be written",
        optional=True,
    )


def _packages() -> Finding:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.M))
    wrong = [name for name, version in pins.items() if _installed(name) != version]
    if wrong:
        name = f"python packages ({', '.join(wrong[:3])}{' …' if wrong[3:] else ''})"
        return Finding(name, None, "everything", SET_UP)
    return Finding("python packages", f"{len(pins)}, as pinned", "everything", SET_UP)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@cache
def command_version(command: str) -> str | None:
    """The version that a command on the PATH says it has; None if it is not there."""
    if not shutil.which(command):
        return None
    flag = "-version" if command == "javac" else "--version"
    done = subprocess.run(
        [command, flag], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    # A JVM may say first which options it has picked up from the environment.
    said = re.sub(r"(?m)^(NOTE: )?Picked up .*$", "", done.stdout + done.stderr)
    found = re.search(r"\d+(\.\d+)+", said) or re.search(r"\b\d+\b", said)
    return found.group() if found else "unknown"


def _as_root(command: str) -> str:
    return command if os.geteuid() == 0 else f"sudo {command}"
