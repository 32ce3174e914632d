"""A second opinion: the figures that carry the README's answer, computed anew from the recorded
runs by a few lines of pandas that share no code with what made them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.beside

ROOT = Path(__file__).parent.parent
NAMES = {"Python": "python", "Java": "java", "Node": "node"}
NOT_RECORDED = "Not in the recorded runs."
AT_LEAST = 20
# Student's t, 97.5 %, by degrees of freedom
T = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365}


# The README


@cache
def blocks() -> dict[str, str]:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"<!-- table:([\w-]+) -->\n(.*?)<!-- /table -->", page, re.DOTALL)
    return dict(found)


def table(name: str) -> pd.DataFrame:
    """A table of the README as text, its first column the index; empty if it is not there."""
    lines = [x for x in blocks().get(name, "").splitlines() if x.startswith("|")]
    if len(lines) < 3:
        return pd.DataFrame()
    head, _, *rows = ([c.strip().strip("*") for c in x.strip("|").split("|")] for x in lines)
    frame = pd.DataFrame(rows, columns=head)
    return frame.set_index(frame.columns[0])


def first_number(text: Any) -> float | None:
    """The figure that a cell begins with, in ms if it has a unit of time; None of "—"."""
    found = re.match(r"[≥>$ ]*([\d,]+(?:\.\d+)?)(%| s\b)?", text)
    if not found:
        return None
    value = float(found[1].replace(",", ""))
    return value * {"%": 0.01, " s": 1000}.get(found[2] or "", 1)


def span(text: Any) -> tuple[float, float] | None:
    """The two ends of a ratio's interval or range, "48–72×" or "[48–72×]"."""
    found = re.search(r"([\d,.]+)(?:–([\d,.]+))?×", text)
    if not found:
        return None
    low = float(found[1].replace(",", ""))
    return low, float(found[2].replace(",", "")) if found[2] else low


# The records


@cache
def records() -> dict[str, pd.DataFrame]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((ROOT / "tests/data/recorded").glob("*/records.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            facts = [json.loads(line) for line in lines]
            if "emulated" in (facts[0]["target"] or ""):  # elsewhere: table "places"
                continue
            for fact in facts:
                kinds.setdefault(fact["kind"], []).append(fact | {"run": file.parent.name})
    return {kind: pd.DataFrame(facts) for kind, facts in kinds.items()}


def frame(kind: str, *columns: str) -> pd.DataFrame:
    found = records().get(kind, pd.DataFrame())
    return found.reindex(columns=list(dict.fromkeys([*found.columns, *columns, "run"])))


def code(run: str) -> str:
    machine: Any = records()["run"].set_index("run").loc[run, "machine"]
    own = run if str(machine["git_revision"]).endswith("-dirty") else ""
    return f"{machine['git_revision']}{own}{machine['versions'].get('flink')}"


def poolable(found: pd.DataFrame) -> pd.DataFrame:
    """Of runs that hold all languages, those of the code of which there are most records."""
    if found.empty:
        return found
    held = found.groupby("run")["language"].agg(set)
    whole = [run for run, languages in held.items() if languages == set(found["language"])]
    found = found[found["run"].isin(whole)] if whole else found
    codes = found["run"].map({run: code(run) for run in found["run"].unique()})
    counts = codes.value_counts()
    newest = codes[found["run"].sort_values().index[::-1]].unique()
    best = max(newest, key=lambda c: counts[c])
    return found[codes == best] if whole else found


def over_runs(values: pd.Series, runs: pd.Series) -> float:
    medians = values.groupby(runs).median()
    return float(np.exp(np.log(medians).mean())) if len(medians) > 2 else float(medians.median())


# The surges


@cache
def main_setting() -> pd.DataFrame:
    """The surges under the conditions with the most ways, after them with the most surges."""
    columns = (
        "language", "ordered", "warm", "varied", "operator", "words_per_sentence", "base", "factor",
        "capacity_per_s", "worker_cpu", "worker_limit", "call_timeout_ms", "scale_out_as",
        "warms_up", "expected_burst_s", "max_in_flight", "policy",
    )  # fmt: skip
    surges = frame("surge", *columns)
    if surges.empty:
        return surges
    surges = surges[surges["varied"].isna()]
    surges = surges[[x.get("shape") != "ladder" for x in surges["shape"]]].copy()
    load = ["workload", "operator", "words_per_sentence", "length_s", "batch_size", "linger_ms"]
    surges["code"] = [code(run) for run in surges["run"]]
    shape = surges["shape"].map(lambda x: json.dumps(x, sort_keys=True))
    surges["load"] = surges[[*load, "call_timeout_ms", "code"]].astype(str).agg("|".join, axis=1)
    surges["load"] += shape
    more = ["capacity_per_s", "worker_cpu", "worker_limit", "parallelism", "base", "factor",
            "scale_out_as"]  # fmt: skip
    surges["full"] = surges["load"] + surges[more].astype(str).agg("|".join, axis=1)
    sized = surges["method"].str.startswith(("scale-out", "bigger"))
    surges["way"] = (
        surges[["method", "language", "ordered", "warms_up", "expected_burst_s", "max_in_flight",
                "policy"]].astype(str).agg("|".join, axis=1)
        + (surges["warm"].fillna(0) > 0).astype(str)
    )  # fmt: skip
    best, score = surges.iloc[:0], (-1, -1, -1.0)
    for _, group in surges[~sized].groupby("full"):
        homes = surges[~sized & (surges["load"] == group["load"].iloc[0])]["full"].nunique()
        also = surges[sized & (surges["load"] == group["load"].iloc[0])]
        whole = pd.concat([group, also]) if homes == 1 else group
        mine = (
            whole["way"].nunique(),
            len(whole),
            float(whole["shape"].iloc[0].get("duration", 0)),
        )
        if mine > score:
            best, score = whole, mine
    return best


def arm(label: str) -> pd.DataFrame:
    """The surges of the main setting that a row or column of that name is about."""
    surges = main_setting()
    words = label.split(", ")
    special = {
        "no offload": "none", "scale out, free slots": "scale-out",
        "scale out, new process": "scale-out-new", "bigger from the start": "bigger",
    }  # fmt: skip
    if label in special:
        return surges[surges["method"] == special[label]]
    method = words.pop(0) if words[0] not in NAMES else "operator"
    surges = surges[surges["method"] == method]
    surges = surges[surges["language"] == NAMES[words.pop(0)]]
    surges = surges[surges["ordered"].fillna(False).astype(bool) == ("ordered" in words)]
    if "warm" in words or "cold" in words:
        surges = surges[(surges["warm"].fillna(0) > 0) == ("warm" in words)]
    return surges


@cache
def latencies(run: str, surge: str) -> tuple[Any, int, float]:
    """Of every sentence due in the surge; how many batches they are of; the share offloaded."""
    record = frame("surge").query("run == @run and surge == @surge").iloc[0]
    shape = record["shape"]
    begin, end = 0.0, record["length_s"]
    if shape.get("shape") == "surge":
        begin, end = shape["start"], min(shape["start"] + shape["duration"], end)
    found, numbers, away = [], set(), 0
    for b in frame("batch").query("run == @run and surge == @surge").to_dict("records"):
        due = np.linspace(b["due_first_ms"], b["due_last_ms"], int(b["count"]))
        inside = (due >= begin * 1000) & (due < end * 1000)
        if inside.any():
            found.append(b["sink_ms"] - due[inside])
            numbers.add((b["first"], b["sink_ms"]))
            away += int(inside.sum()) if b["way"] == "offloaded" else 0
    joined = np.concatenate(found) if found else np.zeros(0)
    return joined, len(numbers), away / max(1, len(joined))


def quantile(surges: pd.DataFrame, q: float) -> pd.Series:
    """By run and repetition; of a high quantile only where 100 batches stand behind it."""
    values: dict[Any, list[float]] = {}
    for s in surges.to_dict("records"):
        x, batches, _ = latencies(s["run"], s["surge"])
        if len(x) and (q in (0.5, 1.0) or batches >= 100):
            ordered = np.sort(x)
            at = max(0, int(np.ceil(q * len(ordered) * (1 - 1e-9))) - 1)
            values.setdefault((s["run"], s["repetition"]), []).append(ordered[at])
    return pd.Series({k: float(np.median(v)) for k, v in values.items()}, dtype=float)


def ratio_span(base: pd.Series, of: pd.Series) -> tuple[float, float] | None:
    """The interval of base ÷ of, paired, or the lowest and highest of too few."""
    logs: pd.Series = (base / of).dropna().map(np.log)
    if logs.empty:
        return None
    runs = logs.index.get_level_values(0)
    least = 5
    if runs.nunique() > 1:
        logs, least = logs.groupby(runs).median(), 3
    n = len(logs)
    if n < least:
        low, high = logs.min(), logs.max()
    elif n >= 9:
        k = {9: 2, 10: 2, 11: 2, 12: 3, 13: 3, 14: 3, 15: 4, 16: 4}[n]
        low, high = logs.sort_values().iloc[[k - 1, n - k]]
    else:
        half = T[n - 1] * logs.std() / np.sqrt(n)
        low, high = logs.mean() - half, logs.mean() + half
    return float(np.exp(low)), float(np.exp(high))


# The figures


@dataclass(frozen=True)
class Figure:
    what: str
    shown: float
    computed: float

    def agrees(self) -> bool:
        """To the digits that the README shows: three, of ratios as few as one after the point."""
        rel = 0.06 if "÷" in self.what else 0.012
        return self.shown == pytest.approx(self.computed, rel=rel, abs=0.006)


def of_surges() -> Iterator[Figure]:
    page = table("surge")
    if main_setting().empty or page.empty:
        return
    rows = {"p50, ms": 0.5, "p99, ms": 0.99, "max, ms": 1.0}
    base = quantile(arm("no offload"), 0.99)
    for label in page.columns:
        for row, q in rows.items():
            if row in page.index and (shown := first_number(page.loc[row, label])) is not None:
                values = [
                    v for _, v in quantile(arm(label), q).items()
                ]  # one a repetition, unless one was repeated
                yield Figure(f"{label}: {row}", shown, float(np.median(values)))
        smaller = "p99 without offload ÷ with"
        if smaller in page.index and (ends := span(page.loc[smaller, label])):
            computed = ratio_span(base, quantile(arm(label), 0.99))
            assert computed is not None
            for end, shown_, mine in zip(("low", "high"), ends, computed, strict=True):
                yield Figure(f"{label}: {smaller}, {end}", shown_, mine)
        if "share offloaded" in page.index:
            shares = [latencies(s["run"], s["surge"])[2] for s in arm(label).to_dict("records")]
            shown = first_number(page.loc["share offloaded", label])
            if shown is not None:
                yield Figure(f"{label}: share offloaded", shown, float(np.median(shares)))


def of_ways() -> Iterator[Figure]:
    page = table("methods")
    for label in page.index:
        shown = first_number(page.loc[label, "p99, ms"])
        if shown is not None:
            yield Figure(f"{label}: p99", shown, float(quantile(arm(label), 0.99).median()))


def of_cold_starts() -> Iterator[Figure]:
    page = table("cold")
    cold = frame("cold", "sentences", "text", "operator", "words_per_sentence")
    row = "init + first call, ms, median"
    if cold.empty or row not in page.index:
        return
    cold = poolable(cold)
    cold = cold[cold["accepted"].astype(bool) & (cold["handler"] == "tokenizer")]
    for column in ("memory_mb", "sentences", "text", "operator", "words_per_sentence"):
        known = cold[column].dropna()
        if len(known):
            counts = known.value_counts()
            cold = cold[cold[column] == max(counts[counts == counts.max()].index)]
    for name, language in NAMES.items():
        mine = cold[cold["language"] == language]
        if name in page.columns and len(mine):
            total = mine["init_ms"] + mine["first_call_ms"]
            shown = first_number(page.loc[row, name])
            assert shown is not None
            yield Figure(f"{name}: {row}", shown, over_runs(total, mine["run"]))


def of_compute() -> Iterator[Figure]:
    page = table("compute")
    calls = frame("call", "variant", "operator", "words_per_sentence", "memory_mb")
    if calls.empty or page.empty:
        return
    calls = poolable(calls)
    calls = calls[calls["variant"].isna()]
    work = calls["operator"].astype(str) + calls["words_per_sentence"].astype(str)
    calls = calls[work == work.mode().iloc[0]]
    calls = calls[calls["phase"] == "steady"]
    counts = calls["memory_mb"].dropna().value_counts()
    if len(counts):
        calls = calls[calls["memory_mb"] == max(counts[counts == counts.max()].index)]
    for size in page.index:
        for name, language in NAMES.items():
            mine = calls[
                (calls["sentences"] == int(size.replace(",", ""))) & (calls["language"] == language)
            ]
            if f"{name}, ms" not in page.columns or mine.empty:
                continue
            medians = mine.groupby(["run", "function", "environment"])["compute_ms"].median()
            runs = pd.Series(medians.index.get_level_values(0), index=medians.index)
            shown = first_number(page.loc[size, f"{name}, ms"])
            assert shown is not None
            yield Figure(f"{name}: {size} sentences", shown, over_runs(medians, runs))


def of_the_first_sentence() -> Iterator[Figure]:
    """The ranges of p99 without and with offload."""
    text = blocks().get("three", "")
    time = r"([\d,.]+ m?s)"
    found = re.search(
        rf"latency is {time}(?: to {time})? without and {time}(?: to {time})? with", text
    )
    if not found:
        return
    surges = main_setting()
    ordered = surges["ordered"].fillna(False).astype(bool)
    for (low, high), mine in (
        (found.group(1, 2), surges[surges["method"] == "none"]),
        (found.group(3, 4), surges[(surges["method"] == "operator") & ~ordered]),
    ):
        values = [quantile(mine.iloc[[i]], 0.99) for i in range(len(mine))]
        ends = pd.concat(values)
        for end, shown, computed in (
            ("lowest", low, ends.min()),
            ("highest", high or low, ends.max()),
        ):
            ms = float(shown.split()[0].replace(",", "")) * (1 if shown.endswith("ms") else 1000)
            yield Figure(f"first sentence: {end}", ms, float(computed))


@cache
def figures() -> list[Figure]:
    sources = (of_the_first_sentence, of_surges, of_ways, of_cold_starts, of_compute)
    return [f for source in sources for f in source()]


def test_there_are_enough_figures_to_have_an_opinion_on() -> None:
    assert len(figures()) >= AT_LEAST


def test_every_figure_comes_out_the_same() -> None:
    wrong = [f for f in figures() if not f.agrees()]
    assert not wrong, "\n".join(f"{f.what}: {f.shown} is {f.computed}" for f in wrong)


def test_nothing_was_lost_duplicated_or_wrong_where_the_readme_says_so() -> None:
    ledger = frame("ledger")
    keys = set(zip(main_setting()["run"], main_setting()["surge"], strict=True))
    mine = ledger[[key in keys for key in zip(ledger["run"], ledger["surge"], strict=True)]]
    total = int(mine[["lost", "duplicated", "wrong"]].to_numpy().sum())
    said = re.search(r"(?:(Nothing)|([\d,]+) sentences) w.. lost, duplicated", blocks()["answer"])
    if said:
        assert total == (0 if said[1] else int(said[2].replace(",", "")))
