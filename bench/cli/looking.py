"""Commands that look, and change nothing: at this machine, at a running job, at policies."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click


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
    help="Between polls.  [default: as often as the cluster's own figures change]",
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
    counters, not Flink's smoothed gauges, so a surge shows at the next poll. Until Ctrl-C, or until
    the job has ended.

    \b
    Example: bench metrics localhost:8081
    Example: bench metrics flink.example:8081 --vertex tokenizer --every 500 --record job.jsonl
    """
    import json
    import time

    from bench.cluster import watch
    from bench.cluster.flink import Rest, poll

    rest = Rest(address)
    job_id, name = watch.find_job(rest, job)
    watched = watch.Watch(rest, job_id, watch.find_vertices(rest, job_id, vertex))
    refresh_ms = watch.refresh_ms(rest)
    every_ms = every or max(250.0, refresh_ms)
    click.echo(f"{name} ({job_id}), every {every_ms:g} ms", err=True)
    if every_ms < refresh_ms:
        click.echo(
            f"This cluster's figures change every {refresh_ms:g} ms only "
            "(metrics.fetcher.update-interval): polls in between repeat them.",
            err=True,
        )
    if record is None:
        click.echo(watch.header())
    end_s = time.monotonic() + seconds if seconds is not None else float("inf")
    try:
        for now_s in poll(every_ms / 1000):
            state = watch.state(rest, job_id)
            if watch.has_ended(state) or now_s > end_s:
                break
            for row in watched.sample():
                if record is None:
                    click.echo(watch.line(row))
                else:
                    record.write(json.dumps({"job": job_id, **row}) + "\n")
                    record.flush()
    except KeyboardInterrupt:
        return
    click.echo(f"{name} is {state}", err=True)


@click.command()
@click.option("--replay", is_flag=True, help="Run the policies over recorded metrics, too.")
@click.argument("traces", nargs=-1, metavar="[TRACE]...", type=click.Path(path_type=Path))
def policy(replay: bool, traces: tuple[Path, ...]) -> None:
    """Compare policies without Flink: when they see an overload, and how much they do about it.

    Each policy runs in a closed loop on a model of the job: 20 surges, 10 minutes at 80 % load, and
    loads around the capacity. With --replay, it runs over recorded metrics as well: TRACE is a
    run's folder in results/ or a file of records; without any, those in tests/data/traces.

    \b
    Example: bench policy
    Example: bench policy --replay results/20261122T104500Z-run-python
    """
    from bench.steering.replay import tables
    from bench.steering.replay.traces import read_traces

    if traces and not replay:
        raise click.UsageError("TRACE is for --replay: bench policy --replay TRACE")
    shipped = sorted(Path("tests/data/traces").glob("*.jsonl"))
    recorded = [t for path in traces or shipped for t in read_traces(path)]
    bar: Any
    with click.progressbar(length=tables.STEPS, label="modelled jobs") as bar:
        model = (tables.trust_table, tables.relief_table, tables.warm_up_table)
        shown = [table(bar.update) for table in model]
    if replay:
        shown.append(tables.trace_table(recorded))
    for table in shown:
        click.echo(f"\n{table.section()}")
