"""Time the built Python function: drive.py TASK_ROOT SECONDS PAYLOAD_FILE…

Prints, for each file, the median nanoseconds of the floor, of the handler, and the compute_ns. Its
lines are events that take turns: caches and branch predictors get used to one. With 0 seconds there
is one call, the first.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller
from tokenizer.app import handler

json = LambdaMarshaller()


def floor(payload: str) -> int:
    event = json.unmarshal_request(payload)
    tokens = [" ".join(sentence.split()) for sentence in event["sentences"]]
    json.marshal_response(
        {"tokens": tokens, "compute_ns": 0, "first_call": False, "language": "", "runtime": ""}
    )
    return 0


def ours(payload: str) -> int:
    answer: dict[str, Any] = handler(json.unmarshal_request(payload), None)
    json.marshal_response(answer)
    return int(answer["compute_ns"])


def timed(run: Callable[[str], int], payload: str) -> tuple[int, int]:
    started = time.perf_counter_ns()
    compute_ns = run(payload)
    return time.perf_counter_ns() - started, compute_ns


def main() -> None:
    seconds = float(sys.argv[2])
    for path in sys.argv[3:]:
        payloads = itertools.cycle(Path(path).read_text().splitlines())
        samples = []
        until = time.perf_counter() + 2 * seconds  # the first half warms up
        while not samples or time.perf_counter() < until:
            payload = next(payloads)
            samples.append((timed(floor, payload)[0], *timed(ours, payload)))
        steady = samples[len(samples) // 2 :]
        print(*(round(statistics.median(column)) for column in zip(*steady, strict=True)))


main()
