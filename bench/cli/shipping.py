"""Commands that pack what others' machines are to have."""

from __future__ import annotations

import click


@click.command()
def ship() -> None:
    """Pack the Python that goes along with a job to a cluster of others.

    The interpreter, its standard library and the packages that the job's operators import, in one
    archive of some 75 MB that runs wherever it is unpacked, on a machine like this one. Commands
    with --flink send it with each job; to spare that, unpack it on each TaskManager's machine and
    say where, with --python FOLDER/bin/python3.

    \b
    Example: bench ship
             bench surge node --method operator --flink flink.example:8081 --listen 10.0.0.5
    """
    from bench.cluster import shipping

    archive = shipping.make()
    click.echo(f"{archive} ({archive.stat().st_size / 1e6:.0f} MB)")
