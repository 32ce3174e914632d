"""What the surges say: one row of measures a surge, and the tables made of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bench import stats
from bench.facts.cost import Usage
from bench.report.gather import latency
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence
from bench.report.gather.latency import PARTS, Sentences
from bench.report.say.table import ABSENT, number

# Of records that do not say.
_OPERATOR, _WORDS_PER_SENTENCE = "words", 10

METHODS = ("none", "operator", "source", "always", "scale-out", "bigger")
QUANTILES = (0.5, 0.95, 0.99, 1.0)
_QUANTILE_NAMES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
WAYS = ("local", "offloaded")


@dataclass(frozen=True)
class Conditions:
    """What surges must share to stand in one table: the load, and what the job could take."""

    workload: str
    operator: str
    words_per_sentence: int
    shape: str
    length_s: float
    batch_size: int
    linger_ms: float
    capacity_per_s: float | None
    parallelism: int

    @classmethod
    def of(cls, record: pd.Series[Any]) -> Conditions:
        """Of a `surge` record."""
        capacity, words = record["capacity_per_s"], record["words_per_sentence"]
        return cls(
            workload=str(record["workload"]),
            operator=_OPERATOR if pd.isna(record["operator"]) else str(record["operator"]),
            words_per_sentence=_WORDS_PER_SENTENCE if pd.isna(words) else int(words),
            shape=json.dumps(record["shape"], sort_keys=True),
            length_s=float(record["length_s"]),
            batch_size=int(record["batch_size"]),
            linger_ms=float(record["linger_ms"]),
            capacity_per_s=None if capacity is None or np.isnan(capacity) else float(capacity),
            parallelism=int(record["parallelism"]),
        )

    @property
    def duration_s(self) -> float:
        """Length of the burst; of the schedule, if its shape has none."""
        return float(json.loads(self.shape).get("duration", self.length_s))

    @property
    def words(self) -> str:
        """For captions: load, work and caps, as they were declared."""
        shape = json.loads(self.shape)
        if shape.get("shape") == "surge":
            base, high = shape["base"], shape["base"] * shape["factor"]
            load = f"{base:,.0f} → {high:,.0f} sentences/s for {shape['duration']:g} s"
        else:
            values = ", ".join(f"{k} {v:g}" for k, v in shape.items() if k != "shape")
            load = f"{shape.get('shape', 'shape unknown')} ({values})"
        said = [load, f"workload “{self.workload}”"]
        if self.operator != _OPERATOR:
            said.append(f"operator “{self.operator}”")
        if self.words_per_sentence != _WORDS_PER_SENTENCE:
            said.append(f"{self.words_per_sentence:,} words a sentence")
        if self.capacity_per_s:
            workers = f" × {self.parallelism} subtasks" if self.parallelism > 1 else ""
            said.append(
                f"local tokenizer capped at a declared {self.capacity_per_s:,.0f} sentences/s"
                f"{workers}, the functions not"
            )
        else:
            said.append("local tokenizer not capped")
        said.append(f"batches of {self.batch_size} or {self.linger_ms:g} ms")
        return "; ".join(said)


@dataclass(frozen=True)
class Surge:
    """One surge: its record and the records that name it."""

    record: pd.Series[Any]
    batches: pd.DataFrame
    samples: pd.DataFrame
    decisions: pd.DataFrame
    ledger: pd.Series[Any] | None
    calls: pd.Series[Any] | None

    @property
    def method(self) -> str:
        return str(self.record["method"])

    @property
    def language(self) -> str | None:
        return self.record["language"] or None

    @property
    def is_ladder(self) -> bool:
        """Whether its rate went up and down step by step."""
        return bool(self.record["shape"].get("shape") == "ladder")

    @property
    def has_edges(self) -> bool:
        """Whether its rate has a moment at which the surge starts, and one at which it ends."""
        return bool(self.record["shape"].get("shape") == "surge")

    @property
    def varied(self) -> dict[str, int] | None:
        """What a sweep varied, and its value here."""
        varied = self.record["varied"]
        return varied if isinstance(varied, dict) else None

    @cached_property
    def conditions(self) -> Conditions:
        return Conditions.of(self.record)

    @cached_property
    def window(self) -> tuple[float, float]:
        """Begin and end of the surge, ms."""
        return latency.window_ms(self.record)

    @cached_property
    def sentences(self) -> Sentences:
        """All sentences that reached the sink."""
        return latency.sentences(self.batches)

    @cached_property
    def over_time(self) -> pd.DataFrame:
        """Latency by due time; see `latency.over_time`."""
        return latency.over_time(self.sentences)

    @cached_property
    def within(self) -> Sentences:
        """The sentences due in the surge."""
        return latency.due_within(self.sentences, self.window)

    @cached_property
    def parts(self) -> dict[str, dict[str, float] | None]:
        """Mean parts of latency by way, of batches due in the surge."""
        return {
            way: latency.parts(self.batches[self.batches["way"] == way], self.window)
            for way in WAYS
        }

    @property
    def detection_ms(self) -> float | None:
        """From the surge's start to the first decision that calls the job overloaded; None if the
        load has no moment at which it starts."""
        if not self.has_edges:
            return None
        seen = self.decisions[
            self.decisions["overloaded"].astype(bool) & (self.decisions["at_ms"] >= self.window[0])
        ]
        return float(seen["at_ms"].min()) - self.window[0] if len(seen) else None

    @property
    def false_alarm(self) -> bool:
        """Whether a decision called the job overloaded before the surge began."""
        early = self.decisions["at_ms"] < self.window[0]
        return bool(self.decisions[early]["overloaded"].astype(bool).any())

    @property
    def to_zero_ms(self) -> float | None:
        """From the surge's end to the first decision after which nothing is offloaded any more;
        None if nothing was, or something to the end, or the load has no moment at which it ends."""
        at_ms, offloading = self.decisions["at_ms"], self.decisions["share"] > 0
        if not self.has_edges or not offloading.any():
            return None
        after = at_ms[at_ms > at_ms[offloading].max()]
        return float(after.min()) - self.window[1] if len(after) else None

    @cached_property
    def called(self) -> pd.DataFrame:
        """The batches due in the surge that a function was called with."""
        within = latency.batches_within(self.batches, self.window)
        return within[within["way"] != "local"]

    @cached_property
    def usage(self) -> Usage | None:
        """What is charged for the calls of the surge and for warming up; None if there were none or
        their memory is not known."""
        c = self.calls
        if c is None or pd.isna(c["memory_mb"]) or self.called.empty:
            return None
        warm_up = c[["warm_up_calls", "warm_up_billed_ms"]].astype(float).fillna(0.0)
        return Usage.of(
            len(self.called) + warm_up["warm_up_calls"],
            float(self.called["billed_ms"].sum()) + warm_up["warm_up_billed_ms"],
            float(c["memory_mb"]),
        )

    @cached_property
    def usage_as_slow(self) -> Usage | None:
        """The same if a sentence took as long in the function as the declared capacity says that it
        takes here: added to what was billed, so rather too much. None where none is declared."""
        capacity = self.conditions.capacity_per_s
        if self.usage is None or self.calls is None or capacity is None:
            return None
        slow_ms = float(self.called["count"].sum()) / capacity * 1000
        more = Usage.of(0, slow_ms, float(self.calls["memory_mb"]))
        return Usage(self.usage.requests, self.usage.gb_seconds + more.gb_seconds)

    @cached_property
    def measures(self) -> dict[str, float | None]:
        """Everything a table says of one surge."""
        found: dict[str, float | None] = {"sentences": self.within.count}
        found |= dict(zip(_QUANTILE_NAMES, self.within.quantiles(*QUANTILES), strict=True))
        for way in WAYS:
            of_way = self.within.where(self.within.offloaded == (way == "offloaded"))
            values = of_way.quantiles(*QUANTILES)
            found |= {f"{way}_{k}": v for k, v in zip(_QUANTILE_NAMES, values, strict=True)}
            means = self.parts[way]
            for part in (*PARTS, "remainder", "total"):
                found[f"{way}_{part}_ms"] = means[part] if means else None
        weight = self.within.weight
        share = float(self.within.offloaded @ weight / weight.sum()) if len(weight) else None
        found["share_offloaded"] = share
        found["detection_ms"] = self.detection_ms
        found["recovery_ms"] = latency.recovery_ms(self.sentences, self.window)
        found["excess_s"] = latency.excess_s(self.sentences, self.window)
        for source, columns in (
            (self.calls, ("calls", "cold_starts", "throttled", "timed_out", "failed", "late")),
            (self.ledger, ("expected", "delivered", "lost", "duplicated", "wrong", "out_of_order")),
        ):
            found |= {c: None if source is None else float(source[c]) for c in columns}
        in_an_hour = 3600_000 / (self.window[1] - self.window[0])
        for name, usage in (("usd_per_hour", self.usage), ("usd_as_slow", self.usage_as_slow)):
            hour = usage.scaled(in_an_hour) if usage else None
            found[f"{name}_x86_64"] = hour.usd("x86_64") if hour else None
            found[f"{name}_arm64"] = hour.usd("arm64") if hour else None
        hour = self.usage.scaled(in_an_hour) if self.usage else None
        found["free_tier_per_hour"] = hour.free_tier_share() if hour else None
        found["subtasks"] = float(self.batches["subtask"].nunique())
        return found


@dataclass(frozen=True)
class Arm:
    """The repetitions of one method under the same conditions."""

    label: str
    surges: Sequence[Surge]

    @property
    def method(self) -> str:
        return self.surges[0].method

    @property
    def language(self) -> str | None:
        return self.surges[0].language

    @property
    def is_ordered(self) -> bool:
        return bool(self.surges[0].record["ordered"])

    def values(self, measure: str) -> list[float]:
        """A measure of every repetition that has it."""
        found = (s.measures[measure] for s in self.surges)
        return [x for x in found if x is not None]

    def value(self, measure: str) -> float | None:
        """The median over repetitions."""
        values = self.values(measure)
        return float(np.median(values)) if values else None

    def text(self, measure: str, form: Callable[[float | None], str] = number) -> str:
        """The median over repetitions and, of several, the lowest and highest."""
        values = self.values(measure)
        if len(values) < 2:
            return form(self.value(measure))
        low, high = form(min(values)), form(max(values))
        return form(self.value(measure)) + (f" ({low}–{high})" if low != high else "")

    def total(self, measure: str) -> str:
        """The sum over repetitions."""
        values = self.values(measure)
        return f"{sum(values):,.0f}" if values else ABSENT


@dataclass(frozen=True)
class Setting:
    """All arms that ran under the same conditions: what may stand in one table."""

    conditions: Conditions
    arms: Sequence[Arm]

    @property
    def baseline(self) -> Arm | None:
        """Without offload."""
        return next((a for a in self.arms if a.method == "none"), None)

    @property
    def typical(self) -> list[Arm]:
        """The first arm of each method and language: with cold environments, order not kept."""
        first: dict[tuple[str, str | None], Arm] = {}
        for a in self.arms:
            first.setdefault((a.method, a.language), a)
        return list(first.values())

    def workers(self, arm: Arm) -> float | None:
        """Local tokenizers of the declared capacity that an arm has in the surge; None where none
        is declared. A bigger one counts for as many as it is worth."""
        declared, own = self.conditions.capacity_per_s, arm.surges[0].conditions.capacity_per_s
        subtasks = arm.value("subtasks")
        if declared is None or own is None or subtasks is None:
            return None
        return subtasks * own / declared

    @property
    def repetitions(self) -> str:
        """How many surges an arm has, in words."""
        counts = pd.Series([len(a.surges) for a in self.arms])
        low, high = int(counts.min()), int(counts.max())
        many = f"{low}" if low == high else f"{low} to {high}"
        return f"{many} surge{'s' if high > 1 else ''} a column" + (
            "; median (lowest–highest)" if high > 1 else ""
        )


@lru_cache(maxsize=1)
def surges(e: Evidence) -> tuple[Surge, ...]:
    """All surges of the evidence that have batches, in the order they were run."""
    by = {
        kind: dict(list(e.frames[kind].groupby("surge", sort=False)))
        for kind in ("batch", "sample", "decision", "ledger", "lambda")
    }

    def one(kind: str, name: str) -> pd.Series[Any] | None:
        return by[kind][name].iloc[-1] if name in by[kind] else None

    return tuple(
        Surge(
            record,
            by["batch"][record["surge"]],
            by["sample"].get(record["surge"], e.frames["sample"].iloc[:0]),
            by["decision"].get(record["surge"], e.frames["decision"].iloc[:0]),
            one("ledger", record["surge"]),
            one("lambda", record["surge"]),
        )
        for _, record in e.frames["surge"].iterrows()
        if record["surge"] in by["batch"]
    )


def settings(found: Sequence[Surge]) -> list[Setting]:
    """Surges by conditions and, within, by method, language and how they ran; most arms first.

    Those of a ladder of rates or of a sweep have tables of their own and are left out.

    A job made bigger or scaled out has another capacity by nature: it joins the setting that is
    otherwise its own, if there is just one.
    """
    groups: dict[Conditions, list[Surge]] = {}
    found = [s for s in found if not (s.is_ladder or s.varied)]
    for s in found:
        if _sized_as_others(s):
            groups.setdefault(s.conditions, []).append(s)
    for s in found:
        if not _sized_as_others(s):
            homes = [c for c in groups if _load(c) == _load(s.conditions)]
            groups.setdefault(homes[0] if len(homes) == 1 else s.conditions, []).append(s)
    name = _naming(found)
    made = [Setting(c, _arms(group, name)) for c, group in groups.items()]
    return sorted(made, key=lambda s: (-len(s.arms), -s.conditions.duration_s))


def _sized_as_others(s: Surge) -> bool:
    return not s.method.startswith(("bigger", "scale-out"))


def _load(c: Conditions) -> tuple[Any, ...]:
    return (*_work(c), c.shape, c.length_s, c.batch_size, c.linger_ms)


def _work(c: Conditions) -> tuple[Any, ...]:
    return (c.workload, c.operator, c.words_per_sentence)


def _naming(found: Sequence[Surge]) -> Callable[[Surge], str]:
    """How arms are called: by what differs among the surges, so the same in all their settings."""
    calling = [s for s in found if s.language]
    fields = ("ordered", "warm", "warms_up", "expected_burst_s", "max_in_flight")
    varying = [f for f in fields if len({_comparable(s.record[f]) for s in calling}) > 1]
    if len({s.record["policy"] for s in calling if s.record["policy"]}) > 1:  # "always" has none
        varying.append("policy")
    several_methods = len({s.method for s in calling}) > 1

    def name(s: Surge) -> str:
        extra = [_word(field, s.record[field]) for field in varying if s.language]
        return ", ".join([_label(s, several_methods), *filter(None, extra)])

    return name


def _arms(group: Sequence[Surge], name: Callable[[Surge], str]) -> list[Arm]:
    arms: dict[tuple[int, int, str], list[Surge]] = {}
    for s in group:
        key = (_rank(s.method), LANGUAGES.index(s.language) if s.language else -1, name(s))
        arms.setdefault(key, []).append(s)
    return [Arm(label, ss) for (_, _, label), ss in sorted(arms.items(), key=lambda x: x[0])]


def _rank(method: str) -> int:
    return next((i for i, m in enumerate(METHODS) if method.startswith(m)), len(METHODS))


def _label(s: Surge, name_method: bool) -> str:
    if s.language is None:
        return _NOT_CALLING.get(s.method, s.method)
    language = NAMES[s.language]
    return f"{s.method}, {language}" if name_method else language


_NOT_CALLING = {
    "none": "no offload",
    "scale-out": "scale out, free slots",
    "scale-out-new": "scale out, new process",
    "bigger": "bigger from the start",
}


def _comparable(value: Any) -> Any:
    """A missing value is the same as none."""
    return None if pd.isna(value) or not value else value


def _word(field: str, value: Any) -> str:
    value = _comparable(value)
    if field == "ordered":
        return "ordered" if value else ""
    if field == "warm":
        return "warm" if value else "cold"
    if field == "warms_up":
        return "warmed up" if value else ""
    if field == "expected_burst_s":
        return f"{value:g} s expected" if value else ""
    if field == "max_in_flight":
        return f"{value} in flight"
    return str(value or "")


def ratio_to_baseline(setting: Setting, arm: Arm, measure: str = "p99_ms") -> stats.Estimate | None:
    """Baseline ÷ arm of a measure, over the repetitions of each; None without both."""
    base = setting.baseline
    if base is None or base is arm or not base.values(measure) or not arm.values(measure):
        return None
    return stats.ratio(base.values(measure), arm.values(measure))


def measures(arms: Sequence[Arm]) -> pd.DataFrame:
    """One row a surge, everything measured."""
    return pd.DataFrame(
        [
            {
                "surge": s.record["surge"],
                "arm": arm.label,
                "method": s.method,
                "language": s.language,
                "warm": s.record["warm"],
                "ordered": s.record["ordered"],
                "repetition": s.record["repetition"],
            }
            | s.measures
            for arm in arms
            for s in arm.surges
        ]
    )


def bursts(found: Sequence[Setting]) -> list[list[Setting]]:
    """Settings that differ in nothing but the length of the burst, shortest burst first."""
    groups: dict[tuple[Any, ...], list[Setting]] = {}
    for s in found:
        shape = {k: v for k, v in json.loads(s.conditions.shape).items() if k != "duration"}
        c = s.conditions
        key = (*_work(c), json.dumps(shape), c.batch_size, c.capacity_per_s, c.parallelism)
        groups.setdefault(key, []).append(s)
    several = [g for g in groups.values() if len({s.conditions.duration_s for s in g}) > 1]
    return [sorted(g, key=lambda s: s.conditions.duration_s) for g in several]


def burst_labels(group: Sequence[Setting]) -> list[str]:
    """The arms that were measured at several lengths, in their order."""
    labels = Counter(a.label for s in group for a in s.arms)
    return [label for label, n in labels.items() if n > 1]


@dataclass(frozen=True)
class Duel:
    """Offloading against scaling out, at one length of the burst.

    Attributes:
        offloaded_ms: the lowest p99 of offloading.
        scaled_ms: the p99 of each way of scaling out.
        normal_after_ms: from the surge's start until latency was normal again, of the quickest way
            of scaling out; None if it never was.
    """

    duration_s: float
    offloaded_ms: float
    scaled_ms: Mapping[str, float]
    normal_after_ms: float | None

    @property
    def is_lost(self) -> bool:
        """Whether scaling out has the lower p99."""
        return min(self.scaled_ms.values()) < self.offloaded_ms


def against_scaling_out(found: Sequence[Setting]) -> list[Duel]:
    """Where both were measured; shortest burst first."""
    duels = []
    for s in found:
        p99 = [(a, v) for a in s.arms if (v := a.value("p99_ms")) is not None]
        offloaded = [v for a, v in p99 if a.method == "operator"]
        scaled = [(a, v) for a, v in p99 if a.method.startswith("scale-out")]
        if offloaded and scaled:
            normal = [x for a, _ in scaled if (x := a.value("recovery_ms")) is not None]
            duels.append(
                Duel(
                    s.conditions.duration_s,
                    min(offloaded),
                    {a.label: v for a, v in scaled},
                    min(normal, default=None),
                )
            )
    return sorted(duels, key=lambda x: x.duration_s)
