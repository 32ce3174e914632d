"""Templates of any kind, as the local service reads them: nothing vanishes, no tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.lambdas.local.reader import read_here
from bench.lambdas.local.template import Function, TemplateError, read_all
from bench.lambdas.target import local_service
from flink_job.offload.client import CallFailed, LambdaClient

HEAD = "Transform: AWS::Serverless-2016-10-31\n"
GOOD = """
  Good:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.handler, Runtime: python3.11, CodeUri: .}
"""


def _read(folder: Path, resources: str, head: str = "", **parameters: str) -> dict[str, Function]:
    path = folder / "template.yaml"
    path.write_text(f"{HEAD}{head}Resources:{resources}")
    return {x.name: x for x in read_here(path, parameters).functions}


def test_a_plain_lambda_function_is_one_too(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        """
  Plain:
    Type: AWS::Lambda::Function
    Properties: {Handler: app.handler, Runtime: nodejs22.x, Code: ., MemorySize: 256}
""",
    )
    assert found["Plain"].memory_mb == 256
    assert found["Plain"].task_root == tmp_path
    assert found["Plain"].obstacle is None


def test_functions_of_child_applications_are_there_with_the_parameters_they_are_given(
    tmp_path: Path,
) -> None:
    (tmp_path / "child.yaml").write_text(
        HEAD
        + "Parameters: {Size: {Type: Number}}\nResources:"
        + GOOD.replace("Good", "Inner").replace("CodeUri: .", "CodeUri: ., MemorySize: !Ref Size")
    )
    found = _read(
        tmp_path,
        GOOD
        + """
  Child:
    Type: AWS::Serverless::Application
    Properties: {Location: child.yaml, Parameters: {Size: 300}}
  Far:
    Type: AWS::Serverless::Application
    Properties: {Location: "https://example.com/far.yaml"}
""",
    )
    assert found["Inner"].memory_mb == 300
    assert found["Far"].obstacle == "its template is not on disk"


@pytest.mark.parametrize(
    ("properties", "obstacle"),
    [
        ("Handler: h, CodeUri: ., Runtime: ruby3.4", "no runtime here for 'ruby3.4'"),
        ("Handler: h, CodeUri: 's3://bucket/key', Runtime: python3.11", "its code is not on disk"),
        ("Handler: h, CodeUri: nowhere, Runtime: python3.11", "bring it with: sam build"),
        ("PackageType: Image, ImageUri: ours", "it is a container image"),
        ("Handler: h, InlineCode: pass, Runtime: python3.11", "its code is in the template"),
        ("Handler: h, CodeUri: ., Runtime: python3.11, Timeout: soon", "no number"),
        (
            "Handler: h, CodeUri: ., Runtime: python3.11, "
            "Environment: {Variables: {A: !ImportValue Far}}",
            "Environment.Variables.A: cannot resolve",
        ),
    ],
)
def test_what_cannot_run_here_is_there_with_the_reason(
    tmp_path: Path, properties: str, obstacle: str
) -> None:
    bad = f"\n  Bad:\n    Type: AWS::Serverless::Function\n    Properties: {{{properties}}}\n"
    found = _read(tmp_path, GOOD + bad)
    assert obstacle in str(found["Bad"].obstacle)
    assert found["Good"].obstacle is None


def test_intrinsic_functions_are_resolved_and_booleans_are_awss(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        GOOD.replace(
            "CodeUri: .",
            "CodeUri: ., Environment: {Variables: {LOUD: true, N: 1, TABLE: !Ref Table, "
            "REGION: !Ref AWS::Region, NAME: !Sub '${Stage}-x', ARN: !GetAtt Table.Arn, "
            "PICKED: !FindInMap [Sizes, a, b], CHOSEN: !If [Live, yes, 'no']}}",
        )
        + "  Table: {Type: AWS::DynamoDB::Table}\n",
        "Parameters: {Stage: {Type: String, Default: dev}}\nMappings: {Sizes: {a: {b: '7'}}}\n"
        "Conditions: {Live: !Equals [!Ref Stage, live]}\n",
        Stage="live",
    )
    seen = found["Good"].variables
    assert seen["LOUD"] == "true"
    assert seen["N"] == "1"
    assert seen["TABLE"] == "Table"
    assert seen["REGION"] == "us-east-1"
    assert seen["NAME"] == "live-x"
    assert seen["ARN"].startswith("arn:aws:")
    assert seen["PICKED"] == "7"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("", "has no Resources"),
        ("Resources:", "Resources is empty"),
        ("Resources: [1]", "has no Resources"),
        ("just words", "has no Resources"),
        ("{", "is no template"),
        ("Resources: {F: {Type: AWS::Lambda::Function, Properties: }}", "F.Properties is empty"),
        ("Globals: \nResources: {F: {Type: A}}", "Globals is empty"),
        ("Globals: {Function: [1]}\nResources: {F: {Type: A}}", "Globals.Function is no map"),
        ("Resources: {F: {Properties: {}}}", "Resources.F has no Type"),
        ("Resources: {On: {Type: A}}", "the key Resources.True is no text; put on, off"),
        ("Resources: {'Fn::ForEach::L': [X, [a, b], {}]}", "only AWS expands it"),
        ("Parameters: {P: {Type: String}}\nResources: {F: {Type: A}}", "--parameter-overrides P="),
    ],
)
def test_a_template_that_is_none_is_told_in_a_line(
    tmp_path: Path, template: str, complaint: str
) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(template)
    said = CliRunner().invoke(main, ["serve", "--port=0", f"--template={path}"])
    assert said.exit_code == 1
    assert complaint in said.output
    assert "Traceback" not in said.output


def test_two_functions_of_one_name_are_refused(tmp_path: Path) -> None:
    named = GOOD.replace("CodeUri: .", "CodeUri: ., FunctionName: same")
    with pytest.raises(TemplateError, match="two functions have the name same"):
        _read(tmp_path, named + named.replace("Good", "Other"))
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    for path in (one, other):
        path.write_text(f"{HEAD}Resources:{GOOD}")
    with pytest.raises(TemplateError, match="two functions have the name Good"):
        read_all([one, other])


def test_one_that_cannot_run_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os\ndef handler(*_): return dict(os.environ)\n")
    path = tmp_path / "template.yaml"
    variables = "CodeUri: ., Environment: {Variables: {A: !Ref A, B: b, C: c}}"
    path.write_text(
        f"{HEAD}Parameters: {{A: {{Type: String}}}}\nResources:"
        f"{GOOD.replace('CodeUri: .', variables)}"
        f"{GOOD.replace('Good', 'Ruby').replace('python3.11', 'ruby3.4')}"
    )
    overriding = tmp_path / "variables.json"
    overriding.write_text(json.dumps({"Good": {"B": "mine"}, "Parameters": {"C": 1, "D": 2}}))
    options = ["--parameter-overrides", "A=given", f"--env-vars={overriding}"]
    with local_service(f"--template={path}", *options) as url:
        client = LambdaClient(url, None)
        seen = client.invoke("Good", {}).value
        assert {x: seen.get(x) for x in "ABCD"} == {"A": "given", "B": "mine", "C": "1", "D": None}
        with pytest.raises(CallFailed, match="Ruby cannot run here: no runtime here for"):
            client.invoke("Ruby", {})


def test_a_parameter_that_no_template_has_is_refused() -> None:
    with pytest.raises(TemplateError, match="no template has a parameter Nothing"):
        read_all(parameters={"Nothing": "1"})


def test_a_function_is_there_if_its_condition_holds(tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text(f"{HEAD}Resources:{GOOD.replace('Good', 'Inner')}")
    head = (
        "Parameters: {Stage: {Type: String, Default: dev}}\n"
        "Conditions:\n  Live: !Equals [!Ref Stage, live]\n  Dev: !Not [{Condition: Live}]\n"
    )
    child = "  Child:\n    Type: AWS::Serverless::Application\n    Condition: Live\n"
    resources = (
        GOOD.replace("Properties", "Condition: Dev\n    Properties")
        + GOOD.replace("Good", "Other").replace("Properties", "Condition: Live\n    Properties")
        + f"{child}    Properties: {{Location: child.yaml}}\n"
    )
    assert _read(tmp_path, resources, head).keys() == {"Good"}
    assert _read(tmp_path, resources, head, Stage="live").keys() == {"Other", "Inner"}
    with pytest.raises(TemplateError, match=r"cannot resolve its condition (Dev|Live)"):
        _read(tmp_path, resources, head.replace("!Ref Stage", "!ImportValue Far"))
    with pytest.raises(TemplateError, match=r"cannot resolve its condition (Dev|Live)"):
        _read(tmp_path, resources)


def test_that_nothing_is_restored_here_is_told_where_snap_start_is_asked_for(
    tmp_path: Path,
) -> None:
    asking = "CodeUri: ., SnapStart: {ApplyOn: !If [Snapped, PublishedVersions, None]}"
    head = (
        "Parameters: {P: {Type: String, Default: x}}\nConditions: {Snapped: !Equals [!Ref P, y]}\n"
    )
    resources = GOOD.replace("CodeUri: .", asking)
    assert not _read(tmp_path, resources, head)["Good"].snap_start
    assert _read(tmp_path, resources, head, P="y")["Good"].snap_start
    said = subprocess.run(
        [sys.executable, "-m", "bench.cli", "serve", "--port=0", "--with-parent",
         f"--template={tmp_path}/template.yaml", "--parameter-overrides=P=y"],
        capture_output=True, text=True, input="",
    )  # fmt: skip
    assert "SnapStart of Good: nothing is restored here; each initialises\n" in said.stdout
