"""Overloaded? Reads the signs in differenced counters, with hysteresis. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

from bench.steering.policy.model import Sample

# One poll proves nothing: a garbage collection or two batches at once look like a surge in it.
_POLLS_TO_START = 2
# Leaving takes longer than entering: offloading a second too long costs some calls, stopping too
# early brings the queue back. Who has to come back so soon left too early: be patient then.
_POLLS_TO_STOP, _POLLS_WHEN_WAVERING, _SOON_MS = 6, 40, 20_000.0
# Between these two loads the verdict stays what it was; a smaller overload shows as a backlog.
_TOO_MUCH, _LITTLE_ENOUGH = 1.25, 0.95
# A schedule that asks for so much is no noise: one poll proves that.
_FAR_TOO_MUCH = 1.5
_BUSY = 0.9
_SOURCE_BLOCKED = 0.3
_BEHIND_S, _CAUGHT_UP_S = 0.5, 0.25
# The capacity is averaged over 5 s, the lag over 1 s: weights of the newest poll.
_CAPACITY_WEIGHT, _LAG_WEIGHT = 0.05, 0.25
# Polls that the demand is averaged over: to leave, and to enter. What is emitted needs two polls:
# its counters are taken anew every 200 ms, so that a poll every 250 ms counts too little and too
# much in turn.
_STEADY_POLLS, _SCHEDULE_POLLS, _EMITTED_POLLS = 8, 1, 2
_THROUGHPUT_POLLS = 4
# Before so many polls an average is an accident.
_POLLS_TO_LEARN = 4
# A source that is blocked all the time says nothing about what it would send.
_MOST_BLOCKED = 0.9


@dataclass(frozen=True)
class Signs:
    """What has been seen so far, and the verdict.

    Attributes:
        demand_per_s: sentences/s that want to be processed: the schedule's rate, or what the source
            would emit if it were not blocked.
        steady_demand_per_s: its mean over the last seconds.
        capacity_per_s: what the tokenizer does when it is busy all the time; None until learned.
        throughput_per_s: sentences/s through the tokenizer, local and offloaded; a mean, too.
        behind: sentences waiting beyond those that always are on their way.
        overloaded: the verdict.
        since_ms: since when it has been so; None if it is not.
    """

    demand_per_s: float = 0.0
    steady_demand_per_s: float = 0.0
    capacity_per_s: float | None = None
    throughput_per_s: float = 0.0
    behind: float = 0.0
    overloaded: bool = False
    since_ms: float | None = None
    _demands: tuple[float, ...] = ()
    _throughputs: tuple[float, ...] = ()
    _processed: float = 0.0
    _busy: float = 0.0
    _learned: int = 0
    _lag_s: float | None = None
    _hot_polls: int = 0
    _cool_polls: int = 0
    _patience: int = _POLLS_TO_STOP
    _left_ms: float | None = None

    @property
    def load(self) -> float | None:
        """Demand in units of the capacity."""
        return self.demand_per_s / self.capacity_per_s if self.capacity_per_s else None

    @property
    def behind_s(self) -> float:
        """What is waiting, in seconds of local work; 0 while the capacity is unknown."""
        return self.behind / self.capacity_per_s if self.capacity_per_s else 0.0

    @property
    def is_behind(self) -> bool:
        """Whether more is waiting than a pause or a full batch explains."""
        return self.behind_s > _BEHIND_S


def look(before: Signs, sample: Sample, share: float) -> Signs:
    """Take in a sample; `share` is what has been offloaded since the one before."""
    demand = _demand(sample)
    if demand is None:
        return before
    recent = _EMITTED_POLLS if sample.offered_per_s is None else _SCHEDULE_POLLS
    demands = (*before._demands, demand)[-_STEADY_POLLS:]
    throughputs = (*before._throughputs, sample.processed_per_s or 0.0)[-_THROUGHPUT_POLLS:]
    signs = replace(
        before,
        demand_per_s=fmean(demands[-recent:]),
        steady_demand_per_s=fmean(demands),
        throughput_per_s=fmean(throughputs),
        _demands=demands,
        _throughputs=throughputs,
    )
    signs = _learn_capacity(signs, sample, share)
    signs = _measure_backlog(signs, sample)
    return _judge(signs, sample)


def _average(average: float, value: float, weight: float) -> float:
    return average + weight * (value - average)


def _demand(sample: Sample) -> float | None:
    if sample.offered_per_s is not None:
        return sample.offered_per_s
    if sample.emitted_per_s is None:
        return None
    blocked = min(sample.source_backpressured or 0.0, _MOST_BLOCKED)
    return sample.emitted_per_s / (1 - blocked)


def _learn_capacity(signs: Signs, sample: Sample, share: float) -> Signs:
    """Records per useful second (DS2, OSDI 2018): the ratio of two averages, since records come in
    whole batches. While sentences are offloaded, they pass without costing useful time: learn
    nothing then."""
    processed, busy = sample.processed_per_s, sample.tokenizer_busy
    if share > 0 or not processed or not busy:
        return signs
    # A mean at first, so that the very first poll does not weigh more than the next ones.
    weight = max(_CAPACITY_WEIGHT, 1 / (signs._learned + 1))
    signs = replace(
        signs,
        _processed=_average(signs._processed, processed, weight),
        _busy=_average(signs._busy, busy, weight),
        _learned=signs._learned + 1,
    )
    if signs._learned < _POLLS_TO_LEARN:
        return signs
    return replace(signs, capacity_per_s=signs._processed / signs._busy)


def _measure_backlog(signs: Signs, sample: Sample) -> Signs:
    """Some sentences are always due and not yet counted: in an open batch, or counted since the
    metrics were taken. In health that is a certain time's worth, learned here and left out."""
    if sample.backlog is None:
        return signs
    now_s = sample.backlog / signs.demand_per_s if signs.demand_per_s > 0 else 0.0
    lag_s = signs._lag_s
    if lag_s is None:
        lag_s = min(now_s, _BEHIND_S)
    elif (sample.tokenizer_busy or 0.0) < _BUSY and not signs.overloaded:
        lag_s = min(_average(lag_s, now_s, _LAG_WEIGHT), 2 * _BEHIND_S)
    behind = max(0.0, sample.backlog - lag_s * signs.demand_per_s)
    return replace(signs, _lag_s=lag_s, behind=behind)


def _judge(signs: Signs, sample: Sample) -> Signs:
    if signs.overloaded:
        cool = signs._cool_polls + 1 if _is_cool(signs, sample) else 0
        if cool < signs._patience:
            return replace(signs, _cool_polls=cool)
        return replace(signs, overloaded=False, since_ms=None, _left_ms=sample.at_ms, _cool_polls=0)
    certain = sample.offered_per_s is not None and (signs.load or 0.0) > _FAR_TOO_MUCH
    weight = _POLLS_TO_START if certain else 1
    hot = signs._hot_polls + weight if _is_hot(signs, sample) else 0
    if hot < _POLLS_TO_START:
        return replace(signs, _hot_polls=hot)
    soon = signs._left_ms is not None and sample.at_ms - signs._left_ms < _SOON_MS
    return replace(
        signs,
        overloaded=True,
        since_ms=sample.at_ms,
        _hot_polls=0,
        _patience=_POLLS_WHEN_WAVERING if soon else _POLLS_TO_STOP,
    )


def _is_hot(signs: Signs, sample: Sample) -> bool:
    """Busy all the time, and something says that it is not enough."""
    if (sample.tokenizer_busy or 0.0) < _BUSY:
        return False
    return (
        (signs.load or 0.0) > _TOO_MUCH
        or signs.is_behind
        or (sample.source_backpressured or 0.0) > _SOURCE_BLOCKED
    )


def _is_cool(signs: Signs, sample: Sample) -> bool:
    """The tokenizer could do it alone. How busy it is says nothing: it is being relieved."""
    if signs.capacity_per_s is None:
        return (sample.tokenizer_busy or 0.0) < _BUSY
    load = signs.steady_demand_per_s / signs.capacity_per_s
    blocked = sample.backlog is None and (sample.source_backpressured or 0.0) > _SOURCE_BLOCKED
    return load < _LITTLE_ENOUGH and signs.behind_s < _CAUGHT_UP_S and not blocked
