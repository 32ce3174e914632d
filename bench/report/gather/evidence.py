"""Which runs a report is made from, and which of them may stand side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from bench.facts import machine, records

LANGUAGES = ("python", "java", "node")
NAMES = {"python": "Python", "java": "Java", "node": "Node"}

Frames = dict[str, pd.DataFrame]


class NoRuns(click.ClickException):
    """There is nothing to report on."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Runs of one kind of target on one machine, their records pooled.

    `frames` holds one frame a kind of record (see RECORDS.md) with a column `run`; the name of a
    surge is made unique as `<run>/<surge>`.
    """

    frames: Frames

    @cached_property
    def runs(self) -> list[dict[str, Any]]:
        """The `run` records, oldest first."""
        runs = self.frames["run"].sort_values("run").to_dict("records")
        return [{str(k): v for k, v in run.items()} for run in runs]

    @property
    def target(self) -> str | None:
        """Where the functions ran; None if none was called."""
        return next((r["target"] for r in self.runs if r["target"]), None)

    @property
    def where(self) -> str:
        """What ran where, e.g. "local process (not AWS) on Xeon, 2 cores"."""
        run = next((r for r in self.runs if r["target"]), self.runs[0])
        label = self.target or "no function called"
        if label.startswith("local process"):
            rest = label.removeprefix("local process")
            label = f"local process{rest} (real runtimes on this machine, not AWS)"
        region = f" in {run['region']}" if run["region"] else ""
        state = run["machine"]
        return f"{label}{region}; Flink on {state['cpu']}, {state['cores']} cores"

    @property
    def languages(self) -> list[str]:
        """Languages that any record is about, in the usual order."""
        seen = {
            language
            for kind in ("cold", "call", "surge")
            for language in self.frames[kind]["language"].dropna().unique()
        }
        return [language for language in LANGUAGES if language in seen]

    def comparable(self, kind: str) -> tuple[pd.DataFrame, list[str]]:
        """The records of `kind` that may be pooled, and what was left out, and why.

        Only runs that hold all the languages, if there is one, since runs of one language differ by
        more than languages; and of those the ones of the code that most records are of.
        """
        frame = self.frames[kind]
        heads = {run["run"]: run for run in self.runs}
        names = sorted(frame["run"].unique())
        if len(names) < 2:
            return frame, []
        said = []
        sets = {n: frozenset(frame.loc[frame["run"] == n, "language"].dropna()) for n in names}
        every: frozenset[str] = frozenset().union(*sets.values())
        whole = [n for n in names if sets[n] == every]
        if whole and len(whole) < len(names):
            partial = [n for n in names if n not in whole]
            said.append(f"{kind}: left out, not all languages in them: {', '.join(partial)}")
            names = whole
        elif not whole:
            said.append(f"{kind}: no run holds all languages, so nothing is compared across them")
            return frame, said
        size = frame["run"].map({n: code_of(heads[n]) for n in names}).value_counts()
        # of equals the newest
        code = max(reversed(names), key=lambda n: int(size[code_of(heads[n])]))
        other = [n for n in names if code_of(heads[n]) != code_of(heads[code])]
        if other:
            said.append(f"{kind}: left out, of other code than {code}: {', '.join(other)}")
            names = [n for n in names if n not in other]
        if len(names) > 1:
            said.append(f"{kind}: pooled, a run being the unit: {', '.join(names)}")
        return frame[frame["run"].isin(names)], said

    def pooling(self) -> list[str]:
        """What was pooled and what was left out, and why."""
        return [said for kind in ("cold", "call") for said in self.comparable(kind)[1]]

    def drift(self) -> float | None:
        """By how much the calibration loop was slower (or faster) after the noisiest run than
        before it, as a share; None without calibrations."""
        loops = self.frames["calibration"]
        found = []
        for _, of_run in loops.groupby("run"):
            before, after = (
                of_run.loc[of_run["when"] == when, "loop_ms"] for when in ("before", "after")
            )
            if len(before) and len(after):
                ratio = np.median(after.iloc[0]) / np.median(before.iloc[0])
                found.append(max(ratio, 1 / ratio) - 1)
        return float(max(found)) if found else None

    def noise(self) -> list[tuple[str, str]]:
        """Why to doubt these figures, by the calibration loops: name of a run, and what of it."""
        said = []
        for run in self.runs:
            loops = self.frames["calibration"]
            loops = loops[loops["run"] == run["run"]]
            before, after = (loops[loops["when"] == when] for when in ("before", "after"))
            if before.empty:
                continue
            words = machine.noise(
                before["loop_ms"].iloc[0],
                after["loop_ms"].iloc[0] if len(after) else None,
                float(before["load_1m"].iloc[0]),
                int(run["machine"]["cores"]),
            )
            said += [(run["run"], said_of_run) for said_of_run in words]
        return said

    def unfinished(self) -> list[str]:
        """Runs that died or failed, and why if they could say."""
        ends = self.frames["end"].set_index("run")
        said = []
        for run in self.runs:
            name = run["run"]
            if name not in ends.index:
                said.append(f"{name} did not finish; the report shows what it had recorded")
            elif not ends.loc[name, "ok"]:
                said.append(f"{name} failed: {_brief(str(ends.loc[name, 'error']))}")
        return said


def code_of(run: Mapping[str, Any]) -> str:
    """What a run's figures were made by: the revision and Flink's version. A revision with changes
    that were not committed is like no other."""
    state = run["machine"]
    revision = str(state.get("git_revision"))
    own = f" {run['run']}" if revision.endswith("-dirty") else ""
    return f"{revision}{own}, Flink {state['versions'].get('flink')}"


def _brief(error: str, longest: int = 140) -> str:
    """The first line of an error, cut short."""
    line = error.partition("\n")[0]
    return line if len(line) <= longest else line[:longest].rstrip() + " …"


def load(folders: Sequence[Path]) -> list[Evidence]:
    """The runs in `folders`, pooled by kind of target, region and machine; largest first.

    A run that called no function goes with the others of its machine.

    Raises:
        NoRuns: there are none, or one is given twice.
        RecordsUnreadable: one of them holds no records of this version.
    """
    groups: dict[tuple[Any, ...], list[Frames]] = {}
    names: set[tuple[Any, ...]] = set()
    for folder in folders:
        frames = records.frames(folder)
        if frames["run"].empty:
            raise NoRuns(f"{folder} holds no `run` record: it died before it measured anything")
        head = frames["run"].iloc[0]
        state = head["machine"]
        key = (head["target"], head["region"], state["cpu"], state["cores"])
        if (*key, head["run"]) in names:
            raise NoRuns(f"run {head['run']} is given twice, the second time as {folder}")
        names.add((*key, head["run"]))
        groups.setdefault(key, []).append(_named(frames, str(head["run"])))
    if not groups:
        raise NoRuns("no runs yet: `bench run python` makes one")
    for key in [key for key in groups if key[0] is None]:
        for home in [k for k in groups if k[0] is not None and k[2:] == key[2:]][:1]:
            groups[home] += groups.pop(key)
    pooled = [Evidence(_pool(group)) for group in groups.values()]
    return sorted(pooled, key=lambda e: -sum(map(len, e.frames.values())))


def newest(results: Path, commands: Iterable[str] | None = None) -> list[Path]:
    """The newest run of each command, language and target, oldest first.

    A run that failed, or has not ended, counts only where there is no other.

    Args:
        results: the folder of all runs.
        commands: only runs of these; None for all.
    """
    found = [(folder, head) for folder in records.find_runs(results) if (head := _head(folder))]
    chosen: dict[tuple[Any, ...], Path] = {}
    for folder, head in sorted(found, key=lambda x: (_ended_well(x[0]), x[0])):
        if commands is None or head["command"] in commands:
            for language in head["languages"] or [None]:
                chosen[head["command"], language, head["target"], head["region"]] = folder
    return sorted(set(chosen.values()))


def find(names: Sequence[str], results: Path) -> list[Path]:
    """The folders of runs given by name or path.

    Raises:
        NoRuns: one of them is not there.
    """
    folders = []
    for name in names:
        candidates = [Path(name), results / name]
        folder = next(filter(records.is_run, candidates), None)
        if folder is None:
            raise NoRuns(f"no run {name}: neither a folder with records nor one in {results}/")
        folders.append(folder)
    return folders


def _head(folder: Path) -> dict[str, Any] | None:
    """The `run` record of a run, or None if it died before that."""
    with records.open_records(folder) as file:
        line = file.readline()
    return json.loads(line) if line.endswith(b"\n") else None


def _ended_well(folder: Path) -> bool:
    return b'"kind":"end","ok":true' in records.last_line(folder)


def _named(frames: Frames, run: str) -> Frames:
    for kind, frame in frames.items():
        if kind != "run":
            frame.insert(0, "run", run)
        if "surge" in frame:
            surges = frame["surge"].astype("category")  # a million names are few different ones
            frame["surge"] = surges.cat.rename_categories(lambda s: f"{run}/{s}").astype(object)
    return frames


def _pool(group: list[Frames]) -> Frames:
    if len(group) == 1:
        return group[0]
    return {
        kind: _together([f[kind] for f in group if len(f[kind])] or [frame])
        for kind, frame in group[0].items()
    }


def _together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One frame of several with the same columns. What one of them has nothing in says nothing of a
    column's type, and stays the None that it was where that is no number."""
    told = [f.dropna(axis="columns", how="all") for f in frames]
    both = pd.concat(told, ignore_index=True).reindex(columns=frames[0].columns)
    for column in both:
        absent = any(column not in f for f in told)
        if absent and frames[0][column].dtype == object:
            both[column] = both[column].astype(object).where(both[column].notna(), None)
    return both
