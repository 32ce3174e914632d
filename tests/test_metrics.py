"""`bench metrics` against a server that answers as Flink's REST API does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.cluster.flink import FlinkError, Rest
from bench.cluster.metrics import TIMES, Counter, JobMonitor
from bench.cluster.watch import Verdict, Watch, header, line, refresh_ms
from bench.steering.replay.tables import trace_table
from bench.steering.replay.traces import read_traces
from flink_job.offload.counters import NAMES

JOB = "a1b2c3"


BUSY, IDLE, BLOCKED = TIMES


@dataclass
class FakeFlink:
    """One job whose subtasks' counters move when the JobManager renews them, and only then.

    Attributes:
        vertices: (id, name), in topological order.
        speed: vertex → one mapping a subtask: counter → how much it grows in a second.
        renewals: seconds of a subtask's clock that each renewal adds; every `polls_per_renewal`
            polls there is one, as long as there are some; the last is repeated.
    """

    address: str = ""
    jobs: list[dict[str, str]] = field(
        default_factory=lambda: [{"jid": JOB, "name": "other people's", "state": "RUNNING"}]
    )
    state: str = "RUNNING"
    vertices: list[tuple[str, str]] = field(
        default_factory=lambda: [("v1", "Source: a"), ("v2", "Flat Map")]
    )
    speed: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    refresh: str = "50 ms"
    polls: int = 0
    polls_per_renewal: int = 1
    renewal_s: float = 1.0
    ends_after: int = 10_000
    counters: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    attempts: dict[str, list[int]] = field(default_factory=dict)
    broken: list[Any] = field(default_factory=list)
    longest_path: int = 4096

    def __post_init__(self) -> None:
        self.speed = {"v1": [busy(0.2, 100)], "v2": [busy(0.5, 100)] * 4}

    def renew(self, seconds: float = 1.0) -> None:
        for vertex, subtasks in self.speed.items():
            have = self.counters.setdefault(vertex, [])
            have += [{} for _ in subtasks[len(have) :]]
            del have[len(subtasks) :]
            for counters, speed in zip(have, subtasks, strict=True):
                for name, per_s in speed.items():
                    counters[name] = counters.get(name, 0.0) + per_s * seconds

    def start_again(self, vertex: str, subtask: int) -> None:
        self.counters[vertex][subtask] = {}
        attempts = self.attempts.setdefault(vertex, [0] * len(self.speed[vertex]))
        attempts[subtask] += 1

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        if path == "/jobs/overview":
            return {"jobs": self.jobs}
        if path == "/jobmanager/config":
            return [{"key": "metrics.fetcher.update-interval", "value": self.refresh}]
        if path == f"/jobs/{JOB}":
            self.polls += 1
            if self.polls % self.polls_per_renewal == 0:
                self.renew(self.renewal_s)
            if self.polls > self.ends_after:
                self.state = "FINISHED"
            found = [
                {"id": i, "name": n, "parallelism": len(self.speed[i])} for i, n in self.vertices
            ]
            return {"state": self.state, "vertices": found}
        vertex = path.split("/")[4]
        if not path.endswith("/metrics"):
            attempts = self.attempts.get(vertex, [0] * 100)
            return {
                "subtasks": [
                    {"subtask": n, "attempt": attempts[n], "start-time": 1}
                    for n in range(len(self.speed[vertex]))
                ]
            }
        answer = []
        for name in query["get"][0].split(","):
            subtask, _, metric = name.partition(".")
            of_it = self.counters.get(vertex, [])
            values = of_it[int(subtask)] | self.gauges if int(subtask) < len(of_it) else {}
            if metric in values:
                answer.append({"id": name, "value": str(values[metric])})
        return answer


def busy(share: float, per_s: float, blocked: float = 0.0) -> dict[str, float]:
    """What a subtask's counters grow by in a second."""
    times = {BUSY: share * 1000, IDLE: (1 - share - blocked) * 1000, BLOCKED: blocked * 1000}
    return {"numRecordsIn": per_s, "numRecordsOut": per_s, **times}


@pytest.fixture
def flink() -> Iterator[FakeFlink]:
    fake = FakeFlink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert len(self.path) < fake.longest_path, "Flink takes no longer ones"
            url = urlsplit(self.path)
            trouble = fake.broken.pop(0) if fake.broken else None
            if trouble == "hang up":
                return
            code, answer = trouble or (200, fake.answer(url.path, parse_qs(url.query)))
            body = json.dumps(answer).encode()
            self.send_response(code)
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


def watch_of(flink: FakeFlink) -> Watch:
    return Watch(Rest(flink.address), JOB, 0.05)


def rows_of(watch: Watch) -> dict[str, dict[str, Any]]:
    return {row["vertex"]: row for row in watch.sample()[1]}


def test_rates_are_sums_and_ratios_means_over_the_subtasks(flink: FakeFlink) -> None:
    flink.speed["v2"] = [busy(1.0, 300), *[busy(0.2, 50, blocked=0.4)] * 3]
    flink.gauges = {"Shuffle.Netty.Input.Buffers.inputQueueLength": 8.0}
    watch = watch_of(flink)
    assert rows_of(watch) == {}  # nothing to be differenced with
    row = rows_of(watch)["Flat Map"]
    assert (row["vertex_id"], row["subtasks"], row["measured"]) == ("v2", 4, 4)
    assert row["records_in_per_s"] == pytest.approx(450)
    assert row["busy"] == pytest.approx(0.4) and row["busy_highest"] == pytest.approx(1.0)
    assert row["backpressured"] == pytest.approx(0.3)
    queue = row["gauges"]["Shuffle.Netty.Input.Buffers.inputQueueLength"]
    assert queue == {"mean": 8.0, "highest": 8.0}
    assert line(row).split()[-6:] == ["450", "450", "40%", "30%", "30%", "8"]


def test_what_flink_does_not_say_is_absent_and_not_zero(flink: FakeFlink) -> None:
    del flink.speed["v1"][0]["numRecordsOut"]
    without_clock = {"numRecordsIn": 100.0, IDLE: 500.0}
    flink.speed["v2"] = [without_clock, *[busy(0.5, 100)] * 3]
    watch = watch_of(flink)
    watch.sample()
    rows = rows_of(watch)
    assert rows["Source: a"]["records_out_per_s"] is None
    assert line(rows["Source: a"]).split()[-5] == "—"
    assert rows["Flat Map"]["records_in_per_s"] == pytest.approx(300)  # one has no clock


def test_no_renewal_no_row_and_two_renewals_are_no_one_interval(flink: FakeFlink) -> None:
    """As on a cluster of default settings, polled more often than it renews its figures."""
    flink.polls_per_renewal, flink.renewal_s = 4, 10.0
    watch = watch_of(flink)
    rows = [row for _ in range(12) if (row := rows_of(watch).get("Source: a"))]
    assert len(rows) == 2
    flink.renew(10.0)  # missed by every poll
    rows += [row for _ in range(4) if (row := rows_of(watch).get("Source: a"))]
    assert [row["records_in_per_s"] for row in rows] == [pytest.approx(100)] * len(rows)
    assert [row["busy"] for row in rows] == [pytest.approx(0.2)] * len(rows)


def test_one_of_several_subtasks_starts_again_and_no_rate_is_negative(flink: FakeFlink) -> None:
    watch = watch_of(flink)
    for _ in range(5):
        watch.sample()
    flink.start_again("v2", 1)
    for _ in range(3):
        row = rows_of(watch)["Flat Map"]
        assert row["records_in_per_s"] == pytest.approx(400)
        assert row["busy"] == pytest.approx(0.5)


def test_a_subtask_that_starts_again_and_has_overtaken_its_counters(flink: FakeFlink) -> None:
    watch = watch_of(flink)
    for _ in range(3):
        watch.sample()
    flink.start_again("v1", 0)
    flink.renewal_s = 20.0
    assert rows_of(watch)["Source: a"]["records_in_per_s"] == pytest.approx(100)


def test_after_a_rescale_the_subtasks_that_there_are_count(flink: FakeFlink) -> None:
    watch = watch_of(flink)
    for subtasks in (4, 2, 8):
        flink.speed["v2"] = [busy(0.5, 100)] * subtasks
        for n in range(subtasks):
            if flink.counters and n < len(flink.counters["v2"]):
                flink.start_again("v2", n)
        flink.attempts = {}
        watch.sample()
        row = rows_of(watch)["Flat Map"]
        assert (row["subtasks"], row["busy"]) == (subtasks, pytest.approx(0.5))
        assert row["records_in_per_s"] == pytest.approx(100 * subtasks)


def test_many_subtasks_are_asked_for_in_requests_that_flink_takes(flink: FakeFlink) -> None:
    flink.speed["v2"] = [busy(0.5, 10)] * 100
    flink.longest_path = 4000
    watch = watch_of(flink)
    watch.sample()
    assert rows_of(watch)["Flat Map"]["records_in_per_s"] == pytest.approx(1000)


def test_a_subtask_whose_taskmanager_is_late_does_not_halve_the_row(flink: FakeFlink) -> None:
    watch = Watch(Rest(flink.address), JOB, 60.0)
    watch.sample()
    stuck = flink.speed["v2"][0]
    flink.speed["v2"] = [dict.fromkeys(stuck, 0.0), *flink.speed["v2"][1:]]
    assert "Flat Map" not in rows_of(watch)
    flink.speed["v2"] = [stuck, *flink.speed["v2"][1:]]
    row = rows_of(watch)["Flat Map"]
    assert row["measured"] == 4 and row["records_in_per_s"] == pytest.approx(400)


def test_vertices_of_one_name_are_told_apart(flink: FakeFlink) -> None:
    flink.vertices = [("aaaaaa1", "Map"), ("bbbbbb2", "Map")]
    flink.speed = {"aaaaaa1": [busy(0.2, 1)], "bbbbbb2": [busy(0.9, 2)]}
    watch = watch_of(flink)
    watch.sample()
    rows = watch.sample()[1]
    assert [row["vertex_id"] for row in rows] == ["aaaaaa1", "bbbbbb2"]
    assert len({line(row)[9:32] for row in rows}) == 2


# ------------------------------------------------------------------ the command


def test_one_bad_answer_does_not_end_the_watching(flink: FakeFlink) -> None:
    flink.ends_after = 25
    good = [None] * 20
    for trouble in ((503, {}), (404, {"errors": ["no job"]}), "hang up", (200, [1]), (200, {})):
        flink.broken += [*good, trouble]
    result = metrics(flink.address, "--every", "50", "--record", "-")
    assert result.exit_code == 0, result.output
    assert result.output.count("asking again") >= 4
    assert "other people's is FINISHED" in result.output


def test_a_proxy_in_the_environment_is_not_asked_for_what_is_on_this_machine(
    flink: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert refresh_ms(Rest(flink.address)) == 50
    assert refresh_ms(Rest(flink.address.replace("127.0.0.1", "localhost"))) == 50
    with pytest.raises(FlinkError):  # whose network may need it
        refresh_ms(Rest("flink.example:8081"))


def test_lasting_silence_ends_with_what_there_was(
    flink: FakeFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cluster.watch.PATIENCE_S", 0.3)
    flink.broken = [None] * 30 + [(503, {})] * 1000
    result = metrics(flink.address, "--every", "50")
    assert result.exit_code == 1 and "given up after 0.3 s" in result.output
    assert "Not overloaded" in result.output


def test_a_job_that_is_still_initialising_is_said_so(flink: FakeFlink) -> None:
    flink.state, flink.vertices = "INITIALIZING", []
    result = metrics(flink.address, "--for", "0.3", "--vertex", "flat")
    assert result.exit_code == 0
    assert "is INITIALIZING and has no vertices yet" in result.output


def test_it_ends_in_time_while_it_waits_for_the_next_figures(flink: FakeFlink) -> None:
    flink.refresh, flink.polls_per_renewal = "10 min", 1000
    before_s = time.monotonic()
    result = metrics(flink.address, "--for", "0.4")
    assert time.monotonic() - before_s < 2
    assert "the first row takes about 1260.0 s" in result.output
    assert "No verdict" in result.output


def verdict_of(*steps: tuple[float, float, float]) -> str:
    """Of (busy of the flat map, its records/s, back-pressured source), a row each a minute."""
    verdict = Verdict()
    for minute, (share, per_s, blocked) in enumerate(steps):
        at_s = time.mktime((2026, 11, 25, 10, minute, 0, 0, 0, -1))
        common = {"at_s": at_s, "records_out_per_s": per_s}
        source = {"busy": 0.1, "busy_highest": 0.1, "backpressured_highest": blocked}
        flat = {"busy": share, "busy_highest": share, "backpressured_highest": 0.0}
        verdict.add(
            [
                {"vertex_id": "s", "vertex": "Source", "records_in_per_s": None} | common | source,
                {"vertex_id": "f", "vertex": "Flat", "records_in_per_s": per_s} | common | flat,
            ]
        )
    return str(verdict)


def test_the_verdict_in_words() -> None:
    calm, full = (0.5, 400.0, 0.0), (1.0, 800.0, 0.7)
    said = verdict_of(calm, calm)
    assert said.startswith("Not overloaded while this watched: the busiest vertex, Flat, is 50%")
    assert "could take about 800" in said
    said = verdict_of(calm, full, full)
    assert said.startswith("Overloaded, seen since 10:01:00: Flat") and "takes 800 records" in said
    said = verdict_of(calm, full, full, calm)
    assert said.startswith("Overloaded from 10:01:00 to 10:02:00 (Flat; it takes 800 records/s")
    assert "nothing is seen to wait" in verdict_of((1.0, 800.0, 0.0))
    assert verdict_of().startswith("No verdict")


def test_the_screen_is_80_columns_wide(flink: FakeFlink) -> None:
    flink.vertices[1] = ("v2", "Flat Map -> Map -> Filter -> Sink: Writer -> Sink: Committer")
    flink.speed["v2"] = [busy(0.0, 9_999_999)]
    watch = watch_of(flink)
    watch.sample()
    row = rows_of(watch)[flink.vertices[1][1]]
    assert max(len(header()), len(line(row))) <= 79


def test_it_records_until_the_job_has_ended(flink: FakeFlink, tmp_path: Any) -> None:
    flink.ends_after = 7
    path = tmp_path / "job.jsonl"
    result = metrics(flink.address, "--every", "50", "--record", str(path))
    assert result.exit_code == 0, result.output
    assert "other people's is FINISHED" in result.output
    rows = [json.loads(x) for x in path.read_text().splitlines()]
    assert {row["vertex"] for row in rows} == {"Source: a", "Flat Map"}
    assert all(row["job"] == JOB and row["records_in_per_s"] > 0 for row in rows)


def test_what_it_recorded_policies_can_be_run_over(flink: FakeFlink, tmp_path: Any) -> None:
    """The busiest vertex stands for the tokenizer; nobody knows the schedule."""
    path = tmp_path / "job.jsonl"
    flink.vertices += [("v3", "Sink")]
    flink.speed["v3"] = [busy(0.1, 100)]
    flink.ends_after = 8
    assert metrics(flink.address, "--every", "50", "--record", str(path)).exit_code == 0
    (trace,) = read_traces(path)
    assert trace.shape is None and trace.settings.parallelism == 4
    assert len(trace.samples) >= 5 and trace.samples[0].tokenizer_busy == pytest.approx(0.5)
    assert trace.samples[0].emitted_per_s == pytest.approx(100)
    rows = trace_table([trace]).rows
    assert {row[3] for row in rows} == {"default", "threshold"}


def test_it_prints_a_line_a_vertex_and_stops_in_time(flink: FakeFlink) -> None:
    result = metrics(flink.address, "--vertex", "flat", "--every", "50", "--for", "0.5")
    assert result.exit_code == 0, result.output
    job, head, *lines, end = result.output.splitlines()
    assert JOB in job and head.startswith("time") and len(lines) >= 2
    assert all("Flat Map" in x for x in lines)
    assert "other people's is RUNNING. Not overloaded" in end


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


# ------------------------------------------------------------------ samples of our own job


class CountingFlink:
    """The REST API of a job of ours: a source, and a tokenizer that offloads."""

    def __init__(self) -> None:
        self.counters: dict[str, dict[str, float]] = {
            "s": dict.fromkeys((f"0.Map.{x}" for x in ("sentences",)), 0.0),
            "t": dict.fromkeys(
                (f"{subtask}.tokenizer.{name}" for subtask in (0, 1) for name in NAMES),
                0.0,
            ),
        }
        for vertex, subtasks in (("s", 1), ("t", 2)):
            for subtask in range(subtasks):
                for name in TIMES:
                    self.counters[vertex][f"{subtask}.{name}"] = 0.0

    def vertices(self, job: str) -> dict[str, str]:
        return {"Source: sentences": "s", "tokenizer": "t"}

    def get(self, path: str) -> Any:
        vertex, query = path.split("/vertices/")[1].split("/metrics")
        known = self.counters[vertex]
        asked = query.removeprefix("?get=").split(",") if query else list(known)
        return [{"id": x, "value": str(known[x])} for x in asked if x in known]

    def pass_time(self, ms: float) -> None:
        """On the clock of every subtask."""
        for vertex, subtasks in (("s", 1), ("t", 2)):
            for subtask in range(subtasks):
                self.counters[vertex][f"{subtask}.{TIMES[0]}"] += ms

    def add(self, subtask: int, **counts: float) -> None:
        for name, count in counts.items():
            self.counters["t"][f"{subtask}.tokenizer.{name}"] += count


def monitored(flink: CountingFlink) -> JobMonitor:
    return JobMonitor(cast(Rest, flink), JOB, lambda t_s: 0, 0.0, subtasks=2)


def test_a_sample_says_what_local_work_and_calls_cost_over_all_subtasks() -> None:
    flink = CountingFlink()
    monitor = monitored(flink)
    assert monitor.sample() is None
    flink.pass_time(500)
    flink.add(0, records=300, localRecords=100, localCpuNs=5_000_000, callsInFlight=2)
    flink.add(1, localRecords=300, localCpuNs=15_000_000, callsInFlight=1)
    flink.add(1, calledRecords=200, callCpuNs=1_000_000, calls=4, throttledCalls=3, lateCalls=1)
    sample = monitor.sample()
    assert sample is not None
    assert sample["local_cpu_us"] == pytest.approx(50)
    assert sample["call_cpu_us"] == pytest.approx(5)
    assert sample["local_per_s"] == pytest.approx(400 / 0.5)
    assert sample["called_per_s"] == pytest.approx(200 / 0.5)
    assert sample["calls_per_s"] / sample["called_per_s"] == pytest.approx(4 / 200)
    assert (sample["in_flight"], sample["throttled_calls"], sample["late_calls"]) == (3, 3, 1)
    assert sample["failed_calls"] == 0


def test_where_nothing_was_done_a_cost_is_absent_and_calls_in_flight_may_fall() -> None:
    flink = CountingFlink()
    monitor = monitored(flink)
    flink.add(0, callsInFlight=8)
    monitor.sample()
    flink.pass_time(500)
    flink.add(0, callsInFlight=-7)
    sample = monitor.sample()
    assert sample is not None
    assert sample["in_flight"] == 1
    assert sample["local_cpu_us"] is sample["call_cpu_us"] is None


def test_rates_go_by_the_clock_of_who_counted_and_no_news_is_no_sample() -> None:
    flink = CountingFlink()
    monitor = monitored(flink)
    monitor.sample()
    assert monitor.sample() is None, "nothing has been told since"
    flink.pass_time(2000)
    flink.add(0, records=1000, localRecords=1000, localCpuNs=1, waitedNs=1_000_000_000)
    sample = monitor.sample()
    assert sample is not None
    assert sample["processed_per_s"] == pytest.approx(500), "although the polls are closer"
    assert sample["tokenizer_busy"] == pytest.approx(1.0)
    assert sample["tokenizer_waiting"] == pytest.approx(0.25), "of two subtasks, one half the time"
