"""The Python that goes with a job to TaskManagers of others: an archive of the interpreter, its
standard library, and the packages that the job's operators import, and nothing else.

Flink unpacks it on each TaskManager for each job and takes it for Python's home, so nothing of
Python needs to be installed there. It runs where a machine is of our kind: the same processor, a C
library that is not older.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
ARCHIVE = ROOT / ".cache" / f"{_VERSION}-{platform.machine()}.zip"
EXECUTABLE = "bin/python3"
# The interpreter knows where it was installed; here it is told where it is.
_SCRIPT = f"""#!/bin/sh
here=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONHOME="$here" LD_LIBRARY_PATH="$here/lib"
exec "$here/bin/{_VERSION}" "$@"
"""
# What the operators import, with what that imports. Of apache-flink's many requirements most are
# for other ways of running Python, or for tables.
_PACKAGES = (
    *("pyflink", "pemja", "find_libpython", "py4j", "cloudpickle", "numpy", "numpy.libs", "pytz"),
    *("avro", "apache_beam", "fastavro", "dill", "google", "grpc", "proto", "dateutil", "six.py"),
    *("typing_extensions.py", "orjson", "httptools", "urllib3", "certifi"),
    *("boto3", "botocore", "s3transfer", "jmespath"),
)
# Of AWS's services, those that a call of a function and its credentials take.
_SERVICES = ("lambda", "sts", "sso", "sso-oidc", "signin")
# The Java part of pyflink's wheel is what the cluster has.
_JAVA = tuple(f"pyflink/{x}" for x in ("lib", "opt", "plugins", "bin", "conf", "log", "examples"))
_UNUSED = {
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "site-packages",
    "dist-packages",
}


class NothingToShip(click.ClickException):
    """There is no archive that could go with the job."""


def make(archive: Path = ARCHIVE) -> Path:
    """Write the archive of this Python, and return its path.

    Raises:
        NothingToShip: this Python has no shared library, which the JVM has to load.
    """
    library = Path(str(sysconfig.get_config_var("LIBDIR"))) / str(
        sysconfig.get_config_var("INSTSONAME")
    )
    if not library.suffix.strip(".").isdigit() or not library.exists():
        raise NothingToShip("this Python was built without libpython: take one that has it")
    archive.parent.mkdir(parents=True, exist_ok=True)
    half = archive.with_suffix(".half")
    try:
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
            out.comment = _state()
            out.write(Path(sys.executable).resolve(), f"bin/{_VERSION}")
            out.write(library, f"lib/{library.name}")
            script = zipfile.ZipInfo(EXECUTABLE)
            script.external_attr = 0o100755 << 16
            out.writestr(script, _SCRIPT)
            for path, name in _standard_library():
                out.write(path, f"lib/{_VERSION}/{name}")
            for path, name in packages(_PACKAGES):
                out.write(path, f"lib/{_VERSION}/site-packages/{name}")
        half.rename(archive)
    finally:
        half.unlink(missing_ok=True)
    return archive


def require(archive: Path = ARCHIVE) -> Path:
    """The archive, as made for the packages that are locked now. Raises NothingToShip."""
    try:
        with zipfile.ZipFile(archive) as made:
            if made.comment == _state():
                return archive
    except (OSError, zipfile.BadZipFile):
        raise NothingToShip(
            "no Python to ship with the job: make it with `bench ship`, or say with --python "
            "where the TaskManagers have one"
        ) from None
    raise NothingToShip("the Python to ship is of other packages: make it anew with `bench ship`")


def stage(folder: Path) -> Path:
    """Copy our own code into `folder`, as TaskManagers are to have it."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("flink_job", "functions/python/tokenizer"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "java")
        )
    return folder


def _state() -> bytes:
    return hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest().encode()


def _standard_library() -> Iterator[tuple[Path, str]]:
    top = Path(sysconfig.get_path("stdlib"))
    return ((path, str(path.relative_to(top))) for path in files(top))


def packages(names: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Files of installed packages, and their names where packages are."""
    pure = Path(sysconfig.get_path("purelib"))
    for package in names:
        top = pure / package
        for path in [top] if top.is_file() else files(top):
            name = str(path.relative_to(pure))
            if not name.startswith(_JAVA) and not _is_unused_service(path.relative_to(pure)):
                yield path, name


def _is_unused_service(path: Path) -> bool:
    parts = path.parts
    described = len(parts) > 3 and parts[:2] == ("botocore", "data")
    return described and parts[2] not in _SERVICES


def files(top: Path) -> Iterator[Path]:
    """What is to be shipped of a folder."""
    for folder, folders, names in os.walk(top):
        folders[:] = [x for x in folders if x not in _UNUSED and not x.startswith("config-")]
        yield from (Path(folder) / name for name in names)
