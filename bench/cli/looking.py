"""Commands that look, and change nothing: at this machine, at a running job, at policies."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click

_SOONEST_POLL_MS = 250.0


@click.command()
def doctor() -> None:
    """Show what this machine has and lacks, and the command that brings it.

    Ends with exit code 1 if something needed is missing.

    \b
    Example: bench doctor
    """
    from tabulate import tabulate

    from bench.doctor import examine

    findings = examine()
    rows = [
        (f.name, f.version or "missing", f.needed_for, "" if f.version else f.fix) for f in findings
    ]
    click.echo(tabulate(rows, headers=("what", "found", "needed for", "bring it with")))
    if not all(f.ok for f in findings):
        raise SystemExit(1)


@click.command()
@click.argument("address")
@click.option("--job", help="Id, its beginning, or name.  [default: the one that runs]")
@click.option("--vertex", help="Part of a vertex's name.  [default: all vertices]")
@click.option(
    "--every",
    type=click.IntRange(min=50),
    metavar="MS",
    help="Between polls.  [default: a tenth of the time in which the cluster's figures change]",
)
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Then stop.")
@click.option("--record", type=click.File("a"), help="Append JSON lines to this file; - prints.")
def metrics(
    address: str,
    job: str | None,
    vertex: str | None,
    every: int | None,
    seconds: float | None,
    record: IO[str] | None,
) -> None:
    """Watch the metrics of any running Flink job, at the ADDRESS of its REST API.

    Records per second and busy, idle and back-pressured shares are differences of cumulative
    counters, not Flink's smoothed gauges, from one renewal of the cluster's figures to the next:
    every 10 s, unless its metrics.fetcher.update-interval says otherwise. Until Ctrl-C, or until
    the job has ended; then a verdict: is it overloaded, since when, at which capacity?

    \b
    Example: bench metrics localhost:8081
    Example: bench metrics flink.example:8081 --vertex tokenizer --every 500 --record job.jsonl
    """
    import json
    import math

    from bench.cluster import watch
    from bench.cluster.flink import FlinkError, Rest

    def say(text: str) -> None:
        click.echo(text, err=True)

    rest = Rest(address)
    job_id, name = watch.find_job(rest, job)
    refresh_ms = watch.refresh_ms(rest)
    every_ms = every or max(_SOONEST_POLL_MS, refresh_ms / 10)
    say(
        f"{name} ({job_id}): the cluster renews its figures every {refresh_ms / 1000:g} s, "
        f"so the first row takes about {(2 * refresh_ms + every_ms) / 1000:.1f} s"
    )
    if record is None:
        click.echo(watch.header())
    watched = watch.Watch(rest, job_id, refresh_ms / 1000)
    verdict = watch.Verdict()
    state = said = ""
    try:
        for state, rows in watch.follow(
            watched, every_ms / 1000, math.inf if seconds is None else seconds, say
        ):
            if not watched.vertices and state != said and not watch.has_ended(state):
                say(f"{name} is {state} and has no vertices yet; waiting for them")
            said = state
            verdict.add(rows)
            shown = watch.choose(watched.vertices, vertex) if watched.vertices else set()
            for row in rows:
                if row["vertex_id"] not in shown:
                    continue
                if record is None:
                    click.echo(watch.line(row))
                else:
                    record.write(json.dumps({"kind": "vertex", "job": job_id, **row}) + "\n")
                    record.flush()
    except KeyboardInterrupt:
        pass
    except watch.NotThere:
        raise
    except FlinkError as error:
        say(str(verdict))
        raise error
    say(f"{name} is {state or 'silent'}. {verdict}")


@click.command()
@click.option("--replay", is_flag=True, help="Run the policies over recorded metrics, too.")
@click.argument("traces", nargs=-1, metavar="[TRACE]...", type=click.Path(path_type=Path))
def policy(replay: bool, traces: tuple[Path, ...]) -> None:
    """Compare policies without Flink: when they see an overload, and how much they do about it.

    Each policy runs in a closed loop on a model of the job: 20 surges, 10 minutes at 80 % load, and
    loads around the capacity. With --replay, it runs over recorded metrics as well: TRACE is a
    run's folder in results/ or a file of records; without any, those in tests/data.

    \b
    Example: bench policy
    Example: bench policy --replay results/20261122T104500Z-run-python
    """
    from bench.steering.replay import tables
    from bench.steering.replay.traces import read_traces

    if traces and not replay:
        raise click.UsageError("TRACE is for --replay: bench policy --replay TRACE")
    data = Path("tests/data")
    shipped = [*sorted(data.glob("traces/*.jsonl")), *sorted(data.glob("recorded/*-surge"))]
    recorded = [t for path in traces or shipped for t in read_traces(path)]
    bar: Any
    with click.progressbar(length=tables.STEPS, label="modelled jobs") as bar:
        model = (tables.trust_table, tables.relief_table, tables.warm_up_table)
        shown = [table(bar.update) for table in model]
    if replay:
        shown.append(tables.trace_table(recorded))
    for table in shown:
        click.echo(f"\n{table.section()}")
