"""What a job is told when it is submitted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

from flink_job.clock import Anchor
from flink_job.offload.settings import Offloading

Method = Literal["none", "operator", "source", "always"]


@dataclass(frozen=True)
class JobSettings:
    """All settings of one job; travels as one JSON object in a file.

    Attributes:
        method: who offloads. "none": nobody, the tokenizer is a plain flatmap; "operator": the
            tokenizer itself; "source": the source, before the tokenizer; "always": the tokenizer,
            every batch.
        workload, seed, words_per_sentence: what the sentences are; see `flink_job.load.workloads`.
        operator: what the flatmap does with a sentence: "words" or "subwords".
        shape: the offered rate over time, in the notation of `flink_job.load.shapes`.
        length_s: how long the schedule is, in seconds.
        batch_size, linger_ms: a batch closes at this many sentences or this long after its first.
        parallelism: subtasks of the tokenizer and of the sink to start with.
        max_parallelism: the most subtasks of the tokenizer that the job may be scaled to.
        ordered: tokens go downstream in source order.
        offloading: the Lambda to call, and what bounds it; None: with method "none".
        control, secret: `host:port` of the controller, and what it wants to hear.
        clock: the harness's, for all times.
        output: folder for the sink's files.
        checkpoint_ms: checkpoint interval.
    """

    method: Method
    workload: str
    seed: int
    shape: str
    length_s: float
    control: str
    output: str
    batch_size: int = 100
    linger_ms: float = 50.0
    operator: str = "words"
    words_per_sentence: int = 10
    parallelism: int = 1
    max_parallelism: int = 1
    ordered: bool = False
    offloading: Offloading | None = None
    checkpoint_ms: int = 1000
    secret: str = ""
    clock: Anchor | None = None

    def through(self, *, endpoint_url: str, control: str | None = None) -> JobSettings:
        """The same job, with other ways to the Lambda API and, if given, to the controller."""
        assert self.offloading is not None
        control = control or self.control
        offloading = replace(self.offloading, endpoint_url=endpoint_url, control=control)
        return replace(self, control=control, offloading=offloading)

    def to_json(self) -> str:
        """One line of JSON; it holds a secret, so it travels in a file that others cannot read."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> JobSettings:
        """The inverse of `to_json`. Raises ValueError for an unknown or missing setting."""
        try:
            fields = json.loads(text)
            for name, kind in (("clock", Anchor), ("offloading", Offloading)):
                if fields.get(name):
                    fields[name] = kind(**fields[name])
            return JobSettings(**fields)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"not JobSettings: {error}") from error
