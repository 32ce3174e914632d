"""What is measured, one fact a line: the schema of `results/<run>/records.jsonl`, its writer and
its readers. `RECORDS.md` beside this file says what each field means."""

from __future__ import annotations

import gzip
import io
import json
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import click
import pandas as pd
import pyarrow as pa
import pyarrow.json

from bench.facts import machine

VERSION = 1
RESULTS = Path("results")
FILE_NAME = "records.jsonl"
# A run to keep may be compressed; nothing is ever appended to it again.
PACKED_NAME = f"{FILE_NAME}.gz"
_LONGEST_END = 4096

# kind -> field -> type; a trailing "?" marks a field that may be absent (missing or null).
# `_ms` is milliseconds, `_mb` MiB, `_per_s` a rate per second.
SCHEMA: dict[str, dict[str, str]] = {
    "run": {
        "run": "str",
        "command": "str",
        "argv": "list",
        "started_at": "str",
        "target": "str?",
        "region": "str?",
        "languages": "list",
        "seed": "int",
        "caps": "object",
        "machine": "object",
    },
    "calibration": {"when": "str", "loop_ms": "list", "load_1m": "float"},
    "cold": {
        "language": "str",
        "handler": "str",
        "memory_mb": "int",
        "round": "int",
        "bring_up_ms": "float?",
        "init_ms": "float?",
        "first_call_ms": "float?",
        "wall_ms": "float",
        "compute_ms": "float?",
        "billed_ms": "float?",
        "max_memory_mb": "float?",
        "accepted": "bool",
        "discarded_because": "str?",
        "sentences": "int?",
        "text": "str?",
        "operator": "str?",
        "words_per_sentence": "int?",
        "network_ms": "float?",
        "placement_ms": "float?",
    },
    "call": {
        "language": "str",
        "function": "str",
        "variant": "str?",
        "sentences": "int",
        "tokens": "int",
        "round": "int",
        "phase": "str",
        "environment": "int",
        "call_number": "int",
        "compute_ms": "float",
        "duration_ms": "float?",
        "billed_ms": "float?",
        "wall_ms": "float",
        "memory_mb": "float?",
        "operator": "str?",
        "words_per_sentence": "int?",
        "network_ms": "float?",
    },
    "failure": {
        "language": "str?",
        "function": "str?",
        "error": "str",
        "message": "str",
        "where": "str",
        "at_ms": "float",
    },
    "surge": {
        "surge": "str",
        "method": "str",
        "language": "str?",
        "repetition": "int",
        "workload": "str",
        "seed": "int",
        "shape": "object",
        "length_s": "float",
        "batch_size": "int",
        "linger_ms": "float",
        "capacity_per_s": "float?",
        "parallelism": "int",
        "max_in_flight": "int",
        "policy": "str?",
        "ordered": "bool",
        "warm": "int?",
        "warms_up": "bool?",
        "expected_burst_s": "float?",
        "varied": "object?",
        "environment": "str",
        "started_at": "str",
        "operator": "str?",
        "words_per_sentence": "int?",
        "base": "float?",
        "factor": "float?",
        "worker_cpu": "float?",
        "worker_limit": "str?",
        "scale_out_as": "str?",
        "call_timeout_ms": "float?",
    },
    "batch": {
        "surge": "str",
        "batch": "int",
        "first": "int",
        "count": "int",
        "due_first_ms": "float",
        "due_last_ms": "float",
        "sink_ms": "float",
        "way": "str",
        "subtask": "int",
        "call": "int?",
        "waiting_ms": "float?",
        "filling_ms": "float?",
        "queueing_ms": "float?",
        "call_wait_ms": "float?",
        "shipping_ms": "float?",
        "bring_up_ms": "float?",
        "computing_ms": "float?",
        "sending_ms": "float?",
        "network_ms": "float?",
        "placement_ms": "float?",
        "billed_ms": "float?",
        "init_ms": "float?",
    },
    "invocation": {
        "surge": "str",
        "subtask": "int",
        "call": "int",
        "batches": "int",
        "sentences": "int",
        "sent_ms": "float",
        "outcome": "str",
        "failure": "str?",
        "wall_ms": "float?",
        "duration_ms": "float?",
        "billed_ms": "float?",
        "init_ms": "float?",
        "bring_up_ms": "float?",
        "network_ms": "float?",
        "placement_ms": "float?",
        "memory_mb": "float?",
    },
    "capacity": {
        "when": "str",
        "operator": "str",
        "words_per_sentence": "int",
        "batch_size": "int",
        "worker_cpu": "float?",
        "worker_limit": "str",
        "per_s": "float",
        "low_per_s": "float?",
        "high_per_s": "float?",
        "windows_per_s": "list",
        "steady": "bool?",
        "seconds": "float",
    },
    "worth": {
        "language": "str?",
        "operator": "str",
        "words_per_sentence": "int",
        "bytes": "float",
        "batch_size": "int",
        "parallelism": "int?",
        "max_in_flight": "int?",
        "worker_cpu": "float?",
        "worker_limit": "str",
        "per_s": "float",
        "windows_per_s": "list",
        "steady": "bool",
        "share_called": "float",
        "local_cpu_us": "float?",
        "call_cpu_us": "float?",
        "worker_cpu_us": "float?",
        "windows_cpu_us": "list",
        "worker_cpu_used": "float",
        "calls_per_s": "float?",
        "in_flight": "float?",
        "unanswered_calls": "int?",
        "call_ms": "float?",
        "call_p99_ms": "float?",
        "duration_ms": "float?",
        "billed_ms": "float?",
        "memory_mb": "float?",
    },
    "cpu": {
        "surge": "str",
        "role": "str",
        "processes": "int",
        "cpu_s": "float",
        "throttled_s": "float?",
        "sentences": "int",
    },
    "sample": {
        "surge": "str",
        "at_ms": "float",
        "offered_per_s": "float?",
        "emitted_per_s": "float?",
        "processed_per_s": "float?",
        "backlog": "float?",
        "source_busy": "float?",
        "source_idle": "float?",
        "source_backpressured": "float?",
        "tokenizer_busy": "float?",
        "tokenizer_idle": "float?",
        "tokenizer_backpressured": "float?",
        "tokenizer_waiting": "float?",
        "local_per_s": "float?",
        "local_cpu_us": "float?",
        "work_cpu_us": "float?",
        "called_per_s": "float?",
        "call_cpu_us": "float?",
        "calls_per_s": "float?",
        "in_flight": "float?",
        "failed_calls": "float?",
        "late_calls": "float?",
        "throttled_calls": "float?",
        "gauges": "object?",
    },
    "rescale": {
        "surge": "str",
        "at_ms": "float",
        "trigger": "str",
        "state": "str",
        "total_ms": "float?",
        "phases_ms": "object?",
    },
    "push": {
        "surge": "str",
        "at_ms": "float",
        "vertex": "str",
        "subtask": "int",
        "metric": "str",
        "value": "float",
    },
    "decision": {
        "surge": "str",
        "at_ms": "float",
        "overloaded": "bool",
        "share": "float",
        "in_flight": "int",
        "warm": "int?",
        "reason": "str",
        "applied_ms": "float?",
        "inputs": "object",
    },
    "ledger": {
        "surge": "str",
        "expected": "int",
        "delivered": "int",
        "lost": "int",
        "duplicated": "int",
        "wrong": "int",
        "out_of_order": "int",
    },
    "fault": {
        "surge": "str",
        "fault": "str",
        "part": "str",
        "done": "str",
        "deaf": "bool",
        "from_ms": "float?",
        "until_ms": "float?",
        "restarts": "int?",
        "why": "str?",
        "not_broken": "str?",
        "ok": "bool",
        "error": "str?",
    },
    "soak": {
        "surge": "str",
        "at_ms": "float",
        "role": "str",
        "pid": "int?",
        "memory_mb": "float?",
        "threads": "int?",
        "files": "int?",
        "cgroups": "int?",
        "temporary_files": "int?",
    },
    "peer": {
        "peer": "str",
        "cpu_us": "float?",
        "per_s": "float",
        "left": "float?",
        "state": "str",
    },
    "lambda": {
        "surge": "str",
        "calls": "int",
        "cold_starts": "int",
        "throttled": "int",
        "timed_out": "int",
        "failed": "int",
        "late": "int",
        "billed_ms": "float",
        "memory_mb": "float?",
        "warm_up_calls": "int?",
        "warm_up_billed_ms": "float?",
    },
    "end": {"ok": "bool", "seconds": "float", "error": "str?"},
}

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list": (list, tuple),
    "object": (dict,),
}
_ARROW_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}
_CHUNK_BYTES = 32 << 20
_PREFIX = b'{"v":%d,"kind":"' % VERSION
_KINDS = {kind.encode(): kind for kind in SCHEMA}


class RecordsUnreadable(click.ClickException):
    """A file that does not hold records of this version."""


class NotRecorded(click.ClickException):
    """The disk, or whatever the results are on, takes no more. What was recorded is whole."""


class TornLine(UserWarning):
    """The last line of a file is incomplete: the run was killed while it wrote."""


class RunsOn(Protocol):
    """What a run has to know about its Lambda target (`bench.lambdas.target.Target`)."""

    @property
    def label(self) -> str: ...
    @property
    def region(self) -> str | None: ...
    @property
    def cpu_share_enforced(self) -> bool | None: ...
    @property
    def versions(self) -> Mapping[str, str]: ...
    def wrote(self, kind: str, fields: Mapping[str, Any]) -> None: ...


class Run:
    """A folder `results/<UTC time>-<command>[-suffix]/` with a growing `records.jsonl`.

    As a context manager it writes the `run` line with the machine's state, a calibration before
    and after, and `end` last: `ok` is false if the block raised. Every line reaches the file
    before `write` returns, so a run that dies keeps what it had. Safe to write to from threads.

    Args:
        command: the command measured, e.g. "cold".
        target: where the functions run; None if no function is called.
        languages: the languages measured, in the order asked for.
        seed: of everything random in this run.
        caps: declared limits (time budget, worker capacity, concurrency), by name.
        suffix: ends the folder's name, e.g. a language.
        results: the folder of all runs.
    """

    def __init__(
        self,
        command: str,
        *,
        target: RunsOn | None = None,
        languages: Sequence[str] = (),
        seed: int = 0,
        caps: Mapping[str, Any] | None = None,
        suffix: str | None = None,
        results: Path = RESULTS,
    ) -> None:
        self._started = datetime.now(UTC)
        parts = [self._started.strftime("%Y%m%dT%H%M%SZ"), command, *([suffix] if suffix else [])]
        self.folder = results / "-".join(parts)
        self.seed = seed
        self._head = {
            "command": command,
            "argv": sys.argv[1:],
            "started_at": self._started.isoformat(timespec="milliseconds"),
            "target": target.label if target else None,
            "region": target.region if target else None,
            "languages": list(languages),
            "seed": seed,
            "caps": dict(caps or {}),
        }
        self._target = target
        self._clock = time.monotonic()
        self._file: io.FileIO | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """That of the folder. Of runs begun in the same second, the later ones get a number."""
        return self.folder.name

    @property
    def path(self) -> Path:
        """The file of records."""
        return self.folder / FILE_NAME

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the run was made."""
        return (time.monotonic() - self._clock) * 1000

    def __enter__(self) -> Self:
        try:
            self.folder = _new_folder(self.folder)
            # Unbuffered: one line is one write to the operating system.
            self._file = io.FileIO(self.path, "a")
        except OSError as error:
            raise NotRecorded(f"cannot record to {self.folder}: {error.strerror}") from error
        state = machine.state(
            function_versions=self._target.versions if self._target else {},
            cpu_share_enforced=self._target.cpu_share_enforced if self._target else None,
        )
        self.write("run", run=self.name, **self._head, machine=state)
        self._calibrate("before")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._file is not None
        try:
            if error is None:
                self._calibrate("after")
            problem = f"{type(error).__name__}: {error}".strip(": ") if error is not None else None
            # On a full disk, that it is full is what the command ends with.
            with suppress(*([NotRecorded] if error is not None else [])):
                self.write("end", ok=error is None, seconds=self.elapsed_ms / 1000, error=problem)
        finally:
            self._file.close()
            self._file = None

    def write(self, kind: str, **fields: Any) -> None:
        """Append one fact.

        Raises:
            ValueError: unknown kind or field, a required field missing, a value of a wrong type.
            NotRecorded: it could not be written, and nothing of it was; the lines before are whole.
        """
        check(kind, fields)
        line = json.dumps(
            {"v": VERSION, "kind": kind, **fields},
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        if self._file is None:
            raise ValueError("the run is not open: use it as a context manager")
        with self._lock:
            self._append(self._file, line.encode() + b"\n")
        if self._target:
            self._target.wrote(kind, fields)

    def _append(self, file: io.FileIO, line: bytes) -> None:
        whole = file.seek(0, io.SEEK_END)
        try:
            # A disk that fills up takes the beginning of a line, and only then fails.
            while line:
                line = line[file.write(line) or 0 :]
        except OSError as error:
            with suppress(OSError):
                file.truncate(whole)
            raise NotRecorded(
                f"cannot write to {self.path}: {error.strerror}; what was recorded until then is "
                "there, so make room and run the command again"
            ) from error

    def _calibrate(self, when: str) -> None:
        self.write("calibration", when=when, loop_ms=machine.calibrate(), load_1m=machine.load_1m())


def _new_folder(wanted: Path) -> Path:
    """Make a folder, called otherwise where another run had the same thought in this second."""
    names = (f"{wanted.name}-{number}" for number in count(2))
    folder = wanted
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            folder = wanted.with_name(next(names))


def check(kind: str, fields: Mapping[str, Any]) -> None:
    """Raise ValueError unless `fields` are what `SCHEMA` says of `kind`."""
    expected = SCHEMA.get(kind)
    if expected is None:
        raise ValueError(f"unknown kind of record: {kind}")
    if unknown := fields.keys() - expected.keys():
        raise ValueError(f"{kind}: unknown fields {sorted(unknown)}")
    for name, spec in expected.items():
        value = fields.get(name)
        if value is None:
            if not spec.endswith("?"):
                raise ValueError(f"{kind}: {name} is missing")
        elif not isinstance(value, _PYTHON_TYPES[spec.rstrip("?")]) or (
            isinstance(value, bool) and not spec.startswith("bool")
        ):
            raise ValueError(f"{kind}: {name} must be {spec.rstrip('?')}, is {value!r}")


def find_runs(results: Path = RESULTS) -> list[Path]:
    """The folders of all runs, oldest first."""
    files = (path for name in (FILE_NAME, PACKED_NAME) for path in results.glob(f"*/{name}"))
    return sorted({path.parent for path in files})


def is_run(folder: Path) -> bool:
    """Whether there are records in `folder`."""
    return any((folder / name).is_file() for name in (FILE_NAME, PACKED_NAME))


def open_records(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """The records of a run, unpacked if they are packed.

    Args:
        path: a run's folder, or its file of records.

    Raises:
        RecordsUnreadable: no such file.
    """
    files = [path / FILE_NAME, path / PACKED_NAME] if path.is_dir() else [path]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        raise RecordsUnreadable(f"{path} holds no {FILE_NAME}; `bench cold` makes a run")
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")


def last_line(path: Path) -> bytes:
    """The last line of a run, or at least its end. Arguments and errors as `open_records`."""
    with open_records(path) as file:
        if not isinstance(file, gzip.GzipFile):  # which cannot be read from its end
            file.seek(max(0, file.seek(0, io.SEEK_END) - _LONGEST_END))
        return file.read().rstrip().rpartition(b"\n")[2]


def read(path: Path) -> list[dict[str, Any]]:
    """All records of a run, in the order written, as dicts. For small runs; see `frames`.

    Args:
        path: a run's folder, or its file of records.

    Raises:
        RecordsUnreadable: no such file, or a line in it is not a record of this version.
    """
    return [_parse(path, line) for line in _lines(path)]


def frames(path: Path) -> dict[str, pd.DataFrame]:
    """The records of a run as one frame per kind; rows in the order written.

    Every kind and every field of `SCHEMA` is there, so that what a run lacks is an empty frame or
    a column of missing values. A million records take seconds. Arguments and errors as `read`.
    """
    nested: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind, fields in SCHEMA.items() if _is_nested(fields)
    }
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    pending: dict[str, list[bytes]] = defaultdict(list)
    pending_bytes = 0

    def flush() -> None:
        for kind, lines in pending.items():
            tables[kind].append(_arrow(path, kind, lines))
        pending.clear()

    kind, opening = "", _PREFIX + b'"'  # of the line before: a kind comes in long stretches
    for line in _lines(path):
        if not line.startswith(opening):
            kind = _kind(path, line)
            opening = _PREFIX + kind.encode() + b'"'
        if kind in nested:
            nested[kind].append(_parse(path, line))
            continue
        pending[kind].append(line)
        pending_bytes += len(line)
        if pending_bytes > _CHUNK_BYTES:
            flush()
            pending_bytes = 0
    flush()
    return {
        kind: pd.DataFrame(nested[kind], columns=list(fields))
        if kind in nested
        else _frame(tables.pop(kind, [_arrow_schema(kind).empty_table()]))
        for kind, fields in SCHEMA.items()
    }


def _lines(path: Path) -> Iterator[bytes]:
    """The complete lines of a file of records. Warns with `TornLine` of one that is not."""
    with open_records(path) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line
            else:
                warnings.warn(f"{path}: the last line is torn; left out", TornLine, 3)


def _kind(path: Path, line: bytes) -> str:
    """The kind of a line, without parsing it: `Run.write` puts version and kind first."""
    kind = _KINDS.get(line[len(_PREFIX) : line.find(b'"', len(_PREFIX))])
    if kind is None or not line.startswith(_PREFIX):
        raise RecordsUnreadable(f"{path}: not a record of version {VERSION}: {line[:60]!r}")
    return kind


def _parse(path: Path, line: bytes) -> dict[str, Any]:
    _kind(path, line)
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise RecordsUnreadable(f"{path}: {error} in {line[:60]!r}") from error
    return record


def _is_nested(fields: Mapping[str, str]) -> bool:
    return any(spec.rstrip("?") in ("list", "object") for spec in fields.values())


def _arrow_schema(kind: str) -> pa.Schema:
    return pa.schema(
        [(name, _ARROW_TYPES[spec.rstrip("?")]) for name, spec in SCHEMA[kind].items()]
    )


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    """One frame; each column of `tables` is let go as soon as it is copied."""
    table = pa.concat_tables(tables)
    tables.clear()
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    return frame


def _arrow(path: Path, kind: str, lines: list[bytes]) -> pa.Table:
    options = pyarrow.json.ParseOptions(
        explicit_schema=_arrow_schema(kind), unexpected_field_behavior="ignore"
    )
    try:
        return pyarrow.json.read_json(pa.BufferReader(b"".join(lines)), parse_options=options)
    except pa.ArrowInvalid as error:
        raise RecordsUnreadable(f"{path}: {kind}: {error}") from error
