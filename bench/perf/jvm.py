"""The Java peers, built when they are needed: what a Java job would offload with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click

_PROJECT = Path(__file__).parent / "java"
_BUILD = Path(__file__).resolve().parents[2] / ".cache/peers"


def jar() -> Path:
    """One jar with the peers and all that they need, built anew if its sources have changed.

    Raises:
        click.ClickException: it cannot be built.
    """
    built = _BUILD / "peers.jar"
    sources = [_PROJECT / "pom.xml", *_PROJECT.rglob("*.java")]
    if built.exists() and built.stat().st_mtime > max(x.stat().st_mtime for x in sources):
        return built
    maven = shutil.which("mvn")
    if not maven:
        raise click.ClickException("there is no mvn here; `scripts/setup` brings it")
    click.echo("Building the Java peers (the first time this fetches AWS's SDK) …", err=True)
    command = [maven, "--quiet", "--batch-mode", "--file", str(_PROJECT / "pom.xml")]
    said = subprocess.run(
        [*command, f"-Dpeers.directory={_BUILD}", "package"], capture_output=True, text=True
    )
    if said.returncode:
        raise click.ClickException(f"the Java peers cannot be built:\n{said.stdout[-2000:]}")
    built.touch()
    return built
