"""The experiments against functions that behave, misbehave, and pretend to be cold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.experiments import aa, batches, cold, compute
from bench.experiments.batches import BatchTooLarge, TooManyFailures, Work, WrongAnswer
from bench.facts.records import Run, find_runs, frames
from bench.lambdas.target import Target
from flink_job.offload.client import Answer, CallFailed, Report
from functions.python.tokenizer import encode, operator

TARGET = Target(
    label="local process",
    endpoint_url="http://127.0.0.1:9",
    region=None,
    functions={"python": "P", "java": "J"},
    empties={"python": "PE", "java": "JE"},
    cpu_share_enforced=None,
    versions={},
)


@dataclass
class FakeLambda:
    """Functions in this process: each gets slower or faster as `compute_ms` says."""

    compute_ms: Callable[[str, int], float] = lambda function, call: 1.0
    alter: Callable[[str, int, Answer], Answer] = lambda function, call, answer: answer
    calls: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def close(self) -> None:
        self.log.append("closed")

    def force_cold(self, target: Target, function: str, memory_mb: int | None = None) -> None:
        self.calls[function] = 0
        self.log.append(f"cold {function} {memory_mb}")

    @contextmanager
    def memory_kept(self, target: Target, functions: Iterable[str]) -> Iterator[dict[str, int]]:
        yield dict.fromkeys(functions, 1769)
        for function in functions:
            self.force_cold(target, function, 1769)

    def invoke(self, function: str, event: Any) -> Answer:
        self.calls[function] += 1
        self.log.append(f"{function} {len(event['sentences'])}")
        call = self.calls[function]
        took = self.compute_ms(function, call)
        value: dict[str, Any] = {"first_call": call == 1}
        if not function.endswith("E"):
            value |= {
                "tokens": [encode(operator(event["operator"])(x)) for x in event["sentences"]],
                "compute_ns": int(took * 1e6),
            }
        report = Report(duration_ms=took, init_ms=50.0 if call == 1 else None)
        wall_ms = took + 1 + (report.init_ms or 0.0)
        return self.alter(function, call, Answer(value, wall_ms, report))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeLambda:
    fake = FakeLambda()
    for module in (cold, compute):
        monkeypatch.setattr(module, "force_cold", fake.force_cold)
        monkeypatch.setattr(module, "LambdaClient", lambda *_: fake)
        monkeypatch.setattr(module, "memory_kept", fake.memory_kept)
    return fake


def test_cold_samples_every_function_in_every_round(fake: FakeLambda, tmp_path: Path) -> None:
    with Run("cold", seed=3, results=tmp_path) as run:
        cold.measure(TARGET, run, ["python", "java"], memories_mb=[128, 1769], rounds=2)
    found = frames(run.folder)["cold"]
    assert found["accepted"].all()
    counts = found.groupby(["language", "handler", "memory_mb"]).size()
    assert len(counts) == 8 and (counts == 2).all()
    *orders, _, _, _, last = [x for x in fake.log if x.startswith("cold")]
    assert sorted(orders[:8]) == sorted(orders[8:]) and orders[:8] != orders[8:]  # drawn anew
    assert last.endswith("1769")  # as it was
    assert fake.log[-1] == "closed"


def test_cold_discards_what_is_not_cold_by_both_signs(fake: FakeLambda, tmp_path: Path) -> None:
    def warm_twice(function: str, call: int, answer: Answer) -> Answer:
        attempt = sum(x == f"cold {function} 1769" for x in fake.log)
        if attempt == 1:
            return replace(answer, report=Report(duration_ms=1.0))
        if attempt == 2:
            return replace(answer, value=answer.value | {"first_call": False})
        return answer

    fake.alter = warm_twice
    with Run("cold", results=tmp_path) as run:
        cold.measure(TARGET, run, ["python"], rounds=1)
    found = frames(run.folder)["cold"].query("handler == 'tokenizer'")
    assert found["accepted"].tolist() == [False, False, True]
    assert found["discarded_because"].tolist()[:2] == [
        "the service reports no init duration",
        "the function says that it was called before",
    ]


def test_an_environment_that_was_started_in_advance_is_no_cold_start() -> None:
    """AWS does so, and reports its init, for which nobody waited then."""
    report = Report(duration_ms=5.0, init_ms=90.0)
    waited, not_waited = (Answer({"first_call": True}, wall_ms, report) for wall_ms in (120, 25))
    assert cold.reason_to_discard(waited) is None
    assert "started in advance" in (cold.reason_to_discard(not_waited) or "")


def test_cold_attempts_are_capped(fake: FakeLambda, tmp_path: Path) -> None:
    fake.alter = lambda function, call, answer: replace(answer, report=Report())
    with Run("cold", results=tmp_path) as run:
        cold.measure(TARGET, run, ["python"], rounds=2)
    found = frames(run.folder)["cold"]
    assert len(found) == 2 * 2 * cold.ATTEMPTS and not found["accepted"].any()


def test_a_wrong_answer_fails_the_run_and_is_recorded(fake: FakeLambda, tmp_path: Path) -> None:
    def forget(function: str, call: int, answer: Answer) -> Answer:
        if function != "J" or call < 3:
            return answer
        tokens = [*answer.value["tokens"][:-1], "forgotten"]
        return replace(answer, value=answer.value | {"tokens": tokens})

    fake.alter = forget
    with (
        pytest.raises(WrongAnswer, match=r"J: .* gave \['forgotten'\]"),
        Run("compute", results=tmp_path) as run,
    ):
        compute.measure(TARGET, run, compute.subjects(TARGET, ["java"]))
    found = frames(run.folder)
    assert found["failure"]["error"].tolist() == ["WrongAnswer"]
    assert len(found["call"]) == 2 and not found["end"]["ok"][0]


def test_failed_calls_are_recorded_up_to_a_limit(fake: FakeLambda, tmp_path: Path) -> None:
    def throttle(function: str, call: int, answer: Answer) -> Answer:
        raise CallFailed("TooManyRequestsException", "Rate Exceeded.")

    fake.alter = throttle
    with pytest.raises(TooManyFailures), Run("compute", results=tmp_path) as run:
        compute.measure(TARGET, run, compute.subjects(TARGET, ["java"]))
    failures = frames(run.folder)["failure"]
    assert set(failures["error"]) == {"TooManyRequestsException"}
    assert set(failures["where"]) == {"compute"}


def test_compute_warms_up_each_environment_then_interleaves(
    fake: FakeLambda, tmp_path: Path
) -> None:
    fake.compute_ms = lambda function, call: 1 + (100 / call if function == "J" else 0)
    with Run("compute", seed=1, results=tmp_path) as run:
        compute.measure(
            TARGET,
            run,
            compute.subjects(TARGET, ["python", "java"]),
            sizes=[1, 10],
            environments=2,
            rounds=3,
        )
    calls = frames(run.folder)["call"]
    steady = calls[calls["phase"] == "steady"]
    assert (steady.groupby(["language", "environment", "sentences"]).size() == 3).all()
    assert steady["round"].tolist() == sorted(steady["round"])
    orders = steady.groupby("round")[["language", "sentences"]].apply(lambda x: x.values.tolist())
    assert len(orders) == 6 and any(order != orders[0] for order in orders)
    warmup = calls[calls["phase"] == "warmup"]
    lengths = warmup.groupby(["language", "environment"]).size()
    until_steady = lengths.reset_index(name="calls")
    java = until_steady["language"] == "java"
    assert (until_steady["calls"][~java] == 2 * compute.WARMUP_WINDOW).all()
    assert (until_steady["calls"][java] > 2 * compute.WARMUP_WINDOW).all()
    first = warmup.groupby(["language", "environment"])["call_number"]
    assert (first.min() == 1).all() and (first.max() == lengths).all()
    assert set(warmup["sentences"]) == {10}  # 100 are not in the run; the largest stands in


def test_compute_warms_up_an_environment_that_was_replaced(
    fake: FakeLambda, tmp_path: Path
) -> None:
    window = 2 * compute.WARMUP_WINDOW

    def replaced(function: str, call: int, answer: Answer) -> Answer:
        if len(fake.log) == 1 + window + 2:  # once: the second steady call
            fake.calls[function] = 1
            return replace(answer, value=answer.value | {"first_call": True})
        return answer

    fake.alter = replaced
    with Run("compute", results=tmp_path) as run:
        compute.measure(
            TARGET, run, compute.subjects(TARGET, ["python"]), sizes=[10], environments=1, rounds=4
        )
    calls = frames(run.folder)["call"]
    steady = calls[calls["phase"] == "steady"]
    assert steady["environment"].tolist() == [0, 1, 1]
    assert steady["call_number"].tolist()[0] == window + 1
    assert steady["call_number"].tolist()[1] > window


def test_compute_measures_new_environments_at_every_memory_size(
    fake: FakeLambda, tmp_path: Path
) -> None:
    with Run("compute", results=tmp_path) as run:
        compute.measure(
            TARGET,
            run,
            compute.subjects(TARGET, ["python", "java"]),
            sizes=[1],
            memories_mb=[128, 512],
            environments=2,
            rounds=1,
        )
    started = [x for x in fake.log if x.startswith("cold P")]
    assert sorted(started[:2]) == sorted(started[2:4]) == ["cold P 128", "cold P 512"]
    assert started[4:] == ["cold P 1769"]  # as it was configured
    assert set(frames(run.folder)["call"]["environment"]) == {0, 1, 2, 3}


def test_compute_keeps_to_its_budget(fake: FakeLambda, tmp_path: Path) -> None:
    with Run("compute", results=tmp_path) as run:
        compute.measure(TARGET, run, compute.subjects(TARGET, ["python"]), sizes=[1], budget_s=0)
    assert set(frames(run.folder)["call"]["environment"]) == {0}


@pytest.mark.parametrize(
    ("times", "steady"),
    [
        ([1.0] * 10, True),
        ([1.0] * 9, False),  # not two windows yet
        ([1.0] * 5 + [0.96] * 5, True),
        ([1.0] * 5 + [0.94] * 5, False),  # still getting faster
        ([1.0] * 5 + [1.06] * 5, False),
        ([9.0] * 5 + [1.0] * 10, True),  # only the last two count
        ([1.0] * 4 + [50.0] + [1.0] * 5, True),  # one slow call does not
    ],
)
def test_steady(times: list[float], steady: bool) -> None:
    assert compute.is_steady(times, window=5, tolerance=0.05) is steady


def test_batches_are_seeded_and_share_no_sentence() -> None:
    draw = Work().draw
    assert draw(1, 0, 10).sentences == draw(1, 0, 10).sentences
    assert draw(1, 0, 10).sentences != draw(2, 0, 10).sentences
    assert not set(draw(1, 0, 10).sentences) & set(draw(1, 1, 10).sentences)


@pytest.mark.parametrize("words", [10, 1000])
def test_one_sentence_in_ten_of_a_mixed_text_holds_letters_outside_ascii(words: int) -> None:
    ascii_text = Work("words", words).draw(1, 0, 100, "ascii").sentences
    mixed = Work("words", words).draw(1, 0, 100, "mixed").sentences
    assert all(map(str.isascii, ascii_text))
    assert [k for k in range(100) if not mixed[k].isascii()] == list(range(0, 100, 10))
    assert [s for k, s in enumerate(mixed) if k % 10] == [
        s for k, s in enumerate(ascii_text) if k % 10
    ]


def test_a_batch_that_does_not_go_through_lambda_says_so() -> None:
    with pytest.raises(BatchTooLarge, match=r"1,000 sentences of 1,000 words are \d+\.\d MB"):
        Work("subwords", 1000).draw(1, 0, 1000)


def test_records_say_what_was_done_with_which_text(fake: FakeLambda, tmp_path: Path) -> None:
    work = Work("subwords", 20)
    with Run("cold", results=tmp_path) as run:
        cold.measure(TARGET, run, ["python"], work=work, texts=["ascii", "mixed"], rounds=3)
        compute.measure(
            TARGET, run, compute.subjects(TARGET, ["python"]), work=work, sizes=[1], environments=1
        )
    found = frames(run.folder)
    counts = found["cold"].groupby(["handler", "text"]).size().to_dict()
    assert counts == {(h, t): 3 for h in ("tokenizer", "empty") for t in ("ascii", "mixed")}
    assert set(found["cold"]["sentences"]) == {100}
    for kind in ("cold", "call"):
        assert set(found[kind]["operator"]) == {"subwords"}
        assert set(found[kind]["words_per_sentence"]) == {20}


@pytest.mark.parametrize("answer", [{}, {"tokens": None}, {"tokens": []}, {"tokens": ["a", "b"]}])
def test_an_answer_of_another_length_is_wrong(answer: dict[str, Any]) -> None:
    with pytest.raises(WrongAnswer):
        batches.check("P", answer, batches.Batch(["a"]))


def test_aa_measures_one_function_under_two_names(fake: FakeLambda, tmp_path: Path) -> None:
    with Run("aa", results=tmp_path) as run:
        aa.measure(TARGET, run, "python", "P-again")
    calls = frames(run.folder)["call"]
    assert calls.groupby("variant")["function"].unique().map(list).to_dict() == {
        "A": ["P"],
        "B": ["P-again"],
    }
    steady = calls[calls["phase"] == "steady"]
    assert (steady.groupby("variant")["environment"].nunique() == aa.ENVIRONMENTS).all()


@pytest.mark.parametrize(
    ("command", "kind", "title"),
    [
        ("cold python -n 2", "cold", "Cold start"),
        ("compute python --batch 1,10 -n 1 --rounds 2", "call", "Compute per batch"),
        ("aa python", "call", "A/A test"),
    ],
)
def test_commands_against_real_functions(
    command: str, kind: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where results/ is made
    monkeypatch.setattr(aa, "ENVIRONMENTS", 2)
    result = CliRunner().invoke(main, command.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert title in result.output
    found = frames(find_runs()[0])
    assert len(found[kind]) and found["failure"].empty and found["end"]["ok"].all()
    assert found["run"]["target"].tolist() == ["local process"]
