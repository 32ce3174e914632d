"""The lines that Lambda writes around a function's own output, worded as AWS words them.

Source: the AWS Lambda developer guide, "Log format" and "Understanding the Lambda execution
environment lifecycle" (text format: tab-separated `Name: value unit`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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


def init_report(init_ms: float, status: str) -> str:
    """The line about an init that did not come to its end."""
    return f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: init\tStatus: {status}\n"


def tail(init_output: bytes, output: bytes, report: Report) -> bytes:
    """The last 4 KB of an invocation's log: init, START, the function's own lines, END, REPORT."""
    start = f"START RequestId: {report.request_id} Version: $LATEST\n".encode()
    end = f"END RequestId: {report.request_id}\n{report.line()}".encode()
    if output and not output.endswith(b"\n"):
        output += b"\n"
    return (init_output + start + output + end)[-TAIL_BYTES:]
