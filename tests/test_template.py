"""The SAM templates: valid, fair between the languages, and built into what the sources say."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
TEMPLATES = ["template.yaml", "functions/empty/template.yaml"]
BUILT = {"PythonTokenizer", "JavaTokenizer", "NodeTokenizer"}
MAY_DIFFER = {"Runtime", "Handler", "CodeUri"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms (`!Ref X`) as their long ones (`{"Ref": "X"}`)."""


def _long_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    assert isinstance(node, yaml.ScalarNode)
    value: Any = loader.construct_scalar(node)
    if tag == "Ref":
        return {"Ref": value}
    return {f"Fn::{tag}": value.split(".") if tag == "GetAtt" else value}


_Loader.add_multi_constructor("!", _long_form)


def read(template: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((ROOT / template).read_text(), Loader=_Loader)
    return content


def functions(template: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in read(template)["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


@pytest.mark.parametrize("template", TEMPLATES)
def test_sam_finds_nothing_to_complain_about(template: str) -> None:
    done = subprocess.run(
        [ROOT / ".venv/bin/sam", "validate", "--lint", "--template", template],
        cwd=ROOT,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("template", TEMPLATES)
def test_functions_differ_in_runtime_handler_and_code_alone(template: str) -> None:
    shared = [
        {key: value for key, value in properties.items() if key not in MAY_DIFFER}
        for properties in functions(template).values()
    ]
    assert len(shared) == 3
    assert shared[0] == shared[1] == shared[2]


def test_empty_functions_have_the_memory_time_and_runtimes_of_the_real_ones() -> None:
    defaults = {
        name: value["Default"] for name, value in read("template.yaml")["Parameters"].items()
    }
    empty = read("functions/empty/template.yaml")["Globals"]["Function"]
    assert empty["MemorySize"] == defaults["Memory"]
    assert empty["Timeout"] == defaults["Timeout"]
    assert empty["Architectures"] == [defaults["Architecture"]]
    for language in ("Python", "Java", "Node"):
        runtime = functions("functions/empty/template.yaml")[f"{language}Empty"]["Runtime"]
        if isinstance(runtime, dict):  # a parameter, so that set-up can say which Python is here
            parameters = read("functions/empty/template.yaml")["Parameters"]
            runtime = parameters[runtime["Ref"]]["Default"]
        assert runtime == defaults[f"{language}Runtime"]


def test_outputs_name_every_function_and_its_arn() -> None:
    outputs = read("template.yaml")["Outputs"]
    for name in BUILT:
        assert outputs[f"{name}Name"]["Value"] == {"Ref": name}
        assert outputs[f"{name}Arn"]["Value"] == {"Fn::GetAtt": [name, "Arn"]}
    assert len(outputs) == 2 * len(BUILT)


def test_the_role_may_write_to_its_log_group_and_nothing_else() -> None:
    role = read("template.yaml")["Resources"]["Role"]["Properties"]
    assert "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == {"Fn::GetAtt": ["Logs", "Arn"]}
    assert read("template.yaml")["Resources"]["Logs"]["Properties"]["RetentionInDays"] > 0


@pytest.mark.parametrize(
    ("source", "built"),
    [
        ("functions/python", ".aws-sam/build/PythonTokenizer"),
        ("functions/node", ".aws-sam/build/NodeTokenizer"),
        ("functions/empty/python", ".aws-sam/empty/PythonEmpty"),
        ("functions/empty/node", ".aws-sam/empty/NodeEmpty"),
    ],
)
def test_what_is_built_are_the_sources_byte_for_byte(source: str, built: str) -> None:
    assert _files(ROOT / built) == _files(ROOT / source)


@pytest.mark.parametrize(
    ("source", "built"),
    [
        ("functions/java", ".aws-sam/build/JavaTokenizer"),
        ("functions/empty/java", ".aws-sam/empty/JavaEmpty"),
    ],
)
def test_built_classes_are_what_the_sources_compile_to(
    source: str, built: str, tmp_path: Path
) -> None:
    sources = sorted((ROOT / source / "src/main").rglob("*.java"))
    library = ROOT / ".runtimes/java/lib/*"  # AWS's interfaces, which the runtime itself provides
    subprocess.run(
        ["javac", "-g", "--release", "17", "-cp", library, "-d", tmp_path, *sources], check=True
    )
    resources = ROOT / source / "src/main/resources"
    if resources.exists():
        shutil.copytree(resources, tmp_path, dirs_exist_ok=True)
    assert _files(ROOT / built) == _files(tmp_path)


def _files(folder: Path) -> dict[str, bytes]:
    """Content by relative path, without what running the sources leaves beside them."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files, f"{folder} is empty"
    return files
