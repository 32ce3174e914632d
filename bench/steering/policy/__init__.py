"""Policies: whether the tokenizer is overloaded, and how much of its input goes to Lambda.

Every policy is a pure `step(state, sample) -> (state, decision)`:

    rule = policy("default", settings)
    state = rule.start()
    for sample in samples:
        state, decision = rule.step(state, sample)
"""

from __future__ import annotations

from typing import Any

from bench.steering.policy.default import Default
from bench.steering.policy.model import Decision, Policy, Profile, Sample, Settings
from bench.steering.policy.references import Oracle, Sponge, Threshold
from flink_job.load.shapes import Shape

__all__ = ["POLICIES", "Decision", "Policy", "Profile", "Sample", "Settings", "policy"]

POLICIES = ("default", "sponge", "threshold", "oracle")


def policy(
    name: str,
    settings: Settings,
    shape: Shape | None = None,
    capacity_per_s: float | None = None,
) -> Policy[Any]:
    """The policy called `name`; only the oracle is told the capacity, and the
    schedule; of that "sponge" takes what arrives.

    Raises:
        ValueError: no such policy, or one without what it has to know.
    """
    if name == "default":
        return Default(settings)
    if name == "sponge":
        if shape is None:
            raise ValueError("sponge has to know what arrives, from the schedule")
        return Sponge(settings, shape)
    if name == "threshold":
        return Threshold(settings)
    if name == "oracle":
        if shape is None or capacity_per_s is None:
            raise ValueError("the oracle has to know the schedule and the capacity")
        return Oracle(settings, shape, capacity_per_s)
    raise ValueError(f"no such policy: {name!r}; there are {', '.join(POLICIES)}")
