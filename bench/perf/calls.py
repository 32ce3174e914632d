"""What a call costs the process that makes it, beside the least that it could and beside others.

`python -m bench.perf.calls` prints CPU time a call, of the whole calling process, for batches of
1, 10, 100 and 1,000 sentences. All call the same function of the same local service, which runs in
processes of its own; all write the batch as JSON and read the answer, and take turns.

floor       the standard library's connection, kept; orjson; not signed
ours        flink_job.offload.client; orjson
boto3       orjson
Java SDK    AWS's SDK for Java v2, its asynchronous client with its default HTTP client, Jackson;
            warmed with 10,000 calls
"""

from __future__ import annotations

import http.client
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from tabulate import tabulate

from bench import stats
from bench.lambdas.local import runtimes
from bench.lambdas.target import open_target
from bench.perf import jvm
from bench.perf.aims import Aim, conclude
from flink_job.load.workloads import workload
from flink_job.offload.client import LambdaClient
from flink_job.offload.endpoint import lambda_api

SIZES = (1, 10, 100, 1000)
ROUNDS = 20
CALLS_PER_ROUND = 25
WARM_UP_CALLS = 50
JAVA_WARM_UP_CALLS = 10_000
JUDGED = 100  # sentences
MOST_OF = {"floor": 1.6, "boto3": 0.35, "Java SDK": 0.35}  # ours ÷ that

# CPU time in seconds that a number of calls with the n-th batch took.
Caller = Callable[[int, int], float]


def main() -> None:
    jar = jvm.jar()
    events = [{"sentences": workload("sentences", 1).sentences(0, size)} for size in SIZES]
    with ExitStack() as stack:
        target = stack.enter_context(open_target())
        assert target.endpoint_url
        where = target.endpoint_url, target.functions["node"]
        callers: dict[str, Caller] = {
            "floor": stack.enter_context(_floor(*where, events)),
            "ours": stack.enter_context(_ours(*where, events)),
            "boto3": stack.enter_context(_boto3(*where, events)),
            "Java SDK": stack.enter_context(_java(*where, events, jar)),
        }
        for name, call in callers.items():
            call(SIZES.index(JUDGED), JAVA_WARM_UP_CALLS if name == "Java SDK" else WARM_UP_CALLS)
        taken_us = [_by_turns(callers, number) for number in range(len(SIZES))]
    _tell(taken_us)
    judged = taken_us[SIZES.index(JUDGED)]
    ours = stats.median(judged["ours"]).value
    conclude(
        [
            Aim(f"a call of {JUDGED} sentences: ours ÷ {name}", ours / middle, most=most)
            for name, most in MOST_OF.items()
            for middle in [stats.median(judged[name]).value]
        ]
    )


def _by_turns(callers: dict[str, Caller], number: int) -> dict[str, list[float]]:
    """CPU time of a call with the n-th batch, µs, one value a round; callers take turns."""
    taken_us: dict[str, list[float]] = {name: [] for name in callers}
    for round_ in range(ROUNDS + 1):  # the first is for getting used to the batch
        for name in list(callers)[:: 1 if round_ % 2 else -1]:
            cpu_s = callers[name](number, CALLS_PER_ROUND)
            if round_:
                taken_us[name].append(cpu_s / CALLS_PER_ROUND * 1e6)
    return taken_us


def _tell(taken_us: Sequence[dict[str, list[float]]]) -> None:
    rows = []
    for size, of in zip(SIZES, taken_us, strict=True):
        middle = {name: stats.median(values) for name, values in of.items()}
        ratios = [middle["ours"].value / middle[name].value for name in MOST_OF]
        figures = [f"{x.value:,.0f} ({x.low:,.0f}–{x.high:,.0f})" for x in middle.values()]
        rows.append([f"{size:,}", *figures, *(f"{x:.2f}" for x in ratios)])
    print(f"CPU of the calling process a call, µs: median of {ROUNDS} rounds, 95 % interval")
    headers = ["sentences", *taken_us[0], *(f"ours ÷ {name}" for name in MOST_OF)]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def _counted(call: Callable[[dict[str, Any]], Any], events: Sequence[dict[str, Any]]) -> Caller:
    """A caller of this process, whose answers are looked at."""

    def caller(number: int, calls: int) -> float:
        event = events[number]
        begin = time.process_time()
        for _ in range(calls):
            answer = call(event)
        taken_s = time.process_time() - begin
        if len(answer["tokens"]) != len(event["sentences"]):
            raise RuntimeError(f"this is no answer: {answer}")
        return taken_s

    return caller


@contextmanager
def _floor(url: str, function: str, events: Sequence[dict[str, Any]]) -> Iterator[Caller]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    path = f"/2015-03-31/functions/{function}/invocations"

    def call(event: dict[str, Any]) -> Any:
        connection.request("POST", path, orjson.dumps(event))
        return orjson.loads(connection.getresponse().read())

    with closing(connection):
        yield _counted(call, events)


@contextmanager
def _ours(url: str, function: str, events: Sequence[dict[str, Any]]) -> Iterator[Caller]:
    with closing(LambdaClient(url, None)) as client:
        yield _counted(lambda event: client.invoke(function, event, tail=False).value, events)


@contextmanager
def _boto3(url: str, function: str, events: Sequence[dict[str, Any]]) -> Iterator[Caller]:
    api = lambda_api(url, None)

    def call(event: dict[str, Any]) -> Any:
        answer = api.invoke(FunctionName=function, Payload=orjson.dumps(event))
        return orjson.loads(answer["Payload"].read())

    with closing(api):
        yield _counted(call, events)


@contextmanager
def _java(url: str, function: str, events: Sequence[dict[str, Any]], jar: Path) -> Iterator[Caller]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.json") for number in range(len(events))]
        for file, event in zip(files, events, strict=True):
            file.write_bytes(orjson.dumps(event))
        command = [runtimes.java(), "-cp", str(jar), "peers.Calls", url, function]
        with subprocess.Popen(
            [*command, *map(str, files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin and process.stdout
            orders, answers = process.stdin, process.stdout

            def caller(number: int, calls: int) -> float:
                begin = _cpu_s(process.pid)
                orders.write(f"{number} {calls}\n")
                orders.flush()
                if answers.readline().strip() != str(calls):
                    raise RuntimeError("the Java peer failed")
                return _cpu_s(process.pid) - begin

            try:
                yield caller
            finally:
                process.kill()


def _cpu_s(pid: int) -> float:
    """CPU time of another process, finer than /proc tells it (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


if __name__ == "__main__":
    main()
