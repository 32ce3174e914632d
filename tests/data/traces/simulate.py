"""Makes the traces `simulated-….jsonl` beside it: python tests/data/traces/simulate.py"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.steering.policy import Decision, Policy, Sample
from bench.steering.replay.closed import BASE_PER_S, CAPACITY_PER_S, NOISE, SETTINGS, rule, surge
from bench.steering.simulation import simulate
from flink_job.load.shapes import Constant, Shape

SEED = 7


class Nothing(Policy[None]):
    """Decides that nothing is to be done."""

    name = "none"

    def start(self) -> None:
        return None

    def step(self, state: None, sample: Sample) -> tuple[None, Decision]:
        return None, Decision(False, 0.0, 0, "nothing is done")


def records(name: str, method: str, shape: Shape, length_s: float) -> Iterator[dict[str, Any]]:
    """A modelled course as records, labelled as simulated."""
    policy = rule("default")(shape) if method == "operator" else Nothing()
    course = simulate(policy, shape, length_s, CAPACITY_PER_S, SETTINGS, NOISE, SEED)
    yield {"v": 1, "kind": "run", "run": name, "command": "policy", "target": "simulated"}
    yield {
        "v": 1,
        "kind": "surge",
        "surge": name,
        "method": method,
        "shape": shape.to_dict(),
        "batch_size": SETTINGS.batch_size,
        "linger_ms": SETTINGS.linger_ms,
        "capacity_per_s": CAPACITY_PER_S,
        "parallelism": 1,
        "max_in_flight": SETTINGS.max_in_flight,
    }
    for sample in course.samples:
        values = {key: round(x, 3) for key, x in asdict(sample).items() if x is not None}
        yield {"v": 1, "kind": "sample", "surge": name, **values}


if __name__ == "__main__":
    for name, method, shape, length_s in (
        ("calm-80-percent", "none", Constant(BASE_PER_S), 60.0),
        ("surge-x4-none", "none", surge(4), 45.0),
        ("surge-x4-operator", "operator", surge(4), 45.0),
    ):
        lines = [
            json.dumps(record, separators=(",", ":"))
            for record in records(name, method, shape, length_s)
        ]
        path = Path(__file__).with_name(f"simulated-{name}.jsonl")
        path.write_text("\n".join(lines) + "\n")
