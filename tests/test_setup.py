"""The set-up: each step once, going on where it stopped; and everything pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from bench import doctor

ROOT = Path(__file__).parent.parent

# Stands for pip and sam: notes that it was called, makes what sam would make, fails if told to.
TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >>calls
[ ! -e broken ] || exit 1
for folder; do :; done
[ "$(basename "$0")" != sam ] || { mkdir -p "$folder" && touch "$folder/template.yaml"; }
"""


class Tree:
    """A small copy of the project whose tools only note that they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/setup", folder / "scripts/setup")
        self.write("scripts/packages", "# none\n")
        self.write("scripts/setup-runtimes", "#!/bin/sh\n").chmod(0o755)
        for tool in ("pip", "sam", "bench", "python"):
            self.write(f".venv/bin/{tool}", TOOL).chmod(0o755)
        self.write("flink_job/java/burst/Split.java", "package burst; class Split {}\n")
        self.write(".cache/setup/uv/bin/uv", TOOL).chmod(0o755)
        self.write("requirements.lock", "click==8.1.8\n")
        self.write("pyproject.toml", "[project]\n")
        self.write("template.yaml", "Resources: {}\n")
        for name in ("python/app.py", "java/App.java", "node/app.mjs", "empty/app.py"):
            self.write(f"functions/{name}", "")

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def set_up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "scripts/setup"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    def steps(self) -> set[str]:
        """The steps that a set-up, which must succeed, has found to do, side by side."""
        done = self.set_up()
        assert done.returncode == 0, done.stderr
        return set(re.findall(r"^setup: (\w+) …$", done.stderr, re.M))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_second_run_does_nothing(tree: Tree) -> None:
    assert tree.steps() == {"venv", "jar", "project", "functions"}
    calls = (tree.folder / "calls").read_text()
    done = tree.set_up()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tree.folder / "calls").read_text() == calls


def test_only_what_changed_is_made_again(tree: Tree) -> None:
    tree.steps()
    tree.write("functions/node/app.mjs", "export {};\n")
    assert tree.steps() == {"functions"}
    tree.write("requirements.lock", "click==8.1.9\n")
    assert tree.steps() == {"venv", "jar"}  # whose Flink may be another now
    shutil.rmtree(tree.folder / ".aws-sam/build")
    assert tree.steps() == {"functions"}


def test_a_step_that_did_not_end_is_done_again_and_no_other(tree: Tree) -> None:
    tree.steps()
    tree.write("functions/empty/app.py", "# changed\n")
    tree.write("broken", "")
    done = tree.set_up()
    assert done.returncode != 0
    assert "functions did not work" in done.stderr
    (tree.folder / "broken").unlink()
    assert tree.steps() == {"functions"}


def test_where_uv_brings_nothing_pip_does(tree: Tree) -> None:
    tree.write(".cache/setup/uv/bin/uv", "#!/bin/sh\nexit 2\n")
    assert "venv" in tree.steps()
    assert (
        "pip install --quiet --use-pep517 -r requirements.lock"
        in (tree.folder / "calls").read_text().splitlines()
    )


def assert_gone(tree: Tree) -> None:
    """Whoever has left its pid has ended, or does so at once."""
    pids = tree.folder / "pids"
    left = pids.read_text().split() if pids.exists() else []
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(int(pid)) for pid in left):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("language", ["java", "python"])
def test_what_fails_beside_the_others_ends_them_and_is_told(tree: Tree, language: str) -> None:
    """Nothing runs on, and the next set-up does what this one did not."""
    tree.write(
        "scripts/setup-runtimes",
        "#!/bin/sh\ncase $1 in\n"
        f"{language}) exit 1 ;;\nnode) echo $$ >>pids; exec sleep 60 ;;\nesac\n",
    )
    done = tree.set_up()
    assert done.returncode != 0
    assert f"setup: the runtime for {language} did not build\n" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"setup: not all was made (see above: {language}); run it again with: scripts/setup"
    )
    assert_gone(tree)
    tree.write("scripts/setup-runtimes", "#!/bin/sh\n")
    assert tree.steps() <= {"jar", "project", "functions"}


def test_what_runs_beside_ends_with_the_set_up(tree: Tree) -> None:
    tree.write("scripts/setup-runtimes", "#!/bin/sh\necho $$ >>pids\nexec sleep 60\n")
    pids = tree.folder / "pids"
    process = subprocess.Popen([tree.folder / "scripts/setup"], stderr=subprocess.DEVNULL)
    while not pids.exists() or len(pids.read_text().split()) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) != 0
    assert_gone(tree)


def test_what_only_root_can_bring_is_one_line_with_the_command(tree: Tree) -> None:
    tree.write("scripts/packages", "no-such-command  no-such-package,other  nothing\n")
    for command, answer in (("id", "echo 1000"), ("apt-get", "exit 1"), ("apt-cache", "exit 1")):
        tree.write(f"bin/{command}", f"#!/bin/sh\n{answer}\n").chmod(0o755)
    done = tree.set_up(PATH=f"{tree.folder / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr == (
        "setup: system packages are missing; run: sudo apt-get install -y no-such-package\n"
    )


def fakes(folder: Path, **commands: str) -> str:
    """A PATH with commands that say what is given, before those of the system."""
    folder.mkdir(exist_ok=True)
    for command, script in commands.items():
        file = folder / command.replace("_", "-")
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("javac", "will_do"),
    [
        ("echo javac 21", True),  # a release without a dot
        ("echo javac 25-ea", True),
        ("echo javac 17.0.15", True),
        ("echo 'Picked up JAVA_TOOL_OPTIONS: -Dversion=8.1' >&2; echo javac 17.0.15", True),
        ("echo 'Picked up JAVA_TOOL_OPTIONS: -Xmx21.0g' >&2; echo javac 1.8.0_402 >&2", False),
        ("echo 'NOTE: Picked up JDK_JAVA_OPTIONS: -Dx=21' >&2; echo javac 11.0.2", False),
        ("echo hello", False),
        ("exit 1", False),
    ],
)
def test_the_jdk_is_known_by_its_version_and_nothing_else(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, javac: str, will_do: bool
) -> None:
    tree.write("scripts/packages", "javac  no-such-jdk  Flink\n")
    apt = {"id": "echo 1000", "apt_get": "exit 1", "apt_cache": "exit 1"}
    path = fakes(tree.folder / "bin", javac=javac, **apt)
    done = tree.set_up(PATH=path)
    assert ("apt-get install -y no-such-jdk" in done.stderr) is not will_do, done.stderr
    monkeypatch.setenv("PATH", path)
    doctor.command_version.cache_clear()
    (found,) = [finding for finding in doctor.examine() if finding.name == "javac"]
    doctor.command_version.cache_clear()
    assert found.ok is will_do


def test_a_system_with_a_newer_python_alone_is_told_what_brings_one(tree: Tree) -> None:
    """As Debian 13: nothing is installed before that is known to be there."""
    hidden = dict.fromkeys(("python3", "python3.12", "python3.11"), "exit 1")
    path = fakes(
        tree.folder / "bin",
        id="echo 0",
        apt_get="echo $1 >>apt-calls",
        apt_cache="echo '  Candidate: 3.13.5-1'",
        **hidden,
    )
    script = tree.folder / "scripts/setup"
    script.write_text(script.read_text().replace("/usr/bin/python3", "no-python"))
    done = tree.set_up(PATH=path, HOME=str(tree.folder))
    assert done.returncode == 1
    assert "this system's is 3.13" in done.stderr
    assert "apt-get install -y pipx && pipx run uv python install 3.12" in done.stderr
    assert (tree.folder / "apt-calls").read_text() == "update\n"


def test_the_functions_are_built_by_the_python_that_is_here(tree: Tree) -> None:
    tree.write(".venv/bin/python", "#!/bin/sh\necho python3.12\n")
    tree.steps()
    calls = (tree.folder / "calls").read_text()
    assert calls.count("sam build --parameter-overrides PythonRuntime=python3.12") == 1


def test_a_folder_with_a_space_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    tree = Tree(tmp_path / "a b")
    assert tree.steps() == {"venv", "jar", "project", "functions"}
    assert tree.steps() == set()


def test_every_package_asked_for_is_pinned_to_that_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {*project["dependencies"], *project["optional-dependencies"]["dev"]}
    lock = (ROOT / "requirements.lock").read_text().lower().splitlines()
    assert {re.sub(r"\[.*\]", "", pin).lower() for pin in asked} <= set(lock)


def test_the_lock_has_exact_versions_and_no_addresses() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.+]+", line), line


def test_doctor_finds_everything_here_after_set_up() -> None:
    assert [finding for finding in doctor.examine() if not finding.ok] == []


def test_require_names_what_is_missing_and_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    with pytest.raises(
        doctor.Missing, match=r"^missing here: java runtime, functions\. .*make setup$"
    ):
        doctor.require("java runtime", "functions")
