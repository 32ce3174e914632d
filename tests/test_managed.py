"""What is packed for AWS's managed Flink: its layout, and an entry point that starts the job."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cluster import managed

JOB = Path(__file__).resolve().parents[1] / "examples" / "parse_orders.py"


def test_what_the_properties_name_is_in_the_zip_and_starts_the_job(tmp_path: Path) -> None:
    zip_ = tmp_path / "job.zip"
    result = CliRunner().invoke(main, ["package", str(JOB), "--output", str(zip_)])
    assert result.exit_code == 0, result.output
    assert zip_.stat().st_size < managed.DIRECTLY_BYTES
    groups = json.loads((tmp_path / "job.properties.json").read_text())["PropertyGroups"]
    options = next(x["PropertyMap"] for x in groups if x["PropertyGroupId"] == managed.RUN_OPTIONS)
    with zipfile.ZipFile(zip_) as made:
        assert made.testzip() is None
        names = made.namelist()
        made.extractall(tmp_path / "there")
    assert {options["python"], options["jarfile"]} <= set(names)
    assert any(name.startswith(options["pyFiles"]) for name in names)
    assert not [name for name in names if "bench" in name or "__pycache__" in name]
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "there" / options["python"]), "--help"],
        env={"PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert "No module named 'pyflink'" in done.stderr, "all but PyFlink is packed"
    there = [str(tmp_path / "there"), sysconfig.get_path("purelib")]
    program = "import sys; sys.path[:0] = sys.argv[1:3]; sys.argv = ['main.py', '--help']\n"
    program += "import runpy; runpy.run_path('main.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *there],
        capture_output=True,
        text=True,
        cwd=tmp_path / "there",
    )
    assert "--endpoint" in done.stdout, done.stderr


@pytest.mark.parametrize("name", ["no job.txt", "job-of-mine.py"])
def test_what_is_no_job_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    result = CliRunner().invoke(main, ["package", str(tmp_path / name)])
    assert result.exit_code == 1
    assert "is no Python file of a module here" in result.output
