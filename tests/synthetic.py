"""Made-up but plausible runs, so that the report can be tested without measuring anything.

A surge is a queue: batches arrive on schedule, one worker takes them at its capacity, and from the
moment of detection what is too much goes to a function.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.facts import records

LANGUAGES = ("python", "java", "node")
INIT_MS = {"python": 54.0, "java": 240.0, "node": 40.0}
FIRST_CALL_MS = {"python": 4.0, "java": 45.0, "node": 6.0}
PER_CALL_MS = {"python": 0.02, "java": 0.03, "node": 0.03}
PER_SENTENCE_MS = {"python": 0.0022, "java": 0.0011, "node": 0.0016}
MACHINE = {
    "cpu": "Imaginary CPU",
    "cores": 2,
    "memory_gb": 16.0,
    "os": "Debian GNU/Linux 12",
    "versions": {"python": "3.11.7", "java": "17.0.2", "node": "22.1.0", "flink": "2.3.0"},
    "git_revision": "0" * 40,
    "cpu_share_enforced": True,
}

Records = Iterator[tuple[str, dict[str, Any]]]


def write(folder: Path, facts: Records, **head: Any) -> Path:
    """A run folder holding `facts` between its `run` line and its `end`."""
    folder.mkdir(parents=True)
    run = {
        "run": folder.name,
        "command": folder.name.split("-")[1],
        "argv": [],
        "started_at": "2026-11-22T10:00:00.000+00:00",
        "target": "local process",
        "region": None,
        "languages": list(LANGUAGES),
        "seed": 1,
        "caps": {},
        "machine": MACHINE,
    } | head
    with (folder / records.FILE_NAME).open("w", encoding="utf-8") as file:

        def line(kind: str, fields: dict[str, Any]) -> None:
            records.check(kind, fields)
            file.write(
                json.dumps(
                    {"v": records.VERSION, "kind": kind, **fields},
                    ensure_ascii=False,
                    separators=(",", ":"),
                )
                + "\n"
            )

        line("run", run)
        for when in ("before", "after"):
            line(
                "calibration",
                {"when": when, "loop_ms": [20.0, 20.1, 20.2, 20.1, 20.0], "load_1m": 0.1},
            )
        for kind, fields in facts:
            line(kind, fields)
        line("end", {"ok": True, "seconds": 60.0})
    return folder


def cold(
    rng: np.random.Generator,
    n: int = 20,
    languages: tuple[str, ...] = LANGUAGES,
    memories: tuple[int, ...] = (1769,),
) -> Records:
    """`n` cold starts per language, memory size and handler, and one that was discarded."""
    for r in range(n):
        for memory in memories:
            slow = max(1.0, 1769 / memory)
            for language in languages:
                for handler in ("tokenizer", "empty"):
                    share = 1.0 if handler == "tokenizer" else 0.9
                    init = INIT_MS[language] * share * slow * rng.lognormal(0, 0.06)
                    first = FIRST_CALL_MS[language] * share * slow * rng.lognormal(0, 0.15)
                    bring_up = init + 12 * rng.lognormal(0, 0.1)
                    yield (
                        "cold",
                        {
                            "language": language,
                            "handler": handler,
                            "memory_mb": memory,
                            "round": r,
                            "bring_up_ms": bring_up,
                            "init_ms": init,
                            "first_call_ms": first,
                            "wall_ms": bring_up + first + 2,
                            "compute_ms": first / 2 if handler == "tokenizer" else None,
                            "billed_ms": float(np.ceil(init + first)),
                            "max_memory_mb": 40.0 if language != "java" else 110.0,
                            "accepted": True,
                        },
                    )
    yield (
        "cold",
        {
            "language": languages[0],
            "handler": "tokenizer",
            "memory_mb": memories[0],
            "round": n,
            "wall_ms": 3.0,
            "accepted": False,
            "discarded_because": "no init duration",
        },
    )


def compute(
    rng: np.random.Generator,
    environments: int = 10,
    rounds: int = 5,
    sizes: tuple[int, ...] = (1, 10, 100, 1000),
    languages: tuple[str, ...] = LANGUAGES,
    warmup: int = 1500,
    memory_mb: int = 1769,
) -> Records:
    """Warm-up calls (Java starts 40 × slower), then interleaved rounds of every batch size."""

    def call(language: str, size: int, number: int, **fields: Any) -> tuple[str, dict[str, Any]]:
        slow = max(1.0, 1769 / memory_mb)
        if language == "java":
            slow *= 1 + 40 * np.exp(-number / 60) + 2 * np.exp(-number / 600)
        ms = (PER_CALL_MS[language] + PER_SENTENCE_MS[language] * size) * slow
        ms *= rng.lognormal(0, 0.08)
        duration = ms * 1.4 + 0.5
        return (
            "call",
            {
                "language": language,
                "function": f"{language.title()}Tokenizer",
                "sentences": size,
                "tokens": size * 10,
                "call_number": number,
                "compute_ms": ms,
                "duration_ms": duration,
                "billed_ms": float(np.ceil(duration)),
                "wall_ms": duration + 1.2 * rng.lognormal(0, 0.1) + 0.002 * size,
                "memory_mb": float(memory_mb),
                **fields,
            },
        )

    for environment in range(environments):
        for number in range(1, warmup + 1):
            for language in languages:
                fields = {"phase": "warmup", "round": 0, "environment": environment}
                yield call(language, 100, number, **fields)
        for r in range(rounds):
            for size in sizes:
                for language in languages:
                    fields = {"phase": "steady", "round": r, "environment": environment}
                    yield call(language, size, warmup + 1 + r, **fields)


def aa(rng: np.random.Generator, environments: int = 10, bias: float = 1.0) -> Records:
    """One function under two names; `bias` makes B that much slower."""
    for number in range(environments):
        for language in LANGUAGES:
            for variant in ("A", "B"):
                ms = 0.25 * (bias if variant == "B" else 1.0) * rng.lognormal(0, 0.1)
                yield (
                    "call",
                    {
                        "language": language,
                        "function": f"{language}-{variant}",
                        "variant": variant,
                        "sentences": 100,
                        "tokens": 1000,
                        "round": number,
                        "phase": "steady",
                        "environment": number,
                        "call_number": 100,
                        "compute_ms": ms,
                        "duration_ms": ms + 0.5,
                        "billed_ms": 1.0,
                        "wall_ms": ms + 1.5,
                        "memory_mb": 1769.0,
                    },
                )


def surge(
    rng: np.random.Generator,
    name: str,
    method: str = "operator",
    language: str | None = "python",
    *,
    base: float = 800,
    factor: float = 5,
    start: float = 5,
    duration: float = 10,
    length: float = 25,
    capacity: float = 1500,
    batch_size: int = 100,
    repetition: int = 0,
    environment: str = "cold",
    detection_ms: float = 600,
    samples: bool = True,
) -> Records:
    """One surge under one method, all its batches, samples and decisions."""
    yield (
        "surge",
        {
            "surge": name,
            "method": method,
            "language": language,
            "repetition": repetition,
            "workload": "sentences",
            "seed": 1,
            "shape": {
                "shape": "surge",
                "base": base,
                "factor": factor,
                "start": start,
                "duration": duration,
            },
            "length_s": length,
            "batch_size": batch_size,
            "linger_ms": 50.0,
            "capacity_per_s": capacity * (3 if method == "bigger" else 1),
            "operator": "words",
            "words_per_sentence": 10,
            "base": base / capacity,
            "factor": factor,
            "worker_cpu": 0.5 * (3 if method == "bigger" else 1),
            "worker_limit": "cgroup v1",
            "call_timeout_ms": 3000.0,
            "parallelism": 1,
            "max_in_flight": 16,
            "policy": "default" if language else None,
            "ordered": False,
            "warm": 0 if environment == "cold" else 4,
            "environment": "local process",
            "started_at": "2026-11-22T10:00:00.000+00:00",
        },
    )
    free_at, at, number, first = 0.0, 0.0, 0, 0
    offloaded = calls = cold_starts = 0
    billed, environments = 0.0, 0 if environment == "cold" else 4
    speed = capacity * (3 if method == "bigger" else 1) / 1000
    surge_ms, end_ms = start * 1000, (start + duration) * 1000
    while at < length * 1000:
        in_surge = surge_ms <= at < end_ms
        rate = base * (factor if in_surge else 1) / 1000
        span = min(50.0, batch_size / rate)
        count = max(1, round(span * rate))
        due_last = at + span * (count - 1) / count
        ready = at + span
        boosted = speed * (3 if method == "scale-out" and at > surge_ms + 4000 else 1)
        decided = at > surge_ms + detection_ms and at < end_ms + 1500
        away = language is not None and decided and rng.random() < (0.75 if in_surge else 0.4)
        filling = ready - at
        waiting = filling + rng.gamma(2, 0.5)
        fields: dict[str, Any]
        if away:
            assert language is not None
            offloaded += count
            calls += 1
            bring_up = 0.0
            if environments < 4:
                environments += 1
                cold_starts += 1
                bring_up = INIT_MS[language] * rng.lognormal(0, 0.1) + FIRST_CALL_MS[language]
            computing = PER_CALL_MS[language] + PER_SENTENCE_MS[language] * count
            computing *= rng.lognormal(0, 0.2)
            fields = {
                "way": "offloaded",
                "shipping_ms": 2.5 * rng.lognormal(0, 0.3),
                "bring_up_ms": bring_up,
                "computing_ms": computing,
                "billed_ms": float(np.ceil(computing + bring_up)),
                "init_ms": bring_up or None,
            }
            billed += fields["billed_ms"]
            fields["call"] = calls
            yield (
                "invocation",
                {
                    "surge": name,
                    "subtask": 0,
                    "call": calls,
                    "batches": 1,
                    "sentences": count,
                    "sent_ms": at + waiting,
                    "outcome": "answered",
                    "wall_ms": fields["shipping_ms"] + bring_up + computing,
                    "duration_ms": computing,
                    "billed_ms": fields["billed_ms"],
                    "init_ms": bring_up or None,
                    "memory_mb": 1769.0,
                },
            )
            done = at + waiting + fields["shipping_ms"] + bring_up + computing
        else:
            begin = max(free_at, at + waiting)
            waiting = begin - at
            free_at = done = begin + count / boosted
            fields = {
                "way": "local",
                "shipping_ms": 0.0,
                "bring_up_ms": 0.0,
                "computing_ms": count / boosted,
            }
        sending = 1.0 * rng.lognormal(0, 0.3)
        yield (
            "batch",
            {
                "surge": name,
                "batch": number,
                "first": first,
                "count": count,
                "due_first_ms": at,
                "due_last_ms": due_last,
                "sink_ms": done + sending + 0.05,
                "subtask": 0,
                "waiting_ms": waiting,
                "filling_ms": filling,
                "queueing_ms": waiting - filling,
                "call_wait_ms": 0.0,
                "sending_ms": sending,
                **fields,
            },
        )
        first, number, at = first + count, number + 1, ready
    for t in np.arange(0, length * 1000, 250.0) if samples else []:
        hot = surge_ms <= t < end_ms
        yield (
            "sample",
            {
                "surge": name,
                "at_ms": float(t),
                "offered_per_s": base * (factor if hot else 1),
                "emitted_per_s": min(capacity, base * (factor if hot else 1)),
                "processed_per_s": min(capacity, base * (factor if hot else 1)),
                "backlog": 0.0,
                "source_busy": 0.1,
                "source_idle": 0.1 if hot else 0.9,
                "source_backpressured": 0.8 if hot else 0.0,
                "tokenizer_busy": 1.0 if hot else base / capacity,
                "tokenizer_idle": 0.0 if hot else 1 - base / capacity,
                "tokenizer_backpressured": 0.0,
                "gauges": {"tokenizer.inPoolUsage": 0.8 if hot else 0.1},
            },
        )
        if language:
            hot = bool(surge_ms + detection_ms <= t < end_ms + 1500)
            yield (
                "decision",
                {
                    "surge": name,
                    "at_ms": float(t),
                    "overloaded": hot,
                    "share": 0.75 if hot else 0.0,
                    "in_flight": 4 if hot else 0,
                    "reason": "offered 4000/s > capacity 1500/s" if hot else "normal",
                    "applied_ms": 40.0,
                    "inputs": {},
                },
            )
    for role, us in (("worker", 40.0 if language else 25.0), ("source and sink", 60.0)):
        yield (
            "cpu",
            {
                "surge": name,
                "role": role,
                "processes": 1,
                "cpu_s": us * first / 1e6,
                "throttled_s": 0.5 if role == "worker" else None,
                "sentences": first,
            },
        )
    yield (
        "ledger",
        {
            "surge": name,
            "expected": first,
            "delivered": first,
            "lost": 0,
            "duplicated": 0,
            "wrong": 0,
            "out_of_order": offloaded,
        },
    )
    if language:
        yield (
            "lambda",
            {
                "surge": name,
                "calls": calls,
                "cold_starts": cold_starts,
                "throttled": 0,
                "timed_out": 0,
                "failed": 0,
                "late": 0,
                "billed_ms": billed,
                "memory_mb": 1769.0,
            },
        )


def run(results: Path, language: str, seed: int = 0, **head: Any) -> Path:
    """A whole `bench run LANG`: cold starts, compute, a surge without offload and one with."""
    rng = np.random.default_rng([seed, LANGUAGES.index(language)])

    def facts() -> Records:
        yield from cold(rng, n=10, languages=(language,))
        yield from compute(rng, languages=(language,), warmup=300)
        yield from surge(rng, "none", "none", None)
        yield from surge(rng, "operator", "operator", language)

    name = f"20261122T10000{LANGUAGES.index(language)}Z-run-{language}"
    return write(results / name, facts(), languages=[language], **head)


def together(
    results: Path, name: str = "20261122T100100Z-run", seed: int = 0, repetitions: int = 5
) -> Path:
    """A run in which all languages took turns: cold starts, compute, and surges, repeated."""
    rng = np.random.default_rng(seed)

    def facts() -> Records:
        yield from cold(rng, n=10)
        yield from compute(rng, warmup=300)
        for repetition in range(1, repetitions + 1):
            yield from surge(rng, f"none-{repetition}", "none", None, repetition=repetition)
            for language in LANGUAGES:
                called = f"operator-{language}-{repetition}"
                yield from surge(rng, called, "operator", language, repetition=repetition)

    return write(results / name, facts())
