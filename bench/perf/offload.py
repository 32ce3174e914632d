"""The job with the offload machinery in it, switched off, beside the same job with a plain flatmap.

`python -m bench.perf.offload` prints the ratio, and fails if it misses its aim. Both are offered
more than they can take, without a quota, by turns on one cluster, until the interval of the ratio
is narrow enough; what counts is the throughput between the first fifth and the end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import stats
from bench.cluster.flink import Cluster
from bench.cluster.worker import Worker
from bench.experiments.drive import Method, Surge, drive
from bench.facts.records import Run, read
from bench.lambdas.target import Target, open_target
from bench.perf.aims import Aim, conclude

# Runs differ by a third on a machine that is shared: so many pairs, and more until the interval is
# within so much of the ratio, but no more than that.
LEAST_PAIRS, MOST_PAIRS, NARROW = 8, 40, 0.03
OFFERED_PER_S = 200_000
LENGTH_S = 0.6
PLAIN: Method = "none"
SWITCHED_OFF: Method = "operator"


def main() -> None:
    found: dict[Method, list[float]] = {PLAIN: [], SWITCHED_OFF: []}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_target() as target,
        Run("perf", target=target, results=Path(folder)) as run,
        Cluster(run.folder / "flink", task_managers=2, slots=1) as cluster,
        Worker(cluster, None) as worker,
    ):
        for pair in range(MOST_PAIRS):
            for method in list(found)[:: 1 if pair % 2 else -1]:
                surge = Surge(
                    method=method,
                    language="python" if method == SWITCHED_OFF else None,
                    shape=f"constant:base={OFFERED_PER_S}",
                    length_s=LENGTH_S,
                    ordinal=pair,
                )
                found[method].append(_sentences_per_s(surge, run, cluster, worker, target))
            if pair + 1 >= LEAST_PAIRS and width(ratio(found)) <= NARROW:
                break
    pairs = len(found[PLAIN])
    print(f"Throughput of the job, {pairs} runs of each by turns, median (least–most):")
    for name, method in (("plain flatmap", PLAIN), ("offload, switched off", SWITCHED_OFF)):
        of = found[method]
        middle = stats.median(of).value
        print(f"  {name:<22} {middle:,.0f} sentences/s ({min(of):,.0f}–{max(of):,.0f})")
    r = ratio(found)
    print(f"  switched off ÷ plain, of pairs: {r.value:.3f} ({r.low:.3f}–{r.high:.3f}, 95 %)")
    conclude(
        [
            Aim("switched off ÷ plain", r.value, least=0.95),
            Aim("half the width of its interval, ÷ it", width(r), most=NARROW),
            Aim("plain job, sentences/s", stats.median(found[PLAIN]).value, least=40_000, digits=0),
        ]
    )


def ratio(found: Mapping[Method, Sequence[float]]) -> stats.Estimate:
    """Switched off ÷ plain, of the two runs beside each other, so that what drifts on the machine
    is in both."""
    pairs = zip(found[SWITCHED_OFF], found[PLAIN], strict=True)
    return stats.median([x / y for x, y in pairs])


def width(of: stats.Estimate) -> float:
    """Half the width of an interval, as a share of the value; infinite without one."""
    if of.low is None or of.high is None:
        return float("inf")
    return (of.high - of.low) / 2 / of.value


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
