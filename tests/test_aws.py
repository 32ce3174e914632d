"""Deploying without an account: SAM CLI and AWS CLI, unmodified, against `bench aws`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from bench.lambdas.target import TargetError, child_service, deployed, force_cold, open_target
from flink_job.offload.client import LambdaClient

pytestmark = pytest.mark.beside

ROOT = Path(__file__).parent.parent
HELLO = Path(__file__).parent / "data/hello"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a user sets, beside a home without any configuration of AWS."""
    with child_service("aws", "AWS API on ") as address:
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "0.2",
            "HOME": str(tmp_path_factory.mktemp("home")),
        }


@pytest.fixture
def aws(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Runs a program of the project's as a user would; what it says, also where it fails."""

    def run(*command: str | Path, cwd: Path = ROOT, answers: str = "", fails: bool = False) -> str:
        program, *arguments = command
        done = subprocess.run(
            [ROOT / ".venv/bin" / program, *arguments],
            cwd=cwd,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            input=answers,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def outputs(run: Run, stack: str) -> dict[str, str]:
    told = run("aws", "cloudformation", "describe-stacks", "--stack-name", stack)
    [described] = json.loads(told)["Stacks"]
    return {x["OutputKey"]: x["OutputValue"] for x in described["Outputs"]}


def invoke(run: Run, function: str, event: object, folder: Path, *options: str) -> Any:
    answer = folder / "answer.json"
    run("aws", "lambda", "invoke", "--function-name", function, *options,
        "--payload", json.dumps(event), answer)  # fmt: skip
    return json.loads(answer.read_text())


def logged(run: Run, group: str) -> str:
    """What `aws logs tail` shows: AWS CLI 1 has that command's API call alone."""
    told = json.loads(run("aws", "logs", "filter-log-events", "--log-group-name", group))
    return "".join(event["message"] for event in told["events"])


def test_our_stack_from_its_deploy_to_its_end(run: Run, tmp_path: Path) -> None:
    built = tmp_path / "built"
    shutil.copytree(ROOT / ".aws-sam/build", built)
    deploy = ["sam", "deploy", "--template", built / "template.yaml", "--stack-name", "bursts",
              "--resolve-s3", "--capabilities", "CAPABILITY_IAM",
              "--parameter-overrides", "Empty=yes"]  # fmt: skip
    assert "Successfully created/updated stack - bursts" in run(*deploy)
    names = outputs(run, "bursts")
    event = {"sentences": ["Hello, World"]}
    for language in ("Python", "Java", "Node"):
        answer = invoke(run, names[f"{language}TokenizerName"], event, tmp_path)
        assert answer["tokens"] == ["hello world"]
        assert answer["language"] == language.lower()
    lines = logged(run, "/aws/lambda/bursts")
    assert lines.count("START RequestId") == lines.count("REPORT RequestId") == 3

    cold = ["python", "-m", "bench.cli", "cold", "python", "-n", "1", "--stack", "bursts"]
    assert "Aborted" in run(*cold, cwd=tmp_path, fails=True), "nobody said yes"
    said = run(*cold, "--yes", cwd=tmp_path)
    assert "AWS API at http://localhost" in said
    assert "AWS Lambda" not in said
    assert "at most about 2 calls and $0.00" in said
    assert "spent: 2 calls, $0.0000" in said
    assert "ours ÷ empty handler" in said
    stopped = run(*cold, "--max-usd", "1e-9", cwd=tmp_path, answers="y\n", fails=True)
    assert "of --max-usd 1e-09, and stopped" in stopped

    assert "No changes to deploy" in run(*deploy, fails=True)
    app = built / "PythonTokenizer/tokenizer/app.py"
    app.write_text(app.read_text() + "\n\ndef handler(event, context):\n    return 'new'\n")
    assert "UPDATE_COMPLETE" in run(*deploy)
    assert invoke(run, names["PythonTokenizerName"], event, tmp_path) == "new"

    assert "UPDATE_COMPLETE" in run(*deploy, "SnapStart=PublishedVersions")
    alias = outputs(run, "bursts")["JavaTokenizerName"]
    assert alias.endswith(":live")
    assert "spent: 2 calls" in run(*cold[:4], "java", *cold[5:], "--yes", cwd=tmp_path)
    versions = run("aws", "lambda", "list-versions-by-function", "--function-name",
                   alias.removesuffix(":live"))  # fmt: skip
    assert [x["Version"] for x in json.loads(versions)["Versions"]] == ["$LATEST", "1"]

    run("sam", "delete", "--stack-name", "bursts", "--no-prompts", "--region", "us-east-1")
    gone = run("aws", "lambda", "get-function", "--function-name", names["JavaTokenizerName"],
               fails=True)  # fmt: skip
    assert "ResourceNotFoundException" in gone


@pytest.mark.slow
@pytest.mark.proof
def test_a_surge_is_offloaded_to_a_stack(run: Run, tmp_path: Path) -> None:
    run("sam", "deploy", "--template", ROOT / ".aws-sam/build/template.yaml", "--stack-name",
        "surged", "--resolve-s3", "--capabilities", "CAPABILITY_IAM")  # fmt: skip
    surge = ["python", "-m", "bench.cli", "surge", "python", "--stack", "surged", "--yes",
             "--method", "always", "--repetitions", "1", "--burst", "2", "--factor", "1.5",
             "--operator", "subwords", "--words-per-sentence", "100",
             "--batch-size", "25"]  # fmt: skip
    said = run(*surge, cwd=tmp_path)
    assert "AWS API at http://localhost" in said
    assert "AWS Lambda" not in said
    assert re.search(r"spent: \d{3,} calls, \$0\.0", said), "cold, warm and in the surge"
    [records] = (tmp_path / "results").glob("*/records.jsonl")
    facts = [json.loads(line) for line in records.read_text().splitlines()]
    [calls] = [x for x in facts if x["kind"] == "lambda"]
    assert calls["calls"] > 0
    assert calls["billed_ms"] > 0


def test_a_project_that_is_not_ours_is_built_deployed_with_answers_and_called(
    run: Run, tmp_path: Path
) -> None:
    project = tmp_path / "hello"
    shutil.copytree(HELLO, project)
    run("sam", "build", cwd=project)
    # Stack, region, Greeting, confirm changes, create roles, disable rollback, no authentication,
    # save them, file, environment.
    answers = "greeter\n\nhi\nn\ny\nn\ny\ny\n\n\n"
    said = run("sam", "deploy", "--guided", cwd=project, answers=answers)
    assert "Successfully created/updated stack - greeter" in said
    names = outputs(run, "greeter")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:"
    for language in ("Python", "Node", "Java"):
        name = names[f"{language}Name"]
        for qualifier in ((), ("--qualifier", "live")):
            answer = invoke(run, name, {"who": language}, tmp_path, *qualifier)
            body = json.loads(answer["body"])
            assert body["message"] == f"hi {language}, true"
            assert body["arn"] == f"{arn}{':'.join((name, *qualifier[1:]))}"
        assert f"asked for {language}\n" in logged(run, f"/aws/lambda/{names[f'{language}Name']}")
    run("sam", "delete", "--no-prompts", cwd=project)


INLINE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Runtime: {Type: String, Default: python3.11}
  Answer: {Type: String, Default: first}
Resources:
  One:
    Type: AWS::Serverless::Function
    Properties:
      Handler: index.handler
      Runtime: !Ref Runtime
      InlineCode: "def handler(event, context): return 'ANSWER'"
Outputs:
  OneName: {Value: !Ref One}
"""


def _created(stack: str, template: str, **parameters: str) -> Any:
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName=stack,
        TemplateBody=template,
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    )
    return cloudformation


def _called(stack: str) -> Any:
    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    [name] = [x["OutputValue"] for x in described["Outputs"] if x["OutputKey"] == "OneName"]
    return json.load(boto3.client("lambda").invoke(FunctionName=name)["Payload"])


def test_an_update_that_fails_leaves_what_was_there(aws: dict[str, str]) -> None:
    cloudformation = _created("kept", INLINE.replace("ANSWER", "first"))
    assert _called("kept") == "first"
    cloudformation.update_stack(
        StackName="kept",
        TemplateBody=INLINE.replace("ANSWER", "second"),
        Parameters=[{"ParameterKey": "Runtime", "ParameterValue": "cobol1.x"}],
    )
    with pytest.raises(WaiterError, match="UPDATE_ROLLBACK_COMPLETE"):
        cloudformation.get_waiter("stack_update_complete").wait(StackName="kept")
    events = cloudformation.describe_stack_events(StackName="kept")["StackEvents"]
    reasons = [x["ResourceStatusReason"] for x in events if "ResourceStatusReason" in x]
    assert any("cobol1.x" in reason for reason in reasons)
    assert _called("kept") == "first"


def test_a_stack_that_fails_to_come_up_leaves_nothing(aws: dict[str, str]) -> None:
    cloudformation = _created("never", INLINE, Runtime="cobol1.x")
    [stack] = cloudformation.describe_stacks(StackName="never")["Stacks"]
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    names = [x["FunctionName"] for x in boto3.client("lambda").list_functions()["Functions"]]
    assert not [name for name in names if name.startswith("never-")]


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("Resources: [", "Template format error"),
        ("Transform: AWS::Elsewhere\nResources: {}", "No transform named AWS::Elsewhere"),
        ("Parameters: {P: {Type: String}}\nResources: {}", r"\[P\] must have values"),
        (INLINE.replace("Handler: index.handler", ""), "Handler"),
    ],
)
def test_a_template_that_aws_would_refuse_is_refused(
    aws: dict[str, str], template: str, complaint: str
) -> None:
    with pytest.raises(ClientError, match=complaint):
        _created("refused", template)


def test_another_region_is_refused_with_what_to_set(aws: dict[str, str]) -> None:
    with pytest.raises(ClientError, match="AWS_DEFAULT_REGION=us-east-1"):
        boto3.client("cloudformation", region_name="eu-west-1").describe_stacks()
    with pytest.raises(ClientError, match="AWS_DEFAULT_REGION=us-east-1"):
        boto3.client("lambda", region_name="eu-west-1").list_functions()


TOKENIZER = """
  {language}Tokenizer:
    Type: AWS::Serverless::Function
    Properties:
      Handler: index.handler
      Runtime: python3.11
      InlineCode: "def handler(event, context): return {{}}"
"""


def _ours(*languages: str) -> str:
    """A template with the tokenizers' names and outputs, whatever they do."""
    resources = "".join(TOKENIZER.format(language=x) for x in languages)
    outputs = "".join(f"  {x}TokenizerName: {{Value: !Ref {x}Tokenizer}}\n" for x in languages)
    return f"Transform: AWS::Serverless-2016-10-31\nResources:{resources}Outputs:\n{outputs}"


def test_a_stacks_functions_are_found_by_its_outputs(aws: dict[str, str]) -> None:
    _created("ours", _ours("Python", "Java", "Node"))
    with open_target("ours") as target:
        assert target.label == f"AWS API at {aws['AWS_ENDPOINT_URL']}"
        assert target.region == "us-east-1"
        assert target.functions["java"].startswith("ours-JavaTokenizer-")
        assert target.versions["java"] == "python3.11"
        assert target.empties == {}


def test_a_stack_of_one_language_is_enough_and_says_what_it_lacks(aws: dict[str, str]) -> None:
    _created("one", _ours("Node"))
    with open_target("one") as target:
        assert list(target.functions) == ["node"]
        with pytest.raises(TargetError, match=r"no output JavaTokenizerName; .* it has: node"):
            target.functions["java"]


def test_a_stack_of_something_else_is_told_with_what_to_do(aws: dict[str, str]) -> None:
    _created("other", INLINE)
    with pytest.raises(TargetError, match=r"no output PythonTokenizerName.* sam deploy --guided"):
        deployed("other", None)


def test_functions_of_a_stack_within_a_stack_are_found(aws: dict[str, str]) -> None:
    bucket = boto3.client("s3")
    bucket.create_bucket(Bucket="templates")
    bucket.put_object(Bucket="templates", Key="child.yaml", Body=_ours("Python").encode())
    url = f"{aws['AWS_ENDPOINT_URL']}/templates/child.yaml"
    child = f"Type: AWS::CloudFormation::Stack\n    Properties: {{TemplateURL: '{url}'}}"
    _created("parent", f"Resources:\n  Child:\n    {child}\n")
    with open_target("parent") as target:
        assert target.functions["python"].startswith("parent-Child-")


def test_a_container_image_is_called_one(aws: dict[str, str]) -> None:
    image = """
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {Version: "2012-10-17", Statement: []}}
  JavaTokenizer:
    Type: AWS::Lambda::Function
    Properties:
      PackageType: Image
      Code: {ImageUri: "000000000000.dkr.ecr.us-east-1.amazonaws.com/ours:1"}
      Role: !GetAtt Role.Arn
Outputs:
  JavaTokenizerName: {Value: !Ref JavaTokenizer}
"""
    _created("image", image)
    with open_target("image") as target:
        assert target.versions == {"java": "container image"}


def test_an_aliass_cold_start_is_that_of_a_version_made_for_it(aws: dict[str, str]) -> None:
    template = _ours("Python").replace("!Ref PythonTokenizer", "!Ref PythonTokenizerAliaslive")
    properties = "      Runtime: python3.11\n"
    _created("aliased", template.replace(properties, properties + "      AutoPublishAlias: live\n"))
    with open_target("aliased") as target:
        client = LambdaClient(target.endpoint_url, target.region)
        assert client.invoke(target.functions["python"], {}).value == {}
        alias, api = target.functions["python"], boto3.client("lambda")
        name = alias.removesuffix(":live")
        assert api.invoke(FunctionName=alias)["ExecutedVersion"] == "1"
        before = api.get_function_configuration(FunctionName=name)
        for version in ("2", "3"):
            force_cold(target, alias)
            answer = client.invoke(alias, {})
            assert answer.report.init_ms
            assert api.invoke(FunctionName=alias)["ExecutedVersion"] == version
        with pytest.raises(TargetError, match="is a version, which cannot be configured"):
            force_cold(target, f"{name}:1")
    assert api.invoke(FunctionName=alias)["ExecutedVersion"] == "1"
    versions = api.list_versions_by_function(FunctionName=name)["Versions"]
    assert [x["Version"] for x in versions] == ["$LATEST", "1"]
    after = api.get_function_configuration(FunctionName=name)
    assert after.get("Environment") == before.get("Environment")


def test_a_stack_that_is_not_there_is_told(aws: dict[str, str]) -> None:
    with pytest.raises(TargetError, match=r"cannot find stack theirs: .*does not exist"):
        deployed("theirs", None)


def test_missing_credentials_are_told(
    aws: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(TargetError, match="Unable to locate credentials"):
        deployed("ours", None)


def test_all_of_a_long_log_is_in_its_group(aws: dict[str, str]) -> None:
    code = "def handler(event, context):\\n for n in range(2000): print('line', n)"
    _created("talkative", INLINE.replace("def handler(event, context): return 'ANSWER'", code))
    _called("talkative")
    functions = boto3.client("lambda").list_functions()["Functions"]
    [name] = [x["FunctionName"] for x in functions if x["FunctionName"].startswith("talkative-")]
    pages = boto3.client("logs").get_paginator("filter_log_events")
    events = [
        event["message"]
        for page in pages.paginate(logGroupName=f"/aws/lambda/{name}")
        for event in page["events"]
    ]
    assert [x for x in events if x.startswith("line")] == [f"line {n}\n" for n in range(2000)]
    assert events[-1].startswith("REPORT RequestId")


def test_nothing_is_left_but_what_is_to_be_kept(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    kept = tmp_path / "kept"
    for options in ([], [f"--keep={kept}"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.cli", "aws", "--port=0", "--with-parent", *options],
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin and process.stdout
        address = process.stdout.readline().removeprefix("AWS API on ").strip()
        client = boto3.client(
            "cloudformation", "us-east-1", endpoint_url=address,
            aws_access_key_id="local", aws_secret_access_key="local",
        )  # fmt: skip
        client.create_stack(StackName="short", TemplateBody=INLINE)
        process.stdin.close()
        assert process.wait(timeout=20) == 0
        process.stdout.close()
        assert list(temporary.iterdir()) == []
    assert json.loads((kept / "stacks/short.json").read_text())["status"] == "CREATE_COMPLETE"
