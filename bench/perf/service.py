"""The local Lambda service beside AWS's Runtime Interface Emulator, and one environment beside two.

`python -m bench.perf.service` prints the ratios, and fails if that of a call misses its aim. Both
run the built Python function on the same interpreter and are called by the same keep-alive HTTP
client, taking turns.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import multiprocessing
import os
import platform
import signal
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.lambdas.local import runtimes
from bench.lambdas.local.template import TOKENIZERS, Function, read
from bench.lambdas.target import local_service
from bench.perf.aims import Aim, conclude
from flink_job.load.workloads import workload
from functions.python.tokenizer.app import handler

ROUNDS = 20
CALLS_PER_ROUND = 100
WINDOWS, WINDOW_S, WARM_UP_S = 8, 1.0, 0.3
RUNTIME_API_LIMIT = 1.3  # times the emulator's median: the most that this project allows itself
SENTENCES = workload("sentences", 1).sentences(0, 100)
# So much work a batch that neither the client nor the service is what fills the cores.
HEAVY = {"operator": "subwords", "sentences": workload("sentences", 1, 100).sentences(0, 100)}


def main() -> None:
    function = next(x for x in read(TOKENIZERS) if x.language == "python")
    event = json.dumps({"sentences": SENTENCES}).encode()
    with ExitStack() as stack:
        ours = stack.enter_context(local_service())
        emulator = stack.enter_context(_emulator(function))
        callers = {
            "local service": stack.enter_context(_caller(ours, function.name, event)),
            "emulator": stack.enter_context(_caller(emulator, "function", event)),
        }
        print(f"Warm call, {len(SENTENCES)} sentences, {ROUNDS * CALLS_PER_ROUND} calls of each:")
        times = _interleaved(callers)
        for name, taken in times.items():
            print(f"  {name:<14} p50 {statistics.median(taken):.3f} ms   p99 {_p99(taken):.3f} ms")
        ratio = statistics.median(times["local service"]) / statistics.median(times["emulator"])
        heavy = json.dumps(HEAVY).encode()
        served, machine = _best_batches_per_s(ours, function.name, heavy)
        print(f"Batches/s of subwords, 100 words a sentence, best of {WINDOWS} windows by turns:")
        for name, best in (("environments", served), ("bare processes", machine)):
            gain = best[2] / best[1]
            print(f"  {name:<14} one {best[1]:.0f}, two {best[2]:.0f}: {gain:.2f} times")
    conclude([Aim("a warm call: local service ÷ emulator", ratio, most=RUNTIME_API_LIMIT)])


def _interleaved(callers: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Milliseconds of each call, callers taking turns in alternating order."""
    times: dict[str, list[float]] = {name: [] for name in callers}
    for call in callers.values():
        for _ in range(CALLS_PER_ROUND):
            call()
    for round_ in range(ROUNDS):
        for name in list(callers)[:: 1 if round_ % 2 else -1]:
            for _ in range(CALLS_PER_ROUND):
                started = time.perf_counter()
                callers[name]()
                times[name].append((time.perf_counter() - started) * 1000)
    return times


def _p99(times: Sequence[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def _best_batches_per_s(
    url: str, function: str, event: bytes
) -> tuple[dict[int, float], dict[int, float]]:
    """Throughput of one and of two environments, and of as many processes that do the same work
    with nothing around it: what the cores give. The best of windows that take turns, since other
    work on the machine only ever takes away."""
    served, machine = {1: 0.0, 2: 0.0}, {1: 0.0, 2: 0.0}
    for _ in range(WINDOWS):
        for number in (1, 2):
            served[number] = max(served[number], _batches_per_s(url, function, event, number))
            machine[number] = max(machine[number], _bare_batches_per_s(number))
    return served, machine


def _bare_batches_per_s(processes: int) -> float:
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return sum(pool.map(_tokenize_for_a_window, range(processes), chunksize=1)) / WINDOW_S


def _tokenize_for_a_window(number: int) -> int:
    """Batches that one process tokenizes in a window, after the time to get warm."""
    begin = time.perf_counter() + WARM_UP_S
    count = 0
    while (now := time.perf_counter()) < begin + WINDOW_S:
        handler(HEAVY, None)
        count += now >= begin
    return count


def _batches_per_s(url: str, function: str, event: bytes, environments: int) -> float:
    """Throughput of as many clients as environments in one window, after the time to get warm."""
    counts = [0] * environments
    started, stop = threading.Event(), threading.Event()

    def work(number: int) -> None:
        with _caller(url, function, event) as call:
            while not stop.is_set():
                call()
                counts[number] += started.is_set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(environments)]
    for thread in threads:
        thread.start()
    time.sleep(WARM_UP_S)
    started.set()
    time.sleep(WINDOW_S)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / WINDOW_S


@contextmanager
def _caller(url: str, function: str, event: bytes) -> Iterator[Callable[[], None]]:
    """Calls a function over one connection that stays open."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    path = f"/2015-03-31/functions/{function}/invocations"

    def call() -> None:
        connection.request("POST", path, event, {"X-Amz-Log-Type": "Tail"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200 or b'"tokens"' not in body:
            raise RuntimeError(f"{url} answered {answer.status}: {body[:200]!r}")

    with closing(connection):
        yield call


@contextmanager
def _emulator(function: Function) -> Iterator[str]:
    """AWS's Runtime Interface Emulator, as it comes with aws-sam-cli, with one environment."""
    spec = importlib.util.find_spec("samcli")
    assert spec and spec.origin
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
    binary = Path(spec.origin).parent / f"local/rapid/aws-lambda-rie-{machine}"
    api, runtime_api = f"127.0.0.1:{_free_port()}", f"127.0.0.1:{_free_port()}"
    process = subprocess.Popen(
        [
            *(str(binary), "--runtime-interface-emulator-address", api),
            *("--runtime-api-address", runtime_api),
            *runtimes.command(function),
        ],
        cwd=function.task_root,
        env=runtimes.surroundings(function, runtime_api, "emulator"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(api)
        yield f"http://{api}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def _wait_for(address: str) -> None:
    host, port = address.split(":")
    for _ in range(100):
        try:
            socket.create_connection((host, int(port))).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {address}")


if __name__ == "__main__":
    main()
