"""What the perf commands end with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.perf import offload
from bench.perf.aims import Aim, conclude
from bench.report.gather.evidence import load
from bench.report.say import peers
from tests import synthetic

pytestmark = pytest.mark.beside


@pytest.mark.parametrize(
    ("aim", "met"),
    [
        (Aim("ratio", 0.35, most=0.35), True),
        (Aim("ratio", 0.36, most=0.35), False),
        (Aim("rate", 40_000, least=40_000), True),
        (Aim("rate", 39_999, least=40_000), False),
        (Aim("share", 1.2, most=1.05, least=0.95), False),
        (Aim("unmeasured", None, most=1.0), False),
    ],
)
def test_an_aim_is_met_within_its_bounds(aim: Aim, met: bool) -> None:
    assert aim.is_met == met


def test_figures_stand_beside_their_aims(capsys: pytest.CaptureFixture[str]) -> None:
    conclude([Aim("calls ÷ floor", 0.74, most=1.6), Aim("rate", 41234.5, least=4e4, digits=0)])
    _, _, first, second = capsys.readouterr().out.strip().splitlines()
    assert [x.strip() for x in first.split("|")[1:-1]] == ["calls ÷ floor", "0.74", "≤ 1.60", "yes"]
    assert [x.strip() for x in second.split("|")[1:-1]] == ["rate", "41,234", "≥ 40,000", "yes"]


def test_a_missed_aim_fails_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        conclude(
            [Aim("met", 1, most=2), Aim("missed", 3, most=2), Aim("not measured", None, most=2)]
        )
    assert ended.value.code == "2 of 3 aims missed"  # printed, with exit code 1
    assert "—" in capsys.readouterr().out


def test_pairs_are_run_until_the_interval_is_narrow() -> None:
    steady = {offload.PLAIN: [100.0] * 8, offload.SWITCHED_OFF: [97.0, 99.0] * 4}
    assert offload.width(offload.ratio(steady)) <= offload.NARROW
    shaky = {offload.PLAIN: [100.0] * 8, offload.SWITCHED_OFF: [80.0, 120.0] * 4}
    assert offload.width(offload.ratio(shaky)) > offload.NARROW
    assert offload.width(offload.ratio({offload.PLAIN: [1.0], offload.SWITCHED_OFF: [1.0]})) > 1


def test_peers_stand_in_one_table_and_what_is_not_known_is_absent(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = [
        {"peer": "ours", "cpu_us": 14.8, "per_s": 45e3, "left": 0.9, "state": "RUNNING"},
        {"peer": "theirs", "cpu_us": None, "per_s": 0.0, "left": None, "state": "FAILED"},
    ]
    facts = (("peer", fields) for fields in told)
    (e,) = load([synthetic.write(tmp_path / "20261122T100000Z-peers", facts)])
    table = peers.table(e)
    assert table is not None
    assert table.rows == [
        ["ours", "14.8", "45,000", "90%", "running"],
        ["theirs", "—", "0", "—", "failed"],
    ]
