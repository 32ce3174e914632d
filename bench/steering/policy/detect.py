"""Overloaded? Reads the signs in differenced counters, with hysteresis. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

from bench.steering.policy.learn import NEVER_IDLE
from bench.steering.policy.model import Sample

# One poll proves nothing: a garbage collection or two batches at once look like a surge in it.
_POLLS_TO_START = 2
# Unless so many seconds of work wait already: the more is wanted than can be done, the fewer. A
# pause lets work wait, too, but raises no demand; so much as the last of them waits only if more is
# wanted than is known, or less can be done. At 80 % of what it can do, a worker that is slower for
# a while was seen 0.55 s behind with a load of 1.17, and 0.9 s behind with one of 1.07.
_LONG_WAITS_S = {1.3: 0.3, 1.15: 0.6, 0.0: 1.2}
# Leaving takes longer than entering: offloading a second too long costs some calls, stopping too
# early brings the queue back. Who has to come back so soon left too early: be patient then.
_POLLS_TO_STOP, _POLLS_WHEN_WAVERING, _SOON_MS = 10, 40, 20_000.0
# How far below the capacity a load is clearly over, whoever wavered before.
_CLEARLY_OVER = 0.9
# Who is never idle, and does more than comes, has something waiting, whatever was counted.
_UNCOUNTED_S = 0.25
# More than can be done leaves something waiting; else it was two batches that came at once.
_SOME_WAIT_S = 0.1
# Between these two loads the verdict stays what it was; a smaller overload blocks the source.
_TOO_MUCH, _LITTLE_ENOUGH = 1.3, 0.95
_BUSY = 0.9
_SOURCE_BLOCKED = 0.3
# From here on what it emits is no sign of what it would.
_HELD_UP = 0.05
# Polls that the demand is averaged over: to leave, and to enter. What is emitted needs two polls:
# its counters are taken anew every 200 ms, so that a poll every 250 ms counts too little and too
# much in turn.
_STEADY_POLLS, _RECENT_POLLS = 8, 2
# A source that is blocked all the time says nothing about what it would send.
_MOST_BLOCKED = 0.9


@dataclass(frozen=True)
class Signs:
    """What has been seen so far, and the verdict.

    Attributes:
        demand_per_s: sentences/s that want to be processed: what the source would emit if it were
            not blocked.
        steady_demand_per_s: its mean over the last seconds.
        capacity_per_s: what the tokenizer does when it is busy all the time; None until learned.
        throughput_per_s: sentences/s through the tokenizer, local and offloaded; a mean, too.
        blocked: share of the last polls' time that the source waited for the tokenizer.
        queued: sentences that the source has emitted and the tokenizer has not taken up.
        held: sentences that the blocked source would have emitted by now; a reckoning.
        overloaded: the verdict.
        since_ms: since when it has been so; None if it is not.
    """

    demand_per_s: float = 0.0
    steady_demand_per_s: float = 0.0
    capacity_per_s: float | None = None
    throughput_per_s: float = 0.0
    blocked: float = 0.0
    queued: float = 0.0
    held: float = 0.0
    overloaded: bool = False
    since_ms: float | None = None
    _demands: tuple[float, ...] = ()
    _throughputs: tuple[float, ...] = ()
    _blocks: tuple[float, ...] = ()
    _hot_polls: int = 0
    _cool_polls: int = 0
    _patience: int = _POLLS_TO_STOP
    _left_ms: float | None = None

    @property
    def load(self) -> float | None:
        """Demand in units of the capacity."""
        return self.demand_per_s / self.capacity_per_s if self.capacity_per_s else None

    @property
    def is_blocked(self) -> bool:
        """Whether the source waited for the tokenizer in the last poll, for longer than a full
        batch explains."""
        return bool(self._blocks) and self._blocks[-1] > _SOURCE_BLOCKED

    @property
    def waiting(self) -> float:
        """Sentences that wait for the tokenizer, wherever."""
        return self.queued + self.held

    @property
    def wait_s(self) -> float:
        """How long the tokenizer alone would take for what waits, in s; 0 while that is unknown."""
        return self.waiting / self.capacity_per_s if self.capacity_per_s else 0.0


def look(before: Signs, sample: Sample, gap_s: float, capacity_per_s: float | None) -> Signs:
    """Take in a sample, `gap_s` after the one before, knowing what the tokenizer can do."""
    if sample.emitted_per_s is None:
        return before
    emitted, blocked = sample.emitted_per_s, min(sample.source_backpressured or 0.0, _MOST_BLOCKED)
    demand, held = emitted, 0.0
    if blocked > _HELD_UP:
        # It emits less than it wants to, and nothing at all while it is blocked in the midst of a
        # batch. What it wanted before is what it wants until it is let go and says otherwise: what
        # comes at once when there is room again is what it could not send before.
        demand = max(emitted, before.demand_per_s or emitted / (1 - blocked))
        if before.held > 0:
            demand = before._demands[-1]
        held = max(0.0, before.held + (demand - emitted) * gap_s)
    elif before.held > 0:
        # Let go, it makes up for it at once.
        demand = min(emitted, before.demand_per_s)
    processed = sample.processed_per_s or 0.0
    queued = max(0.0, before.queued + (emitted - processed) * gap_s)
    idle = sample.tokenizer_idle
    if idle is None:
        idle = 1 - (sample.tokenizer_busy or 0.0)
    if idle > 1 - NEVER_IDLE:
        queued = 0.0
    elif before.overloaded and processed > emitted:
        # It lives on what waits. Of that nobody has counted what was there before a restart.
        queued = max(queued, _UNCOUNTED_S * (capacity_per_s or 0.0))
    demands = (*before._demands, demand)[-_STEADY_POLLS:]
    throughputs = (*before._throughputs, sample.processed_per_s or 0.0)[-_STEADY_POLLS:]
    blocks = (*before._blocks, blocked)[-_STEADY_POLLS:]
    if capacity_per_s is not None and not before.overloaded:
        # A pause makes the worker look slower than it has just been.
        capacity_per_s = max(capacity_per_s, fmean(throughputs))
    signs = replace(
        before,
        capacity_per_s=capacity_per_s,
        demand_per_s=fmean(demands[-_RECENT_POLLS:]),
        steady_demand_per_s=fmean(demands),
        throughput_per_s=fmean(throughputs),
        blocked=fmean(blocks),
        queued=queued,
        held=held,
        _demands=demands,
        _throughputs=throughputs,
        _blocks=blocks,
    )
    return _judge(signs, sample)


def _judge(signs: Signs, sample: Sample) -> Signs:
    if signs.overloaded:
        # A noisy poll takes back one that was cool, a blocked source all of them.
        cool = signs._cool_polls + 1 if _is_cool(signs, sample) else signs._cool_polls - 1
        cool = 0 if (sample.source_backpressured or 0.0) > _SOURCE_BLOCKED else max(0, cool)
        is_over = signs.steady_demand_per_s < _CLEARLY_OVER * (signs.capacity_per_s or 0.0)
        if cool < (_POLLS_TO_STOP if is_over else signs._patience):
            return replace(signs, _cool_polls=cool)
        return replace(signs, overloaded=False, since_ms=None, _left_ms=sample.at_ms, _cool_polls=0)
    hot = signs._hot_polls + 1 if _is_hot(signs, sample) else 0
    if hot < _POLLS_TO_START and not _waits_long(signs, sample):
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
    blocked = (sample.source_backpressured or 0.0) > _SOURCE_BLOCKED
    return blocked or ((signs.load or 0.0) > _TOO_MUCH and signs.wait_s > _SOME_WAIT_S)


def _waits_long(signs: Signs, sample: Sample) -> bool:
    """So much waits that there is no need to look twice."""
    if (sample.tokenizer_busy or 0.0) < _BUSY:
        return False
    load = signs.load or 0.0
    return any(load >= more and signs.wait_s > long_s for more, long_s in _LONG_WAITS_S.items())


def _is_cool(signs: Signs, sample: Sample) -> bool:
    """The tokenizer could do it alone. How busy it is says nothing: it is being relieved."""
    if signs.capacity_per_s is None:
        return (sample.tokenizer_busy or 0.0) < _BUSY
    load = signs.steady_demand_per_s / signs.capacity_per_s
    blocked = (sample.source_backpressured or 0.0) > _SOURCE_BLOCKED
    return load < _LITTLE_ENOUGH and not blocked and signs.wait_s < _UNCOUNTED_S
