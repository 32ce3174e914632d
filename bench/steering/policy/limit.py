"""How many calls there may really be in flight, how long they are, and whether they are answered:
learned from what became of the last ones. Pure."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

from bench.steering.policy.model import Sample

# After a refusal at most half is given up at once, down to what was in flight without one; then one
# call more in each step. A step lasts until the effect of the last one can be seen.
_LEAST_LEFT = 0.5
_DOWN_EVERY_MS, _UP_EVERY_MS = 1000.0, 2000.0
# What a call is in flight is averaged over so many polls with calls.
_POLLS, _POLLS_TO_KNOW = 8, 4
# Whether they are answered is told by the fewest polls that hold so many calls, of as many as a
# call may take until it is late. A limit refuses those above it and answers the others, so only if
# nearly all are refused the endpoint is of no use.
_FEW_POLLS, _POLLS_KEPT, _CALLS_TO_KNOW = 3, 16, 4.0
_MOST_FAIL, _NEARLY_ALL = 0.5, 0.9


@dataclass(frozen=True)
class _Poll:
    """Calls of one poll, and the seconds that all of them together spent in flight in it."""

    spent_s: float
    calls: float
    failed: float
    throttled: float


@dataclass(frozen=True)
class Flights:
    """What is known of the calls.

    Attributes:
        limit: calls that may be in flight; as configured until one was refused (HTTP 429).
        throttled: calls refused since offloading began.
        flight_s: seconds that a call is in flight, by Little's law from those in flight and their
            rate; None until known.
    """

    limit: int
    throttled: float = 0.0
    flight_s: float | None = None
    _most: int = 0
    _stepped_ms: float = float("-inf")
    _polls: tuple[_Poll, ...] = ()

    @classmethod
    def of(cls, limit: int) -> Flights:
        """Before the first call, with the limit that is configured."""
        return cls(limit=limit, _most=limit)

    def anew(self) -> Flights:
        """For the next time that something is offloaded: the limit stays learned."""
        return replace(self, throttled=0.0, _polls=())

    @property
    def answered(self) -> float | None:
        """The part of the last calls that was answered; None where there were too few."""
        last = self._last()
        return max(0.0, 1 - (last.failed + last.throttled) / last.calls) if last else None

    @property
    def failing(self) -> str | None:
        """Why calling is of no use at present, in words; None where it is, or nothing is known."""
        last = self._last()
        if last is None:
            return None
        lost = min(last.calls, last.failed + last.throttled)
        if last.failed <= _MOST_FAIL * last.calls and lost <= _NEARLY_ALL * last.calls:
            return None
        return (
            f"{lost:.0f} of the last {last.calls:.0f} calls failed, were refused or came too late"
        )

    def _last(self) -> _Poll | None:
        """The last few polls together."""
        for polls in range(_FEW_POLLS, len(self._polls) + 1):
            last = self._polls[-polls:]
            if sum(x.calls for x in last) >= _CALLS_TO_KNOW:
                return _Poll(*(sum(x) for x in zip(*map(astuple, last), strict=True)))
        return None

    def look(self, sample: Sample, gap_s: float) -> Flights:
        """Take in a sample."""
        calls, in_flight = (sample.calls_per_s or 0.0) * gap_s, sample.in_flight or 0.0
        throttled = sample.throttled_calls or 0.0
        failed = (sample.failed_calls or 0.0) + (sample.late_calls or 0.0)
        polls = self._polls
        if calls or in_flight or failed or throttled:
            polls = (*polls, _Poll(in_flight * gap_s, calls, failed, throttled))[-_POLLS_KEPT:]
        flight_s = self.flight_s
        sent = sum(poll.calls for poll in polls[-_POLLS:])
        if len(polls) >= _POLLS_TO_KNOW and sent > 0:
            flight_s = sum(poll.spent_s for poll in polls[-_POLLS:]) / sent
        now = replace(
            self,
            throttled=self.throttled + throttled,
            flight_s=flight_s,
            _polls=polls,
        )
        since_ms = sample.at_ms - self._stepped_ms
        if throttled and since_ms >= _DOWN_EVERY_MS:
            lower = max(self.limit * _LEAST_LEFT, min(self.limit - 1, in_flight))
            return replace(now, limit=max(1, int(lower)), _stepped_ms=sample.at_ms)
        if self.limit < self._most and not throttled and calls and since_ms >= _UP_EVERY_MS:
            return replace(now, limit=self.limit + 1, _stepped_ms=sample.at_ms)
        return now
