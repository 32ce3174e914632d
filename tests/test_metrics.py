"""`bench metrics` against a server that answers as Flink's REST API does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.cluster.flink import Rest
from bench.cluster.metrics import Counter
from bench.cluster.watch import Watch, find_vertices, line, refresh_ms

JOB = "a1b2c3"


@dataclass
class FakeFlink:
    """One job of two vertices whose counters grow by a fixed step with every question."""

    address: str = ""
    jobs: list[dict[str, str]] = field(
        default_factory=lambda: [{"jid": JOB, "name": "other people's", "state": "RUNNING"}]
    )
    polls: int = 0
    per_poll: dict[str, float] = field(default_factory=lambda: {"numRecordsIn": 100.0})
    highest: dict[str, float] = field(default_factory=dict)
    ends_after: int = 10_000

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        if path == "/jobs/overview":
            return {"jobs": self.jobs}
        if path == "/jobmanager/config":
            return [{"key": "metrics.fetcher.update-interval", "value": "50 ms"}]
        if path == f"/jobs/{JOB}":
            state = "RUNNING" if self.polls < self.ends_after else "FINISHED"
            vertices = [("v1", "Source: a", 1), ("v2", "Flat Map", 4)]
            return {
                "state": state,
                "vertices": [{"id": i, "name": n, "parallelism": p} for i, n, p in vertices],
            }
        if path.endswith("/subtasks/metrics"):
            self.polls += 1
            wanted = query["get"][0].split(",")
            assert query["agg"] == ["sum,avg,max"]
            grown = {k: v * self.polls for k, v in self.per_poll.items()} | self.highest
            return [
                {"id": k, "sum": v, "avg": v / 4, "max": v} for k, v in grown.items() if k in wanted
            ]
        return []


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    fake = FakeFlink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = json.dumps(fake.answer(url.path, parse_qs(url.query))).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        fake.address = f"127.0.0.1:{server.server_port}"
        yield fake
        server.shutdown()
        thread.join()


def metrics(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["metrics", *arguments])


def test_rates_and_ratios_are_differences_of_cumulative_counters(
    flink: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 10.5])
    flink.per_poll = {"numRecordsIn": 100.0, "accumulateBusyTimeMs": 1500.0}
    flink.highest = {"Shuffle.Netty.Input.Buffers.inputQueueLength": 8.0}
    rest = Rest(flink.address)
    watch = Watch(rest, JOB, find_vertices(rest, JOB, "flat"))
    with monkeypatch.context() as patched:
        fake_time = SimpleNamespace(time=lambda: next(clock), sleep=lambda s: None)
        patched.setattr("bench.cluster.watch.time", fake_time)
        assert watch.sample() == []
        (row,) = watch.sample()
    assert (row["vertex"], row["subtasks"]) == ("Flat Map", 4)
    assert row["records_in_per_s"] == 200  # 100 in 0.5 s
    assert row["busy"] == 0.75  # 1,500 ms in 0.5 s of four subtasks
    assert row["idle"] is None and row["records_out_per_s"] is None  # not said, not zero
    queue = row["gauges"]["Shuffle.Netty.Input.Buffers.inputQueueLength"]
    assert queue == {"mean": 2.0, "highest": 8.0}
    assert line(row).split()[-8:] == ["200", "—", "75%", "—", "—", "8", "—", "—"]


def test_a_job_that_starts_again_does_not_count_backwards(flink: FakeFlink) -> None:
    rest = Rest(flink.address)
    watch = Watch(rest, JOB, find_vertices(rest, JOB, "source"))
    flink.polls = 5
    watch.sample()
    flink.polls = 0
    (row,) = watch.sample()
    assert row["records_in_per_s"] > 0


def test_it_records_until_the_job_has_ended(flink: FakeFlink, tmp_path: Any) -> None:
    flink.ends_after = 7
    path = tmp_path / "job.jsonl"
    result = metrics(flink.address, "--every", "50", "--record", str(path))
    assert result.exit_code == 0, result.output
    assert "other people's is FINISHED" in result.output
    rows = [json.loads(x) for x in path.read_text().splitlines()]
    assert {row["vertex"] for row in rows} == {"Source: a", "Flat Map"}
    assert all(row["job"] == JOB and row["records_in_per_s"] > 0 for row in rows)


def test_it_prints_a_line_a_vertex_and_stops_in_time(flink: FakeFlink) -> None:
    result = metrics(flink.address, "--vertex", "flat", "--every", "50", "--for", "0.5")
    assert result.exit_code == 0, result.output
    job, head, *lines = result.output.splitlines()
    assert JOB in job and head.startswith("time") and len(lines) >= 2
    assert all("Flat Map" in x for x in lines[:-1])


def test_the_clusters_own_refresh_is_known(flink: FakeFlink) -> None:
    assert refresh_ms(Rest(flink.address)) == 50


def test_a_wrong_address_job_or_vertex_is_said_so(flink: FakeFlink) -> None:
    def said(*arguments: str) -> str:
        result = metrics(*arguments)
        assert result.exit_code == 1 and not result.output.count("Traceback")
        return result.output

    assert "no Flink answers at http://127.0.0.1:9" in said("127.0.0.1:9")
    assert "no Flink answers at http://nowhere:port" in said("nowhere:port")
    assert f"no job 'mine' runs at http://{flink.address}; running: {JOB}" in said(
        flink.address, "--job", "mine"
    )
    assert "no vertex 'sink'; the job has 'Source: a', 'Flat Map'" in said(
        flink.address, "--vertex", "sink"
    )
    flink.jobs = flink.jobs * 2
    assert "several jobs run" in said(flink.address)
    flink.jobs = []
    assert "no job runs" in said(flink.address)


def test_another_kind_of_server_is_said_so(flink: FakeFlink) -> None:
    flink.jobs = []
    flink.answer = lambda path, query: {"hello": "world"}  # type: ignore[method-assign]
    result = metrics(flink.address)
    assert result.exit_code == 1 and "not as Flink's REST API does" in result.output


@pytest.mark.parametrize(
    ("readings", "total"),
    [
        ([100, 250], 250),
        ([100, 250, 30, 50], 300),  # the task has started again
        ([10_000, 10_200, 9_800, 10_000], 10_000),  # Flink took back what it had counted ahead
    ],
)
def test_a_counter_goes_on_after_a_restart_and_follows_a_correction(
    readings: list[float], total: float
) -> None:
    counter = Counter()
    for value in readings:
        counter.read(value)
    assert counter.total == total
