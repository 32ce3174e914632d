"""An environment's own /tmp: empty at its start, bounded, and gone with it.

Where we may (as root), the process gets a mount namespace of its own with a fresh file system in
memory over /tmp; the kernel drops both with its last process. Elsewhere it gets a folder of its own
by TMPDIR, which is removed after it; what ignores TMPDIR shares the machine's /tmp then.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_TMP = Path("/tmp")
_PREFIX = "lambda-burst-"
_libc = ctypes.CDLL(None, use_errno=True)
_PROBE = "from bench.lambdas.local.storage import enter; enter(1, [])"


class Storage:
    """How environments get a /tmp of their own.

    Attributes:
        mounted: by a mount namespace; else by TMPDIR.
    """

    def __init__(self, mounted: bool) -> None:
        self.mounted = mounted
        self._folder = Path(tempfile.gettempdir(), f"{_PREFIX}{os.getpid()}")

    @classmethod
    def open(cls) -> Storage:
        """What this machine lets us do. What killed services left is cleared away."""
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            pid = folder.name.removeprefix(_PREFIX)
            if pid.isdigit() and not Path("/proc", pid).exists():
                shutil.rmtree(folder, ignore_errors=True)
        if os.geteuid():
            return cls(mounted=False)
        root = Path(__file__).resolve().parents[3]
        tried = subprocess.run([sys.executable, "-c", _PROBE], cwd=root, capture_output=True)
        return cls(mounted=tried.returncode == 0)

    def __str__(self) -> str:
        return "each its own, in memory" if self.mounted else "each its own by TMPDIR"

    def folder(self, name: str) -> Path | None:
        """An empty folder for the TMPDIR of an environment; None where /tmp itself is its own."""
        if self.mounted:
            return None
        folder = self._folder / name
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def enter(size_mb: int, kept: Sequence[Path]) -> None:
    """Give this process a mount namespace whose /tmp is empty and holds `size_mb`.

    Args:
        kept: folders that stay visible should they be in /tmp, such as the function's code.

    Raises:
        OSError: we may not.
    """
    _succeeds(_libc.unshare(_CLONE_NEWNS))
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    inside = [(x, os.open(x, os.O_PATH | os.O_DIRECTORY)) for x in kept if x.is_relative_to(_TMP)]
    _mount("tmpfs", str(_TMP), "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={size_mb}m,mode=1777")
    for folder, fd in inside:
        folder.mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{fd}", str(folder), None, _MS_BIND | _MS_REC)
        os.close(fd)


def _mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    texts = [None if x is None else x.encode() for x in (source, target, kind, options)]
    _succeeds(_libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]))


def _succeeds(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
