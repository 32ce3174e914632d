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


if __name__ == "__main__":
    main()
