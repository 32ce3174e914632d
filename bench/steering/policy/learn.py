"""What work and calls cost the worker, and what it could do: learned from its counters. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

from bench.steering.policy.model import Profile, Sample

# A window ends after so much busy time. One batch may weigh a second, and a pause stop a window:
# the median of the last few is moved by neither. They are few, so that a JVM that gets warm, or
# texts that get longer, are followed.
_WINDOW_BUSY_S, _WINDOWS = 1.0, 7
# The first are shorter, so that something is known soon, and the first of a surge is two polls.
_FIRST_BUSY_S, _FIRST_WINDOWS, _FIRST_FULL_S = 0.5, 2, 0.35
# A JVM that has just started says nothing about a warm one.
_COLD_WINDOWS = 1
# A window of calls ends after so many; the first, too, are shorter. The very first says nothing
# either: connections open, code is loaded, and the worker looks for answers while environments
# start.
_WINDOW_CALLS, _FIRST_WINDOW_CALLS = 40.0, 10.0
_WINDOWS_TO_KNOW = 2
# A worker that is idle now and then saves up quota, and is faster than its quota while it is busy:
# 190/s were seen where 130/s are what it can do. One that is never idle shows its true pace.
NEVER_IDLE = 0.92


T = TypeVar("T")


@dataclass(frozen=True)
class _Window:
    busy_s: float = 0.0
    processed: float = 0.0
    local: float = 0.0
    local_us: float = 0.0
    work_us: float = 0.0
    call_us: float = 0.0
    never_idle: bool = False


@dataclass(frozen=True)
class _Calls:
    """A window of calls."""

    calls: float = 0.0
    called: float = 0.0
    us: float = 0.0
    is_first: bool = True


@dataclass(frozen=True)
class Learned:
    """What is known of the worker.

    Attributes:
        capacity_per_s: sentences/s if it did only local work and was busy all the time: CPU µs per
            busy second, for local work and calls, over CPU µs per local sentence. That is the "true
            rate" of DS2 (OSDI 2018), but holds while offloading, too, and under a quota, since
            throttled time is busy time. None until learned.
        local_us: CPU of the worker for a sentence done here; None where the job does not say.
        work_us: of that what a call spares, which is not what sending it downstream takes.
        call_us: the same for a sentence that was called for, in calls of `sentences_per_call`; None
            until there were any.
    """

    capacity_per_s: float | None = None
    local_us: float | None = None
    work_us: float | None = None
    call_us: float | None = None
    sentences_per_call: float | None = None
    _window: _Window = _Window()
    _calls: _Calls = _Calls()
    _seen: int = 0
    _paces: tuple[tuple[float, bool], ...] = ()
    _local_us: tuple[float, ...] = ()
    _work_us: tuple[float, ...] = ()
    _call_us: tuple[tuple[float, float], ...] = ()

    @property
    def _shows_all(self) -> bool:
        """Whether the worker was never idle in the last window."""
        return bool(self._paces) and self._paces[-1][1]

    def without_calls(self) -> Learned:
        """Forget what calls cost: it may have changed, and nothing but another try shows it."""
        return replace(self, call_us=None, sentences_per_call=None, _calls=_Calls(), _call_us=())

    def call_cost(self, profile: Profile, sentences: float) -> float | None:
        """CPU of a sentence in calls of `sentences`, as a multiple of what it costs here; None if
        the latter is not known.

        Before anything was called for, that is the profile's cost and sending it downstream, which
        the worker does in any case. What was measured for one size is carried over to another in
        these proportions.
        """
        if self.local_us is None:
            return None
        sending_us = self.local_us - self.work_us if self.work_us is not None else 0.0
        cost_us = sending_us + profile.cpu_us(sentences)
        if self.call_us is not None and self.sentences_per_call is not None:
            cost_us *= self.call_us / (sending_us + profile.cpu_us(self.sentences_per_call))
        return cost_us / self.local_us


def learn(before: Learned, sample: Sample, gap_s: float, share: float) -> Learned:
    """Take in a sample.

    Args:
        gap_s: since the one before.
        share: of the sentences that was offloaded meanwhile.
    """
    never_idle = share == 0 and (sample.tokenizer_busy or 0.0) >= NEVER_IDLE
    window = before._window
    if never_idle and not window.never_idle and before._seen > _COLD_WINDOWS:
        window = _Window()
    window = _added(replace(window, never_idle=never_idle), sample, gap_s)
    known = _called(replace(before, _window=window), sample, gap_s)
    enough_s = _FIRST_BUSY_S if before._seen < _FIRST_WINDOWS else _WINDOW_BUSY_S
    if never_idle and not before._shows_all:
        enough_s = _FIRST_FULL_S
    if window.busy_s < enough_s or window.processed <= 0:
        return known
    known = replace(known, _window=_Window(), _seen=before._seen + 1)
    if known._seen <= _COLD_WINDOWS:
        return known
    has_cpu = window.local_us + window.call_us > 0
    if window.local > 0 and window.local_us > 0:
        known = replace(
            known,
            _local_us=_with(known._local_us, window.local_us / window.local),
            _work_us=_with(known._work_us, window.work_us / window.local),
        )
    if has_cpu:
        known = _paced(known, window, (window.local_us + window.call_us) / window.busy_s)
    elif share == 0 and sample.local_per_s is None:
        # Without these counters a sentence is the unit of work.
        known = _paced(known, window, window.processed / window.busy_s)
    return _concluded(known)


def _called(known: Learned, sample: Sample, gap_s: float) -> Learned:
    """Take in the calls of a sample."""
    window = known._calls
    called = (sample.called_per_s or 0.0) * gap_s
    window = replace(
        window,
        calls=window.calls + (sample.calls_per_s or 0.0) * gap_s,
        called=window.called + called,
        us=window.us + called * (sample.call_cpu_us or 0.0),
    )
    is_known = len(known._call_us) >= _WINDOWS_TO_KNOW
    enough = _WINDOW_CALLS if is_known else _FIRST_WINDOW_CALLS
    if window.calls < enough or window.called <= 0:
        return replace(known, _calls=window)
    known = replace(known, _calls=_Calls(is_first=False))
    if window.is_first:
        return known
    costs = (window.us / window.called, window.called / window.calls)
    return _concluded(replace(known, _call_us=_with(known._call_us, costs)))


def _paced(known: Learned, window: _Window, pace: float) -> Learned:
    """One more pace. One of a worker that was never idle ends what idle ones seemed to say."""
    before = known._paces
    if window.never_idle:
        before = tuple(pace for pace in before if pace[1])
    return replace(known, _paces=_with(before, (pace, window.never_idle)))


def _added(window: _Window, sample: Sample, gap_s: float) -> _Window:
    local = (sample.local_per_s or 0.0) * gap_s
    called = (sample.called_per_s or 0.0) * gap_s
    # Waiting for a free call counts as busy, and says nothing of the worker's pace.
    busy = max(0.0, (sample.tokenizer_busy or 0.0) - (sample.tokenizer_waiting or 0.0))
    return replace(
        window,
        busy_s=window.busy_s + busy * gap_s,
        processed=window.processed + (sample.processed_per_s or 0.0) * gap_s,
        local=window.local + local,
        local_us=window.local_us + local * (sample.local_cpu_us or 0.0),
        work_us=window.work_us + local * (sample.work_cpu_us or sample.local_cpu_us or 0.0),
        call_us=window.call_us + called * (sample.call_cpu_us or 0.0),
    )


def _concluded(known: Learned) -> Learned:
    local_us = median(known._local_us) if known._local_us else None
    call_us = size = None
    if len(known._call_us) >= _WINDOWS_TO_KNOW:
        call_us = median(cost for cost, _ in known._call_us)
        size = median(size for _, size in known._call_us)
    capacity = known.capacity_per_s
    if known._paces and known._seen >= _COLD_WINDOWS + _WINDOWS_TO_KNOW:
        capacity = median(pace for pace, _ in known._paces) / (local_us or 1.0)
    return replace(
        known,
        capacity_per_s=capacity,
        local_us=local_us,
        work_us=median(known._work_us) if known._work_us else None,
        call_us=call_us,
        sentences_per_call=size,
    )


def _with(values: tuple[T, ...], value: T) -> tuple[T, ...]:
    return (*values, value)[-_WINDOWS:]
