"""`bench compare`: the languages side by side, beside the job without offload."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.report.gather import surges
from bench.report.gather.evidence import Evidence, code_of, load
from bench.report.gather.surges import Conditions
from bench.report.say import languages, places, relief, versus
from bench.report.say.table import Table


def tables(e: Evidence) -> list[Table]:
    """Cold start, compute per batch, and latency in the surge, as far as there are records."""
    found = [languages.cold(e), languages.compute(e), languages.failures(e)]
    settings = surges.settings(surges.surges(e))
    found[2:2] = [
        relief.surge(s, "surge" if i == 0 else f"surge-{i + 1}") for i, s in enumerate(settings)
    ]
    return [t for t in found if t]


def header(e: Evidence) -> list[str]:
    """What ran where, with which caps and versions, and what speaks against the figures."""
    runs = e.runs
    enforced = {r["machine"].get("cpu_share_enforced") for r in runs}
    shares = {
        frozenset({True}): "enforced: an environment has the CPU share of its memory size",
        frozenset({False}): "NOT enforced: environments had whole cores whatever their memory size",
    }.get(frozenset(enforced), "not known" if enforced == {None} else "differ between runs")
    versions: dict[str, set[str]] = {}
    for r in runs:
        for name in ("python", "java", "node", "flink"):
            if version := r["machine"]["versions"].get(name):
                versions.setdefault(name, set()).add(version)
    caps = {f"{k} {v}" for r in runs for k, v in r["caps"].items() if v is not None}
    workers = {Conditions.of(record).worker for _, record in e.frames["surge"].iterrows()}
    codes: dict[str, list[str]] = {}
    for r in runs:
        codes.setdefault(code_of(r), []).append(r["run"])
    lines = [
        f"CPU shares: {shares}.",
        "Versions: " + ", ".join(f"{k} {' and '.join(sorted(v))}" for k, v in versions.items()),
        "Declared limits: " + (", ".join(sorted(caps)) or "none"),
        *(f"{w[:1].upper()}{w[1:]}." for w in sorted(workers)),
        *(f"Made by {code}: {', '.join(names)}." for code, names in codes.items()),
        *(f"{said[:1].upper()}{said[1:]}." for said in e.pooling()),
    ]
    lines += [f"Incomplete: {said}." for said in e.unfinished()]
    lines += [f"Noise: {run}: {said}." for run, said in e.noise()]
    return lines


def markdown(groups: Sequence[Evidence]) -> str:
    """One part for each kind of target and machine; they share one table, a place a row."""
    parts = []
    for e in groups:
        parts.append(f"# {e.where}\n\n" + "\n".join(f"- {line}" for line in header(e)))
        parts += [t.section() for t in tables(e)]
    if beside := places.table(groups):
        parts.append(beside.section())
    return "\n\n".join(parts) + "\n"


def csv(groups: Sequence[Evidence]) -> str:
    """Every cell of every table, one a line: group, table, row, column, cell."""
    cells = [
        {"group": e.where, "table": t.name, "row": row[0], "column": column, "cell": cell}
        for e in groups
        for t in tables(e)
        for row in t.rows
        for column, cell in zip(t.columns[1:], row[1:], strict=True)
    ]
    return str(pd.DataFrame(cells).to_csv(index=False, lineterminator="\n"))


def write(folders: Sequence[Path], out: Path) -> str:
    """Write compare.md and compare.csv to the folder `out`; the Markdown.

    Two runs that measured something in common are set side by side, the first as the old one.

    Raises:
        NoRuns: there are none.
    """
    groups = load(folders)
    text, cells = markdown(groups), csv(groups)
    if len(folders) == 2 and (beside := versus.table(*(load([f])[0] for f in folders))):
        text = f"# {groups[0].where}\n\n{beside.section()}\n\n" + "\n".join(
            f"- {line}" for e in groups for line in header(e)
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(text, encoding="utf-8")
    (out / "compare.csv").write_text(cells, encoding="utf-8")
    return text
