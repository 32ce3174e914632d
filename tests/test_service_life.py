"""What the local Lambda service does with the machine, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import cgroup
from bench.cgroup import quota_us
from bench.lambdas.local import runtimes, service
from bench.lambdas.local.cpu import CpuShares, cpus
from bench.lambdas.local.environment import Invocation
from bench.lambdas.local.template import read
from flink_job.offload.client import CallFailed, LambdaClient
from flink_job.offload.endpoint import lambda_api
from tests.waiting import eventually

TEMPLATE = Path(__file__).parent / "handlers" / "template.yaml"
ROOT = TEMPLATE.parents[2]
SERVE = [sys.executable, "-m", "bench.cli", "serve", "--port=0", f"--template={TEMPLATE}"]
# As a harness would: opens a service, calls a function, says so, and is killed then.
PARENT = f"""
import time
from bench.lambdas.target import local_service
from flink_job.offload.client import LambdaClient
with local_service("--template={TEMPLATE}") as url:
    print(url, LambdaClient(url, None).invoke("Obedient", {{}}).value["pid"], flush=True)
    time.sleep(60)
"""


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen([*SERVE, *options], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    try:
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def call(url: str, event: object = None, function: str = "Obedient") -> dict[str, Any]:
    value: dict[str, Any] = LambdaClient(url, None).invoke(function, event or {}).value
    return value


def status(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def runs(process: psutil.Process) -> bool:
    """Whether it is more than a zombie that init has not fetched yet."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def listens(url: str) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rsplit(":")[-1]))) == 0


def control_groups(pid: int) -> list[Path]:
    bases = [base for base, _ in cgroup._hierarchies()]
    return [path for base in bases for path in base.glob(f"lambda-burst-{pid}")]


# Ends.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing(number: signal.Signals) -> None:
    with serving() as (process, url):
        environment = call(url, {"start": ["sleep", "60"]})["pid"]
        children = psutil.Process(environment).children()
        assert children
        lambda_api(url, None).invoke(
            FunctionName="Obedient", InvocationType="Event", Payload=b'{"sleep": 30}'
        )
        process.send_signal(number)
        assert process.wait(5) == 0
    assert not psutil.pid_exists(environment)
    eventually(lambda: not any(map(runs, children)))
    assert not listens(url)
    assert not control_groups(process.pid)


def test_ending_hangs_up_and_tells_whoever_waits() -> None:
    with serving() as (process, url):
        call(url)
        idle = socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1])), timeout=5)
        with ThreadPoolExecutor() as pool, closing(idle):
            waiting = pool.submit(call, url, {"sleep": 4})
            time.sleep(0.5)
            started = time.perf_counter()
            process.terminate()
            with pytest.raises(CallFailed, match=r"ServiceException: .* is ending"):
                waiting.result()
            assert idle.recv(1) == b""
            assert process.wait(5) == 0
            assert time.perf_counter() - started < 3


def test_events_that_keep_failing_are_tried_three_times_and_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with (
        serving("--retry-delays=0.1,0.2", "--max-concurrency=1") as (_, url),
        socket.socket(type=socket.SOCK_DGRAM) as inside,
    ):
        inside.bind(("127.0.0.1", 0))
        inside.settimeout(5)
        event = {"tell": inside.getsockname()[1], "raise": "bad luck"}
        answer = lambda_api(url, None).invoke(
            FunctionName="Obedient", InvocationType="Event", Payload=json.dumps(event).encode()
        )
        request_id = answer["ResponseMetadata"]["RequestId"]
        ran = [(inside.recv(100).decode(), time.perf_counter()) for _ in range(3)]
        assert {x for x, _ in ran} == {request_id}
        assert ran[1][1] - ran[0][1] > 0.1
        assert ran[2][1] - ran[1][1] > 0.2
        eventually(lambda: status(url)["events"] == 0)
    assert capfd.readouterr().err == (
        f"event {request_id} for Obedient given up after 3 attempts: ValueError: bad luck\n"
    )


def test_events_that_are_not_done_at_the_end_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    with serving("--max-concurrency=1") as (_, url):
        for _ in range(3):
            lambda_api(url, None).invoke(
                FunctionName="Obedient", InvocationType="Event", Payload=b'{"sleep": 4}'
            )
    assert capfd.readouterr().err == "3 accepted events have not come to their end\n"


def test_a_killed_parent_ends_it_and_leaves_nothing() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout
    with parent.stdout:
        url, environment = parent.stdout.readline().split()
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    eventually(lambda: not runs(child))
    assert not psutil.pid_exists(int(environment))
    assert not listens(url)
    assert not control_groups(child.pid)


def test_killed_itself_its_environments_die_and_the_next_one_clears_up() -> None:
    with serving() as (process, url):
        environment = call(url)["pid"]
        process.kill()
        process.wait()
        eventually(lambda: not psutil.pid_exists(environment))
    with serving():
        assert not control_groups(process.pid)


def test_an_idle_environment_expires() -> None:
    with serving("--idle-timeout=0.4") as (process, url):
        first = call(url)["pid"]
        assert call(url)["pid"] == first
        eventually(lambda: not psutil.pid_exists(first), within_s=2)
        assert not any(path.name.startswith("Obedient") for path in _groups(process.pid))
        assert call(url)["calls"] == 1


def _groups(pid: int) -> list[Path]:
    return [path for folder in control_groups(pid) for path in folder.iterdir() if path.is_dir()]


def test_a_taken_port_and_a_missing_template_are_told_in_one_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*SERVE, f"--port={port}"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot listen on port {port}")
    done = subprocess.run([*SERVE, "--template=none"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr == "Error: none is missing; bring it with: make setup\n"


def test_without_mounts_an_environment_has_its_tmp_by_tmpdir(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    stale = tmp_path / "lambda-burst-999999999" / "some-1"
    stale.mkdir(parents=True)

    async def invoke() -> list[dict[str, Any]]:
        functions = [x for x in read(TEMPLATE) if x.name == "Obedient"]
        running = service.Service(functions, None, max_concurrency=1, idle_timeout_s=60)
        assert str(running.storage) == "each its own by TMPDIR"
        pool, answers = running.pools["Obedient"], []
        for number in range(2):
            invocation = Invocation(str(number), b'{"write": "file"}', "arn")
            answers.append(json.loads((await running.invoke(pool, invocation)).outcome.body))
            running.update(pool)
        await running.close()
        return answers

    first, second = asyncio.run(invoke())
    assert first["tmp"] != second["tmp"]
    assert first["tmp"].startswith(str(tmp_path))
    assert first["in_tmp"] == second["in_tmp"] == []
    assert list(tmp_path.iterdir()) == []


def test_code_in_tmp_runs_although_tmp_is_its_own(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(TEMPLATE.parent, copy)
    one = {"CodeUri": "python", "Handler": "obedient.handler", "Runtime": "python3.11"}
    function = {"Type": "AWS::Serverless::Function", "Properties": one}
    (copy / "template.yaml").write_text(json.dumps({"Resources": {"Elsewhere": function}}))
    assert tmp_path.is_relative_to("/tmp")
    with serving(f"--template={copy}/template.yaml") as (_, url):
        assert call(url, {"write": "file"}, "Elsewhere")["calls"] == 1
        assert call(url, {}, "Elsewhere")["calls"] == 2
    assert not list(Path("/tmp").glob("file"))


def test_a_version_that_differs_is_told(tmp_path: Path) -> None:
    template = TEMPLATE.read_text().replace("python3.11", "python3.13")
    shutil.copytree(TEMPLATE.parent, tmp_path, dirs_exist_ok=True)
    tmp_path.joinpath("template.yaml").write_text(template)
    options = [*SERVE[:-1], f"--template={tmp_path}/template.yaml", "--with-parent"]
    done = subprocess.run(options, capture_output=True, text=True, cwd=ROOT, input="")
    here = runtimes.version("python")
    assert f"Obedient asks for python3.13 and runs on {here} here\n" in done.stdout
    assert "nodejs22.x and runs" not in done.stdout
    told = runtimes.told_versions(read(tmp_path / "template.yaml"))
    assert told["python"] == f"{here} (asked for: python3.13)"
    assert told["node"] == runtimes.version("node")


# Resources.


def test_the_cpu_of_all_environments_is_counted_ended_ones_included() -> None:
    with serving() as (_, url):
        before = status(url)["functions_cpu_s"]
        call(url, {"spin": 0.3})
        running = status(url)
        environment = call(url)["pid"]
        lambda_api(url, None).update_function_configuration(FunctionName="Obedient", Timeout=4)
        eventually(lambda: not psutil.pid_exists(environment))
        ended = status(url)
        assert running["functions_cpu_s"] - before > 0.29
        assert ended["functions_cpu_s"] >= running["functions_cpu_s"] - 0.02
        assert ended["environments_started"] == 1
        assert (running["environments"], ended["environments"]) == (1, 0)
        assert 0 < ended["service_cpu_s"] < 5


def test_time_that_a_quota_made_functions_wait_is_counted() -> None:
    with serving("--memory=256") as (process, url):
        if not control_groups(process.pid):
            pytest.skip("no cgroup here that we may write")
        before = status(url)["functions_throttled_s"]
        call(url, {"spin": 0.1})
        assert status(url)["functions_throttled_s"] - before > 0.2


def test_nothing_grows_with_calls_crashes_and_refusals() -> None:
    with serving("--max-concurrency=2") as (process, url):
        service_process = psutil.Process(process.pid)
        client, api = LambdaClient(url, None), lambda_api(url, None)

        def round_() -> None:
            for _ in range(300):
                client.invoke("Obedient", {})
            for event in ({"exit": 3}, {"kill": True}, {"raise": "x"}):
                with pytest.raises(CallFailed):
                    client.invoke("Obedient", event)
            for _ in range(20):
                with pytest.raises(CallFailed, match="ResourceNotFoundException"):
                    client.invoke("Nobody", {})
            api.update_function_configuration(FunctionName="Obedient")
            for _ in range(10):
                api.invoke(FunctionName="Obedient", InvocationType="Event", Payload=b"{}")
            eventually(lambda: status(url)["events"] == 0)

        def size() -> tuple[float, int, int, int]:
            eventually(lambda: status(url)["environments"] <= 2)
            return (
                service_process.memory_info().rss / 2**20,
                service_process.num_fds(),
                service_process.num_threads(),
                len(_groups(process.pid)),
            )

        for _ in range(2):
            round_()
        before = size()
        for _ in range(5):
            round_()
        after = size()
        client.close()
    assert after[0] - before[0] < 3, "MiB"
    assert after[1:] == pytest.approx(before[1:], abs=3), "file descriptors, threads, groups"


def test_a_failure_after_the_fork_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    forked: list[int] = []

    def full(pid: int) -> int:
        forked.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    async def invoke() -> None:
        shares = CpuShares.open()
        functions = [x for x in read(TEMPLATE) if x.name == "Obedient"]
        running = service.Service(functions, shares, max_concurrency=1, idle_timeout_s=60)
        try:
            with monkeypatch.context() as patched, pytest.raises(OSError, match="Too many"):
                patched.setattr(os, "pidfd_open", full)
                await running.invoke(running.pools["Obedient"], Invocation("1", b"{}", "arn"))
            assert not running.pools["Obedient"].environments
            again = await running.invoke(running.pools["Obedient"], Invocation("2", b"{}", "arn"))
            assert again.outcome.status is None
        finally:
            await running.close()

    asyncio.run(invoke())
    assert forked
    assert not psutil.pid_exists(forked[0])
    assert not control_groups(os.getpid())


def test_it_stays_under_80_mb() -> None:
    with serving() as (process, url):
        call(url, {"text": "x" * 6_000_000})
        call(url, {"sentences": ["a sentence of some words"] * 200_000})
        for _ in range(100):
            call(url, {"sentences": ["a sentence of some words"] * 100})
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert peak and int(peak[1]) < 80 * 1024


def test_an_environment_has_the_cpu_share_of_its_memory_size() -> None:
    with serving("--memory=512") as (process, url):
        if not control_groups(process.pid):
            pytest.skip("no cgroup here that we may write")
        environment = call(url)["pid"]
        (group,) = _groups(process.pid)
        assert group.joinpath("cgroup.procs").read_text().split() == [str(environment)]
        if (group / "cpu.max").exists():
            assert group.joinpath("cpu.max").read_text().split() == ["5788", "20000"]
        else:
            assert group.joinpath("cpu.cfs_period_us").read_text() == "20000\n"
            assert group.joinpath("cpu.cfs_quota_us").read_text() == "5788\n"


def test_1769_mb_are_one_cpu() -> None:
    assert quota_us(cpus(1769)) == 20_000
    assert quota_us(cpus(3538)) == 40_000
    assert quota_us(cpus(128)) == 1447
    assert quota_us(cpus(50)) == 1000, "the least that the kernel takes"


def test_an_init_over_its_time_is_tried_again_within_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "INIT_TIMEOUT_S", 0.3)

    async def invoke() -> list[service.Result]:
        shares = CpuShares.open()
        functions = [x for x in read(TEMPLATE) if x.name == "SlowInit"]
        running = service.Service(functions, shares, max_concurrency=1, idle_timeout_s=60)
        try:
            pool = running.pools["SlowInit"]
            running.update(pool, timeout_s=1)
            return [
                await running.invoke(pool, Invocation(request_id, b"{}", "some-arn"))
                for request_id in ("first", "second")
            ]
        finally:
            await running.close()

    first, second = asyncio.run(invoke())
    for result in (first, second):
        assert result.outcome.status == "timeout"
        assert json.loads(result.outcome.body)["errorType"] == "Sandbox.Timedout"
        assert result.outcome.duration_ms == pytest.approx(1000, abs=100)
    assert 300 <= (first.bring_up_ms or 0) < 900, "the part outside of its duration"
    assert second.bring_up_ms is None, "the environment is to be reset, so init is inside at once"
    assert b"INIT_REPORT" not in second.log_tail
    log = first.log_tail.decode()
    assert re.match(r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: timeout", log)
    assert "Init Duration" not in log.splitlines()[-1]
    assert not control_groups(os.getpid())
