"""Seeded streams of sentences: sentence n is the same in every process and on every Python.

`workload("sentences", seed=7).sentences(1000, 100)` are the sentences 1000…1099 of that stream.
"""

from __future__ import annotations

from flink_job.load.workloads.nexmark import Nexmark
from flink_job.load.workloads.random_sentences import RandomSentences
from flink_job.load.workloads.stream import WORDS_PER_SENTENCE, Workload
from flink_job.load.workloads.ysb import Ysb

__all__ = ["WORDS_PER_SENTENCE", "WORKLOADS", "Workload", "workload"]

WORKLOADS: dict[str, type[Workload]] = {kind.name: kind for kind in (RandomSentences, Nexmark, Ysb)}


def workload(name: str, seed: int, words_per_sentence: int = WORDS_PER_SENTENCE) -> Workload:
    """The stream called `name`, drawn with `seed`.

    Args:
        words_per_sentence: mean length of the sentences. The texts of "nexmark" and "ysb" are as
            long as their benchmarks say: for them, only the default will do.

    Raises:
        ValueError: no such workload, or none with such sentences; says which there are.
    """
    if name not in WORKLOADS:
        raise ValueError(f"no such workload: {name!r}; there are {', '.join(WORKLOADS)}")
    if words_per_sentence < 1:
        raise ValueError(f"a sentence has 1 word or more on average, not {words_per_sentence}")
    if words_per_sentence != WORDS_PER_SENTENCE and name != RandomSentences.name:
        raise ValueError(
            f"the texts of {name} have the length that its benchmark gives them, not "
            f"{words_per_sentence} words; leave the length out, or take {RandomSentences.name}"
        )
    return WORKLOADS[name](seed, words_per_sentence)
