"""The command line: one thin function per command. Libraries are imported inside the commands,
so that `bench --help` and `bench serve` stay light."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lambda-burst")
def main() -> None:
    """Can AWS Lambda absorb a Flink job's bursts, and in which language should the function be?"""


@main.command()
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


@main.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
def compare(runs: tuple[str, ...]) -> None:
    """Show the languages side by side: cold start, compute per batch, latency in the surge.

    RUN is the name of a run in results/ or a folder; without any, the newest `bench run` of each
    language. Runs on different targets or machines never share a table. The same goes to
    results/compare.md, and every cell of it to results/compare.csv.

    \b
    Example: bench run python && bench run java && bench run node && bench compare
    """
    from bench import compare, records
    from bench.report import evidence

    folders = evidence.find(runs, records.RESULTS) or evidence.newest(records.RESULTS, {"run"})
    click.echo(compare.write(folders, records.RESULTS))


if __name__ == "__main__":
    main()
