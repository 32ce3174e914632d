"""High availability of a cluster on one machine: a ZooKeeper of one peer, which Flink's wheel
holds, and a folder, so that a job outlives its JobManager."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cluster.flink import (
    FlinkError,
    end_with_parent,
    flink_environment,
    flink_home,
    free_port,
    takes_connections,
    wait_until,
)

_START_S = 60.0
_JVM = "-Xmx64m -Dzookeeper.jmx.log4j.disable=true"


@contextmanager
def high_availability(folder: Path) -> Iterator[dict[str, Any]]:
    """Flink options that make a cluster highly available, as long as the context lasts.

    Args:
        folder: for all that it keeps; made, and removed at the end but for its log.

    Raises:
        FlinkError: ZooKeeper does not start.
    """
    folder = folder.resolve()
    conf, data, log = (folder / name for name in ("conf", "data", "log"))
    for each in (data, log):
        each.mkdir(parents=True, exist_ok=True)
    shutil.copytree(flink_home() / "conf", conf, dirs_exist_ok=True)
    port = free_port()
    lines = {
        "dataDir": data,
        "clientPort": port,
        "clientPortAddress": "127.0.0.1",
        "admin.enableServer": "false",
        "tickTime": 500,
        "server.1": f"127.0.0.1:{free_port()}:{free_port()}",
    }
    (conf / "zoo.cfg").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    with (log / "zookeeper.out").open("wb") as out:
        process = subprocess.Popen(
            # Not by `zookeeper.sh`, which stays as a parent that would be ended alone.
            [
                str(flink_home() / "bin" / "flink-console.sh"),
                "zookeeper",
                *("--zkConfigFile", str(conf / "zoo.cfg"), "--peerId", "1"),
            ],
            env={**flink_environment(conf, log, folder), "JVM_ARGS": _JVM},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,
        )
    try:

        def ready() -> bool:
            if process.poll() is not None:
                raise FlinkError(f"ZooKeeper has ended; see {log}")
            return takes_connections(port)

        wait_until(ready, _START_S, f"ZooKeeper (logs: {log})")
        yield {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": f"127.0.0.1:{port}",
            "high-availability.storageDir": (folder / "storage").as_uri(),
            # A JobManager that was killed leads until its session is over; usually 60 s.
            "high-availability.zookeeper.client.session-timeout": 4000,
        }
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for name in ("conf", "data", "storage"):
            shutil.rmtree(folder / name, ignore_errors=True)
