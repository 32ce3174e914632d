"""What became of each fault: its record, and the batches, calls and decisions around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.report.gather.evidence import Evidence
from flink_job.offload.control import LEASE_S

# Of a batch from when its last sentence was due until it is at the sink. In such a surge calm
# latencies are tens of milliseconds.
LATE_MS = 1000.0
# A directive that is not renewed is dropped by then.
_LEASE_MS = LEASE_S * 1000 + 500
# What the policy does about a fault it has done so long after it.
_AFTER_MS = 5000.0


@dataclass(frozen=True)
class Outcome:
    """One fault in one surge of a job.

    Attributes:
        job: several faults of a job share its `lost` to `out_of_order`.
        lost, duplicated, wrong, out_of_order: None where the job did not come to its end.
        normal_ms: from the fault until no batch was late any more, before the next fault of the
            job; infinite: the last ones were, None: nothing came after it.
        worst_ms: the highest latency of what came after it.
        watched_ms: from the fault until the last of that; None without any.
        share_before, share_least, share_after: that was directed, before the fault, the least from
            then on, and the most after it was over.
        failed: calls that failed or were late, by their reason.
        outlived: calls of subtasks that could not hear the controller, after the lease; None where
            they could.
    """

    job: str
    fault: str
    part: str
    done: str
    method: str
    ordered: bool
    ok: bool
    broken: bool
    error: str | None
    restarts: int | None
    why: str | None
    lost: int | None
    duplicated: int | None
    wrong: int | None
    out_of_order: int | None
    normal_ms: float | None
    worst_ms: float | None
    watched_ms: float | None
    share_before: float | None
    share_least: float | None
    share_after: float | None
    failed: dict[str, int]
    outlived: int | None


def outcomes(e: Evidence) -> list[Outcome]:
    """All faults of the runs, in the order in which they were broken."""
    kinds = ("surge", "ledger", "batch", "invocation", "decision")
    by: dict[str, dict[Any, pd.DataFrame]] = {
        kind: dict(list(e.frames[kind].groupby("surge", sort=False))) for kind in kinds
    }
    none = {kind: e.frames[kind].iloc[:0] for kind in kinds}
    faults = e.frames["fault"]
    starts_ms = {surge: sorted(of.dropna()) for surge, of in faults.groupby("surge")["from_ms"]}
    found = []
    for _, fault in faults.iterrows():
        later_ms = [x for x in starts_ms[fault["surge"]] if x > fault["from_ms"]]
        of = {kind: by[kind].get(fault["surge"], none[kind]) for kind in kinds}
        found.append(_outcome(fault, of, min(later_ms, default=np.inf)))
    return found


def _outcome(fault: pd.Series[Any], of: dict[str, pd.DataFrame], end_ms: float) -> Outcome:
    """Args:
    end_ms: when the job's next fault broke.
    """
    surge = of["surge"].iloc[0]
    ledger: Any = of["ledger"].iloc[0] if len(of["ledger"]) else None
    broken = pd.notna(fault["from_ms"])
    from_ms = float(fault["from_ms"]) if broken else np.inf
    until_ms = float(fault["until_ms"]) if pd.notna(fault["until_ms"]) else np.inf
    batches, calls, decisions = of["batch"], of["invocation"], of["decision"]
    batches = batches[batches["due_last_ms"] < end_ms]
    normal_ms, worst_ms = _normal(batches, from_ms)
    last_ms = float(batches["sink_ms"].max()) if len(batches) else -np.inf
    calls = calls[calls["sent_ms"] < end_ms]
    bad = calls[(calls["outcome"] != "answered") & (calls["sent_ms"] + _AFTER_MS >= from_ms)]
    reasons = bad["failure"].where(bad["outcome"] == "failed", "late").fillna("unknown")
    deaf = calls["sent_ms"].between(from_ms + _LEASE_MS, until_ms)
    before, least, after = _shares(decisions[decisions["at_ms"] < end_ms], from_ms, until_ms)

    def counted(name: str) -> int | None:
        return None if ledger is None else int(ledger[name])

    return Outcome(
        job=str(fault["surge"]),
        fault=str(fault["fault"]),
        part=str(fault["part"]),
        done=str(fault["done"]),
        method=str(surge["method"]),
        ordered=bool(surge["ordered"]),
        ok=bool(fault["ok"]),
        broken=bool(broken) and pd.isna(fault["not_broken"]),
        error=_text(fault["error"]) or _text(fault["not_broken"]),
        restarts=None if pd.isna(fault["restarts"]) else int(fault["restarts"]),
        why=_text(fault["why"]),
        lost=counted("lost"),
        duplicated=counted("duplicated"),
        wrong=counted("wrong"),
        out_of_order=counted("out_of_order"),
        normal_ms=normal_ms,
        worst_ms=worst_ms,
        watched_ms=last_ms - from_ms if last_ms > from_ms else None,
        share_before=before,
        share_least=least,
        share_after=after,
        failed={str(k): int(v) for k, v in reasons.map(_brief).value_counts().items()},
        outlived=int(deaf.sum()) if fault["deaf"] and broken else None,
    )


def _normal(batches: pd.DataFrame, from_ms: float) -> tuple[float | None, float | None]:
    """How long until no batch was late any more, and the latest of all, from the fault on."""
    after = batches[batches["sink_ms"] >= from_ms]
    if after.empty:
        return None, None
    latency_ms = after["sink_ms"] - after["due_last_ms"]
    late = after[latency_ms > LATE_MS]
    if late.empty:
        return 0.0, float(latency_ms.max())
    last = after.sort_values("due_last_ms").iloc[-1]
    ever = last["sink_ms"] - last["due_last_ms"] > LATE_MS
    normal_ms = np.inf if ever else float(late["sink_ms"].max() - from_ms)
    return normal_ms, float(latency_ms.max())


def _shares(
    decisions: pd.DataFrame, from_ms: float, until_ms: float
) -> tuple[float | None, float | None, float | None]:
    at_ms, share = decisions["at_ms"], decisions["share"]

    def of(chosen: pd.Series[bool], which: str) -> float | None:
        found = share[chosen]
        return float(getattr(found, which)()) if len(found) else None

    before = share[at_ms < from_ms]
    return (
        float(before.iloc[-1]) if len(before) else None,
        of(at_ms.between(from_ms, min(until_ms, from_ms + 60_000) + _AFTER_MS), "min"),
        of(at_ms >= until_ms, "max"),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _brief(reason: str) -> str:
    """What kind of failure it was, without the details."""
    return reason.partition(":")[0] if reason.startswith("WrongAnswer") else reason
