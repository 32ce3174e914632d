"""The table of ways to offload: ours, and what others do it with."""

from __future__ import annotations

from bench.report.gather.evidence import Evidence
from bench.report.say.table import Table, number, percent


def table(e: Evidence) -> Table | None:
    """Every way that was measured, a row each; None without any."""
    found = e.frames["peer"]
    if found.empty:
        return None
    return Table(
        "peers",
        "Beside what others offload with",
        ["", "worker CPU, µs a sentence", "sentences/s", "left while a call hangs", "then"],
        [
            [
                str(x["peer"]),
                number(x["cpu_us"]),
                number(x["per_s"]),
                percent(x["left"]),
                str(x["state"]).lower(),
            ]
            for x in found.to_dict("records")
        ],
        found.drop(columns=["run"]),
        "Every batch of 100 sentences is called for, as many as go, 8 calls in flight, to the same "
        "function in Node; no quota. Worker: the TaskManager that runs the flatmap, with the "
        "Python processes that it starts. Source, sink and function share this machine's cores "
        "with it; the peers read ready batches from a file, ours come from its source. Each once, "
        "one after another: differences of a tenth mean nothing. Left: of the throughput, while "
        "one of the function's environments is frozen for 10 s with the call that it has.",
    )
