"""A Flink cluster to run on: processes of the wheel's own Flink, its REST API, job submission.

The JobManager and every TaskManager are children of this process, with configuration, logs and
temporary files in one folder of their own; all of it ends with the `Cluster`.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
import yaml

ROOT = Path(__file__).resolve().parents[2]

# The job's steps in Java, which `make setup` builds.
JOB_JAR = ROOT / ".cache" / "flink-job.jar"

_STARTUP_TIMEOUT_S = 180.0

# Flink's adaptive scheduler, without the minutes that it would otherwise wait for more resources
# to come or for the last change to settle. At submission it does wait for all slots, which come one
# by one: started with fewer, the job would be restarted at once.
ADAPTIVE = {
    "jobmanager.scheduler": "adaptive",
    "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout": "0 s",
    "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling": "0 s",
    "jobmanager.adaptive-scheduler.rescale-trigger.max-delay": "1 s",
    "web.adaptive-scheduler.rescale-history.size": 20,
}
# A TaskManager that was killed is deployed to until its heartbeat is missed: after 50 s, unless
# Flink is told otherwise. So many attempts are no sign of a broken job. Nor is a checkpoint that
# fails: it lets what came out wait for the next. By default it restarts the job, and a restart that
# finds no place for checkpoints is the job's end.
RESTARTS = {
    "execution.checkpointing.tolerable-failed-checkpoints": 10,
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 60,
    "restart-strategy.fixed-delay.delay": "1 s",
}
_PR_SET_PDEATHSIG = 1


class FlinkError(click.ClickException):
    """The cluster, or a job on it, did not do what was asked of it."""


class NotReady(FlinkError):
    """Nobody answers there, or not yet."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def flink_home() -> Path:
    """The Flink distribution inside the `apache-flink` wheel, without importing pyflink."""
    home = Path(sysconfig.get_path("purelib")) / "pyflink"
    if not (home / "bin" / "taskmanager.sh").exists():
        raise FlinkError(f"no Flink at {home}: run `make setup`")
    return home


class Rest:
    """Flink's REST API: one method per verb, parsed JSON in and out.

    Args:
        address: `host:port` or a URL of the JobManager.
    """

    def __init__(self, address: str) -> None:
        self.url = address if "://" in address else f"http://{address}"
        self.url = self.url.rstrip("/")
        host = urllib.parse.urlsplit(self.url).netloc.rpartition(":")[0]
        # A proxy, which the environment may name, does not know what is on this machine.
        loopback = host == "localhost" or host.startswith(("127.", "[::1]"))
        proxies = [urllib.request.ProxyHandler({})] if loopback else []
        self._opener = urllib.request.build_opener(*proxies)

    def get(self, path: str) -> Any:
        """GET `path`. Raises NotReady when nobody answers (yet), FlinkError for an error."""
        return self._call("GET", path, None)

    def put(self, path: str, body: Any) -> Any:
        return self._call("PUT", path, body)

    def patch(self, path: str) -> Any:
        return self._call("PATCH", path, None)

    def _call(self, verb: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=10) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            kind = NotReady if error.code == HTTPStatus.SERVICE_UNAVAILABLE else FlinkError
            raise kind(f"{verb} {path}: {error.code} {error.read()[:300]!r}") from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise NotReady(f"no Flink answers at {self.url}: {error}") from error
        try:
            return json.loads(text) if text else None
        except ValueError:
            raise FlinkError(f"{self.url} answers, but not as Flink's REST API does") from None

    def vertices(self, job: str) -> dict[str, str]:
        """Vertex name → vertex id, of the job `job`, in topological order."""
        return {v["name"]: v["id"] for v in self.get(f"/jobs/{job}")["vertices"]}


class Jobs:
    """The jobs of a cluster, whoever runs it.

    Attributes:
        folder: for what we keep of it.
        rest: its REST API.
        is_ours: whether its processes are ours, to be started, held to a quota and counted.
        listen: address of this machine at which its TaskManagers reach us.
        logs: where to look for what went wrong, in words.
    """

    is_ours = True
    listen = "127.0.0.1"

    def __init__(self, folder: Path, rest: Rest) -> None:
        self.folder = folder.resolve()
        self.rest = rest
        self.logs = f"its logs are in {self.folder / 'log'}"

    def wait_for_slots(self, slots: int) -> None:
        """Wait until `slots` task slots are free: a job that has just ended still holds its own.

        Raises:
            FlinkError: on time-out.
        """
        what = f"{slots} free task slots ({self.logs})"
        wait_until(lambda: self._has_slots(slots), _STARTUP_TIMEOUT_S, what)

    def _has_slots(self, slots: int) -> bool:
        return bool(self.rest.get("/overview")["slots-available"] >= slots)

    def pids(self) -> list[int]:
        """Its processes, the JobManager's first; none where they are not ours."""
        return []

    def task_managers_of(self, job: str, vertex_name: str) -> set[int]:
        """The TaskManager processes that run subtasks of the vertex whose name has `vertex_name` in
        it; none while Flink cannot say, or where they are not ours."""
        return set()

    def rescale(self, job: str, vertices: tuple[str, ...], parallelism: int) -> None:
        """Let the vertices that bear one of these names have up to `parallelism` subtasks.

        Needs the adaptive scheduler (`ADAPTIVE`). The job restarts from its last checkpoint once
        the slots are there.
        """
        wanted = {
            vertex["id"]: {
                "parallelism": {
                    "lowerBound": 1,
                    "upperBound": parallelism
                    if vertex["name"].startswith(vertices)
                    else vertex["parallelism"],
                }
            }
            for vertex in self.rest.get(f"/jobs/{job}")["vertices"]
        }
        self.rest.put(f"/jobs/{job}/resource-requirements", wanted)

    def rescales(self, job: str) -> list[dict[str, Any]]:
        """What Flink remembers of each rescaling of the job, the last first, in detail; its first
        scheduling counts as one. Needs `ADAPTIVE`."""
        history = self.rest.get(f"/jobs/{job}/rescales/history")
        return [self.rest.get(f"/jobs/{job}/rescales/details/{x['rescaleUuid']}") for x in history]

    def submit(self, module: str, *arguments: str) -> str:
        """Submit the PyFlink job `module` with `flink run` and return its job id.

        Raises:
            FlinkError: with the end of what `flink run` printed.
        """
        return self._run("--pyModule", module, *arguments)

    def submit_jar(self, jar: Path, main_class: str, *arguments: str) -> str:
        """Submit a job in Java with `flink run` and return its job id. Raises FlinkError."""
        return self._run("--class", main_class, str(jar), *arguments)

    def _environment(self) -> dict[str, str]:
        """What `flink run` goes by."""
        raise NotImplementedError

    def _run(self, *arguments: str) -> str:
        command = [str(flink_home() / "bin" / "flink"), "run", "--detached", *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=_STARTUP_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise FlinkError(f"flink run took longer than {_STARTUP_TIMEOUT_S:.0f} s") from None
        marker = "Job has been submitted with JobID "
        for line in done.stdout.splitlines():
            if marker in line:
                return line.split(marker)[1].strip()
        printed = (done.stdout + done.stderr).strip()
        raise FlinkError(f"flink run failed:\n{printed[-3000:]}")

    def state(self, job: str) -> str:
        """The job's state as Flink names it: RUNNING, FINISHED, FAILED, …"""
        return str(self.rest.get(f"/jobs/{job}")["state"])

    def running(self, job: str) -> bool:
        """Whether every task of the job runs. Raises FlinkError when one has failed."""
        detail = self.rest.get(f"/jobs/{job}")
        # A restart alone is no failure: the adaptive scheduler also restarts to use more slots.
        if detail["state"] in ("FAILED", "FAILING", "CANCELED") or self.failure(job):
            raise FlinkError(f"job {detail['name']} is {detail['state']}: {self.failure(job)}")
        return all(v["status"] == "RUNNING" for v in detail["vertices"])

    def failure(self, job: str) -> str:
        """The root exception of the job's last failure, its first lines; empty without one."""
        history = self.rest.get(f"/jobs/{job}/exceptions").get("exceptionHistory", {})
        entries = history.get("entries") or [{}]
        return str(entries[0].get("stacktrace", ""))[:3000]

    def cancel(self, job: str) -> None:
        """Ask Flink to cancel the job."""
        self.rest.patch(f"/jobs/{job}?mode=cancel")


class Cluster(Jobs):
    """One JobManager and any number of TaskManagers, as a context manager.

    Args:
        folder: where configuration, logs and temporary files go; made, and kept for its logs.
        task_managers: TaskManager processes to start with.
        slots: task slots of each TaskManager.
        settings: further Flink options, dotted name → value.
    """

    def __init__(
        self,
        folder: Path,
        *,
        task_managers: int = 1,
        slots: int = 2,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(folder, Rest(f"127.0.0.1:{free_port()}"))
        self._home = self.folder
        self._task_managers_at_start = task_managers
        self._slots = slots
        self._settings = settings or {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._files: list[Any] = []
        self._named: dict[str, int] = {}
        # A process is to end with its parent, by which the kernel means the thread that started it:
        # one that is there as long as the cluster, whoever asks.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")

    def __enter__(self) -> Cluster:
        try:
            if " " in str(self.folder):  # where Flink's scripts would part it
                self._home = Path(tempfile.mkdtemp(prefix="flink-")) / "home"
                self._home.symlink_to(self.folder, target_is_directory=True)
            self._configure()
            self._start("jobmanager")
            for _ in range(self._task_managers_at_start):
                self._start("taskmanager")
            self.wait_for_slots(self._task_managers_at_start * self._slots)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the cluster, gently and then firmly, and drop its temp files."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + 8
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._starter.shutdown()
        for file in self._files:
            file.close()
        for name in ("lib", "tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if self._home != self.folder:
            shutil.rmtree(self._home.parent, ignore_errors=True)

    def add_task_manager(self, slots: int) -> int:
        """Start one more TaskManager process, of so many slots, and return its pid; it registers
        seconds later."""
        return self._start("taskmanager", "-D", f"taskmanager.numberOfTaskSlots={slots}").pid

    @property
    def job_manager_pid(self) -> int:
        """The process of the JobManager."""
        return self._processes[0].pid

    def task_manager_pid(self, name: str) -> int | None:
        """The process of the TaskManager that Flink knows by this id; None if it has ended."""
        pid = self._named.get(name)
        return pid if pid in self.task_manager_pids() else None

    def task_manager_pids(self) -> list[int]:
        """The processes of the TaskManagers, in the order of their start."""
        return [process.pid for process in self._processes[1:]]

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def task_managers_of(self, job: str, vertex_name: str) -> set[int]:
        with contextlib.suppress(FlinkError, StopIteration, KeyError):
            vertices = self.rest.vertices(job)
            vertex = next(id for name, id in vertices.items() if vertex_name in name)
            found = self.rest.get(f"/jobs/{job}/vertices/{vertex}/taskmanagers")["taskmanagers"]
            pids = (self.task_manager_pid(x["taskmanager-id"]) for x in found)
            return {pid for pid in pids if pid is not None}
        return set()

    def stop_task_managers(self, keep: int) -> None:
        """End all TaskManagers but the first `keep`."""
        for process in self._processes[1 + keep :]:
            process.terminate()
            process.wait()
        del self._processes[1 + keep :]

    def bury(self) -> int:
        """Forget the TaskManagers that have ended, and say how many there were."""
        dead = [process for process in self._processes[1:] if process.poll() is not None]
        self._processes = [process for process in self._processes if process not in dead]
        return len(dead)

    def restart_job_manager(self) -> None:
        """End the JobManager as a crash would, and start another. What it knew of jobs is lost
        unless the cluster is highly available; its REST API has the same address."""
        old = self._processes[0]
        old.kill()
        old.wait()
        self._start("jobmanager")
        self._processes.insert(0, self._processes.pop())
        self._processes.remove(old)

    def _has_slots(self, slots: int) -> bool:
        # The adaptive scheduler would start a job with too few, and restart it at once.
        if dead := [p for p in self._processes if p.poll() is not None]:
            raise FlinkError(f"process {dead[0].pid} of the cluster has ended; {self.logs}")
        return super()._has_slots(slots)

    def _configure(self) -> None:
        conf, lib, log, tmp = (self._home / name for name in ("conf", "lib", "log", "tmp"))
        for folder in (lib, log, tmp):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(flink_home() / "conf", conf, dirs_exist_ok=True)
        # A JVM loads the embedded interpreter once. As part of the cluster, and not of each job,
        # it serves one job after another.
        for jar in [*flink_home().glob("lib/*.jar"), *flink_home().glob("opt/flink-python-*.jar")]:
            (lib / jar.name).symlink_to(jar)
        (lib / JOB_JAR.name).symlink_to(JOB_JAR)
        port = self.rest.url.rsplit(":", 1)[1]
        options: dict[str, Any] = {
            # JDK 17+ hides internals that Flink and the embedded interpreter reach for; the wheel
            # knows which. With the second compiler too, a third of a small worker's quota and half
            # of what the JobManager does go into compiling in their first minutes, which is all
            # that they live here.
            "env.java.opts.all": f"{java_options(conf)} "
            f"-Djava.io.tmpdir={tmp} -XX:TieredStopAtLevel=1",
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": free_port(),
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.memory.process.size": "1g",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.memory.process.size": "1536m",
            "taskmanager.numberOfTaskSlots": self._slots,
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": int(port),
            "rest.bind-port": port,
            "io.tmp.dirs": str(tmp),
            "web.tmpdir": str(tmp),
            "python.executable": sys.executable,
            "python.client.executable": sys.executable,
            "python.execution-mode": "thread",
            # The embedded interpreter does not read .pth files: it gets both folders by name.
            "python.pythonpath": f"{sysconfig.get_path('purelib')}:{ROOT}",
            # A poll every 250 ms must not read figures that are seconds old; but each time that
            # they are fetched costs every process here.
            "metrics.fetcher.update-interval": 150,
            # One fetch waits for every TaskManager, and no other begins before it has ended: one
            # that was killed meanwhile silences all the metrics for so long (10 min by default).
            "web.timeout": "8 s",
            "web.submit.enable": False,
            "classloader.parent-first-patterns.additional": "pemja.",
            **RESTARTS,
            **self._settings,
        }
        (conf / "config.yaml").write_text(yaml.safe_dump(options))

    def _environment(self) -> dict[str, str]:
        conf, lib, log, tmp = (self._home / name for name in ("conf", "lib", "log", "tmp"))
        return {
            **flink_environment(conf, log, tmp),
            "FLINK_LIB_DIR": str(lib),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        }

    def _start(self, kind: str, *options: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "log" / f"{kind}-{len(self._files)}.log").open("ab")
        self._files.append(log)
        name = f"{kind}-{len(self._files)}"
        if kind == "taskmanager":
            options = (*options, "-D", f"taskmanager.resource-id={name}")
        process = self._starter.submit(
            subprocess.Popen,
            [str(flink_home() / "bin" / f"{kind}.sh"), "start-foreground", *options],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,
        ).result()
        self._processes.append(process)
        self._named[name] = process.pid
        return process


def java_options(conf: Path) -> str:
    """The options of a JVM that Flink's own configuration, in the folder `conf`, asks for."""
    return str(yaml.safe_load((conf / "config.yaml").read_text())["env"]["java"]["opts"]["all"])


def flink_environment(conf: Path, log: Path, pids: Path) -> dict[str, str]:
    """What Flink's scripts go by, besides our own environment."""
    return {
        **os.environ,
        "FLINK_CONF_DIR": str(conf),
        "FLINK_LOG_DIR": str(log),
        "FLINK_PID_DIR": str(pids),
    }


def takes_connections(port: int) -> bool:
    """Whether somebody listens on that port of 127.0.0.1."""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def end_with_parent() -> None:
    """In the child: be killed when the harness dies, and do not take its Ctrl-C."""
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(ready: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll `ready` until it is true; NotReady counts as false. Raises FlinkError on time-out."""
    deadline = time.monotonic() + timeout_s
    last = ""
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except NotReady as error:
            last = str(error)
        time.sleep(0.05)
    raise FlinkError(f"waited {timeout_s:.0f} s for {what}. {last}")


def poll(interval_s: float) -> Iterator[float]:
    """Yield at a fixed interval, by the clock and not by how long the caller took."""
    due = time.monotonic()
    while True:
        yield due
        due = max(due + interval_s, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
