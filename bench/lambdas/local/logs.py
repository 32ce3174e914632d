"""The lines that Lambda writes around a function's own output, worded as AWS words them.

Source: the AWS Lambda developer guide: "Log format", "Understanding the Lambda execution
environment lifecycle" (text: tab-separated `Name: value unit`), "Telemetry API Event schema".
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime

TAIL_BYTES = 4096  # of X-Amz-Log-Result, before base64


@dataclass(frozen=True)
class Report:
    """What one invocation took. `max_memory_mb` is None where the process died unmeasured;
    `init_ms` is None unless the invocation started its environment."""

    request_id: str
    duration_ms: float
    memory_mb: int
    max_memory_mb: int | None
    init_ms: float | None = None
    status: str | None = None

    @property
    def billed_ms(self) -> int:
        """Whole milliseconds, init included (billed for managed runtimes since August 2025)."""
        return math.ceil(self.duration_ms + (self.init_ms or 0.0))

    def line(self) -> str:
        fields = [
            f"REPORT RequestId: {self.request_id}",
            f"Duration: {self.duration_ms:.2f} ms",
            f"Billed Duration: {self.billed_ms} ms",
            f"Memory Size: {self.memory_mb} MB",
        ]
        if self.max_memory_mb is not None:
            fields.append(f"Max Memory Used: {self.max_memory_mb} MB")
        if self.init_ms is not None:
            fields.append(f"Init Duration: {self.init_ms:.2f} ms")
        if self.status is not None:
            fields.append(f"Status: {self.status}")
        return "\t".join(fields) + "\t\n"

    def json_line(self) -> str:
        """The same in the JSON format."""
        metrics: dict[str, float] = {
            "durationMs": round(self.duration_ms, 3),
            "billedDurationMs": self.billed_ms,
            "memorySizeMB": self.memory_mb,
        }
        if self.max_memory_mb is not None:
            metrics["maxMemoryUsedMB"] = self.max_memory_mb
        if self.init_ms is not None:
            metrics["initDurationMs"] = round(self.init_ms, 3)
        return _platform(
            "report", self.request_id, metrics=metrics, status=self.status or "success"
        )


def init_report(init_ms: float, status: str) -> str:
    """The line about an init that did not come to its end."""
    return f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: init\tStatus: {status}\n"


def start(request_id: str, log_format: str = "Text") -> bytes:
    """The line before an invocation's own."""
    if log_format == "JSON":
        return _platform("start", request_id, version="$LATEST").encode()
    return f"START RequestId: {request_id} Version: $LATEST\n".encode()


def end(report: Report, log_format: str = "Text") -> bytes:
    """The lines after an invocation's own."""
    if log_format == "JSON":
        return report.json_line().encode()
    return f"END RequestId: {report.request_id}\n{report.line()}".encode()


def tail(init_output: bytes, output: bytes, report: Report, log_format: str = "Text") -> bytes:
    """The last 4 KB of an invocation's log: init, START, the function's own lines, END, REPORT."""
    if output and not output.endswith(b"\n"):
        output += b"\n"
    around = start(report.request_id, log_format), end(report, log_format)
    return (init_output + around[0] + output + around[1])[-TAIL_BYTES:]


def _platform(kind: str, request_id: str, **record: object) -> str:
    """A line of the platform in the JSON format."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"time": at, "type": f"platform.{kind}", "record": {"requestId": request_id, **record}}
    return json.dumps(line, separators=(",", ":")) + "\n"
