"""Reads templates with the libraries of SAM CLI, in a process that ends with it.

It is asked by JSON on standard input (`templates`: paths; `parameters`; `variables`) and answers by
JSON on standard output: `templates`, what `Contents.told` makes of each, or `error`, in words.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from samcli.commands.exceptions import UserException
from samcli.lib.intrinsic_resolver.invalid_intrinsic_exception import InvalidIntrinsicException
from samcli.lib.providers.sam_base_provider import SamBaseProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.yamlhelper import yaml_parse

from bench.lambdas.local.template import Contents, Function, TemplateError, obstacle, text

_FUNCTIONS = ("AWS::Serverless::Function", "AWS::Lambda::Function")
_PSEUDO = {"AWS::AccountId": "000000000000", "AWS::Region": "us-east-1"}


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        contents = [
            read_here(Path(x), asked["parameters"], asked["variables"]) for x in asked["templates"]
        ]
    except TemplateError as error:
        print(json.dumps({"error": str(error)}))
        return
    print(json.dumps({"templates": [x.told() for x in contents]}))


def read_here(
    path: Path,
    parameters: Mapping[str, str] | None = None,
    variables: Mapping[str, Mapping[str, object]] | None = None,
) -> Contents:
    """The functions of a template and of the templates in it, read as `sam local` reads them:
    Globals, parameters, conditions, mappings and intrinsic functions resolved, resources standing
    for themselves, those that a condition leaves out gone. What cannot run here is among them, with
    its `obstacle`.

    Args:
        parameters: values for the template's own; others have their defaults.
        variables: of the environment, by function, instead of those that the template declares;
            "Parameters" are everyone's.

    Raises:
        TemplateError: no such file, no template, a parameter without a value, …
    """
    content = _content(path)
    given = dict(parameters or {})
    for name, parameter in content.get("Parameters", {}).items():
        if name not in given and "Default" not in parameter:
            raise TemplateError(
                f"{path}: the parameter {name} has no default; give it a value: "
                f"--parameter-overrides {name}=…"
            )
    try:
        stacks, elsewhere = SamLocalStackProvider.get_stacks(
            template_file=str(path), parameter_overrides={**given, **_PSEUDO}
        )
        found = SamFunctionProvider(stacks, ignore_code_extraction_warnings=True).functions
        absent = [_full(stack, name) for stack in stacks for name in _left_out(stack)]
    except (UserException, InvalidIntrinsicException, ValueError, KeyError) as error:
        words = str(getattr(error, "message", None) or error)
        raise TemplateError(f"{path}: {words}") from error

    def is_there(full: str) -> bool:
        return not any(full == x or full.startswith(f"{x}/") for x in absent)

    restored = {
        _full(stack, name)
        for stack in stacks
        for name, resource in stack.resources.items()
        if _snap_start(resource)
    }
    functions = [
        _function(x, variables or {}, full in restored)
        for full, x in found.items()
        if is_there(full)
    ]
    functions += [
        Function(x.replace("/", "-"), "", "", path.parent, obstacle="its template is not on disk")
        for x in filter(is_there, elsewhere)
    ]
    for stack in stacks:
        for name, resource in stack.resources.items():
            full = _full(stack, name)
            if resource.get("Type") in _FUNCTIONS and full not in found and is_there(full):
                functions.append(
                    Function(name, "", "", path.parent, obstacle="its code is not on disk")
                )
    names = [x.name for x in functions]
    if twice := next((x for x in names if names.count(x) > 1), None):
        raise TemplateError(
            f"{path}: two functions have the name {twice}; give one of them another FunctionName"
        )
    return Contents(list(content.get("Parameters", {})), functions)


def _full(stack: Any, name: str) -> str:
    """The path of a resource, as SAM CLI has it: CHILD/RESOURCE."""
    return f"{stack.stack_path}/{name}".lstrip("/")


def _snap_start(resource: Mapping[str, Any]) -> bool:
    """Whether a function's published versions are to be snapshots."""
    asked = resource.get("Properties", {}).get("SnapStart", {})
    return isinstance(asked, dict) and asked.get("ApplyOn") == "PublishedVersions"


def _left_out(stack: Any) -> list[str]:
    """The resources whose condition is false. SAM CLI resolves conditions in `Fn::If` alone, so it
    is asked for outputs that depend on each.

    Raises:
        ValueError: a condition is not there, or cannot be resolved.
    """
    template = stack.template_dict
    conditions = template.get("Conditions", {})
    asked = {
        "Parameters": template.get("Parameters", {}),
        "Mappings": template.get("Mappings", {}),
        "Conditions": conditions,
        "Outputs": {name: {"Value": {"Fn::If": [name, "in", "out"]}} for name in conditions},
    }
    told = SamBaseProvider.get_template(asked, stack.parameters, use_sam_transform=False)["Outputs"]
    absent = []
    for name, resource in stack.resources.items():
        if condition := resource.get("Condition"):
            value = told.get(condition, {}).get("Value")
            if value not in ("in", "out"):
                raise ValueError(f"Resources.{name}: cannot resolve its condition {condition}")
            if value == "out":
                absent.append(name)
    return absent


def _content(path: Path) -> dict[str, Any]:
    """A template as it is written.

    Raises:
        TemplateError: no such file, or no template.
    """
    try:
        content = yaml_parse(path.read_text())
    except FileNotFoundError:
        raise TemplateError(f"{path} is missing; bring it with: make setup") from None
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise TemplateError(f"{path} is no template: {error}") from error
    if not isinstance(content, dict):
        raise TemplateError(f"{path} is no template: it has no Resources")
    if where := _boolean(content):
        raise TemplateError(f"{path}: the key {where} is no text; put on, off, yes, no in quotes")
    if empty := _empty(content):
        raise TemplateError(f"{path}: {empty} is empty")
    if not isinstance(content.get("Resources"), dict):
        raise TemplateError(f"{path} is no template: it has no Resources")
    for name, resource in content["Resources"].items():
        if name.startswith("Fn::"):
            raise TemplateError(
                f"{path}: Resources.{name}: only AWS expands it; write the resources out"
            )
        if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
            raise TemplateError(f"{path}: Resources.{name} has no Type")
        if not isinstance(resource.get("Properties", {}), dict):
            raise TemplateError(f"{path}: Resources.{name}.Properties is no map")
    for section in ("Parameters", "Globals"):
        for name, value in _map(content.get(section, {}), section, path).items():
            _map(value, f"{section}.{name}", path)
    return content


def _map(value: Any, where: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TemplateError(f"{path}: {where} is no map")
    return value


def _boolean(value: Any, where: str = "") -> str | None:
    """The first key that YAML takes for a truth value, as A.True."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, below in value.items() if isinstance(value, dict) else ():
        full = f"{where}.{key}".lstrip(".")
        if found := full if isinstance(key, bool) else _boolean(below, full):
            return found
    return None


def _empty(value: Any, where: str = "") -> str | None:
    """The first key that has no value, as A.B.C."""
    if value is None:
        return where
    inner: Iterable[tuple[object, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, below in inner:
        if found := _empty(below, f"{where}.{key}".lstrip(".")):
            return found
    return None


def _function(
    declared: Any, overriding: Mapping[str, Mapping[str, object]], snap_start: bool
) -> Function:
    """A function as SAM CLI's provider of functions has it."""
    logging = declared.logging_config or {}
    environment = (declared.environment or {}).get("Variables", {})
    chosen = {**overriding.get("Parameters", {})}
    for name in (declared.functionname, declared.name, declared.full_path):
        chosen |= overriding.get(name, {})
    variables = {key: chosen.get(key, value) for key, value in environment.items()}
    plain: dict[str, Any] = {
        "Runtime": declared.runtime or "",
        "Handler": declared.handler or "",
        "MemorySize": declared.memory or 128,
        "Timeout": declared.timeout or 3,
        **{f"Environment.Variables.{key}": value for key, value in variables.items()},
    }
    unresolved = next((x for x, value in plain.items() if isinstance(value, dict | list)), None)
    if unresolved:
        why: str | None = f"{unresolved}: cannot resolve {plain[unresolved]!r}"
    else:
        why = obstacle(str(plain["Runtime"]), declared.packagetype or "Zip", declared.layers)
    root = Path(str(declared.codeuri or ".")).resolve()
    if not why and declared.inlinecode:
        why = "its code is in the template"
    if not why and not root.is_dir():
        why = f"there is no folder {root}; bring it with: sam build"
    numbers = {key: plain[key] for key in ("MemorySize", "Timeout")}
    for key, value in numbers.items():
        if not why and not str(value).isdigit():
            why = f"{key} is {value!r}, and no number"
    return Function(
        name=str(declared.functionname),
        runtime=str(plain["Runtime"]),
        handler=str(plain["Handler"]),
        task_root=root,
        memory_mb=128 if why else int(numbers["MemorySize"]),
        timeout_s=3 if why else int(numbers["Timeout"]),
        log_format=str(logging.get("LogFormat", "Text")),
        variables={key: text(value) for key, value in variables.items()},
        snap_start=snap_start,
        obstacle=why,
    )


if __name__ == "__main__":
    main()
