"""The command line: one thin function per command. Libraries are imported inside the commands,
so that `bench --help` and `bench serve` stay light."""

from __future__ import annotations

import signal
import sys

import click

from bench.cli import calls, faults, jobs, looking, reports, services, shipping, worth


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lambda-burst")
def main() -> None:
    """Can AWS Lambda absorb a Flink job's bursts, and in which language should the function be?"""
    # Being told to end is an orderly way out: what was started is ended, what was measured is kept.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


for _command in (
    calls.cold,
    calls.compute,
    calls.aa,
    jobs.run,
    jobs.surge,
    jobs.breakpoint,
    jobs.sweep,
    worth.worth,
    faults.faults,
    faults.soak,
    shipping.ship,
    shipping.package,
    services.serve,
    services.aws,
    reports.report,
    reports.compare,
    looking.doctor,
    looking.metrics,
    looking.policy,
):
    main.add_command(_command)
