"""The command line: one thin function per command. Libraries are imported inside the commands,
so that `bench --help` and `bench serve` stay light."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lambda-burst")
def main() -> None:
    """Can AWS Lambda absorb a Flink job's bursts, and in which language should the function be?"""


if __name__ == "__main__":
    main()
