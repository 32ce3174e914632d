"""The table of faults: what was done, what was lost, how long it took, what the policy did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from bench.report.gather.evidence import Evidence
from bench.report.gather.faults import LATE_MS, Outcome, outcomes
from bench.report.say.table import ABSENT, Table, count, over, percent, time

_PARTS = ("—", "Flink", "Lambda", "steering")


def tables(e: Evidence) -> list[Table]:
    """One table a method and order that was asked for; none without faults."""
    found = outcomes(e)
    kinds = list(dict.fromkeys((x.method, x.ordered) for x in found))
    return [_table([x for x in found if (x.method, x.ordered) == kind]) for kind in kinds]


def _table(found: Sequence[Outcome]) -> Table:
    first = found[0]
    names = dict.fromkeys(x.fault for x in sorted(found, key=lambda x: _PARTS.index(x.part)))
    how = f"method {first.method}{', ordered' if first.ordered else ''}"
    rows = [_row([x for x in found if x.fault == name]) for name in names]
    return Table(
        "faults" if (first.method, first.ordered) == ("operator", False) else _name(first),
        f"What a fault in the middle of a surge does ({how})",
        [
            "fault",
            "n",
            "lost / twice / wrong",
            *(["out of order"] if first.ordered else []),
            "normal again after",
            "restarts",
            "calls that failed",
            "share before → least → after",
        ],
        rows,
        pd.DataFrame([{**asdict(x), "failed": str(x.failed)} for x in found]),
        note=_note(found),
    )


def _name(first: Outcome) -> str:
    return f"faults-{first.method}{'-ordered' if first.ordered else ''}"


def _row(of: Sequence[Outcome]) -> list[str]:
    first, broken = of[0], [x for x in of if x.broken]
    ledgers = [x for x in broken if x.lost is not None]
    jobs = {x.job: x for x in ledgers}.values()
    sums = [sum(getattr(x, name) for x in jobs) for name in ("lost", "duplicated", "wrong")]
    normal = [x.normal_ms for x in ledgers if x.normal_ms is not None]
    watched = [x.watched_ms for x in ledgers if x.watched_ms is not None]
    failed: Counter[str] = Counter()
    for x in broken:
        failed.update(x.failed)
    shares = [
        [s for x in broken if (s := getattr(x, f"share_{when}")) is not None]
        for when in ("before", "least", "after")
    ]
    restarts = [float(x.restarts) for x in broken if x.restarts is not None]
    return [
        f"{first.fault}: {first.done}",
        str(len(broken)) if len(broken) == len(of) else f"{len(broken)} of {len(of)}",
        _lost(sums, len(ledgers), len(broken)),
        *([_order(list(jobs))] if first.ordered else []),
        over(normal, time, watched),
        over(restarts, count),
        ", ".join(f"{n} {reason}" for reason, n in failed.most_common(3)) or "none",
        " → ".join(over(x, percent) if x else ABSENT for x in shares),
    ]


def _lost(sums: Sequence[int], known: int, of: int) -> str:
    """Lost, twice and wrong; of a job that did not come to its end nothing is known."""
    if not known:
        return ABSENT
    return " / ".join(map(count, sums)) + (f" (known of {known} of {of})" if known < of else "")


def _order(ledgers: Sequence[Outcome]) -> str:
    return count(sum(x.out_of_order or 0 for x in ledgers)) if ledgers else ABSENT


def _note(found: Sequence[Outcome]) -> str:
    """What a reader has to know, and every surge that did not end as it should."""
    said = [
        f"{len(found)} faults in {len({x.job for x in found})} jobs, each in a surge of its own to "
        "twice what the worker can do; broken while batches "
        f"are offloaded. Normal again: from the fault until no batch is later than {time(LATE_MS)} "
        "any more, “>”: not within what was recorded; the first row says what that is without a "
        "fault. Median (lowest–highest). The cluster finds out about a dead process in 5 s, and is "
        "made highly available by a ZooKeeper: without one the job would end with its JobManager."
    ]
    outlived = [x.outlived for x in found if x.outlived is not None]
    if outlived:
        said.append(
            f"Calls sent by subtasks that had not heard their controller for 2.5 s: {sum(outlived)}"
            f" in {len(outlived)} surges."
        )
    for x in {(x.job, x.ok, x.broken): x for x in found}.values():
        if not x.ok or not x.broken:
            what = "not broken" if not x.broken else "failed"
            said.append(f"{x.fault} {what}: {(x.error or 'no reason').splitlines()[0][:200]}.")
    return " ".join(said)
