"""A cluster of others, whose TaskManagers have addresses of their own: nothing is lost there when
one of them goes in the middle of a surge, and nobody is told the secret."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.cluster import shipping
from bench.cluster.flink import Rest
from bench.cluster.session import Elsewhere, check, on_flink
from bench.experiments import drive
from bench.experiments.drive import Method, Surge
from bench.facts import ledger
from bench.facts.records import Run
from bench.lambdas.target import open_target
from bench.steering.controller import Controller
from bench.steering.policy import Policy, Profile, Settings, policy
from flink_job.load.shapes import parse
from tests.waiting import eventually

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "two-namespaces"
MAY_NOT = 77
SLOTS = 8
BASE, FACTOR, START_S, SURGE_S = 60, 4, 4, 12
CAPACITY_PER_S = 100.0

pytestmark = pytest.mark.proof


def script(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, verb, *arguments], capture_output=True, text=True, timeout=120)


@pytest.fixture
def namespaces(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of the cluster, and the folder of its script."""
    folder = tmp_path / "namespaces"
    made = script("up", str(folder))
    if made.returncode == MAY_NOT:
        pytest.skip(made.stdout.strip())
    try:
        assert made.returncode == 0, made.stdout + made.stderr
        yield made.stdout.strip(), folder
    finally:
        script("down", str(folder))


@pytest.mark.parametrize("method", ["operator", "source"])
def test_one_of_two_namespaces_goes_in_mid_surge(
    method: Method, namespaces: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = namespaces
    listen = address.partition(":")[0]
    where = Elsewhere(address, listen)
    try:
        shipping.require()
    except shipping.NothingToShip:
        shipping.make()
    rest = Rest(address)
    secrets = watched_secrets(monkeypatch)
    seen: list[str] = []
    now = surge(method)

    def kill(start_at_s: float) -> None:
        (job,) = jobs(rest)
        assert len(hosts_of(rest, job)) == 2
        seen.extend([*exposed(rest), *commands()])
        script("kill", str(folder), "2")

    killed = Later(START_S + SURGE_S / 2, kill)
    eventually(lambda: has_slots(rest, 2 * SLOTS), 60)
    check(where, SLOTS)
    with (
        open_target(listen=listen) as target,
        Run("proof", results=tmp_path / "results") as run,
        on_flink(where, run.folder / "flink", 1.0) as (cluster, worker),
    ):
        result = drive.drive(
            now, run, cluster, worker, target, rule(now), on_start=killed.start, calm_s=3.0
        )
        killed.check()
        job = rest.get("/jobs")["jobs"][-1]["id"]
        assert cluster.failure(job), "the job did not notice"
        lines = list(ledger.read_output(run.folder / "output" / now.name))
    assert result.is_exact
    assert "offloaded" in {line["way"] for line in lines if line["kind"] == "batch"}
    assert not jobs(rest)
    told = [file.read_text(errors="replace") for file in written(folder, run.folder)]
    (secret,) = secrets
    assert not [text[:200] for text in (*seen, *told) if secret in text]


def rule(now: Surge) -> Policy[Any]:
    """Offloads what a worker of `CAPACITY_PER_S` could not do: on a machine of unknown speed the
    surge is to be offloaded in any case."""
    settings = Settings(
        batch_size=now.batch_size,
        linger_ms=now.linger_ms,
        max_in_flight=now.max_in_flight,
        profile=Profile(cold_start_ms=500.0, compute_ms=20.0, shipping_ms=5.0),
        parallelism=now.parallelism,
    )
    return policy("oracle", settings, parse(now.shape), CAPACITY_PER_S)


def surge(method: Method) -> Surge:
    return Surge(
        method,
        f"surge:base={BASE},factor={FACTOR},start={START_S},duration={SURGE_S}",
        START_S + SURGE_S + 60.0,
        language="node",
        operator="subwords",
        words_per_sentence=100,
        batch_size=25,
        calm_from_s=float(START_S + SURGE_S),
        parallelism=4,
        max_in_flight=16,
        warm=8,
    )


class Later:
    """Does something so many seconds after it is started, and says what became of it."""

    def __init__(self, seconds: float, do: Callable[[float], None]) -> None:
        self._seconds, self._do = seconds, do
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, start_at_s: float) -> None:
        def run() -> None:
            time.sleep(self._seconds)
            try:
                self._do(start_at_s)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def check(self) -> None:
        assert self._thread is not None
        self._thread.join()
        if self._error:
            raise self._error


def watched_secrets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets of all controllers that are made from now on."""
    secrets: list[str] = []

    class Watched(Controller):
        def __init__(self, host: str) -> None:
            super().__init__(host)
            secrets.append(self.secret)

    monkeypatch.setattr(drive, "Controller", Watched)
    return secrets


def has_slots(rest: Rest, slots: int) -> bool:
    return bool(rest.get("/overview")["slots-available"] >= slots)


def jobs(rest: Rest) -> Sequence[str]:
    return [x["id"] for x in rest.get("/jobs")["jobs"] if x["status"] in ("RUNNING", "RESTARTING")]


def hosts_of(rest: Rest, job: str) -> set[str]:
    return {
        subtask["taskmanager-id"]
        for vertex in rest.vertices(job).values()
        for subtask in rest.get(f"/jobs/{job}/vertices/{vertex}/taskmanagers")["taskmanagers"]
    }


def exposed(rest: Rest) -> list[str]:
    """What Flink's REST API shows of the jobs and of itself."""
    pages = ["/jobmanager/config", "/jobmanager/environment", "/jobmanager/logs"]
    for job in jobs(rest):
        own = ("", "/config", "/plan", "/exceptions", "/accumulators", "/jobmanager/config")
        pages += [f"/jobs/{job}{page}" for page in own]
        pages += [f"/jobs/{job}/vertices/{vertex}" for vertex in rest.vertices(job).values()]
    return [str(rest.get(page)) for page in pages]


def commands() -> list[str]:
    return [" ".join(x.info["cmdline"] or ()) for x in psutil.process_iter(["cmdline"])]


def written(*folders: Path) -> Iterator[Path]:
    """Records and logs."""
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and file.suffix not in (".jar", ".zip", ".class"):
                yield file
