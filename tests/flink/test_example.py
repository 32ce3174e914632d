"""The example: another operator, another function, half of the work offloaded, and a killed
TaskManager."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bench.cluster.flink import Cluster, wait_until
from bench.lambdas.target import local_service
from examples.function.orders import parse
from examples.parse_orders import BATCHES, LINES
from tests.proofs import proof

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_an_order_is_its_id_its_customer_and_its_total() -> None:
    line = '{"id": 7, "customer": "c0", "items": [{"price": 1.5, "pieces": 2}]}'
    assert parse(line) == "7 c0 3.00"
    assert parse("no JSON") == "? no JSON"


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, *proof(True)])
def test_every_order_comes_out_once_also_where_the_task_manager_is_killed(
    killed: bool, cluster: Cluster, tmp_path: Path
) -> None:
    output = tmp_path / "orders"
    cluster.wait_for_slots(3)
    with local_service(f"--template={EXAMPLES / 'template.yaml'}") as endpoint:
        job = cluster.submit(
            "examples.parse_orders", "--endpoint", endpoint, "--output", str(output)
        )
        wait_until(lambda: cluster.running(job), 90, "all tasks running")
        if killed:
            time.sleep(4)
            (pid,) = cluster.task_managers_of(job, "orders")
            os.kill(pid, signal.SIGKILL)
            cluster.add_task_manager(1)
        wait_until(lambda: cluster.state(job) == "FINISHED", 120, "the job to finish")
        cluster.bury()
        assert bool(cluster.failure(job)) is killed
    files = [f for f in output.rglob("part-*") if not f.name.startswith(".")]
    lines = [line.split() for f in files for line in f.read_text().splitlines()]
    assert sorted(int(id) for id, *_ in lines) == list(range(BATCHES * LINES))
    assert {way for *_, way in lines} >= {"local", "offloaded"}
    assert all(float(total) == int(id) / 2 for id, _, total, _ in lines)
