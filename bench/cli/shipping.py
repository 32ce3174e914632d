"""Commands that pack what others' machines are to have."""

from __future__ import annotations

from pathlib import Path

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


@click.command()
@click.argument("job", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--output",
    default="managed-flink.zip",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The zip to write.",
)
def package(job: Path, output: Path) -> None:
    """Pack JOB, a Python file with a main(), as AWS's managed Flink takes it.

    An entry point, the job with the offloading library and the packages that it imports, and the
    steps in Java, in one zip; beside it the properties that the application must be given. What can
    be looked at here is: layout, size, and that the entry point imports. docs/managed-flink.md says
    what to do with both, and what is not known.

    \b
    Example: bench package examples/parse_orders.py
    """
    from bench.cluster import managed

    for line in managed.package(job, output):
        click.echo(line)
    told = output.with_suffix(".properties.json")
    told.write_text(managed.properties())
    click.echo(f"{told}: the properties of the application; add the job's own arguments")
