"""The job with the offload machinery in it, switched off, beside the same job with a plain flatmap.

`python -m bench.perf.offload` prints the ratio. Both are offered more than they can take, by turns,
on one cluster; what counts is the throughput between the first fifth and the end.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench import stats
from bench.cluster.flink import Cluster
from bench.cluster.worker import Worker
from bench.experiments.drive import Method, Surge, drive
from bench.facts.records import Run, read
from bench.lambdas.target import Target, open_target

ROUNDS = 12
OFFERED_PER_S = 200_000
LENGTH_S = 0.3
LIMIT = 0.95  # of the plain flatmap's throughput: the least that this project allows itself
PLAIN: Method = "none"
SWITCHED_OFF: Method = "operator"


def main() -> None:
    throughputs: dict[Method, list[float]] = {PLAIN: [], SWITCHED_OFF: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_target() as target,
        Run("perf", target=target, results=Path(folder)) as run,
        Cluster(run.folder / "flink", task_managers=2, slots=1) as cluster,
        Worker(cluster, None) as worker,
    ):
        for repetition in range(ROUNDS):
            for method in list(throughputs)[:: 1 if repetition % 2 else -1]:
                surge = Surge(
                    method=method,
                    language="python" if method == SWITCHED_OFF else None,
                    shape=f"constant:base={OFFERED_PER_S}",
                    length_s=LENGTH_S,
                    ordinal=repetition,
                )
                throughputs[method].append(_sentences_per_s(surge, run, cluster, worker, target))
    print(f"Throughput of the job, {ROUNDS} runs of each by turns, median (least–most):")
    for name, method in (("plain flatmap", PLAIN), ("offload, switched off", SWITCHED_OFF)):
        of = throughputs[method]
        middle = stats.median(of).value
        print(f"  {name:<22} {middle:,.0f} sentences/s ({min(of):,.0f}–{max(of):,.0f})")
    # Of the two runs beside each other, so that what drifts on the machine is in both.
    ratio = stats.median(
        [x / y for x, y in zip(throughputs[SWITCHED_OFF], throughputs[PLAIN], strict=True)]
    )
    print(
        f"  switched off / plain, median of pairs: {ratio.value:.2f} "
        f"({ratio.low:.2f}–{ratio.high:.2f}, 95 %; at least {LIMIT})"
    )


def _sentences_per_s(
    surge: Surge, run: Run, cluster: Cluster, worker: Worker, target: Target
) -> float:
    """What came out of the job per second, once it was in full swing."""
    drive(surge, run, cluster, worker, target, policy=None)
    done = sorted(
        (float(record["sink_ms"]), int(record["count"]))
        for record in read(run.path)
        if record["kind"] == "batch" and record["surge"] == surge.name
    )
    begin = len(done) // 5
    return sum(count for _, count in done[begin:]) / (done[-1][0] - done[begin - 1][0]) * 1000


if __name__ == "__main__":
    main()
