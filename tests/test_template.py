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
TEMPLATE = "template.yaml"
LANGUAGES = ("Python", "Java", "Node")
MAY_DIFFER = {"Runtime", "Handler", "CodeUri", "SnapStart"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms (`!Ref X`) as their long ones (`{"Ref": "X"}`)."""


def _long_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.SequenceNode):
        return {f"Fn::{tag}": loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.ScalarNode)
    value: Any = loader.construct_scalar(node)
    if tag == "Ref":
        return {"Ref": value}
    return {f"Fn::{tag}": value.split(".") if tag == "GetAtt" else value}


_Loader.add_multi_constructor("!", _long_form)


def read() -> dict[str, Any]:
    content: dict[str, Any] = yaml.load((ROOT / TEMPLATE).read_text(), Loader=_Loader)
    return content


def functions() -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in read()["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def test_sam_finds_nothing_to_complain_about() -> None:
    done = subprocess.run(
        [ROOT / ".venv/bin/sam", "validate", "--lint", "--template", TEMPLATE],
        cwd=ROOT,
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_functions_differ_in_runtime_handler_and_code_alone() -> None:
    """The handlers that do nothing included, beside which the others are compared."""
    shared = [
        {key: value for key, value in properties.items() if key not in MAY_DIFFER}
        for properties in functions().values()
    ]
    assert len(shared) == 6
    assert all(x == shared[0] for x in shared)
    for language in LANGUAGES:
        ours, empty = functions()[f"{language}Tokenizer"], functions()[f"{language}Empty"]
        assert ours["Runtime"] == empty["Runtime"] == {"Ref": f"{language}Runtime"}


def test_outputs_name_every_function() -> None:
    outputs = read()["Outputs"]
    for language in LANGUAGES:
        assert outputs[f"{language}TokenizerArn"]["Value"] == {
            "Fn::GetAtt": [f"{language}Tokenizer", "Arn"]
        }
        assert outputs[f"{language}EmptyName"] == {
            "Condition": "HasEmpties",
            "Value": {"Ref": f"{language}Empty"},
        }
    assert outputs["NodeTokenizerName"]["Value"] == {"Ref": "NodeTokenizer"}
    assert len(outputs) == 9


@pytest.mark.parametrize("language", ["Python", "Java"])
def test_with_snap_start_outputs_name_the_alias_of_a_version(language: str) -> None:
    """Only versions have snapshots; without it, and for Node, they name the function itself."""
    template, condition = read(), f"{language}SnapStart"
    function, alias = {"Ref": f"{language}Tokenizer"}, {"Ref": f"{language}Alias"}
    named = template["Outputs"][f"{language}TokenizerName"]["Value"]
    assert named == {"Fn::If": [condition, alias, function]}
    for kind in ("Version", "Alias"):
        resource = template["Resources"][f"{language}{kind}"]
        assert resource["Condition"] == condition
        assert resource["Properties"]["FunctionName"] == function
    assert functions()[f"{language}Tokenizer"]["SnapStart"] == {
        "ApplyOn": {"Fn::If": [condition, "PublishedVersions", "None"]}
    }


def test_the_role_may_write_to_its_log_group_and_nothing_else() -> None:
    role = read()["Resources"]["Role"]["Properties"]
    assert "ManagedPolicyArns" not in role
    [policy] = role["Policies"]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert statement["Resource"] == {"Fn::GetAtt": ["Logs", "Arn"]}
    assert read()["Resources"]["Logs"]["Properties"]["RetentionInDays"] > 0


@pytest.mark.parametrize(
    ("source", "built"),
    [
        ("functions/python", ".aws-sam/build/PythonTokenizer"),
        ("functions/node", ".aws-sam/build/NodeTokenizer"),
        ("functions/empty/python", ".aws-sam/build/PythonEmpty"),
        ("functions/empty/node", ".aws-sam/build/NodeEmpty"),
    ],
)
def test_what_is_built_are_the_sources_byte_for_byte(source: str, built: str) -> None:
    assert _files(ROOT / built) == _files(ROOT / source)


@pytest.mark.parametrize(
    ("source", "built"),
    [
        ("functions/java", ".aws-sam/build/JavaTokenizer"),
        ("functions/empty/java", ".aws-sam/build/JavaEmpty"),
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
