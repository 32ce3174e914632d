"""The surges and what was measured of each; which of them may stand in one table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from bench import stats
from bench.facts.machine import NOT_OURS
from bench.report.gather import latency
from bench.report.gather.bill import Bill
from bench.report.gather.evidence import LANGUAGES, NAMES, Evidence, code_of
from bench.report.gather.latency import PARTS, Sentences

METHODS = ("none", "operator", "source", "async-io", "always", "scale-out", "bigger")
QUANTILES = ((0.95, "p95_ms"), (0.99, "p99_ms"))
WAYS = ("local", "offloaded")
_CALLS = ("calls", "cold_starts", "throttled", "timed_out", "failed", "late")
_LEDGER = ("expected", "delivered", "lost", "duplicated", "wrong", "out_of_order")

# Up to which load, in multiples of the capacity, an overload is none; and how much waits where the
# worker is behind, in seconds of its work.
_CALM_LOAD, _BEHIND_S = 0.9, 0.5


@dataclass(frozen=True)
class Conditions:
    """What surges must share to stand in one table: the load, what the job could take, and the
    code. Rates are sentences/s; `base` and `factor` say them in multiples of the capacity."""

    workload: str
    operator: str
    words_per_sentence: int | None
    shape: str
    length_s: float
    base: float | None
    factor: float | None
    batch_size: int
    linger_ms: float
    call_timeout_ms: float | None
    scale_out_as: str | None
    capacity_per_s: float | None
    worker_cpu: float | None
    worker_limit: str | None
    parallelism: int
    code: str

    @classmethod
    def of(cls, record: pd.Series[Any], code: str = "") -> Conditions:
        """Of a `surge` record, made by `code`."""

        def number(name: str) -> float | None:
            value = record[name]
            return None if pd.isna(value) else float(value)

        def text(name: str) -> str | None:
            value = record[name]
            return None if pd.isna(value) or not value else str(value)

        words = number("words_per_sentence")
        return cls(
            workload=str(record["workload"]),
            operator=text("operator") or "words",
            words_per_sentence=None if words is None else int(words),
            shape=json.dumps(record["shape"], sort_keys=True),
            length_s=float(record["length_s"]),
            base=number("base"),
            factor=number("factor"),
            batch_size=int(record["batch_size"]),
            linger_ms=float(record["linger_ms"]),
            call_timeout_ms=number("call_timeout_ms"),
            scale_out_as=text("scale_out_as"),
            capacity_per_s=number("capacity_per_s"),
            worker_cpu=number("worker_cpu"),
            worker_limit=text("worker_limit"),
            parallelism=int(record["parallelism"]),
            code=code,
        )

    @property
    def load(self) -> tuple[Any, ...]:
        """What is offered and to whom, without what the workers may take."""
        return (
            self.workload, self.operator, self.words_per_sentence, self.shape,
            self.length_s, self.batch_size, self.linger_ms, self.call_timeout_ms, self.code,
        )  # fmt: skip

    @property
    def rates_per_s(self) -> tuple[float, float] | None:
        """Rate of calm and rate of the surge; None of other shapes."""
        shape = json.loads(self.shape)
        if shape.get("shape") != "surge":
            return None
        return float(shape["base"]), float(shape["base"] * shape["factor"])

    @property
    def duration_s(self) -> float:
        """Length of the burst; of the schedule, if its shape has none."""
        return float(json.loads(self.shape).get("duration", self.length_s))

    @property
    def words(self) -> str:
        """For captions: load, worker and work, the worker's limit by name."""
        shape = json.loads(self.shape)
        if rates := self.rates_per_s:
            load = f"{rates[0]:,.0f} → {rates[1]:,.0f} sentences/s for {shape['duration']:g} s"
            if self.base is not None and self.factor is not None:
                load += f" ({self.base:g} → {self.base * self.factor:g} × the measured capacity)"
        else:
            values = ", ".join(
                f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v}"
                for k, v in shape.items()
                if k != "shape"
            )
            load = f"{shape.get('shape', 'shape unknown')} ({values})"
        said = [load, self.work, self.worker]
        said.append(f"batches of {self.batch_size} or {self.linger_ms:g} ms")
        if self.scale_out_as:
            said.append(f"scaling out as {self.scale_out_as} (its times emulated)")
        return "; ".join(said)

    @property
    def work(self) -> str:
        """What is done to what."""
        said = f"workload “{self.workload}”; operator “{self.operator}”"
        words = self.words_per_sentence
        return f"{said}, {words:,} words a sentence" if words else said

    @property
    def worker(self) -> str:
        """Who tokenizes here, what limits it, and what it was measured to do."""
        said = (
            f"local worker held to {self.worker_cpu:g} CPU by {self.worker_limit}"
            if self.worker_cpu is not None
            else f"worker's CPU: {NOT_OURS}"
            if self.worker_limit == NOT_OURS
            else "local worker not limited"
        )
        if self.capacity_per_s:
            said += f", measured capacity {self.capacity_per_s:,.0f} sentences/s"
        if self.parallelism > 1:
            said += f", {self.parallelism} subtasks"
        return said


@dataclass(frozen=True, eq=False)
class Surge:
    """One surge: its record and the records that name it.

    Attributes:
        kin: the surges under the same conditions, this one among them, from which one normal
            latency is taken; only itself as long as nobody has gathered them.
    """

    record: pd.Series[Any]
    batches: pd.DataFrame
    samples: pd.DataFrame
    decisions: pd.DataFrame
    invocations: pd.DataFrame
    cpu: pd.DataFrame
    ledger: pd.Series[Any] | None
    calls: pd.Series[Any] | None
    code: str = ""
    kin: list[Surge] = field(default_factory=list, repr=False)

    @property
    def method(self) -> str:
        return str(self.record["method"])

    @property
    def language(self) -> str | None:
        return self.record["language"] or None

    @property
    def run(self) -> str:
        return str(self.record["run"])

    @property
    def turn(self) -> tuple[str, int]:
        """What surges that took turns share: the run and the repetition."""
        return self.run, int(self.record["repetition"])

    @property
    def is_ladder(self) -> bool:
        """Whether its rate went up and down step by step."""
        return bool(self.record["shape"].get("shape") == "ladder")

    @property
    def has_edges(self) -> bool:
        """Whether its rate has a moment at which the surge starts, and one at which it ends."""
        shape = self.record["shape"]
        return bool(shape.get("shape") == "surge" and shape["factor"] != 1)

    @property
    def varied(self) -> dict[str, int] | None:
        """What a sweep varied, and its value here."""
        varied = self.record["varied"]
        return varied if isinstance(varied, dict) else None

    @property
    def is_cold(self) -> bool:
        """Whether no environment was up before the start."""
        return self.language is not None and not _comparable(self.record["warm"])

    @cached_property
    def conditions(self) -> Conditions:
        return Conditions.of(self.record, self.code)

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
    def own_normal_ms(self) -> float | None:
        """Latency before this surge."""
        return latency.normal_ms(self.sentences, self.window)

    @property
    def normal_ms(self) -> float | None:
        """The latency of calm under these conditions: the median over all surges under them."""
        found = [x for s in self.kin or [self] if (x := s.own_normal_ms) is not None]
        return float(np.median(found)) if found else None

    @cached_property
    def parts(self) -> dict[str, dict[str, float] | None]:
        """Mean parts of latency by way, of batches due in the surge."""
        return {
            way: latency.parts(self.batches[self.batches["way"] == way], self.window)
            for way in WAYS
        }

    @property
    def _calm_ms(self) -> float:
        """Until when nothing is too much: until the surge; all along, if there is none and the load
        leaves the worker some air."""
        if self.has_edges or self.record["shape"].get("shape") != "surge":
            return self.window[0]
        is_calm = (self.conditions.base or 1.0) <= _CALM_LOAD
        return self.window[1] if is_calm else 0.0

    @property
    def _early(self) -> pd.DataFrame:
        """The decisions while nothing was too much."""
        return self.decisions[self.decisions["at_ms"] < self._calm_ms]

    @property
    def detection_ms(self) -> float | None:
        """From the surge's start to the moment of the first decision that calls the job overloaded;
        infinite if somebody decided and never did; None if nobody decided, the load has no moment
        at which it starts or is one that the worker can just do, the job was never to be
        overloaded, or was called so already."""
        if not self.has_edges or self.decisions.empty or self.method in ("always", "bigger"):
            return None
        base, factor = self.conditions.base, self.conditions.factor
        if base is not None and factor is not None and base * factor <= 1:
            return None
        if len(self._early) and self._early["overloaded"].iloc[-1]:
            return None
        seen = self.decisions[
            self.decisions["overloaded"].astype(bool) & (self.decisions["at_ms"] >= self.window[0])
        ]
        return float(seen["at_ms"].min()) - self.window[0] if len(seen) else np.inf

    @property
    def _alarms_ms(self) -> list[float]:
        """When, while nothing was too much, decisions went over to calling the job overloaded."""
        said = self._early["overloaded"].astype(bool).to_numpy()
        began = said & ~np.concatenate([[False], said[:-1]]) if len(said) else said
        return [float(at_ms) for at_ms in self._early["at_ms"][began]]

    @property
    def false_alarms(self) -> int:
        """How often that was."""
        return len(self._alarms_ms)

    @property
    def false_alarms_behind(self) -> int | None:
        """In how many of those so much waited that the worker alone would have taken half a second
        for it: it had been slower than usual for a while. None where nobody knows."""
        capacity = self.conditions.capacity_per_s
        if capacity is None or "backlog" not in self.samples:
            return None
        backlog = self.samples.set_index("at_ms")["backlog"]
        least = _BEHIND_S * capacity
        return sum(bool(backlog.get(at_ms, 0.0) >= least) for at_ms in self._alarms_ms)

    @property
    def calm_hours(self) -> float:
        """For how long somebody could have raised a false alarm."""
        return self._calm_ms / 3_600_000 if len(self.decisions) else 0.0

    @property
    def to_zero_ms(self) -> float | None:
        """From the surge's end to the first decision after which nothing is offloaded any more;
        infinite if something was to the end; None if nothing was at all, or the load has no moment
        at which it ends."""
        at_ms, offloading = self.decisions["at_ms"], self.decisions["share"] > 0
        if not self.has_edges or not offloading.any():
            return None
        after = at_ms[at_ms > at_ms[offloading].max()]
        return float(after.min()) - self.window[1] if len(after) else np.inf

    @cached_property
    def bill(self) -> Bill | None:
        """What the calls from the surge's start on are charged; None if there were none."""
        if self.calls is None and self.invocations.empty:
            return None
        if len(self.invocations):
            return Bill.of_invocations(self.invocations, self.calls, self.window[0])
        return Bill.of_batches(self.batches, self.calls, self.window[0])

    @cached_property
    def counts(self) -> dict[str, float | None]:
        """The calls, by what came of them; None each where no function is called."""
        found = self.invocations
        if len(found):
            failure = found["failure"].fillna("")
            throttled = failure.str.contains("TooManyRequests|Throttl|429", regex=True)
            timed_out = failure.str.contains("TimedOut|Timeout|timed out", regex=True)
            return {
                "calls": float(len(found)),
                "cold_starts": float(found["init_ms"].notna().sum()),
                "throttled": float(throttled.sum()),
                "timed_out": float(timed_out.sum()),
                "failed": float(((found["outcome"] == "failed") & ~throttled & ~timed_out).sum()),
                "late": float((found["outcome"] == "late").sum()),
            }
        if self.calls is None:
            return dict.fromkeys(_CALLS)
        return {c: float(self.calls[c]) for c in _CALLS}

    @property
    def cold_in_surge(self) -> float | None:
        """Cold starts that a batch due in the surge had to wait for; None without calls."""
        if self.language is None:
            return None
        due = latency.batches_within(self.batches, self.window)
        waited = (due["bring_up_ms"].fillna(0) > 0) | due["init_ms"].notna()
        keys = due.loc[waited, ["subtask", "call"]]
        known = keys["call"].notna()
        return float(len(keys[known].drop_duplicates()) + int((~known).sum()))

    @cached_property
    def measures(self) -> dict[str, float | None]:
        """Everything a table says of one surge; infinite is what did not come about."""
        within = self.within
        found: dict[str, float | None] = {"sentences": within.count, "batches": within.batches}
        found |= _quantiles(within)
        for way in WAYS:
            of_way = within.where(within.offloaded == (way == "offloaded"))
            found |= {f"{way}_{k}": v for k, v in _quantiles(of_way).items()}
            means = self.parts[way]
            for part in (*PARTS, "remainder", "total"):
                found[f"{way}_{part}_ms"] = means[part] if means else None
        weight = within.weight
        share = float(within.offloaded @ weight / weight.sum()) if len(weight) else None
        found["share_offloaded"] = share
        found["detection_ms"] = self.detection_ms
        normal = self.normal_ms
        found["normal_ms"] = normal
        for name, measure in (("recovery_ms", latency.recovery_ms), ("excess_s", latency.excess_s)):
            found[name] = (
                measure(self.sentences, self.window, normal)
                if normal is not None and self.has_edges
                else None
            )
        found["watched_ms"] = latency.watched_ms(self.sentences, self.window)
        found |= self.counts
        found["cold_in_surge"] = self.cold_in_surge
        found |= {c: None if self.ledger is None else float(self.ledger[c]) for c in _LEDGER}
        bill, seconds = self.bill, (self.window[1] - self.window[0]) / 1000
        for architecture in ("x86_64", "arm64"):
            usd = bill.usd(architecture) if bill else None
            hour = bill.per_hour(seconds).usd(architecture) if bill else None
            found[f"usd_per_surge_{architecture}"] = usd
            found[f"usd_per_hour_{architecture}"] = hour
        found["usd_at_least"] = None if bill is None else float(bill.is_at_least)
        found["subtasks"] = float(self.batches["subtask"].nunique())
        return found


def _quantiles(s: Sentences) -> dict[str, float | None]:
    middle, most = s.quantiles(0.5, 1.0)
    return {"p50_ms": middle} | {name: s.tail(q) for q, name in QUANTILES} | {"max_ms": most}


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

    @property
    def is_cold(self) -> bool:
        return self.surges[0].is_cold

    def values(self, measure: str) -> list[float]:
        """A measure of every repetition that has it; infinite where it did not come about."""
        found = (s.measures[measure] for s in self.surges)
        return [x for x in found if x is not None]

    def value(self, measure: str) -> float | None:
        """The median over repetitions."""
        values = self.values(measure)
        return float(np.median(values)) if values else None

    def by_turn(self, measure: str) -> pd.Series[float]:
        """A measure by run and repetition (the median, should one hold several)."""
        rows = [(*s.turn, value) for s in self.surges if (value := s.measures[measure]) is not None]
        frame = pd.DataFrame(rows, columns=["run", "repetition", "value"])
        frame = frame.astype({"value": float})
        return frame.groupby(["run", "repetition"])["value"].median()


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

    @property
    def runs(self) -> list[str]:
        """The runs that the surges are from."""
        return sorted({s.run for a in self.arms for s in a.surges})

    @property
    def repetitions(self) -> str:
        """How many surges an arm has, in words."""
        counts = [len(a.surges) for a in self.arms]
        low, high = min(counts), max(counts)
        many = f"{low}" if low == high else f"{low} to {high}"
        return f"{many} surge{'s' if high > 1 else ''} a column" + (
            "; median (lowest–highest)" if high > 1 else ""
        )

    def ratio(self, a: Arm, b: Arm, measure: str = "p99_ms") -> stats.Comparison | None:
        """b ÷ a of a measure, by the repetitions in which both took turns; None without any."""
        pairs = pd.concat(
            [a.by_turn(measure).rename("a"), b.by_turn(measure).rename("b")], axis=1
        ).dropna()
        pairs = pairs[np.isfinite(pairs).all(axis=1) & (pairs > 0).all(axis=1)]
        if a is b or pairs.empty:
            return None
        runs = list(pairs.index.get_level_values(0))
        return stats.compare((pairs["b"] / pairs["a"]).to_numpy(), runs, stats.MIN_SURGES)

    def to_baseline(self, arm: Arm, measure: str = "p99_ms") -> stats.Comparison | None:
        """Baseline ÷ arm; None without both in the same repetition."""
        return self.ratio(arm, self.baseline, measure) if self.baseline else None


@lru_cache(maxsize=1)
def surges(e: Evidence) -> tuple[Surge, ...]:
    """All surges of the evidence that have batches, in the order they were run; those in which
    something was broken on purpose, and soaks, have tables of their own and are left out."""
    kinds = ("batch", "sample", "decision", "invocation", "cpu", "ledger", "lambda")
    by = {kind: _by_surge(e.frames[kind]) for kind in kinds}
    code = {run["run"]: code_of(run) for run in e.runs}
    apart = {*e.frames["fault"]["surge"], *e.frames["soak"]["surge"]}

    def one(kind: str, name: str) -> pd.Series[Any] | None:
        return by[kind][name].iloc[-1] if name in by[kind] else None

    def many(kind: str, name: str) -> pd.DataFrame:
        return by[kind].get(name, e.frames[kind].iloc[:0])

    return tuple(
        Surge(
            record,
            by["batch"][name],
            many("sample", name),
            many("decision", name),
            many("invocation", name),
            many("cpu", name),
            one("ledger", name),
            one("lambda", name),
            code[record["run"]],
        )
        for _, record in e.frames["surge"].iterrows()
        if (name := record["surge"]) in by["batch"] and name not in apart
    )


def _by_surge(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The records of each surge. Where they lie together, which they do unless surges ran at the
    same time, that is a view: a million records are not held twice."""
    codes, names = pd.factorize(frame["surge"])
    starts = [0, *(np.flatnonzero(np.diff(codes)) + 1), len(codes)]
    if len(starts) - 1 > len(names):
        return {str(name): found for name, found in frame.groupby("surge", sort=False)}
    return {name: frame.iloc[a:b] for name, a, b in zip(names, starts, starts[1:], strict=False)}


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
            homes = [c for c in groups if c.load == s.conditions.load]
            groups.setdefault(homes[0] if len(homes) == 1 else s.conditions, []).append(s)
    name = _naming(found)
    for group in groups.values():
        for s in group:
            s.kin[:] = group
    made = [Setting(c, _arms(group, name)) for c, group in groups.items()]
    return sorted(made, key=lambda s: (-len(s.arms), -_surges_of(s), -s.conditions.duration_s))


def _surges_of(s: Setting) -> int:
    return sum(len(a.surges) for a in s.arms)


def _sized_as_others(s: Surge) -> bool:
    return not s.method.startswith(("bigger", "scale-out"))


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
        language = LANGUAGES.index(s.language) if s.language in LANGUAGES else -1
        arms.setdefault((_rank(s.method), language, name(s)), []).append(s)
    return [Arm(label, ss) for (_, _, label), ss in sorted(arms.items(), key=lambda x: x[0])]


def _rank(method: str) -> int:
    return next((i for i, m in enumerate(METHODS) if method.startswith(m)), len(METHODS))


def _label(s: Surge, name_method: bool) -> str:
    if s.language is None:
        return _NOT_CALLING.get(s.method, s.method)
    language = NAMES.get(s.language, s.language)
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
    """Settings that differ in nothing but the length of the burst, shortest burst first; each row
    of them compares only what is of one setting."""
    groups: dict[tuple[Any, ...], list[Setting]] = {}
    for s in found:
        c = s.conditions
        shape = {k: v for k, v in json.loads(c.shape).items() if k != "duration"}
        # in multiples of the capacity, which each run measures anew
        rates = (c.base, c.factor) if c.base is not None else (json.dumps(shape), c.capacity_per_s)
        key = (
            c.workload, c.operator, c.words_per_sentence, rates, shape.get("shape"),
            c.batch_size, c.worker_cpu, c.worker_limit, c.parallelism, c.code,
        )  # fmt: skip
        groups.setdefault(key, []).append(s)
    several = [g for g in groups.values() if len({s.conditions.duration_s for s in g}) > 1]
    return [sorted(g, key=lambda s: s.conditions.duration_s) for g in several]


def burst_labels(group: Sequence[Setting]) -> list[str]:
    """The arms that were measured at several lengths, in their order."""
    labels = Counter(a.label for s in group for a in s.arms)
    return [label for label, n in labels.items() if n > 1]


@dataclass(frozen=True)
class Duel:
    """Offloading against one way of scaling out, at one length of the burst, where both took turns.

    Attributes:
        ratio: p99 of scaling out ÷ p99 of offloading, in the language that has the lowest; None
            where fewer batches than a p99 needs are due in the burst.
        normal_after_ms: from the surge's start until latency was normal again under this way of
            scaling out, each repetition; infinite where it never was.
    """

    duration_s: float
    way: str
    offloaded: str
    ratio: stats.Comparison | None
    offloaded_ms: float | None
    scaled_ms: float | None
    normal_after_ms: Sequence[float]


def duels(found: Sequence[Setting]) -> list[Duel]:
    """Where both were measured, each way of scaling out by itself; shortest burst first."""
    made = []
    for s in found:
        offloading = [a for a in s.arms if a.method == "operator" and not a.is_ordered]
        for way in (a for a in s.arms if a.method.startswith("scale-out")):
            known = [(v, a) for a in offloading if (v := a.value("p99_ms")) is not None]
            best = min(known, key=lambda x: x[0])[1] if known else None
            made.append(
                Duel(
                    s.conditions.duration_s,
                    way.label,
                    best.label if best else "",
                    s.ratio(best, way) if best else None,
                    best.value("p99_ms") if best else None,
                    way.value("p99_ms"),
                    way.values("recovery_ms"),
                )
            ) if offloading else None
    return sorted(made, key=lambda x: (x.way, x.duration_s))
