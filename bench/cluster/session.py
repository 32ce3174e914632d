"""A Flink cluster of others to run on: it was there before, and stays.

What a TaskManager needs goes with each job: Python and its packages in an archive (or it has them),
our code, and the job's steps in Java. Whatever can be known to be missing is said before anything
is started.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import shutil
import socket
import sys
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from bench.cluster import shipping
from bench.cluster.flink import (
    JOB_JAR,
    RESTARTS,
    ROOT,
    Cluster,
    FlinkError,
    Jobs,
    Rest,
    flink_environment,
    flink_home,
    java_options,
)
from bench.cluster.worker import Worker

_FETCHED = "metrics.fetcher.update-interval"
_FETCHED_BY_DEFAULT_MS, _FETCHED_AT_MOST_MS = 10_000.0, 1_000.0
_UNITS_MS = {"ms": 1.0, "s": 1e3, "sec": 1e3, "second": 1e3, "seconds": 1e3, "min": 6e4}
_MACHINES = {"amd64": "x86_64"}
# Jobs of ours that have not ended.
_ENDED = ("FINISHED", "FAILED", "CANCELED")


@dataclass(frozen=True)
class Elsewhere:
    """A cluster that is not ours, and how it and we come together.

    Attributes:
        address: `host:port` of its REST API.
        listen: address of this machine at which its TaskManagers reach us; None: they are here.
        python: path of a Python that the TaskManagers have, with the packages; None: one is
            shipped.
    """

    address: str
    listen: str | None = None
    python: str | None = None


def check(where: Elsewhere, slots: int) -> None:
    """See to it that a job that takes so many slots can run there, as far as that can be known.

    Raises:
        FlinkError, NothingToShip: it cannot, and why.
    """
    rest = Rest(where.address)
    config = rest.get("/config")
    overview = rest.get("/overview")
    if not isinstance(config, dict) or "flink-version" not in config:
        raise FlinkError(f"{rest.url} answers, but not as Flink's REST API does")
    _check_version(str(config["flink-version"]))
    if not config.get("features", {}).get("web-cancel", True):
        raise FlinkError(
            "the cluster does not let its REST API cancel jobs (web.cancel.enable), which is how "
            "ours would be ended"
        )
    _check_metrics(rest)
    _check_machine(rest)
    free, total = overview["slots-available"], overview["slots-total"]
    if free < slots:
        raise FlinkError(
            f"the cluster has {free} of its {total} task slots free, and the job takes {slots}"
        )
    _check_ways(where, [_host(x["path"]) for x in rest.get("/taskmanagers")["taskmanagers"]])
    if where.python is None:
        shipping.require()
    elif not where.python.startswith("/"):
        raise FlinkError(f"--python {where.python}: not a whole path, as of /usr/bin/python3")


@contextmanager
def on_flink(
    where: Elsewhere | None,
    folder: Path,
    worker_cpu: float,
    *,
    task_managers: int = 2,
    settings: dict[str, Any] | None = None,
) -> Iterator[tuple[Jobs, Worker]]:
    """A cluster to run on, and its worker: one of ours, of TaskManagers with a slot each, whose
    worker is held to `worker_cpu`; or that of others as it is.

    Raises:
        FlinkError: it does not start, or is not there.
    """
    if where is not None:
        with Session(where, folder) as theirs, Worker(theirs, None) as worker:
            yield theirs, worker
        return
    with (
        Cluster(folder, task_managers=task_managers, slots=1, settings=settings) as ours,
        Worker(ours, worker_cpu) as worker,
    ):
        yield ours, worker


class Session(Jobs):
    """A session cluster that runs already, as a context manager; what runs of our jobs at its end
    is cancelled, and nothing else is touched."""

    is_ours = False

    def __init__(self, where: Elsewhere, folder: Path) -> None:
        super().__init__(folder, Rest(where.address))
        self.listen = where.listen or "127.0.0.1"
        self.logs = "its logs are where its TaskManagers run"
        self._where = where
        self._jobs: list[str] = []

    def __enter__(self) -> Session:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Flink's scripts would part a path at a space, and `flink run` leaves what it packs behind.
        self._home = Path(tempfile.mkdtemp(prefix="flink-"))
        try:
            for name in ("lib", "log", "tmp"):
                (self._home / name).mkdir()
            shutil.copytree(flink_home() / "conf", self._home / "conf")
            # `flink run` builds the job, so it has to know its steps in Java too.
            for jar in [*flink_home().glob("lib/*.jar"), JOB_JAR]:
                (self._home / "lib" / jar.name).symlink_to(jar)
            shipping.stage(self._home / "code")
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._jobs:
            with suppress(FlinkError):
                if self.state(job) not in _ENDED:
                    self.cancel(job)
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, *arguments: str) -> str:
        # Its id is drawn here: interrupted while it is submitted, it can be cancelled all the same.
        job = uuid.uuid4().hex
        self._jobs.append(job)
        options = self._options() | {"$internal.pipeline.job-id": job}
        (self._home / "conf" / "config.yaml").write_text(yaml.safe_dump(options))
        return super()._run("--jarfile", str(JOB_JAR), *arguments)

    def _options(self) -> dict[str, Any]:
        """Flink options of `flink run`: those of the job go with it."""
        url = urlsplit(self.rest.url)
        python = self._where.python
        shipped = {
            "python.executable": f"{shipping.ARCHIVE.name}/{shipping.EXECUTABLE}",
            "python.archives": str(shipping.ARCHIVE),
        }
        # The embedded interpreter does not know of virtual environments: it is told the folder.
        there = {
            "python.executable": python,
            "python.pythonpath": f"{Path(python or '/').parent.parent}/lib/"
            f"python{sys.version_info.major}.{sys.version_info.minor}/site-packages",
        }
        return {
            "env.java.opts.all": f"{java_options(flink_home() / 'conf')} "
            f"-Djava.io.tmpdir={self._home / 'tmp'}",
            "rest.address": url.hostname,
            "rest.port": url.port or 8081,
            "python.client.executable": sys.executable,
            "python.execution-mode": "thread",
            "python.files": str(self._home / "code"),
            **(shipped if python is None else there),
            **RESTARTS,
        }

    def _environment(self) -> dict[str, str]:
        conf, lib, log = (self._home / name for name in ("conf", "lib", "log"))
        return {
            **flink_environment(conf, log, log),
            "FLINK_LIB_DIR": str(lib),
            "PYTHONPATH": f"{sysconfig.get_path('purelib')}:{ROOT}",
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        }


def _check_version(there: str) -> None:
    ours = metadata.version("apache-flink")
    if there.split(".")[:2] != ours.split(".")[:2]:
        raise FlinkError(f"the cluster runs Flink {there}, and the job is built for {ours}")


def _check_metrics(rest: Rest) -> None:
    """Who decides within a second must not be told what was 10 s ago."""
    options = {x["key"]: x["value"] for x in rest.get("/jobmanager/config")}
    interval_ms = _milliseconds(options.get(_FETCHED))
    if interval_ms > _FETCHED_AT_MOST_MS:
        raise FlinkError(
            f"the cluster renews its metrics every {interval_ms / 1000:g} s, and decisions need "
            f"them within 1 s: set {_FETCHED}: 150 in its configuration"
        )


def _milliseconds(duration: str | None) -> float:
    """A duration as Flink's options have it; its default where it is none."""
    found = re.fullmatch(r"\s*(\d+)\s*([a-z]*)\s*", duration or "")
    if not found or (found[2] or "ms") not in _UNITS_MS:
        return _FETCHED_BY_DEFAULT_MS
    return int(found[1]) * _UNITS_MS[found[2] or "ms"]


def _check_machine(rest: Rest) -> None:
    """The JobManager stands for the TaskManagers, which do not say."""
    environment = rest.get("/jobmanager/environment")
    if not any("flink-python" in jar for jar in environment.get("classpath", [])):
        raise FlinkError(
            "the cluster has no flink-python in its lib/: copy it there from its opt/ and start it "
            "anew, since a TaskManager can load Python only once, and not for each job"
        )
    told = environment.get("jvm", {}).get("arch")
    there, here = _MACHINES.get(told, told), platform.machine()
    if there and there != here:
        raise FlinkError(f"the cluster runs on {there}, and what goes with the job is for {here}")


def _check_ways(where: Elsewhere, hosts: list[str]) -> None:
    """TaskManagers must reach the controller and, unless it is on AWS, the Lambda API."""
    if where.listen is not None:
        try:
            reachable = ipaddress.IPv4Address(where.listen)
        except ValueError:
            raise FlinkError(f"--listen {where.listen}: not an IPv4 address") from None
        # What listens there talks in clear text.
        if not reachable.is_private or reachable.is_unspecified:
            raise FlinkError(f"--listen {where.listen}: not an address of a private network")
        if not _is_here(where.listen):
            raise FlinkError(f"--listen {where.listen}: this machine has no such address")
    elif away := sorted({host for host in hosts if not _is_here(host)}):
        raise FlinkError(
            f"the TaskManager at {away[0]} cannot reach us on the loopback: say with --listen "
            "which address of this machine it can reach"
        )


def _host(path: str) -> str:
    """Of a TaskManager, from the address of its actor: `pekko.tcp://flink@HOST:PORT/…`."""
    return urlsplit(path).hostname or ""


def _is_here(host: str) -> bool:
    """Whether that is an address of this machine."""
    with suppress(OSError, UnicodeError), socket.socket() as probe:
        probe.bind((host, 0))
        return True
    return False
