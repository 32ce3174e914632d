"""Flink's metrics as Flink pushes them: its StatsD reporter, and the UDP listener it talks to."""

from __future__ import annotations

import re
import socket
import threading
from typing import Any

from bench.cluster.metrics import TIMES
from bench.facts.records import Run
from flink_job.clock import now_s

PUSHED = (
    *TIMES,
    "numRecordsIn",
    "numRecordsOut",
    "inputQueueLength",
    "inPoolUsage",
    "outPoolUsage",
)
_SCOPE = "task-of-ours"
_LINE = re.compile(rf"{_SCOPE}\.(.+?)\.(\d+)\.([\w.]+):([-+\d.eE]+)\|g")
_DATAGRAM_BYTES = 65536


def parse(line: str) -> tuple[str, int, str, float] | None:
    """(vertex "source" or "tokenizer", subtask, metric, value) of one StatsD line; None for what is
    not about those two vertices."""
    found = _LINE.fullmatch(line.strip())
    if not found:
        return None
    task, subtask, metric, value = found.groups()
    # The reporter writes "Source: …" as "Source- …": a colon ends the name in StatsD.
    vertex = "source" if task.startswith("Source") else task
    if vertex not in ("source", "tokenizer"):
        return None
    return vertex, int(subtask), metric, float(value)


class Listener:
    """Receives what Flink pushes, on a free UDP port of 127.0.0.1; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self._to: tuple[Run, str, float] | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="statsd", daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        self._socket.close()

    def settings(self, interval_ms: int) -> dict[str, Any]:
        """Flink options that make a cluster push to this listener every `interval_ms`."""
        reporter = {
            "factory.class": "org.apache.flink.metrics.statsd.StatsDReporterFactory",
            "host": "127.0.0.1",
            "port": self._socket.getsockname()[1],
            "interval": f"{interval_ms} ms",
            "filter.includes": f"*:{','.join(PUSHED)}",
        }
        return {
            **{f"metrics.reporter.statsd.{key}": value for key, value in reporter.items()},
            "metrics.scope.task": f"{_SCOPE}.<task_name>.<subtask_index>",
        }

    def record(self, run: Run, surge: str, start_at_s: float) -> None:
        """From now on, write what comes as `push` records of `surge`.

        Args:
            start_at_s: epoch seconds of the schedule's start.
        """
        self._to = run, surge, start_at_s

    def pause(self) -> None:
        """Let what comes now pass by."""
        self._to = None

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                datagram = self._socket.recv(_DATAGRAM_BYTES)
            except TimeoutError:
                continue
            at_s, to = now_s(), self._to
            if to is None:
                continue
            run, surge, start_at_s = to
            for line in datagram.decode(errors="replace").splitlines():
                if found := parse(line):
                    vertex, subtask, metric, value = found
                    run.write(
                        "push",
                        surge=surge,
                        at_ms=(at_s - start_at_s) * 1000,
                        vertex=vertex,
                        subtask=subtask,
                        metric=metric,
                        value=value,
                    )
