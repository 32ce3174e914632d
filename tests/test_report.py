"""`bench report` on made-up runs: same bytes from same records, nothing hidden or invented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.facts import records
from bench.report import build, readme
from bench.report.draw import metrics as metrics_plots
from bench.report.draw import plots
from bench.report.gather import evidence, latency, surges
from bench.report.gather.evidence import Evidence
from bench.report.say import answer, languages, metrics, money, relief
from bench.report.say.table import number, time
from tests import synthetic

pytestmark = pytest.mark.beside

Records = Iterator[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    results = tmp_path_factory.mktemp("results")
    return [synthetic.together(results)]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A run of cold starts alone, where it does not matter what a report is of."""
    return synthetic.write(tmp_path / "results" / "20261122T100000Z-cold", synthetic.cold(rng()))


@pytest.fixture(scope="module")
def report(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.build(runs, tmp_path_factory.mktemp("report")).parent


def one(tmp_path: Path, facts: Records, name: str = "20261122T100000Z-run") -> Evidence:
    (group,) = evidence.load([synthetic.write(tmp_path / name, facts)])
    return group


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_folder_holds_words_tables_and_plots(report: Path) -> None:
    names = {p.relative_to(report).as_posix() for p in report.rglob("*") if p.is_file()}
    for name in ("report.md", "report.html", "tables/cold.csv", "tables/surge.csv"):
        assert name in names
    for plot in ("cold", "compute", "warm-up", "timeline", "parts", "cost"):
        assert {f"plots/{plot}.svg", f"plots/{plot}.png"} <= names


def test_same_records_give_the_same_bytes(runs: list[Path], report: Path, tmp_path: Path) -> None:
    build.build(runs, tmp_path)
    for path in sorted(p for p in report.rglob("*") if p.is_file()):
        assert (tmp_path / path.relative_to(report)).read_bytes() == path.read_bytes(), path


def test_the_page_is_self_contained(report: Path) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    references = re.findall(r"""(?:href|src)="([^"]*)"|url\(([^)]*)\)""", page)
    assert all((a or b).startswith(("#", "data:")) for a, b in references)
    assert page.count("<svg ") == 8


def test_it_opens_with_the_answer(report: Path) -> None:
    text = (report / "report.md").read_text(encoding="utf-8")
    head = text[: text.index("## Cold start")]
    assert "Offloading absorbs the burst" in head
    assert "n = 5 and 15 surges in 3 ways" in head
    assert "Is Python faster than Java here?" in head
    assert re.search(r"\*Cold\* .*: Python is 4\.\d–5\.\d× faster than Java \(n = 10\)", head)
    assert "10 cold starts a language" in head
    assert "Not in these runs" not in head


def test_what_is_missing_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    group = one(tmp_path, synthetic.cold(rng(), languages=("python",)))
    (*_, last) = answer.answer(group, [])
    assert last.startswith("**Not in these runs:**")
    assert "cold starts in Java and Node (`bench cold`)" in last
    assert "compute per batch in Python, Java and Node (`bench compute`)" in last


def test_lost_sentences_are_shouted_about(tmp_path: Path) -> None:
    def facts() -> Records:
        yield from synthetic.surge(rng(), "a", "none", None)
        for kind, fields in synthetic.surge(rng(), "b"):
            yield kind, {**fields, "lost": 3} if kind == "ledger" else fields

    group = one(tmp_path, facts())
    said = answer.answer(group, surges.settings(surges.surges(group)))
    assert "**3 sentences were lost, duplicated or wrong**" in "\n".join(said)


def test_surges_under_different_conditions_never_share_a_table(tmp_path: Path) -> None:
    def facts() -> Records:
        yield from synthetic.surge(rng(), "a", "none", None)
        yield from synthetic.surge(rng(), "b", "operator", "java")
        yield from synthetic.surge(rng(), "c", "operator", "node", capacity=9000)

    group = one(tmp_path, facts())
    first, second = surges.settings(surges.surges(group))
    assert [a.label for a in first.arms] == ["no offload", "Java"]
    assert [a.label for a in second.arms] == ["Node"]
    assert second.to_baseline(second.arms[0]) is None


def test_methods_stand_side_by_side_with_a_bigger_job_among_them(tmp_path: Path) -> None:
    def facts() -> Records:
        for repetition in range(2):
            for method, language in (
                ("none", None),
                ("operator", "python"),
                ("always", "python"),
                ("scale-out", None),
                ("bigger", None),
            ):
                name = f"{method}-{repetition}"
                yield from synthetic.surge(rng(), name, method, language, repetition=repetition)
            rescale = {
                "surge": f"scale-out-{repetition}", "at_ms": 5600.0 + repetition,
                "trigger": "UPDATE_REQUIREMENT", "state": "COMPLETED", "total_ms": 900.0,
                "phases_ms": {"Executing": 300, "Restarting": 600},
            }  # fmt: skip
            yield "rescale", rescale
            yield "rescale", {**rescale, "state": "IN_PROGRESS", "total_ms": None}

    group = one(tmp_path, facts())
    (setting,) = surges.settings(surges.surges(group))
    table = relief.methods(setting)
    assert table is not None
    assert [row[0] for row in table.rows] == [
        "no offload", "operator, Python", "always, Python",
        "scale out, free slots", "bigger from the start",
    ]  # fmt: skip
    assert len(table.data) == 10
    assert plots.methods(setting) is not None
    parts = relief.rescaling(group, setting)
    assert parts is not None
    assert parts.columns == ["ms", "scale out, free slots (n = 2)"]
    assert [row[1] for row in parts.rows] == ["600 (600–601)", "300", "600", "—", "—", "900"]
    words = "\n".join(answer.answer(group, [setting]))
    assert "Or scale out?" in words and "n = 2; 3 more would settle it" in words

    costs = money.per_surge(setting)
    assert costs is not None
    assert [row[0] for row in costs.rows] == [
        "operator, Python", "always, Python", "scale out, free slots", "bigger from the start",
    ]  # fmt: skip


def test_work_that_is_not_worth_a_call_is_told_beside_the_answer(tmp_path: Path) -> None:
    def facts() -> Records:
        for operator, language in (("subwords", "java"), ("subwords", "node"), ("words", "java")):
            for method, of in (("none", None), ("operator", language)):
                name = f"{operator}-{method}-{of}"
                for kind, fields in synthetic.surge(rng(), name, method, of):
                    if kind == "surge":
                        fields = {**fields, "operator": operator}
                    yield kind, fields

    group = one(tmp_path, facts())
    (said,) = (
        x
        for x in answer.details(group, surges.settings(surges.surges(group)))
        if x.startswith("**And other work?**")
    )
    assert "*Workload “sentences”; operator “words”, 10 words a sentence*: Java" in said
    assert "subwords" not in said and " calls." in said


def test_decisions_are_judged_over_all_surges(tmp_path: Path) -> None:
    def facts() -> Records:
        for i in range(20):
            yield from synthetic.surge(rng(), f"a-{i}", "operator", "java", repetition=i)

    group = one(tmp_path, facts())
    (setting,) = surges.settings(surges.surges(group))
    words = "\n".join(answer.answer(group, [setting]))
    # A sample every 250 ms; the decisions made up know of it after 600 ms, and end 1,500 ms late.
    assert (
        "In 20 surges the decision that there is an overload came 750 ms (750 ms–750 ms, p95 "
        "750 ms) after it began; 0 false alarms in 1.67 minutes of calm, so at most 108 an hour "
        "(95 % sure); in the 20 with offload the share was back at zero 1.50 s (1.50 s–1.50 s, "
        "p95 1.50 s) after the end" in words
    )


def test_order_and_warm_environments_are_told_apart_where_both_were_measured(
    tmp_path: Path,
) -> None:
    def facts() -> Records:
        for ordered in (False, True):
            for kind, fields in synthetic.surge(rng(), f"a-{ordered}", "operator", "java"):
                yield kind, fields | ({"ordered": ordered} if kind == "surge" else {})
        yield from synthetic.surge(rng(), "w", "operator", "java", environment="warm")

    group = one(tmp_path, facts())
    (setting,) = surges.settings(surges.surges(group))
    assert [a.label for a in setting.arms] == ["Java, cold", "Java, ordered, cold", "Java, warm"]
    assert [a.label for a in setting.typical] == ["Java, cold"]
    assert "What does order cost?" in "\n".join(answer.answer(group, [setting]))


def test_latency_against_burst_length(tmp_path: Path) -> None:
    def facts() -> Records:
        for seconds in (2, 5, 10):
            for method, language in (("none", None), ("operator", "node")):
                yield from synthetic.surge(
                    rng(), f"{method}-{seconds}", method, language, duration=seconds
                )

    group = one(tmp_path, facts())
    (bursts,) = surges.bursts(surges.settings(surges.surges(group)))
    assert [s.conditions.duration_s for s in bursts] == [2, 5, 10]
    assert [row[0] for row in relief.bursts(bursts).rows[::2]] == ["2 s", "5 s", "10 s"]
    assert plots.bursts(bursts).svg


def test_latency_counts_the_sentences_due_in_the_surge_whenever_they_came_out(
    tmp_path: Path,
) -> None:
    group = one(tmp_path, synthetic.surge(rng(), "a", "none", None))
    (surge,) = surges.surges(group)
    assert surge.within.count == 800 * 5 * 10
    p99 = surge.measures["p99_ms"]
    # a fluid queue: 25,000 sentences too many, at 1,500/s, wait 16.7 s
    assert p99 == pytest.approx(16_700, rel=0.02)


def test_a_batch_is_its_sentences_and_points_of_many_sentences_say_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = one(tmp_path, synthetic.surge(rng(), "a"))
    batches = group.frames["batch"]
    exact = latency.sentences(batches)
    k = batches.iloc[3]
    mine = exact.latency_ms[int(k["first"]) : int(k["first"] + k["count"])]
    due = np.linspace(k["due_first_ms"], k["due_last_ms"], int(k["count"]))
    assert mine == pytest.approx(k["sink_ms"] - due)
    monkeypatch.setattr(latency, "_POINTS", 4 * len(batches))
    coarse = latency.sentences(batches)
    assert coarse.count == pytest.approx(exact.count)
    assert coarse.quantiles(0.5, 0.99) == pytest.approx(exact.quantiles(0.5, 0.99), abs=2)


def test_one_function_under_two_names_is_no_difference_and_a_slower_one_is(tmp_path: Path) -> None:
    same = languages.aa(one(tmp_path / "same", synthetic.aa(rng())))
    assert same is not None
    assert not any("different" in row[-1] for row in same.rows)
    slower = languages.aa(one(tmp_path / "slower", synthetic.aa(rng(), bias=1.5)))
    assert slower is not None
    assert [row[-1] for row in slower.rows] == ["**different**"] * 3


def test_calls_of_one_environment_are_one_sample(tmp_path: Path) -> None:
    group = one(tmp_path, synthetic.compute(rng(), environments=3, rounds=50, warmup=50))
    table = languages.compute(group)
    assert table is not None
    assert table.data["low"].isna().all()  # three environments: too few for one
    assert "n = 3 warm environments and 150 calls" in table.note


def test_crossover_lies_where_the_lines_cross_if_both_sides_have_a_fastest() -> None:
    medians = {"python": {1: 1.0, 100: 100.0}, "java": {1: 10.0, 100: 10.0}}
    ((size, ms, overtaking, overtaken),) = plots.crossovers(medians, {1: "python", 100: "java"})
    assert (overtaking, overtaken) == ("java", "python")
    assert (size, ms) == pytest.approx((10, 10))
    assert plots.crossovers(medians, {1: "python"}) == []


def test_cheapest_and_fastest_memory_are_marked(tmp_path: Path) -> None:
    def facts() -> Records:
        for memory in (128, 512, 1769):
            yield from synthetic.compute(rng(), environments=2, warmup=1, memory_mb=memory)
        yield from synthetic.cold(rng(), memories=(128, 512, 1769))

    group = one(tmp_path, facts())
    table = money.by_memory(group)
    assert table is not None
    cells = "\n".join(" ".join(row) for row in table.rows)
    assert cells.count("fastest") == cells.count("cheapest") == 3
    sizes = languages.cold_by_memory(group)
    assert sizes is not None
    assert [row[0] for row in sizes.rows] == ["128 MB", "512 MB", "1769 MB"]


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (None, "—"),
        (0.0, "0"),
        (0.01234, "0.0123"),
        (9.996, "10.0"),
        (99.96, "100"),
        (12345.6, "12,346"),
    ],
)
def test_figures_have_three_digits_and_absent_is_not_zero(x: float | None, text: str) -> None:
    assert number(x) == text


def test_times_carry_their_unit() -> None:
    assert (time(12.34), time(12_340), time(None)) == ("12.3 ms", "12.3 s", "—")


def test_readme_tables_are_rewritten_between_markers_and_checked(
    small: Path, tmp_path: Path
) -> None:
    page = tmp_path / "README.md"
    page.write_text("Before\n\n<!-- table:cold -->\nold\n<!-- /table -->\n\nAfter\n")
    recorded = small.parent
    with pytest.raises(readme.Stale, match="cold"):
        readme.check(page, recorded)
    readme.rewrite(page, recorded)
    assert readme.check(page, recorded) == 1
    text = page.read_text(encoding="utf-8")
    assert "init + first call" in text
    assert text.startswith("Before\n\n<!-- table:cold -->\n")
    assert text.endswith("<!-- /table -->\n\nAfter\n")
    page.write_text(text.replace("table:cold", "table:nonsense"))
    with pytest.raises(readme.Stale, match="nonsense"):
        readme.check(page, recorded)


def test_the_readme_shows_what_the_code_makes_of_the_recorded_run() -> None:
    assert readme.check() >= 4


def test_the_command_writes_the_report_of_the_newest_runs(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(records, "RESULTS", small.parent)
    done = CliRunner().invoke(main, ["report", small.name, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "report.html").is_file()


def test_metrics_are_ranked_by_how_soon_they_show_the_overload(tmp_path: Path) -> None:
    def facts() -> Records:
        for kind, fields in synthetic.surge(rng(), "a", "none", None):
            if kind == "sample":
                at = fields["at_ms"]
                late = {"tokenizer.busyTimeMsPerSecond": 900.0 if at >= 12_000 else 300.0}
                yield kind, {**fields, "gauges": fields["gauges"] | late | {"deaf": 1.0}}
            else:
                yield kind, fields

    group = one(tmp_path, facts())
    (setting,) = surges.settings(surges.surges(group))
    table = metrics.table(setting)
    assert table is not None
    by = {row[0]: row for row in table.rows}
    # the second sample in a row
    assert by["tokenizer busy"][1:] == ["0.533", "1.00", "0.250", "no"]
    assert by["`tokenizer.busyTimeMsPerSecond`"][3:] == [
        "—", "not known: needs over 60 s of calm first",
    ]  # fmt: skip
    assert by["`deaf`"][3:] == ["never", "yes: as in health"]
    assert "looks the same" in by["sentences through the tokenizer /s"][4]
    plot = metrics_plots.plot(setting)
    assert plot is not None
    assert "after 0.2 s" in plot.title


def test_a_way_that_waits_as_elsewhere_is_told_also_beside_runs_that_call(tmp_path: Path) -> None:
    """It calls nothing, which pooled with others must not become a language of its own."""

    def scaled() -> synthetic.Records:
        facts = synthetic.surge(np.random.default_rng(1), "a", "scale-out", None, duration=30)
        for kind, fields in facts:
            yield kind, {**fields, "scale_out_as": "reactive"} if kind == "surge" else fields

    calling = synthetic.together(tmp_path, repetitions=2)
    waiting = synthetic.write(tmp_path / "20261122T100300Z-surge", scaled())
    (e,) = evidence.load([calling, waiting])
    told = "\n".join(answer.details(e, surges.settings(surges.surges(e))))
    assert "*Scale out, free slots, as reactive* (its detection, node and outage emulated)" in told
    assert "nan" not in told
