"""The local Lambda service answers as AWS does, to boto3 and to the AWS CLI."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bench.lambdas.target import Target, force_cold, local_service
from flink_job.offload.client import CallFailed, LambdaClient, parse_report
from flink_job.offload.endpoint import lambda_api

TEMPLATE = Path(__file__).parent / "handlers" / "template.yaml"
LIMIT = 3  # invocations at once
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with local_service(f"--template={TEMPLATE}", f"--max-concurrency={LIMIT}") as address:
        yield address


@pytest.fixture(scope="module")
def api(url: str) -> Any:
    return lambda_api(url, None)


def invoke(api: Any, function: str = "Obedient", event: object = None, **more: Any) -> Any:
    """The answer with its payload read as JSON and its log tail decoded."""
    payload = json.dumps(event or {}).encode()
    answer = api.invoke(FunctionName=function, Payload=payload, LogType="Tail", **more)
    answer["Payload"] = json.loads(answer["Payload"].read())
    answer["LogResult"] = base64.b64decode(answer["LogResult"]).decode()
    return answer


def refusal(api: Any, function: str = "Obedient", **arguments: Any) -> ClientError:
    with pytest.raises(ClientError) as refused:
        api.invoke(FunctionName=function, **arguments)
    return refused.value


def renew(api: Any, function: str = "Obedient") -> None:
    """Make the function's next call a cold start."""
    api.update_function_configuration(FunctionName=function)


# A call that goes well.


def test_an_answer_carries_the_event_and_the_context(api: Any) -> None:
    answer = invoke(api, event={"sentence": "Größe 𝄞"})
    seen = answer["Payload"]
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert seen["event"] == {"sentence": "Größe 𝄞"}
    assert seen["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert seen["arn"] == f"{ARN}Obedient"
    assert 4000 < seen["remaining_ms"] <= 5000


def test_a_call_without_payload_is_an_empty_event(api: Any) -> None:
    answer = api.invoke(FunctionName="Obedient")
    assert json.loads(answer["Payload"].read())["event"] == {}
    assert "LogResult" not in answer


@pytest.mark.parametrize(
    "name",
    [
        "Obedient:$LATEST",
        "000000000000:function:Obedient",
        f"{ARN}Obedient",
        f"{ARN}Obedient:$LATEST",
    ],
)
def test_a_function_may_be_named_by_arn_and_qualifier(api: Any, name: str) -> None:
    assert invoke(api, name)["Payload"]["function"] == "Obedient"


def test_a_function_is_told_the_qualifier_that_it_was_invoked_with(api: Any) -> None:
    seen = [
        invoke(api, "Obedient")["Payload"]["arn"],
        invoke(api, "Obedient:$LATEST")["Payload"]["arn"],
        invoke(api, "Obedient", Qualifier="$LATEST")["Payload"]["arn"],
        invoke(api, "NodeObedient:$LATEST")["Payload"]["arn"],
    ]
    assert seen == [
        f"{ARN}Obedient",
        f"{ARN}Obedient:$LATEST",
        f"{ARN}Obedient:$LATEST",
        f"{ARN}NodeObedient:$LATEST",
    ]


def test_a_client_context_reaches_the_function(api: Any) -> None:
    context = base64.b64encode(b'{"custom": {"who": "me"}}').decode()
    assert invoke(api, ClientContext=context)["Payload"]["client"] == {"who": "me"}


def test_the_environment_is_like_on_aws_and_leaks_nothing(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = invoke(api)["Payload"]["environment"]
    assert seen["SHARED"] == "from Globals"
    assert seen["OWN"] == "1"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "Obedient"
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "1769"
    assert seen["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
    assert seen["LAMBDA_TASK_ROOT"] == str(TEMPLATE.parent / "python")
    assert not {"HOME", "USER", "VIRTUAL_ENV", "AWS_ACCESS_KEY_ID"} & seen.keys()


def test_boto3_is_there_unless_the_function_brings_its_own(tmp_path: Path) -> None:
    """As on AWS, where the runtime's comes after the function's in what is searched."""
    shutil.copytree(TEMPLATE.parent, tmp_path, dirs_exist_ok=True)
    invoked = {"import": "boto3"}
    with local_service(f"--template={tmp_path / 'template.yaml'}") as copied:
        of_the_runtime = invoke(lambda_api(copied, None), event=invoked)["Payload"]
        tmp_path.joinpath("python", "boto3.py").write_text("")
        renew(lambda_api(copied, None))
        of_the_function = invoke(lambda_api(copied, None), event=invoked)["Payload"]
    assert ".runtimes/python" in of_the_runtime
    assert of_the_function == str(tmp_path / "python" / "boto3.py")


def test_the_first_call_alone_reports_an_init(api: Any) -> None:
    renew(api)
    cold, warm = invoke(api), invoke(api)
    first, second = parse_report(cold["LogResult"]), parse_report(warm["LogResult"])
    bring_up_ms = float(cold["ResponseMetadata"]["HTTPHeaders"]["x-bring-up-ms"])
    assert cold["Payload"]["calls"] == 1
    assert warm["Payload"]["calls"] == 2
    assert first.init_ms is not None
    assert 5 < first.init_ms <= bring_up_ms
    assert first.duration_ms and first.billed_ms
    assert first.billed_ms == pytest.approx(first.init_ms + first.duration_ms + 0.5, abs=0.52)
    assert second.init_ms is None
    assert second.duration_ms and second.billed_ms == pytest.approx(
        second.duration_ms + 0.5, abs=0.5
    )
    assert "x-bring-up-ms" not in warm["ResponseMetadata"]["HTTPHeaders"]


def test_the_report_line_is_worded_as_on_aws(api: Any) -> None:
    answer = invoke(api, event={"sleep": 0.1})
    request_id = answer["ResponseMetadata"]["RequestId"]
    *_, end, line = answer["LogResult"].splitlines()
    name, duration, billed, size, used = line.rstrip("\t").split("\t")[:5]
    assert end == f"END RequestId: {request_id}"
    assert name == f"REPORT RequestId: {request_id}"
    assert 100 <= float(duration.removeprefix("Duration: ").removesuffix(" ms")) < 200
    assert billed.startswith("Billed Duration: ")
    assert size == "Memory Size: 1769 MB"
    assert 5 < int(used.removeprefix("Max Memory Used: ").removesuffix(" MB")) < 60


def test_the_log_tail_has_the_functions_own_lines_and_at_most_4_kb(api: Any) -> None:
    short = invoke(api, event={"print": "on stdout"})["LogResult"].splitlines()
    assert short[0].startswith("START RequestId: ")
    assert short[0].endswith(" Version: $LATEST")
    assert {"on stdout", "on stderr"} <= set(short)
    long = invoke(api, event={"print": "x" * 100_000})["LogResult"]
    assert len(long) == 4096
    assert "\tDuration: " in long.splitlines()[-1]
    assert "on stdout" not in invoke(api)["LogResult"]


def test_a_dry_run_calls_nothing(api: Any) -> None:
    before = invoke(api)["Payload"]["calls"]
    answer = api.invoke(FunctionName="Obedient", InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert invoke(api)["Payload"]["calls"] == before + 1


def status(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def until_events_are_done(url: str, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while status(url)["events"]:
        assert time.monotonic() < deadline, "accepted events have stalled"
        time.sleep(0.02)


@pytest.fixture
def mailbox() -> Iterator[socket.socket]:
    """Where a function can say that it runs."""
    with socket.socket(type=socket.SOCK_DGRAM) as inside:
        inside.bind(("127.0.0.1", 0))
        inside.settimeout(5)
        yield inside


def post(api: Any, event: object) -> str:
    """Call asynchronously; the request id."""
    payload = json.dumps(event).encode()
    answer = api.invoke(FunctionName="Obedient", InvocationType="Event", Payload=payload)
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    return str(answer["ResponseMetadata"]["RequestId"])


def test_an_event_is_accepted_at_once_and_run_later(
    url: str, api: Any, mailbox: socket.socket
) -> None:
    started = time.perf_counter()
    event = {"tell": mailbox.getsockname()[1], "sleep": 0.1}
    posted = {post(api, event) for _ in range(8 * LIMIT)}
    assert time.perf_counter() - started < 1
    assert {mailbox.recv(100).decode() for _ in posted} == posted, "all ran, though none waited"
    until_events_are_done(url)


def test_accepted_events_run_although_callers_take_every_room(
    url: str, api: Any, mailbox: socket.socket
) -> None:
    stop = threading.Event()
    calls = {"answered": 0, "throttled": 0}

    def hammer() -> None:
        while not stop.is_set():
            try:
                invoke(api, event={"sleep": 0.01})
                calls["answered"] += 1
            except ClientError as error:
                assert error.response["Error"]["Code"] == "TooManyRequestsException"
                calls["throttled"] += 1

    with ThreadPoolExecutor(2 * LIMIT) as pool:
        callers = [pool.submit(hammer) for _ in range(2 * LIMIT)]
        posted = {post(api, {"tell": mailbox.getsockname()[1]}) for _ in range(40)}
        try:
            ran = [mailbox.recv(100).decode() for _ in posted]
        finally:
            stop.set()
        for caller in callers:
            caller.result()
    assert sorted(ran) == sorted(posted), "each once"
    assert calls["answered"] and calls["throttled"]
    until_events_are_done(url)


# Functions that fail.


def test_an_exception_of_the_handler_is_its_answer(api: Any) -> None:
    answer = invoke(api, event={"raise": "bad luck"})
    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "ValueError"
    assert answer["Payload"]["errorMessage"] == "bad luck"
    assert "raise ValueError" in answer["Payload"]["stackTrace"][0]
    assert "bad luck" in answer["LogResult"]
    assert answer["LogResult"].rstrip().endswith("Status: error")
    assert invoke(api)["Payload"]["calls"] > 1, "the environment goes on"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"exit": 3}, "Runtime exited with error: exit status 3"),
        ({"exit": 0}, "Runtime exited without providing a reason"),
        ({"kill": True}, "Runtime exited with error: signal: killed"),
    ],
)
def test_a_crash_is_an_exit_error_and_the_next_call_a_cold_start(
    api: Any, event: dict[str, Any], reason: str
) -> None:
    renew(api)
    answer = invoke(api, event=event)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"] == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: {reason}",
    }
    after = invoke(api)
    report = parse_report(after["LogResult"])
    assert after["Payload"]["calls"] == 1
    assert report.init_ms is None, "it is initialised anew inside the invocation"
    assert report.duration_ms and report.duration_ms > 10
    assert report.billed_ms == pytest.approx(report.duration_ms + 0.5, abs=0.52)
    assert "x-bring-up-ms" not in after["ResponseMetadata"]["HTTPHeaders"]


def test_a_runtime_whose_connection_is_lost_is_replaced(api: Any) -> None:
    renew(api)
    frozen = invoke(api, event={"freeze": True})["Payload"]["pid"]
    time.sleep(0.3)
    started = time.perf_counter()
    after = invoke(api)["Payload"]
    assert after["calls"] == 1
    assert after["pid"] != frozen
    assert time.perf_counter() - started < 2, "and not by a time-out"


def test_a_timeout_kills_the_function_and_what_it_started(api: Any) -> None:
    event = {"start": ["sleep", "4321"], "sleep": 5}
    started = time.perf_counter()
    answer = invoke(api, "Impatient", event)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert time.perf_counter() - started < 3
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"] == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    assert parse_report(answer["LogResult"]).duration_ms == pytest.approx(1000, abs=100)
    assert answer["LogResult"].rstrip().endswith("Status: timeout")
    assert invoke(api, "Impatient")["Payload"]["calls"] == 1
    assert b"4321" not in subprocess.run(["ps", "-eo", "args"], capture_output=True).stdout


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        ("RaisesInInit", "RuntimeError", "no luck"),
        ("NodeRaisesInInit", "Error", "no luck"),
        ("NoSuchModule", "Runtime.ImportModuleError", "Unable to import module 'no_such_module'"),
        ("ExitsInInit", "Runtime.ExitError", "Runtime exited with error: exit status 7"),
    ],
)
def test_a_failing_init_is_tried_twice_and_reported(
    api: Any, function: str, kind: str, message: str
) -> None:
    answer = invoke(api, function)
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == kind
    assert message in answer["Payload"]["errorMessage"]
    assert "INIT_REPORT Init Duration: " in answer["LogResult"]
    assert parse_report(answer["LogResult"]).init_ms is None


def test_an_answer_over_6_mb_is_an_error(api: Any) -> None:
    just = invoke(api, event={"bytes": 6_291_554})  # and two quotation marks
    assert len(just["Payload"]) == 6_291_554
    answer = invoke(api, event={"bytes": 6_291_555})
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Function.ResponseSizeTooLarge"
    assert "6291556 bytes" in answer["Payload"]["errorMessage"]
    assert "event" in invoke(api)["Payload"]


def test_more_memory_than_configured_ends_the_function(api: Any) -> None:
    api.update_function_configuration(FunctionName="Obedient", MemorySize=256)
    assert invoke(api, event={"allocate": 100, "hold": 0.2})["Payload"]["calls"] == 1
    started = time.perf_counter()
    answer = invoke(api, event={"allocate": 400, "hold": 4})
    assert time.perf_counter() - started < 4, "before it is done"
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "Runtime.OutOfMemory"
    assert answer["Payload"]["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert parse_report(answer["LogResult"]).max_memory_mb == 256
    assert invoke(api)["Payload"]["calls"] == 1
    api.update_function_configuration(FunctionName="Obedient", MemorySize=1769)


def test_each_environment_has_an_empty_tmp_of_its_own(api: Any) -> None:
    renew(api)
    name = f"left-{uuid.uuid4()}"
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(invoke, api, event={"write": f"{name}-{x}", "sleep": 0.5}) for x in "ab"
        ]
        first, second = (x.result()["Payload"] for x in calls)
    assert first["pid"] != second["pid"]
    assert first["in_tmp"] == second["in_tmp"] == []
    again = invoke(api)["Payload"]
    assert again["in_tmp"] == [f"{name}-{'a' if again['pid'] == first['pid'] else 'b'}"]
    renew(api)
    assert invoke(api)["Payload"]["in_tmp"] == []
    assert not list(Path("/tmp").glob(f"{name}*")), "nor is anything left on the machine"


# Requests that are refused.


def test_versions_and_aliases_are_told_where_there_is_but_the_latest(api: Any) -> None:
    [latest] = api.list_versions_by_function(FunctionName="Obedient")["Versions"]
    assert (latest["Version"], latest["FunctionArn"]) == ("$LATEST", f"{ARN}Obedient:$LATEST")
    assert api.list_aliases(FunctionName="Obedient")["Aliases"] == []
    described = api.get_function_configuration(FunctionName="Obedient", Qualifier="$LATEST")
    assert described["FunctionArn"] == f"{ARN}Obedient:$LATEST"


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("get_alias", {"FunctionName": "Obedient", "Name": "live"},
         f"Cannot find alias arn: {ARN}Obedient:live"),
        ("get_alias", {"FunctionName": "Nobody", "Name": "live"},
         f"Function not found: {ARN}Nobody"),
        ("list_aliases", {"FunctionName": "Nobody"}, f"Function not found: {ARN}Nobody"),
        ("list_versions_by_function", {"FunctionName": "Nobody"},
         f"Function not found: {ARN}Nobody"),
        ("get_function", {"FunctionName": "Obedient", "Qualifier": "1"},
         f"Function not found: {ARN}Obedient:1"),
    ],
)  # fmt: skip
def test_a_version_or_alias_that_is_not_there_is_not_found(
    api: Any, operation: str, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(api, operation)(**arguments)
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert refused.value.response["Error"]["Message"] == message


@pytest.mark.parametrize("name", ["NoSuchFunction", "Obedient:7", f"{ARN}NoSuchFunction"])
def test_an_unknown_function_is_not_found(api: Any, name: str) -> None:
    error = refusal(api, name)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert error.response["Error"]["Code"] == "ResourceNotFoundException"
    assert error.response["Error"]["Message"] == f"Function not found: {ARN}{name.split(ARN)[-1]}"


def test_a_request_over_6_mb_is_too_large(api: Any) -> None:
    event = {"text": "x" * (6_291_456 - len('{"text": ""}'))}
    assert invoke(api, event=event | {"text": event["text"][:-200]})["StatusCode"] == 200
    error = refusal(api, Payload=json.dumps(event).encode() + b" ")
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert error.response["Error"]["Code"] == "RequestTooLargeException"
    assert "6291456 bytes" in error.response["Error"]["Message"]


@pytest.mark.parametrize("payload", [b"{", b"sentences", b"[NaN]", b"\xff", b"[" * 100_000])
def test_a_payload_that_is_not_json_is_refused(api: Any, payload: bytes) -> None:
    error = refusal(api, Payload=payload)
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert error.response["Error"]["Code"] == "InvalidRequestContentException"
    assert error.response["Error"]["Message"].startswith("Could not parse request body into json")


def test_beyond_the_concurrency_limit_calls_are_throttled(api: Any) -> None:
    renew(api)
    with ThreadPoolExecutor(LIMIT) as pool:
        running = [pool.submit(invoke, api, event={"sleep": 0.7}) for _ in range(LIMIT)]
        time.sleep(0.35)
        error = refusal(api)
        answers = [call.result()["Payload"] for call in running]
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert error.response["Error"]["Code"] == "TooManyRequestsException"
    assert dict(error.response)["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert len({answer["pid"] for answer in answers}) == LIMIT, "one request per environment"
    assert [answer["calls"] for answer in answers] == [1] * LIMIT, "all were cold starts"
    later = [invoke(api)["Payload"] for _ in range(5)]
    assert {answer["pid"] for answer in later} <= {answer["pid"] for answer in answers}


# Configuration.


def test_a_new_configuration_holds_for_the_next_call(api: Any) -> None:
    before = invoke(api)["Payload"]
    updated = api.update_function_configuration(
        FunctionName="Obedient",
        MemorySize=512,
        Timeout=2,
        Environment={"Variables": {"SHARED": "from Globals", "OWN": "2"}},
    )
    api.get_waiter("function_updated_v2").wait(FunctionName="Obedient")
    after = invoke(api)
    seen = after["Payload"]
    assert updated["MemorySize"] == 512
    assert updated["LastUpdateStatus"] == "Successful"
    assert seen["calls"] == 1
    assert seen["pid"] != before["pid"]
    assert seen["memory_mb"] == 512
    assert seen["environment"]["OWN"] == "2"
    assert parse_report(after["LogResult"]).memory_mb == 512
    configuration = api.get_function_configuration(FunctionName="Obedient")
    assert configuration["MemorySize"] == 512
    api.update_function_configuration(
        FunctionName="Obedient",
        MemorySize=1769,
        Environment={"Variables": {"SHARED": "from Globals", "OWN": "1"}},
    )


@pytest.mark.parametrize("wrong", [{"MemorySize": 10_241}, {"Timeout": 901}])
def test_a_configuration_that_aws_would_refuse_is_refused(api: Any, wrong: dict[str, int]) -> None:
    with pytest.raises(ClientError) as refused:
        api.update_function_configuration(FunctionName="Obedient", **wrong)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"


TOO_MUCH = {f"NAME_{number:02}": "x" * 100 for number in range(40)}


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        ({"AWS_REGION": "x", "OWN": "y"}, "InvalidParameterValueException", "request: AWS_REGION"),
        ({"_HANDLER": "x"}, "ValidationException", "pattern: [a-zA-Z]([a-zA-Z0-9_])+"),
        ({"1ST": "x"}, "ValidationException", "Map keys must satisfy constraint"),
        ({"A-B": "x"}, "ValidationException", "Map keys must satisfy constraint"),
        ({"LAMBDA_TASK_ROOT": "/"}, "InvalidParameterValueException", "LAMBDA_TASK_ROOT"),
        (TOO_MUCH, "InvalidParameterValueException", "exceeded the 4KB limit"),
    ],
)
def test_environment_variables_that_aws_would_refuse_are_refused(
    api: Any, wrong: dict[str, str], kind: str, says: str
) -> None:
    before = api.get_function_configuration(FunctionName="Obedient")
    with pytest.raises(ClientError) as refused:
        api.update_function_configuration(FunctionName="Obedient", Environment={"Variables": wrong})
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refused.value.response["Error"]["Code"] == kind
    assert says in refused.value.response["Error"]["Message"]
    after = api.get_function_configuration(FunctionName="Obedient")
    assert after["RevisionId"] == before["RevisionId"], "nothing is changed"


@pytest.mark.parametrize(
    "field",
    [
        {"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:some:1"]},
        {"SnapStart": {"ApplyOn": "PublishedVersions"}},
        {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
        {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:queue"}},
        {"LoggingConfig": {"LogFormat": "JSON", "LogGroup": "mine"}},
        {"Runtime": "nodejs22.x"},
    ],
)
def test_what_cannot_be_had_here_is_refused_and_not_ignored(
    api: Any, field: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as refused:
        api.update_function_configuration(FunctionName="Obedient", **field)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert "The local Lambda service" in refused.value.response["Error"]["Message"]


def test_other_fields_are_kept_and_told(api: Any) -> None:
    updated = api.update_function_configuration(
        FunctionName="Obedient",
        Description="obeys",
        Role="arn:aws:iam::000000000000:role/some",
        EphemeralStorage={"Size": 600},
        SnapStart={"ApplyOn": "None"},
        Layers=[],
    )
    asked = api.get_function_configuration(FunctionName="Obedient")
    for configuration in (updated, asked):
        assert configuration["Description"] == "obeys"
        assert configuration["Role"] == "arn:aws:iam::000000000000:role/some"
        assert configuration["EphemeralStorage"] == {"Size": 600}
    api.update_function_configuration(
        FunctionName="Obedient", Description="", EphemeralStorage={"Size": 512}
    )


def test_a_revision_that_is_no_longer_there_is_not_overwritten(api: Any) -> None:
    revision = api.get_function_configuration(FunctionName="Obedient")["RevisionId"]
    api.update_function_configuration(FunctionName="Obedient", RevisionId=revision)
    with pytest.raises(ClientError) as refused:
        api.update_function_configuration(FunctionName="Obedient", RevisionId=revision)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert refused.value.response["Error"]["Code"] == "PreconditionFailedException"


def test_logs_in_json_carry_the_same_figures(api: Any) -> None:
    api.update_function_configuration(FunctionName="Obedient", LoggingConfig={"LogFormat": "JSON"})
    cold = invoke(api, event={"print": "on stdout"})
    lines = [json.loads(x) for x in cold["LogResult"].splitlines() if x.startswith("{")]
    report, figures = lines[-1], parse_report(cold["LogResult"])
    assert [x["type"] for x in lines] == ["platform.start", "platform.report"]
    assert "on stdout" in cold["LogResult"].splitlines()
    assert report["record"]["status"] == "success"
    assert figures.init_ms and figures.duration_ms and figures.memory_mb == 1769
    assert figures.billed_ms == pytest.approx(figures.init_ms + figures.duration_ms + 0.5, abs=0.52)
    assert cold["Payload"]["environment"]["AWS_LAMBDA_LOG_FORMAT"] == "JSON"
    raised = invoke(api, event={"raise": "bad luck"})
    assert json.loads(raised["LogResult"].splitlines()[-1])["record"]["status"] == "error"
    api.update_function_configuration(FunctionName="Obedient", LoggingConfig={"LogFormat": "Text"})


def test_functions_are_listed(api: Any) -> None:
    names = [x["FunctionName"] for x in api.list_functions()["Functions"]]
    assert names[:2] == ["Obedient", "Impatient"]


# The AWS CLI.


def aws(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("aws")), "lambda", *arguments]
    environment = {
        "PATH": "/usr/bin:/bin",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    return subprocess.run(
        [*command, "--endpoint-url", url], capture_output=True, text=True, env=environment
    )


def test_the_aws_cli_invokes(url: str, tmp_path: Path) -> None:
    out = tmp_path / "answer.json"
    done = aws(
        *(url, "invoke", "--function-name", "Obedient", "--log-type", "Tail"),
        *("--payload", '{"sentence": "Hello"}', str(out)),
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["StatusCode"] == 200
    assert parse_report(base64.b64decode(said["LogResult"]).decode()).memory_mb == 1769
    assert json.loads(out.read_text())["event"] == {"sentence": "Hello"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--function-name", "Nobody"], "(ResourceNotFoundException)"),
        (["--function-name", "Obedient", "--payload", "{"], "(InvalidRequestContentException)"),
    ],
)
def test_the_aws_cli_shows_errors(url: str, arguments: list[str], said: str) -> None:
    done = aws(url, "invoke", *arguments, "/dev/null")
    assert done.returncode != 0
    assert said in done.stderr


def test_the_aws_cli_configures_and_lists(url: str) -> None:
    name = ("--function-name", "Impatient")
    changed = aws(url, "update-function-configuration", *name, "--memory-size", "512")
    assert json.loads(changed.stdout)["MemorySize"] == 512
    for waiter in ("function-updated-v2", "function-active-v2"):
        assert aws(url, "wait", waiter, *name).returncode == 0
    for command in ("get-function-configuration", "get-function"):
        answer = json.loads(aws(url, command, *name).stdout)
        assert answer.get("Configuration", answer)["MemorySize"] == 512
    listed = json.loads(aws(url, "list-functions").stdout)["Functions"]
    assert "Impatient" in [x["FunctionName"] for x in listed]
    refused = aws(url, "update-function-configuration", *name, "--layers", "arn:some")
    assert refused.returncode != 0
    assert "(InvalidParameterValueException)" in refused.stderr
    aws(url, "update-function-configuration", *name, "--memory-size", "1769")


# Every language.


def test_node_fails_and_goes_on(api: Any) -> None:
    raised = invoke(api, "NodeObedient", {"raise": "bad luck"})
    assert raised["Payload"]["errorType"] == "RangeError"
    assert invoke(api, "NodeObedient", {"print": "on stdout"})["LogResult"].count("on stdout") == 1
    exited = invoke(api, "NodeObedient", {"exit": 4})
    assert exited["Payload"]["errorType"] == "Runtime.ExitError"
    assert invoke(api, "NodeObedient")["Payload"]["calls"] == 1


@pytest.mark.parametrize("language", ["python", "java", "node"])
def test_what_sam_built_runs_in_every_language(target: Target, language: str) -> None:
    client = LambdaClient(target.endpoint_url, target.region)
    function = target.functions[language]
    force_cold(target, function, 1769)
    cold, warm = (client.invoke(function, {"sentences": ["One, TWO"]}) for _ in range(2))
    assert cold.value["language"] == language
    assert cold.value["runtime"] == target.versions[language]
    assert cold.value["first_call"] and cold.report.init_ms and cold.report.bring_up_ms
    assert not warm.value["first_call"] and warm.report.init_ms is None
    assert cold.value["tokens"] == warm.value["tokens"]
    with pytest.raises(CallFailed) as failed:
        client.invoke(function, {"sentences": [1]})
    assert failed.value.kind.split(".")[-1] == "InvalidBatch"  # Java says the package too
