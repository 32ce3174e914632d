"""Where Python is, on a TaskManager to which it came with the job.

Flink unpacks it for each job and removes it with the job; but a JVM has one interpreter, which
remains the one of its first job and looks for files where that job had them.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

_OF_A_JOB, _FILES, _ARCHIVES = "python-dist-", "python-files", "python-archives"


def mend() -> None:
    """See to it that the interpreter finds its files, those of this job in place of those of an
    earlier one that are gone. To be called by what is opened on a TaskManager."""
    home = Path(sys.prefix)
    if _OF_A_JOB not in sys.prefix or home.exists():
        return
    for path in map(Path, sys.path):
        if _FILES not in path.parts or not path.exists():
            continue
        base = Path(*path.parts[: path.parts.index(_FILES)])
        now = base / _ARCHIVES / home.name
        if now.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            beside = home.with_name(f"{home.name}-{uuid.uuid4().hex}")
            beside.symlink_to(now)
            beside.replace(home)  # at once, whichever subtasks do so
            return
