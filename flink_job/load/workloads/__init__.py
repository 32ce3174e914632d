"""Seeded streams of sentences: sentence n is the same in every process and on every Python.

`workload("sentences", seed=7).sentences(1000, 100)` are the sentences 1000…1099 of that stream.
"""

from __future__ import annotations

from flink_job.load.workloads.nexmark import Nexmark
from flink_job.load.workloads.random_sentences import RandomSentences
from flink_job.load.workloads.stream import Workload
from flink_job.load.workloads.ysb import Ysb

__all__ = ["WORKLOADS", "Workload", "workload"]

WORKLOADS: dict[str, type[Workload]] = {kind.name: kind for kind in (RandomSentences, Nexmark, Ysb)}


def workload(name: str, seed: int) -> Workload:
    """The stream called `name`, drawn with `seed`.

    Raises:
        ValueError: no such workload; says which there are.
    """
    if name not in WORKLOADS:
        raise ValueError(f"no such workload: {name!r}; there are {', '.join(WORKLOADS)}")
    return WORKLOADS[name](seed)
