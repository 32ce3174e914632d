"""The cluster that all jobs here run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.cluster.flink import ADAPTIVE, Cluster

# That a TaskManager is gone shows when two heartbeats in turn cannot be sent.
_NOTICE_SOON = {"heartbeat.timeout": "10 s", "heartbeat.interval": "1 s"}


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three TaskManagers of a slot each. Who kills one starts another, and buries the dead."""
    # A space in its name, which Flink's scripts would split options at.
    folder = tmp_path_factory.mktemp("flink of ours")
    settings = {**ADAPTIVE, **_NOTICE_SOON}
    with Cluster(folder, task_managers=3, slots=1, settings=settings) as cluster:
        yield cluster
