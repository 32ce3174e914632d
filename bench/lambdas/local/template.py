"""Functions as a built SAM template declares them.

A template is read by a process of its own (`reader`): SAM CLI's libraries, which do it, would take
more memory than the service that lives on with what was read.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
TOKENIZERS = ROOT / ".aws-sam/build/template.yaml"
WITH_EMPTIES = {"Empty": "yes"}  # the parameter that brings handlers that do nothing
LANGUAGES = {"python": "python", "nodejs": "node", "java": "java"}


class TemplateError(Exception):
    """A template that is not there or says something that we cannot resolve."""


@dataclass(frozen=True)
class Function:
    """What a function runs and with how much. `runtime` is AWS's identifier, as python3.11;
    `log_group` None is AWS's own for its name; `snap_start` is what it asks for, and nothing is
    restored here; `obstacle` says why it cannot run here."""

    name: str
    runtime: str
    handler: str
    task_root: Path
    memory_mb: int = 128
    timeout_s: int = 3
    variables: dict[str, str] = field(default_factory=dict)
    storage_mb: int = 512
    log_format: str = "Text"
    description: str = ""
    role: str = ""
    log_group: str | None = None
    version: str = "$LATEST"
    snap_start: bool = False
    obstacle: str | None = None

    @property
    def language(self) -> str:
        """python, java or node; empty where there is no runtime here."""
        return LANGUAGES.get(self.runtime.rstrip("0123456789.x"), "")

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Function:
        """From what `told` made of it."""
        return cls(**{**told, "task_root": Path(told["task_root"])})

    def told(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {**vars(self), "task_root": str(self.task_root)}


@dataclass(frozen=True)
class Contents:
    """What a template has: the names of its parameters, and its functions."""

    parameters: list[str]
    functions: list[Function]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Contents:
        """From what `told` made of it."""
        return cls(told["parameters"], [Function.of(x) for x in told["functions"]])

    def told(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {"parameters": self.parameters, "functions": [x.told() for x in self.functions]}


def read_all(
    templates: Sequence[Path] = (),
    aliases: Sequence[str] = (),
    memory_mb: int | None = None,
    parameters: Mapping[str, str] | None = None,
    variables: Mapping[str, Mapping[str, object]] | None = None,
) -> list[Function]:
    """The functions of all templates; by default those of the project, the empty ones among them.

    Args:
        aliases: NEW=EXISTING, a second name for a function.
        memory_mb: of all functions, instead of what the templates say.
        parameters, variables: see `reader.read_here`.

    Raises:
        TemplateError: see `reader.read_here`; two functions of one name, an alias of no function
            here, or a parameter of no template.
    """
    unknown = set(parameters or {})
    if not templates:
        templates, parameters = [TOKENIZERS], {**WITH_EMPTIES, **(parameters or {})}
    functions: dict[str, Function] = {}
    for contents in _read(templates, parameters, variables):
        unknown -= set(contents.parameters)
        for function in contents.functions:
            if function.name in functions:
                raise TemplateError(
                    f"two functions have the name {function.name}; give one of them another "
                    "FunctionName"
                )
            functions[function.name] = function
    if unknown:
        raise TemplateError(f"no template has a parameter {', '.join(sorted(unknown))}")
    for alias in aliases:
        new, _, existing = alias.partition("=")
        if not new or existing not in functions:
            raise TemplateError(f"{alias!r} does not say NEW=EXISTING of {', '.join(functions)}")
        functions[new] = dataclasses.replace(functions[existing], name=new)
    if memory_mb is None:
        return list(functions.values())
    return [dataclasses.replace(x, memory_mb=memory_mb) for x in functions.values()]


def read(path: Path, parameters: Mapping[str, str] | None = None) -> list[Function]:
    """The functions of one template, and of the templates in it.

    Raises:
        TemplateError: see `reader.read_here`.
    """
    [contents] = _read([path], parameters)
    return contents.functions


def _read(
    templates: Sequence[Path],
    parameters: Mapping[str, str] | None = None,
    variables: Mapping[str, Mapping[str, object]] | None = None,
) -> list[Contents]:
    """What is in each of several templates, which one process reads."""
    asked = {
        "templates": [str(path) for path in templates],
        "parameters": dict(parameters or {}),
        "variables": dict(variables or {}),
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.lambdas.local.reader"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # it imports what we would
        input=json.dumps(asked),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"its reader ended with {done.returncode}"]
        raise TemplateError(f"{', '.join(asked['templates'])}: {said[-1]}")
    told = json.loads(done.stdout)
    if "error" in told:
        raise TemplateError(told["error"])
    return [Contents.of(x) for x in told["templates"]]


def obstacle(runtime: str, package: str = "Zip", layers: object = None) -> str | None:
    """Why such a function cannot run here; None if it can."""
    if package != "Zip":
        return "it is a container image"
    if runtime.rstrip("0123456789.x") not in LANGUAGES:
        return f"no runtime here for {runtime!r}"
    if layers:
        return "it uses layers, which are not laid over the code here"
    return None


def text(value: object) -> str:
    """A variable's value as CloudFormation hands it on: booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)
