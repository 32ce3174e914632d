"""What is said of a cluster of others before anything starts there, and what goes along."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from bench.cli import main
from bench.cluster import shipping
from bench.cluster.flink import free_port
from bench.cluster.session import Elsewhere, _milliseconds, check
from bench.lambdas.target import open_target
from flink_job.offload.endpoint import lambda_api

PYTHON = "/usr/bin/python3"


class Told:
    """What a JobManager's REST API would tell: a cluster on which the job can run, to be spoilt."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            "/config": {
                "flink-version": metadata.version("apache-flink"),
                "features": {"web-cancel": True},
            },
            "/overview": {"slots-total": 4, "slots-available": 4},
            "/jobmanager/config": [{"key": "metrics.fetcher.update-interval", "value": "150 ms"}],
            "/jobmanager/environment": {"classpath": ["lib/flink-python-2.3.0.jar"], "jvm": {}},
            "/taskmanagers": {"taskmanagers": [{"path": "pekko.tcp://flink@127.0.0.1:1/user/x"}]},
        }
        self.address = ""


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(told.answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.address = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()


def refusal(*arguments: str) -> str:
    """What a command says that does not begin."""
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    return result.output


def spoilt(told: Told, what: str) -> None:
    answers = told.answers
    match what:
        case "version":
            answers["/config"]["flink-version"] = "1.20.0"
        case "slots":
            answers["/overview"]["slots-available"] = 1
        case "metrics":
            answers["/jobmanager/config"] = []
        case "library":
            answers["/jobmanager/environment"]["classpath"] = ["lib/flink-dist-2.3.0.jar"]
        case "machine":
            answers["/jobmanager/environment"]["jvm"]["arch"] = "s390x"
        case "cancel":
            answers["/config"]["features"]["web-cancel"] = False
        case "away":
            path = "pekko.tcp://flink@192.0.2.1:6122/user/rpc/taskmanager_0"
            answers["/taskmanagers"]["taskmanagers"].append({"path": path})
        case "nonsense":
            answers["/config"] = ["what"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("version", "runs Flink 1.20.0, and the job is built for"),
        ("slots", "has 1 of its 4 task slots free, and the job takes 2"),
        ("metrics", "renews its metrics every 10 s"),
        ("library", "no flink-python in its lib/"),
        ("machine", "runs on s390x"),
        ("cancel", "does not let its REST API cancel"),
        ("away", "192.0.2.1 cannot reach us on the loopback: say with --listen"),
        ("nonsense", "not as Flink's REST API"),
    ],
)
def test_what_is_missing_there_is_said_before_anything_starts(
    told: Told, what: str, said: str
) -> None:
    check(Elsewhere(told.address, python=PYTHON), slots=2)
    spoilt(told, what)
    output = refusal("surge", "node", "--flink", told.address, "--python", PYTHON)
    assert said in " ".join(output.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--listen", "nowhere"), "not an IPv4 address"),
        (("--listen", "0.0.0.0"), "not an address of a private network"),
        (("--listen", "8.8.8.8"), "not an address of a private network"),
        (("--listen", "10.254.253.252"), "this machine has no such address"),
        (("--python", "python3"), "not a whole path"),
        (("--worker-cpu", "0.5"), "--worker-cpu holds processes of ours"),
        (("--method", "scale-out"), "--method scale-out changes TaskManagers"),
        (("--method", "bigger"), "--method bigger changes TaskManagers"),
    ],
)
def test_what_makes_no_sense_there_is_refused(
    told: Told, options: tuple[str, str], said: str
) -> None:
    assert said in " ".join(refusal("surge", "node", "--flink", told.address, *options).split())


@pytest.mark.parametrize("command", ["worth", "faults", "soak"])
def test_commands_that_look_into_processes_refuse_it(told: Told, command: str) -> None:
    assert "of ours" in refusal(command, "--flink", told.address)


def test_nobody_there_is_said() -> None:
    output = refusal("surge", "--flink", f"127.0.0.1:{free_port()}")
    assert "no Flink answers at" in output


def test_options_for_a_cluster_of_others_want_one() -> None:
    assert "say --flink too" in refusal("surge", "--listen", "127.0.0.1")
    assert "say --flink too" in refusal("breakpoint", "--python", PYTHON)


def test_others_may_call_functions_and_nothing_else() -> None:
    with open_target(listen="127.0.0.2") as target:
        assert target.endpoint_url and target.called_at
        function = target.functions["node"]
        outside = lambda_api(target.called_at, None)
        answer = outside.invoke(
            FunctionName=function, Payload=b'{"id": "1", "operator": "words", "sentences": ["a b"]}'
        )
        assert json.load(answer["Payload"])["id"] == "1"
        for ask in (
            outside.list_functions,
            partial(outside.get_function, FunctionName=function),
            partial(outside.update_function_configuration, FunctionName=function, MemorySize=512),
        ):
            with pytest.raises(ClientError, match="calls alone are taken here"):
                ask()
        with pytest.raises(HTTPError, match="404"):
            urlopen(target.called_at)
        inside = lambda_api(target.endpoint_url, None)
        assert inside.get_function(FunctionName=function)["Configuration"]["MemorySize"] != 512


def test_durations_are_read_as_flink_reads_them() -> None:
    durations = ("150", "150 ms", "1 s", "2min", None, "often")
    assert list(map(_milliseconds, durations)) == [150, 150, 1000, 120_000, 10_000, 10_000]


def test_no_archive_or_one_of_other_packages_is_said(tmp_path: Path) -> None:
    archive = tmp_path / "python.zip"
    with pytest.raises(shipping.NothingToShip, match="bench ship"):
        shipping.require(archive)
    with zipfile.ZipFile(archive, "w") as made:
        made.comment = b"of yesterday"
    with pytest.raises(shipping.NothingToShip, match="other packages"):
        shipping.require(archive)


@pytest.mark.proof
def test_what_is_shipped_runs_where_it_is_unpacked(tmp_path: Path) -> None:
    archive = shipping.make(tmp_path / "python.zip")
    assert shipping.require(archive) == archive
    assert archive.stat().st_size < 120e6
    there = tmp_path / "somewhere else"
    with zipfile.ZipFile(archive) as made:
        made.extractall(there)
        for name in made.namelist():
            if mode := made.getinfo(name).external_attr >> 16:
                (there / name).chmod(mode)
    code = shipping.stage(tmp_path / "code")
    # What the interpreter of a JVM has besides is pemja's; all else is imported as it would.
    program = (
        "import sys, pemja\n"
        "class Java:\n"
        "    def __getattr__(self, name): return Java()\n"
        "    def __call__(self, *given): return Java()\n"
        "pemja.findClass = lambda name: Java()\n"
        "import pyflink.fn_execution.embedded.operation_utils\n"
        "import flink_job.offload.operators, flink_job.load.source, flink_job.tokenizer\n"
        "from flink_job.offload.endpoint import resolve\n"
        "import botocore.session\n"
        "botocore.session.get_session().create_client('lambda', 'us-east-1')\n"
        "print(sys.prefix, flink_job.__path__[0])"
    )
    done = subprocess.run(
        [there / shipping.EXECUTABLE, "-c", program],
        env={"PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == f"{there} {code / 'flink_job'}", done.stderr


JOBS = """
import shutil, sys
from pathlib import Path
top = Path(sys.argv[1])

def unpack(name):
    base = top / f"python-dist-{name}"
    home = base / "python-archives" / "python.zip"
    home.mkdir(parents=True)
    (home / "late.py").write_text("value = 7")
    code = base / "python-files" / f"cache-{name}" / "code"
    shutil.copytree(top / "code", code)
    sys.path.insert(0, str(code))
    return base, home

first, home = unpack("first")
sys.prefix = str(home)
sys.path.append(str(home))
import flink_job.home, flink_job.offload.lanes
last = first
for name in ("second", "third"):
    shutil.rmtree(last, ignore_errors=True)
    if name == "third":
        for path in first.rglob("*"):
            assert path.is_dir() or path.is_symlink(), path
    last, _ = unpack(name)
    if name == "second":
        import flink_job.load.shapes
        assert (home / "late.py").exists()
    else:
        import late, flink_job.load.traces
        assert late.value == 7
print("found")
"""


def test_after_a_job_has_gone_the_files_of_the_next_stand_for_its_own(tmp_path: Path) -> None:
    shipping.stage(tmp_path / "code")
    done = subprocess.run(
        [sys.executable, "-c", JOBS, str(tmp_path)],
        env={"PYTHONPATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "found\n", done.stderr
