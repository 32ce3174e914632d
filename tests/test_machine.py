"""The machine's state, and when its figures deserve doubt."""

from __future__ import annotations

import re

import pytest

from bench.facts import machine

pytestmark = pytest.mark.beside

QUIET = [20.0, 20.2, 20.1, 20.1, 20.3]


def test_state_says_what_a_reader_of_the_figures_asks_for() -> None:
    state = machine.state({"python": "3.13.1", "java": "21.0.2"}, cpu_share_enforced=True)
    assert state["cores"] >= 1 and state["memory_gb"] > 0 and state["cpu"] and state["os"]
    assert state["cpu_share_enforced"] is True
    assert state["versions"]["python"] == "3.13.1"  # the function's, not the harness's
    assert {"flink", "boto3", "pandas"} <= state["versions"].keys()
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", state["git_revision"] or "0" * 40)


def test_calibration_times_each_loop() -> None:
    times = machine.calibrate(loops=3)
    assert len(times) == 3 and min(times) > 0


@pytest.mark.parametrize(
    ("before", "after", "load", "words"),
    [
        (QUIET, QUIET, 0.3, []),
        (QUIET, None, 0.3, []),
        ([20.0, 27.0, 20.0, 27.0, 20.0], QUIET, 0.3, ["varied by 35% before"]),
        ([20.0, 20.0, 20.0, 20.0, 90.0], QUIET, 0.3, []),  # one interruption
        (QUIET, [24.1, 24.1, 24.1], 0.3, ["20% slower after"]),
        (QUIET, [15.9, 16.0, 16.1], 0.3, ["20% faster after"]),
        (QUIET, QUIET, 1.7, ["load was 1.7 on 2 cores"]),
    ],
)
def test_noise(
    before: list[float], after: list[float] | None, load: float, words: list[str]
) -> None:
    found = machine.noise(before, after, load, cores=2)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))
