"""The README and the help texts say what is there, and all of it."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.cli import main

pytestmark = pytest.mark.beside

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
COMMANDS = sorted(main.commands)

# Commands stand in code spans and code blocks; the rest of the README is prose.
CODE = re.findall(r"^```.*?^```|`[^`\n]+`", README, re.M | re.S)
NAMED = {name for code in CODE for name in re.findall(r"(?<![\w./-])bench ([a-z]+)", code)}
NAMED_TARGETS = {name for code in CODE for name in re.findall(r"(?<![\w./-])make ([a-z]+)", code)}


def test_the_readme_names_every_command_and_no_other() -> None:
    assert set(COMMANDS) == NAMED


def test_the_readme_names_every_verb_of_make_and_no_other() -> None:
    assert TARGETS - {"help"} == NAMED_TARGETS - {"help"}


EXAMPLES = re.findall(r"^\| `bench ([^`]+)` \|", README, re.M)


def test_every_command_has_one_row_with_an_example() -> None:
    assert sorted(line.split()[0] for line in EXAMPLES) == COMMANDS


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_readmes_examples_are_lines_that_the_command_understands(line: str) -> None:
    name, *arguments = line.split()
    command = main.commands[name]
    context = click.Context(command, info_name=name)
    command.parse_args(context, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_a_command_does_and_gives_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert len(main.commands[name].get_short_help_str(200)) > 20
    assert re.search(rf"Example:.*\bbench {name}\b", result.output, re.S)
    for parameter in main.commands[name].params:
        assert not isinstance(parameter, click.Option) or parameter.help, parameter.opts


def test_every_verb_of_make_says_what_it_is_for() -> None:
    assert set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.M)) == TARGETS


def test_every_file_that_the_readme_links_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
