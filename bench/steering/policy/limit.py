"""How many calls there may really be in flight: learned from those that were refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.steering.policy.model import Sample

# After a refusal at most half is given up at once, down to what was in flight without one; then one
# call more in each step. A step lasts until the effect of the last one can be seen.
_LEAST_LEFT = 0.5
_DOWN_EVERY_MS, _UP_EVERY_MS = 1000.0, 2000.0
# What a call is in flight is averaged over so many polls with calls.
_POLLS, _POLLS_TO_KNOW = 8, 4


@dataclass(frozen=True)
class Flights:
    """What is known of the calls.

    Attributes:
        limit: calls that may be in flight; as configured until one was refused (HTTP 429).
        throttled, failed, late: calls, since offloading began.
        calls: the same of all calls.
        flight_s: seconds that a call is in flight, by Little's law from those in flight and their
            rate; None until known.
    """

    limit: int
    throttled: float = 0.0
    failed: float = 0.0
    late: float = 0.0
    calls: float = 0.0
    flight_s: float | None = None
    _most: int = 0
    _stepped_ms: float = float("-inf")
    _polls: tuple[tuple[float, float], ...] = ()

    @classmethod
    def of(cls, limit: int) -> Flights:
        """Before the first call, with the limit that is configured."""
        return cls(limit=limit, _most=limit)

    def anew(self) -> Flights:
        """For the next time that something is offloaded: the limit stays learned."""
        return replace(self, throttled=0.0, failed=0.0, late=0.0, calls=0.0, _polls=())

    def look(self, sample: Sample, gap_s: float) -> Flights:
        """Take in a sample."""
        calls, in_flight = (sample.calls_per_s or 0.0) * gap_s, sample.in_flight or 0.0
        polls = self._polls
        if calls or in_flight:
            polls = (*polls, (in_flight * gap_s, calls))[-_POLLS:]
        flight_s = self.flight_s
        sent = sum(calls for _, calls in polls)
        if len(polls) >= _POLLS_TO_KNOW and sent > 0:
            flight_s = sum(spent for spent, _ in polls) / sent
        throttled = sample.throttled_calls or 0.0
        now = replace(
            self,
            throttled=self.throttled + throttled,
            failed=self.failed + (sample.failed_calls or 0.0),
            late=self.late + (sample.late_calls or 0.0),
            calls=self.calls + calls,
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
