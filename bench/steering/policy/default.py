"""The kit's own policy: overloaded? (`detect`), is it worth it? (`learn`), how much? (`amount`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from bench.steering.policy.amount import NOTHING, Amount, amount, batches_per_call
from bench.steering.policy.detect import Signs, look
from bench.steering.policy.learn import Learned, learn
from bench.steering.policy.limit import Flights
from bench.steering.policy.model import Decision, Policy, Sample, Settings

# The share that stays as long as the verdict does, so that a load around the capacity does not
# switch offloading on and off; and a change that is not worth telling every subtask.
_LEAST_SHARE, _SAME_SHARE = 0.03, 0.03
# A blocked source hides what it would send: then ask for this many times what the worker can do.
_BLIND_ASK = 4.0
# A sentence called for must cost so little of one done here. Else the gain is in the noise.
_WORTH = 0.8
# What was expected of a share shows after so long. If then less passes than the worker could do
# alone, go back; try again later, and each time much later.
_TIME_TO_SHOW_MS, _NO_LESS_PASSES = 2000.0, 0.9
# Of a smaller share nothing can be seen in what passes.
_ENOUGH_TO_SHOW = 0.2
# What passes says something only while the source waits most of the time.
_HARD_UP = 0.6
_REST_MS, _REST_GROWS, _LONGEST_REST_MS = 30_000.0, 2.0, 600_000.0
# Calls that fail say nothing of what they are worth, and an endpoint may be back at any moment: it
# is tried soon, with a few calls. What passes while so many of them fail is no sign either.
_SOON_MS, _LONGEST_SOON_MS, _TOO_FEW_ANSWERED = 1000.0, 8000.0, 0.8
# With `warms_up`: the load from which environments are started, and the growth they are for.
_WARM_FROM, _WARM_FOR = 0.85, 2.0
_RISING = 1.05


@dataclass(frozen=True)
class Rest:
    """After a retreat: why, until when nothing is offloaded, and how long the next one would be;
    and the same of one because of calls that fail."""

    why: str = ""
    until_ms: float = -math.inf
    next_ms: float = _REST_MS
    soon_ms: float = _SOON_MS

    def because(self, why: str, at_ms: float) -> Rest:
        """The rest after a share that did not bring what it should."""
        longer_ms = min(self.next_ms * _REST_GROWS, _LONGEST_REST_MS)
        return replace(self, why=why, until_ms=at_ms + self.next_ms, next_ms=longer_ms)

    def while_calls_fail(self, why: str, at_ms: float) -> Rest:
        """The rest after calls that failed."""
        longer_ms = min(self.soon_ms * _REST_GROWS, _LONGEST_SOON_MS)
        return replace(self, why=why, until_ms=at_ms + self.soon_ms, soon_ms=longer_ms)


@dataclass(frozen=True)
class State:
    """What the policy remembers: what it saw and learned, what is offloaded and since when without
    a break, since when environments are being started and whether they are up, and what came of the
    last try."""

    flights: Flights
    signs: Signs = field(default_factory=Signs)
    learned: Learned = field(default_factory=Learned)
    now: Amount = NOTHING
    offloading_since_ms: float | None = None
    warming_since_ms: float | None = None
    is_warm: bool = False
    rest: Rest = field(default_factory=Rest)
    at_ms: float | None = None


@dataclass(frozen=True)
class Default(Policy[State]):
    """Offloads what the local tokenizer cannot do, where that relieves it.

    What calls cost is not known before the first: if the profile says that they relieve, the share
    that is needed is tried, and taken back if what was expected of it does not come.
    """

    name: ClassVar[str] = "default"
    settings: Settings

    def start(self) -> State:
        return State(Flights.of(self.settings.max_in_flight), is_warm=self.settings.is_warm)

    def step(self, state: State, sample: Sample) -> tuple[State, Decision]:
        before = state.signs
        state = self._seen(state, sample)
        signs = state.signs
        warm = self._warm(before, signs)
        if warm and state.warming_since_ms is None:
            state = replace(state, warming_since_ms=sample.at_ms)
        if not signs.overloaded:
            state = _stopped(state)
            note = f"; load rises: warm {warm} environments" if warm else ""
            return state, Decision(False, 0.0, 0, f"healthy: {_figures(signs)}{note}", warm)
        state, what = self._relieve(state, sample.at_ms)
        now = state.now
        reason = f"overloaded: {_figures(signs)}; {what}"
        return state, Decision(
            True, now.share, now.in_flight, reason, warm, batches_per_call=now.batches
        )

    def _seen(self, state: State, sample: Sample) -> State:
        """Take in a sample."""
        gap_s = 0.0 if state.at_ms is None else (sample.at_ms - state.at_ms) / 1000
        share = state.now.share
        learned = learn(state.learned, sample, gap_s, share)
        state = replace(
            state,
            at_ms=sample.at_ms,
            learned=learned,
            flights=state.flights.look(sample, gap_s),
            signs=look(state.signs, sample, gap_s, learned.capacity_per_s),
        )
        # Environments are warm once calls have been out for as long as a cold start takes.
        for since_ms in (state.offloading_since_ms, state.warming_since_ms):
            cold_ms = self.settings.profile.cold_start_ms
            if since_ms is not None and sample.at_ms - since_ms > cold_ms:
                return replace(state, is_warm=True)
        return state

    def _relieve(self, state: State, at_ms: float) -> tuple[State, str]:
        """What to do about an overload, and that in words."""
        signs, settings, profile = state.signs, self.settings, self.settings.profile
        if signs.capacity_per_s is None:
            return state, "capacity not known yet"
        state = self._looked_back(state, at_ms)
        if at_ms < state.rest.until_ms:
            left_s = (state.rest.until_ms - at_ms) / 1000
            return state, f"not worth it: {state.rest.why}; to be tried again in {left_s:.0f} s"
        batches = batches_per_call(state.learned, settings)
        cost = state.learned.call_cost(profile, batches * settings.batch_size) or 0.0
        refusal = self._too_late(state, at_ms) or self._too_dear(state, cost, batches)
        if refusal is not None:
            return _stopped(state), f"not worth it: {refusal}"
        blind = _BLIND_ASK * signs.capacity_per_s if signs.is_blocked else 0.0
        wanted = amount(
            max(signs.demand_per_s, blind),
            signs.capacity_per_s,
            signs.waiting,
            settings,
            call_cost=cost,
            batches=batches,
            limit=state.flights.limit,
            flight_s=state.flights.flight_s,
        )
        if state.offloading_since_ms is None:
            state = replace(state, offloading_since_ms=at_ms, flights=state.flights.anew())
        state = replace(state, now=self._settled(wanted, state.now))
        return state, self._plan(state, cost)

    def _plan(self, state: State, cost: float) -> str:
        """What is offloaded, in words."""
        now, flights, profile = state.now, state.flights, self.settings.profile
        call_ms = profile.compute_ms * now.batches + profile.shipping_ms
        what = f"{now.share:.0%} to Lambda in {now.in_flight} calls of {call_ms:.0f} ms"
        if now.batches > 1:
            what += f", {now.batches} batches each"
        if flights.flight_s is not None and flights.flight_s * 1000 > 1.5 * call_ms:
            what += f", in flight for {flights.flight_s * 1000:.0f} ms"
        if cost:
            what += f"; one costs {cost:.2f} of one done here"
        if flights.limit < self.settings.max_in_flight:
            what += f" ({flights.throttled:.0f} calls refused: the limit is {flights.limit})"
        elif now.limited:
            what += f" (the limit is {self.settings.max_in_flight})"
        return what

    def _settled(self, wanted: Amount, now: Amount) -> Amount:
        """What is wanted, but neither nothing nor a change too small to matter."""
        if self.settings.max_in_flight == 0:
            return wanted
        if wanted.share < _LEAST_SHARE:
            return Amount(_LEAST_SHARE, max(1, wanted.in_flight), batches=wanted.batches)
        if abs(wanted.share - now.share) < _SAME_SHARE and not wanted.limited:
            return replace(wanted, share=now.share, in_flight=max(wanted.in_flight, now.in_flight))
        return wanted

    def _looked_back(self, state: State, at_ms: float) -> State:
        """Retreat from calls that fail, and from a share that does not bring what was expected."""
        if state.now.share == 0:
            return state
        rest, answered = state.rest, state.flights.answered
        few = answered is not None and answered < _TOO_FEW_ANSWERED
        if why := state.flights.failing:
            rest = rest.while_calls_fail(why, at_ms)
        elif why := self._costs_too_much(state):
            rest = rest.because(why, at_ms)
        elif why := self._brings_too_little(state, at_ms):
            rest = rest.while_calls_fail(why, at_ms) if few else rest.because(why, at_ms)
        else:
            soon_ms = rest.soon_ms if few or answered is None else _SOON_MS
            return replace(state, rest=replace(rest, soon_ms=soon_ms))
        return replace(_stopped(state), rest=rest, learned=state.learned.without_calls())

    def _costs_too_much(self, state: State) -> str | None:
        """What calls have cost the worker, if that is too much however many batches go together."""
        learned, settings = state.learned, self.settings
        if learned.call_us is None:
            return None
        size = batches_per_call(learned, settings) * settings.batch_size
        cost = learned.call_cost(settings.profile, size)
        if cost is None or cost <= _WORTH:
            return None
        return f"a sentence called for cost {cost:.2f} of one done here"

    def _brings_too_little(self, state: State, at_ms: float) -> str | None:
        """What has come of the share, if after a while that is less than nothing."""
        since_ms, signs = state.offloading_since_ms or 0.0, state.signs
        first_answer_ms = 0.0 if self.settings.is_warm else self.settings.profile.cold_start_ms
        if at_ms - since_ms < first_answer_ms + _TIME_TO_SHOW_MS:
            return None
        passes = signs.throughput_per_s
        little = state.now.share < _ENOUGH_TO_SHOW
        if (
            not little
            and signs.blocked > _HARD_UP
            and passes < _NO_LESS_PASSES * (signs.capacity_per_s or 0.0)
        ):
            return (
                f"{passes:,.0f}/s passed with {state.now.share:.0%} to Lambda, fewer than without"
            )
        return None

    def _too_dear(self, state: State, cost: float, batches: int) -> str | None:
        """Why offloading would not relieve the worker, or None."""
        local_us = state.learned.local_us
        if local_us is None or cost <= _WORTH:
            return None
        size = batches * self.settings.batch_size
        return (
            f"a sentence takes {local_us:,.3g} µs here, "
            f"{cost * local_us:,.3g} µs in a call of {size}"
        )

    def _too_late(self, state: State, at_ms: float) -> str | None:
        """Why offloading would come too late, or None: what is left of the burst does not last
        until the first environment has answered."""
        profile, expected_s = self.settings.profile, self.settings.expected_burst_s
        if state.is_warm or state.offloading_since_ms is not None:
            return None
        if expected_s is None or state.signs.since_ms is None:
            return None
        left_s = expected_s - (at_ms - state.signs.since_ms) / 1000
        first_answer_s = (profile.cold_start_ms + profile.call_ms) / 1000
        if left_s < 0 or left_s > first_answer_s:
            return None
        return (
            f"the burst is over in {left_s:.1f} s, "
            f"the first answer of a cold start comes in {first_answer_s:.1f} s"
        )

    def _warm(self, before: Signs, signs: Signs) -> int:
        if not self.settings.warms_up or signs.capacity_per_s is None:
            return 0
        rising = signs.demand_per_s > before.steady_demand_per_s * _RISING
        if (signs.load or 0.0) < _WARM_FROM or not rising:
            return 0
        demand = signs.demand_per_s * _WARM_FOR
        return amount(demand, signs.capacity_per_s, 0.0, self.settings).in_flight


def _stopped(state: State) -> State:
    return replace(state, now=NOTHING, offloading_since_ms=None)


def _figures(signs: Signs) -> str:
    capacity = f"{signs.capacity_per_s:,.0f}" if signs.capacity_per_s else "unknown"
    least = "at least " if signs.is_blocked else ""
    return (
        f"{least}{signs.demand_per_s:,.0f}/s wanted, {capacity}/s local, "
        f"{signs.waiting:,.0f} waiting, source blocked {signs.blocked:.0%} of the time"
    )
