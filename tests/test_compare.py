"""`bench compare` on made-up runs: what stands side by side, and what never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.facts import records
from bench.report.gather import evidence, surges
from bench.report.gather.latency import PARTS
from bench.report.say import compare, languages, places, versus
from tests import synthetic

pytestmark = pytest.mark.beside


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    results = tmp_path_factory.mktemp("results")
    return [synthetic.run(results, language) for language in synthetic.LANGUAGES]


def test_the_three_languages_stand_beside_the_job_without_offload(runs: list[Path]) -> None:
    (group,) = evidence.load(runs)
    by_name = {t.name: t for t in compare.tables(group)}
    assert list(by_name) == ["cold", "compute", "surge", "failures"]
    assert by_name["cold"].columns == ["", "Python", "Java", "Node"]
    assert by_name["surge"].columns == ["", "no offload", "Python", "Java", "Node"]
    (lost,) = [row for row in by_name["surge"].rows if "lost" in row[0]]
    assert lost[1:] == ["0 / 0 / 0"] * 4


def test_parts_of_the_latency_add_up_to_the_whole(runs: list[Path]) -> None:
    (group,) = evidence.load(runs)
    for surge in surges.surges(group):
        for parts in surge.parts.values():
            if parts:
                explained = sum(parts[p] for p in (*PARTS, "remainder"))
                assert explained == pytest.approx(parts["total"])
                assert parts["filling"] > 0 and parts["waiting"] == pytest.approx(0)


def test_runs_of_different_targets_or_machines_never_share_a_table(
    runs: list[Path], tmp_path: Path
) -> None:
    aws = synthetic.run(tmp_path, "java", target="AWS Lambda", region="eu-central-1")
    other = {**synthetic.MACHINE, "cpu": "Another CPU"}
    elsewhere = synthetic.run(tmp_path / "elsewhere", "python", machine=other)
    groups = evidence.load([*runs, aws, elsewhere])
    assert [len(g.runs) for g in groups] == [3, 1, 1]
    text = compare.markdown(groups)
    assert text.count("## Cold start") == 3
    assert "AWS Lambda in eu-central-1" in text
    assert "Another CPU" in text


def test_here_and_elsewhere_are_rows_of_their_own_and_never_pooled(
    runs: list[Path], tmp_path: Path
) -> None:
    emulated = synthetic.run(tmp_path, "java", target="local process, as on AWS (emulated)")
    assert places.table(evidence.load(runs)) is None
    made = places.table(evidence.load([*runs, emulated]))
    assert made is not None
    by = {(row[0], row[1]): row[2:5] for row in made.rows}
    measures = {measure for measure, _ in by}
    assert any("cold" in x for x in measures) and any("p99" in x for x in measures)
    for measure in measures:
        assert "—" not in by[measure, "local process"]
        python, java, node = by[measure, "local process, as on AWS (emulated)"]
        assert (python, node) == ("—", "—") and java != "—"


def test_a_run_that_died_shows_what_it_had_and_says_so(runs: list[Path], tmp_path: Path) -> None:
    lines = (runs[0] / records.FILE_NAME).read_bytes().splitlines(keepends=True)
    died = tmp_path / runs[0].name
    died.mkdir()
    (died / records.FILE_NAME).write_bytes(b"".join(lines[:60]) + lines[60][:20])
    with pytest.warns(records.TornLine):
        (group,) = evidence.load([died])
    text = compare.markdown([group])
    assert "did not finish" in text
    assert "## Cold start" in text
    assert "## Total latency" not in text


def test_noise_is_warned_about(tmp_path: Path) -> None:
    folder = synthetic.run(tmp_path, "node")
    file = folder / records.FILE_NAME
    file.write_text(file.read_text().replace("[20.0,20.1,20.2,", "[20.0,30.0,31.0,"))
    assert "Noise: " in compare.markdown(evidence.load([folder]))


def test_too_few_rounds_say_absent_instead_of_guessing(tmp_path: Path) -> None:
    import numpy as np

    facts = synthetic.cold(np.random.default_rng(0), n=3)
    (group,) = evidence.load([synthetic.write(tmp_path / "20261122T100000Z-cold", facts)])
    table = languages.cold(group)
    assert table is not None
    assert table.data["low"].isna().all()
    assert table.data["p99"].isna().all()


def test_the_newest_run_of_each_language_is_chosen_and_a_failed_one_only_for_want_of_another(
    tmp_path: Path,
) -> None:
    old = synthetic.run(tmp_path, "python")
    old = old.rename(tmp_path / old.name.replace("20261122", "20251122"))
    newest = synthetic.run(tmp_path, "python")
    java = synthetic.run(tmp_path, "java")
    assert evidence.newest(tmp_path, {"run"}) == [newest, java]
    for run in (newest, java):
        file = run / records.FILE_NAME
        file.write_text(file.read_text().replace('"ok":true', '"ok":false'))
    assert evidence.newest(tmp_path, {"run"}) == [old, java]
    assert evidence.find([old.name], tmp_path) == [old]


def test_a_run_that_called_no_function_goes_with_its_machine(
    runs: list[Path], tmp_path: Path
) -> None:
    alone = synthetic.write(tmp_path / "20261122T110000Z-breakpoint", iter([]), target=None)
    (group,) = evidence.load([alone, *runs])
    assert len(group.runs) == 4
    assert group.where.startswith("local process")


def test_the_command_prints_what_it_writes(
    runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RESULTS", runs[0].parent)
    done = CliRunner().invoke(main, ["compare"])
    assert done.exit_code == 0, done.output
    written = runs[0].parent / "compare.md"
    assert done.output.strip() == written.read_text(encoding="utf-8").strip()
    cells = (runs[0].parent / "compare.csv").read_text(encoding="utf-8")
    assert cells.startswith("group,table,row,column,cell\n")
    assert "local process" in cells


def test_without_runs_the_command_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    done = CliRunner().invoke(main, ["compare"])
    assert done.exit_code == 1
    assert "bench run python" in done.output
    done = CliRunner().invoke(main, ["compare", "nothing-like-it"])
    assert done.exit_code == 1
    assert "nothing-like-it" in done.output


def test_the_workers_limit_and_measured_capacity_stand_in_the_header(runs: list[Path]) -> None:
    (group,) = evidence.load(runs)
    said = compare.header(group)
    assert "Local worker held to 0.5 CPU by cgroup v1, measured capacity 1,500 sentences/s." in said


def test_two_runs_of_the_same_stand_side_by_side_and_nothing_is_called_different(
    tmp_path: Path,
) -> None:
    old = synthetic.together(tmp_path, "20261122T100100Z-run", seed=1)
    new = synthetic.together(tmp_path, "20261122T100200Z-run", seed=2)
    text = compare.write([old, new], tmp_path / "out")
    assert "Two runs side by side" in text
    assert "Java: cold, init + first call, ms" in text and ", Node: p99, ms" in text
    assert "**different**" not in text


def test_a_run_that_is_twice_as_slow_is_told_by_its_figures(tmp_path: Path) -> None:
    old = synthetic.together(tmp_path, seed=1)
    facts = (
        (kind, {**fields, "compute_ms": 2 * fields["compute_ms"]} if kind == "call" else fields)
        for kind, fields in synthetic.compute(np.random.default_rng(2), warmup=300)
    )
    new = synthetic.write(tmp_path / "20261122T110000Z-compute", facts)
    (row,) = [
        row
        for row in (versus.table(*(evidence.load([x])[0] for x in (old, new))) or missing()).rows
        if row[0] == "Node: warm, 100 sentences, ms"
    ]
    assert row[3].startswith("**different**: 1.")


def missing() -> Any:
    raise AssertionError("no table")


def test_runs_across_a_drifting_machine_are_not_compared(tmp_path: Path) -> None:
    runs = [synthetic.together(tmp_path, f"20261122T100{x}00Z-run", repetitions=1) for x in "12"]
    file = runs[1] / records.FILE_NAME
    text = file.read_text(encoding="utf-8")
    after = text.index('"when":"after"')
    slow = text[after:].replace("[20.0,20.1,20.2,20.1,20.0]", "[30.0,30.1,30.2,30.1,30.0]", 1)
    file.write_text(text[:after] + slow, encoding="utf-8")
    old, new = (evidence.load([x])[0] for x in runs)
    table = versus.table(old, new)
    assert table is not None
    assert "Nothing is compared: the machine drifted by 50% during the new run" in table.note
    assert {row[3] for row in table.rows} == {"not compared"}


def test_a_run_given_twice_is_refused(runs: list[Path]) -> None:
    with pytest.raises(evidence.NoRuns, match="is given twice"):
        evidence.load([runs[0], runs[0]])
