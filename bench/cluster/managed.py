"""The zip that AWS's Managed Service for Apache Flink takes for a job in Python."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click

from bench.cluster import shipping
from bench.cluster.flink import JOB_JAR, ROOT

RUN_OPTIONS, JOB_OPTIONS = "kinesis.analytics.flink.run.options", "job"
# Of a zip that goes into CreateApplication itself (ZipFileContent); a larger one goes by S3.
DIRECTLY_BYTES = 52_428_800
_MAIN, _CODE, _JAR = "main.py", "code", f"lib/{JOB_JAR.name}"
# What the operators import that the service's PyFlink does not bring.
_PACKAGES = ("orjson", "httptools", "urllib3", "certifi", "boto3", "botocore", "s3transfer")
_MORE_PACKAGES = ("jmespath", "dateutil", "six.py")
# The service starts it without arguments; properties of the application take their place.
_ENTRY = """import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "code"))
from MODULE import main

PROPERTIES = Path("/etc/flink/application_properties.json")


def arguments() -> list[str]:
    groups = json.loads(PROPERTIES.read_text()) if PROPERTIES.exists() else []
    said = next((x["PropertyMap"] for x in groups if x["PropertyGroupId"] == "job"), {})
    return [f"--{name}={value}" for name, value in said.items()]


if __name__ == "__main__":
    sys.argv[1:] += arguments()
    main()
"""


class NotPackaged(click.ClickException):
    """The job is none that could be packaged."""


def package(job: Path, zip_: Path) -> list[str]:
    """Write the zip of a job, look at it as far as that can be done here, and say what was seen.

    Args:
        job: a Python file in this project, or below the folder in which we are, with a `main()`.

    Raises:
        NotPackaged: it is not there, or what was packaged does not import.
    """
    module, top = _module(job)
    if not JOB_JAR.exists():
        raise NotPackaged(f"no {JOB_JAR.name}: run `make setup`")
    zip_.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(zip_, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(_MAIN, _ENTRY.replace("MODULE", module))
        out.write(JOB_JAR, _JAR)
        for path, name in _code(top):
            out.write(path, f"{_CODE}/{name}")
    _check_import(zip_)
    size = zip_.stat().st_size
    way = "fits into CreateApplication" if size <= DIRECTLY_BYTES else "has to go by S3"
    return [
        f"{zip_}: {size / 1e6:.1f} MB, {way}",
        f"{_MAIN} imports, from what was packaged and PyFlink alone",
        f"packages are for Python {sys.version_info.major}.{sys.version_info.minor} and this "
        "processor: take the Python that the service has for your Flink",
    ]


def properties(**of_job: str) -> str:
    """EnvironmentProperties of the application, as JSON: where in the zip what is, and what the
    job's own arguments are."""
    groups = [
        {
            "PropertyGroupId": RUN_OPTIONS,
            "PropertyMap": {"python": _MAIN, "jarfile": _JAR, "pyFiles": f"{_CODE}/"},
        },
        {"PropertyGroupId": JOB_OPTIONS, "PropertyMap": of_job},
    ]
    return json.dumps({"PropertyGroups": groups}, indent=2)


def _module(job: Path) -> tuple[str, Path]:
    """The module's name, and the folder or file that has to go along."""
    for root in (ROOT, Path.cwd()):
        if job.resolve().is_relative_to(root) and job.is_file() and job.suffix == ".py":
            parts = job.resolve().relative_to(root).with_suffix("").parts
            if all(part.isidentifier() for part in parts):
                return ".".join(parts), root / (parts[0] if len(parts) > 1 else job.name)
    raise NotPackaged(f"{job} is no Python file of a module here, such as examples/parse_orders.py")


def _code(top: Path) -> Iterator[tuple[Path, str]]:
    with tempfile.TemporaryDirectory() as staged:
        code = shipping.stage(Path(staged))
        for path in shipping.files(code):
            yield path, str(path.relative_to(code))
    if top.name not in ("flink_job", "functions"):
        for path in [top] if top.is_file() else shipping.files(top):
            if path.suffix == ".py":
                yield path, str(path.relative_to(top.parent))
    yield from shipping.packages((*_PACKAGES, *_MORE_PACKAGES))


def _check_import(zip_: Path) -> None:
    """Raise NotPackaged unless the entry point imports where nothing else of ours is."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(zip_) as made:
            made.extractall(folder)
        # Ours of the packages come first; PyFlink is where the service has its own.
        where = [folder, f"{folder}/{_CODE}", sysconfig.get_path("purelib")]
        program = "import sys; sys.path[:0] = sys.argv[1:]; import main; main.main"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", program, *where],
            capture_output=True,
            text=True,
            cwd=folder,
        )
        if done.returncode:
            raise NotPackaged(f"{_MAIN} does not import: {done.stderr.strip().splitlines()[-1]}")
