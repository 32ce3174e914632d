"""Where Python and our code are, on a TaskManager to which they came with the job.

Flink unpacks them for each job, and again when a job starts anew there, and removes them when its
last task ends. But a JVM has one interpreter: it remains that of its first job, and looks for files
where that job had them.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_OF_A_JOB, _FILES = "python-dist-", "python-files"


def mend(*roots: Path) -> None:
    """See to it that files are found below `roots`, by default the interpreter's home and where our
    code came from: where a job had them that has gone, those of the present one stand for them."""
    for root in roots or (Path(sys.prefix), Path(__file__).parents[1]):
        if _of_a_job(root) and not root.exists() and (now := _like(root)):
            root.parent.mkdir(parents=True, exist_ok=True)
            beside = root.with_name(f"{root.name}-{uuid.uuid4().hex}")
            beside.symlink_to(now)
            beside.replace(root)  # at once, whichever subtasks do so


def _of_a_job(root: Path) -> bool:
    return any(part.startswith(_OF_A_JOB) for part in root.parts)


def _like(root: Path) -> Path | None:
    """What stands for `root` in what was unpacked for the present job. Its folder has another name,
    and so has that of our code in it."""
    own = root.parts[_at(root) + 1 :]
    for path in map(Path, sys.path):
        if not _of_a_job(path) or _FILES not in path.parts or not path.exists():
            continue
        if own[0] == _FILES:
            if path.name == root.name:
                return path
        elif (found := Path(*path.parts[: _at(path) + 1], *own)).exists():
            return found
    return None


def _at(path: Path) -> int:
    return next(i for i, part in enumerate(path.parts) if part.startswith(_OF_A_JOB))


class _Mending(MetaPathFinder):
    """Finds nothing itself, but mends before others look: a task that starts anew imports modules
    before anything of ours is called."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        mend()
        return None


if _of_a_job(Path(__file__)):
    sys.meta_path.insert(0, _Mending())
