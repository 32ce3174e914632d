"""Functions as a built SAM template declares them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
TOKENIZERS = ROOT / ".aws-sam/build/template.yaml"
EMPTIES = ROOT / ".aws-sam/empty/template.yaml"
LANGUAGES = {"python": "python", "nodejs": "node", "java": "java"}


class TemplateError(Exception):
    """A template that is not there or says something that we cannot resolve."""


@dataclass(frozen=True)
class Function:
    """What a function runs and with how much. `runtime` is AWS's identifier, as python3.11;
    `log_group` None is AWS's own for its name."""

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

    @property
    def language(self) -> str:
        """python, java or node."""
        return LANGUAGES[self.runtime.rstrip("0123456789.x")]


class _Loader(yaml.SafeLoader):
    """Reads `!Ref X` as {"Ref": X} and `!Sub X` as {"Fn::Sub": X}, as CloudFormation does."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def read_all(
    templates: Sequence[Path] = (), aliases: Sequence[str] = (), memory_mb: int | None = None
) -> list[Function]:
    """The functions of all templates; by default those of the project, the empty ones if built.

    Args:
        aliases: NEW=EXISTING, a second name for a function.
        memory_mb: of all functions, instead of what the templates say.

    Raises:
        TemplateError: see `read`; or an alias of no function here.
    """
    if not templates:
        templates = [TOKENIZERS, *([EMPTIES] if EMPTIES.exists() else [])]
    functions = {function.name: function for path in templates for function in read(path)}
    for alias in aliases:
        new, _, existing = alias.partition("=")
        if not new or existing not in functions:
            raise TemplateError(f"{alias!r} does not say NEW=EXISTING of {', '.join(functions)}")
        functions[new] = dataclasses.replace(functions[existing], name=new)
    if memory_mb is None:
        return list(functions.values())
    return [dataclasses.replace(x, memory_mb=memory_mb) for x in functions.values()]


def read(path: Path) -> list[Function]:
    """The template's AWS::Serverless::Function resources, Globals and parameter defaults applied.

    Raises:
        TemplateError: no such file, or a property that is neither plain nor a parameter.
    """
    try:
        template = yaml.load(path.read_text(), _Loader)
    except FileNotFoundError:
        raise TemplateError(f"{path} is missing; bring it with: make setup") from None
    parameters = {
        name: parameter["Default"]
        for name, parameter in template.get("Parameters", {}).items()
        if "Default" in parameter
    }
    shared = template.get("Globals", {}).get("Function", {})
    return [
        _function(name, _merged(shared, resource.get("Properties", {})), parameters, path.parent)
        for name, resource in template.get("Resources", {}).items()
        if resource.get("Type") == "AWS::Serverless::Function"
    ]


def _function(
    name: str, properties: dict[str, Any], parameters: dict[str, Any], folder: Path
) -> Function:
    def value(key: str, default: Any = None) -> Any:
        return _resolved(properties.get(key, default), parameters, f"{name}.{key}")

    variables = properties.get("Environment", {}).get("Variables", {})
    runtime = str(value("Runtime"))
    if runtime.rstrip("0123456789.x") not in LANGUAGES:
        raise TemplateError(f"{name}: no runtime here for {runtime!r}")
    return Function(
        name=name,
        runtime=runtime,
        handler=str(value("Handler")),
        task_root=(folder / str(value("CodeUri"))).resolve(),
        memory_mb=int(value("MemorySize", 128)),
        timeout_s=int(value("Timeout", 3)),
        storage_mb=int(properties.get("EphemeralStorage", {}).get("Size", 512)),
        log_format=str(properties.get("LoggingConfig", {}).get("LogFormat", "Text")),
        variables={
            key: str(_resolved(text, parameters, f"{name}.{key}"))
            for key, text in variables.items()
        },
    )


def _resolved(value: Any, parameters: dict[str, Any], where: str) -> Any:
    if isinstance(value, dict) and list(value) == ["Ref"] and value["Ref"] in parameters:
        return parameters[value["Ref"]]
    if isinstance(value, dict) or value is None:
        raise TemplateError(f"{where}: cannot resolve {value!r}")
    return value


def _merged(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Globals under a function's own properties; maps are merged, the rest is replaced."""
    merged = dict(shared)
    for key, value in own.items():
        both_maps = isinstance(value, dict) and isinstance(shared.get(key), dict)
        merged[key] = _merged(shared[key], value) if both_maps else value
    return merged
