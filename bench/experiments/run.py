"""The main job: what a language costs cold and per batch, then a surge with it and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.cluster.session import Elsewhere
from bench.experiments import cold, compute, surge
from bench.experiments.batches import PLAIN, Work
from bench.experiments.drive import Surge
from bench.facts.records import Run
from bench.lambdas.target import Target

# As few as an interval needs; `bench cold` and `bench compute` take more.
COLD_ROUNDS = 8
ENVIRONMENTS = 6
COMPUTE_ROUNDS = 8
MAX_WARMUP = 150
# Work that is worth a call: texts of a paragraph, into subwords, a millisecond each in Python.
WORK = Work("subwords", 100)
SIZES = (1, 5, 25)
BATCH_SIZE = 25
DURATION_S = 15.0

_CALLS_SHARE = 0.35


def measure(
    target: Target,
    run: Run,
    languages: Sequence[str],
    worker_cpu: float,
    on_progress: Callable[[str, float], None] = lambda what, share: None,
    where: Elsewhere | None = None,
) -> None:
    """Cold starts, compute per batch, and the surges: without offload, then with each language.

    Args:
        worker_cpu: CPUs of the tokenizer's TaskManager.
        on_progress: told what is being done, and which share of the whole is done.
        where: the cluster of others to run on.

    Raises:
        SurgeFailed, FlinkError, WrongAnswer, TooManyFailures: as the experiments do.
    """
    calls(target, run, languages, on_progress, sizes=SIZES, work=WORK)

    def on_surge(what: str, share: float) -> None:
        on_progress(what, _CALLS_SHARE + share * (1 - _CALLS_SHARE))

    planned_surges = planned(languages, run.seed)
    surge.measure(
        target, run, planned_surges, worker_cpu=worker_cpu, where=where, on_progress=on_surge
    )


def planned(languages: Sequence[str], seed: int) -> list[Surge]:
    """The surges of the main job: without offload, then with each language."""
    plain = replace(
        surge.plain(DURATION_S),
        seed=seed,
        operator=WORK.operator,
        words_per_sentence=WORK.words_per_sentence,
        batch_size=BATCH_SIZE,
    )
    return [plain, *(replace(plain, method="operator", language=x) for x in languages)]


def calls(
    target: Target,
    run: Run,
    languages: Sequence[str],
    on_progress: Callable[[str, float], None],
    sizes: Sequence[int],
    work: Work = PLAIN,
) -> None:
    """Cold starts and compute per batch, a few of each: what a policy has to know of a language."""
    on_progress("cold starts", 0.0)
    # Mixed, as the job's own batches nearly always are.
    cold.measure(target, run, languages, work=work, texts=("mixed",), rounds=COLD_ROUNDS)
    on_progress("compute per batch", _CALLS_SHARE / 2)
    compute.measure(
        target,
        run,
        compute.subjects(target, languages),
        work=work,
        sizes=sizes,
        environments=ENVIRONMENTS,
        rounds=COMPUTE_ROUNDS,
        max_warmup=MAX_WARMUP,
    )
