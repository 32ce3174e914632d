"""The schema of raw records: what is written, what is read back, and what is refused."""

from __future__ import annotations

import gzip
import re
import resource
import warnings
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.facts import records
from bench.facts.records import SCHEMA, NotRecorded, RecordsUnreadable, Run, TornLine, frames, read
from bench.report.gather import evidence

pytestmark = pytest.mark.beside

CALL: dict[str, Any] = {
    "language": "java",
    "function": "JavaTokenizer",
    "sentences": 100,
    "tokens": 950,
    "round": 0,
    "phase": "steady",
    "environment": 0,
    "call_number": 3,
    "compute_ms": 0.5,
    "wall_ms": 2,
}


def test_the_document_describes_the_schema() -> None:
    text = (Path(bench.__file__).parent / "facts" / "RECORDS.md").read_text(encoding="utf-8")
    documented = {
        section.splitlines()[0].strip(): dict(
            re.findall(r"^\| (\w+) \| ([\w?]+) \|", section.replace("| field | type |", ""), re.M)
        )
        for section in text.split("\n## ")[1:]
    }
    assert documented == SCHEMA


def test_a_run_begins_with_the_machine_and_ends_with_its_end(tmp_path: Path) -> None:
    with Run("compute", languages=["java"], seed=7, suffix="java", results=tmp_path) as run:
        run.write("call", **CALL)
    lines = read(run.folder)
    assert [x["kind"] for x in lines] == ["run", "calibration", "call", "calibration", "end"]
    assert re.fullmatch(r"\d{8}T\d{6}Z-compute-java", lines[0]["run"])
    assert lines[0]["machine"]["cores"] >= 1 and lines[0]["seed"] == 7
    assert lines[-1]["ok"] is True
    assert records.find_runs(tmp_path) == [run.folder]


def test_runs_of_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [Run("compute", results=tmp_path) for _ in range(5)]
    moment = runs[0].folder
    for run in runs:
        run.folder = moment
        with run:
            run.write("call", **CALL)
    assert len({run.folder for run in runs}) == 5
    assert [read(run.folder)[0]["run"] for run in runs] == [run.name for run in runs]
    assert runs[1].name == f"{moment.name}-2"


def test_a_full_disk_is_said_so_and_what_was_recorded_is_whole(tmp_path: Path) -> None:
    """Full in the middle of a line, as it comes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    said = pytest.raises(NotRecorded, match=r"cannot write to .*records.jsonl: .*make room")
    with said, Run("compute", results=tmp_path) as run:
        size = run.path.stat().st_size + 1000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            for _ in range(1000):
                run.write("call", **CALL)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = read(run.folder)
    assert len(lines) >= 5 and lines[-1]["kind"] == "end"
    assert lines[-1]["ok"] is False and "NotRecorded" in lines[-1]["error"]


def test_where_nothing_can_be_recorded_there_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotRecorded, match="cannot record to"), Run("a", results=tmp_path / "file"):
        pass


def test_a_run_that_fails_keeps_what_it_had(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Run("compute", results=tmp_path) as run:
        run.write("call", **CALL)
        on_disk = read(run.path)  # each line is in the file before `write` returns
        raise KeyboardInterrupt
    assert on_disk[-1]["call_number"] == 3
    assert read(run.path)[-1] | {"seconds": 0} == {
        "v": 1,
        "kind": "end",
        "ok": False,
        "seconds": 0,
        "error": "KeyboardInterrupt",
    }


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("coal", {}, "unknown kind of record: coal"),
        ("call", CALL | {"lenght": 1}, "unknown fields ['lenght']"),
        ("call", CALL | {"tokens": None}, "tokens is missing"),
        ("call", CALL | {"tokens": 9.5}, "tokens must be int, is 9.5"),
        ("call", CALL | {"tokens": True}, "tokens must be int, is True"),
        ("call", CALL | {"wall_ms": float("nan")}, "not JSON compliant"),
    ],
)
def test_wrong_records_are_refused(
    tmp_path: Path, kind: str, fields: dict[str, Any], message: str
) -> None:
    run = Run("compute", results=tmp_path)
    with run, pytest.raises(ValueError, match=re.escape(message)):
        run.write(kind, **fields)
    assert len(read(run.path)) == 4


def test_frames_have_every_kind_and_field(tmp_path: Path) -> None:
    with Run("compute", results=tmp_path) as run:
        run.write("call", **CALL)
        run.write("call", **CALL | {"call_number": 4, "duration_ms": 1.25})
    found = frames(run.folder)
    assert {kind: list(frame.columns) for kind, frame in found.items()} == {
        kind: list(fields) for kind, fields in SCHEMA.items()
    }
    assert found["call"]["call_number"].tolist() == [3, 4]
    assert found["call"]["duration_ms"].isna().tolist() == [True, False]
    assert found["call"]["wall_ms"].dtype == "float64"
    assert found["cold"].empty and found["cold"]["init_ms"].dtype == "float64"
    assert found["run"]["machine"][0]["cores"] >= 1


def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    with Run("compute", results=tmp_path) as run:
        run.write("call", **CALL)
    run.path.write_bytes(run.path.read_bytes()[:-9])  # cuts into `end`
    with pytest.warns(TornLine):
        assert frames(run.folder)["end"].empty
    with pytest.warns(TornLine):
        assert read(run.folder)[-1]["kind"] == "calibration"


@pytest.mark.parametrize(
    "line", ['{"v":2,"kind":"end"}', '{"v":1,"kind":"coal"}', "hello", '{"v":1,"kind":"end",}']
)
def test_what_is_not_a_record_of_this_version_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    for reader in (read, frames):
        with pytest.raises(RecordsUnreadable):
            reader(tmp_path)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsUnreadable, match=r"holds no records\.jsonl"):
        frames(tmp_path)


def test_a_packed_run_reads_as_it_did(tmp_path: Path) -> None:
    with Run("compute", results=tmp_path) as run:
        run.write("call", **CALL)
    before = read(run.folder)

    (run.folder / records.PACKED_NAME).write_bytes(gzip.compress(run.path.read_bytes()))
    run.path.unlink()

    assert read(run.folder) == before
    assert records.find_runs(tmp_path) == evidence.newest(tmp_path) == [run.folder]


def test_a_complete_file_is_read_without_a_warning(tmp_path: Path) -> None:
    with Run("compute", results=tmp_path) as run:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames(run.folder)
