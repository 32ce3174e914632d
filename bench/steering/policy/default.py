"""The kit's own policy: overloaded? (`detect`), then how much? (`amount`), and is it worth it?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from bench.steering.policy.amount import NOTHING, Amount, amount, wanted_per_s
from bench.steering.policy.detect import Signs, look
from bench.steering.policy.model import Decision, Policy, Sample, Settings

# The share that stays as long as the verdict does, so that a load around the capacity does not
# switch offloading on and off; and a change that is not worth telling every subtask.
_LEAST_SHARE, _SAME_SHARE = 0.03, 0.03
# A profile is measured in peace, and calls take longer in a surge. Where less passes than is wanted
# although there has been time for it, ask for so many times more in flight, poll after poll.
_TOO_LITTLE_PASSES, _MORE_IN_FLIGHT, _TIME_TO_SHOW_MS = 0.8, 1.5, 1000.0
# With `warms_up`: the load from which environments are started, and the growth they are for.
_WARM_FROM, _WARM_FOR = 0.85, 2.0
_RISING = 1.05


@dataclass(frozen=True)
class State:
    """What the policy remembers: the signs, what is offloaded and since when without a break,
    since when environments are being started and whether they are up, and how many times longer
    calls take than their profile says."""

    signs: Signs = field(default_factory=Signs)
    now: Amount = NOTHING
    offloading_since_ms: float | None = None
    warming_since_ms: float | None = None
    is_warm: bool = False
    slowness: float = 1.0


@dataclass(frozen=True)
class Default(Policy[State]):
    """Offloads what the local tokenizer cannot do, plus what clears the backlog in time."""

    name: ClassVar[str] = "default"
    settings: Settings

    def start(self) -> State:
        return State(is_warm=self.settings.is_warm)

    def step(self, state: State, sample: Sample) -> tuple[State, Decision]:
        signs = look(state.signs, sample, state.now.share)
        warm = self._warm(state.signs, signs)
        state = self._aged(replace(state, signs=signs), sample.at_ms)
        if warm and state.warming_since_ms is None:
            state = replace(state, warming_since_ms=sample.at_ms)
        if not signs.overloaded:
            state = replace(state, now=NOTHING, offloading_since_ms=None)
            note = f"; load rises: warm {warm} environments" if warm else ""
            return state, Decision(False, 0.0, 0, f"healthy: {_figures(signs)}{note}", warm)
        state, what = self._relieve(state, sample.at_ms)
        reason = f"overloaded: {_figures(signs)}; {what}"
        return state, Decision(True, state.now.share, state.now.in_flight, reason)

    def _relieve(self, state: State, at_ms: float) -> tuple[State, str]:
        """What to do about an overload, and that in words."""
        signs, settings = state.signs, self.settings
        if signs.capacity_per_s is None:
            return state, "capacity not known yet"
        refusal = self._not_worth_it(state, at_ms)
        if refusal is not None:
            return state, refusal
        state = self._learn_slowness(state, at_ms)
        wanted = amount(
            signs.demand_per_s, signs.capacity_per_s, signs.behind, settings, state.slowness
        )
        now = self._settled(wanted, state.now)
        since_ms = at_ms if state.offloading_since_ms is None else state.offloading_since_ms
        state = replace(state, now=now, offloading_since_ms=since_ms)
        what = f"{now.share:.0%} to Lambda in {now.in_flight} calls of "
        what += f"{settings.profile.call_ms:.0f} ms"
        if state.slowness > 1:
            what += f", taken for {state.slowness:.1f} times that"
        if now.limited:
            what += f" (the limit is {settings.max_in_flight})"
        return state, what

    def _settled(self, wanted: Amount, now: Amount) -> Amount:
        """What is wanted, but neither nothing nor a change too small to matter."""
        if self.settings.max_in_flight == 0:
            return wanted
        if wanted.share < _LEAST_SHARE:
            return Amount(_LEAST_SHARE, max(1, wanted.in_flight))
        if abs(wanted.share - now.share) < _SAME_SHARE:
            return replace(now, in_flight=max(wanted.in_flight, now.in_flight))
        return wanted

    def _aged(self, state: State, at_ms: float) -> State:
        """Environments are warm once calls have been out for as long as a cold start takes."""
        for since_ms in (state.offloading_since_ms, state.warming_since_ms):
            if since_ms is not None and at_ms - since_ms > self.settings.profile.cold_start_ms:
                return replace(state, is_warm=True)
        return state

    def _learn_slowness(self, state: State, at_ms: float) -> State:
        since_ms, signs, settings = state.offloading_since_ms, state.signs, self.settings
        if since_ms is None or state.now.in_flight >= settings.max_in_flight:
            return state
        first_answer_ms = 0.0 if self.settings.is_warm else settings.profile.cold_start_ms
        if at_ms - since_ms < first_answer_ms + _TIME_TO_SHOW_MS:
            return state
        wanted = wanted_per_s(signs.demand_per_s, signs.behind, settings)
        if not signs.is_behind or signs.throughput_per_s >= wanted * _TOO_LITTLE_PASSES:
            return state
        return replace(state, slowness=state.slowness * _MORE_IN_FLIGHT)

    def _not_worth_it(self, state: State, at_ms: float) -> str | None:
        """Why offloading would come too late, or None: neither what is left of the burst nor the
        queue that it made lasts until the first environment has answered."""
        profile, expected_s = self.settings.profile, self.settings.expected_burst_s
        if state.is_warm or state.offloading_since_ms is not None:
            return None
        if expected_s is None or state.signs.since_ms is None:
            return None
        left_s = expected_s - (at_ms - state.signs.since_ms) / 1000
        first_answer_s = (profile.cold_start_ms + profile.call_ms) / 1000
        if left_s < 0 or max(left_s, state.signs.behind_s) > first_answer_s:
            return None
        return (
            f"not worth it: the burst is over in {left_s:.1f} s, "
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


def _figures(signs: Signs) -> str:
    capacity = f"{signs.capacity_per_s:,.0f}" if signs.capacity_per_s else "unknown"
    return (
        f"{signs.demand_per_s:,.0f}/s wanted, {capacity}/s local, "
        f"{signs.behind:,.0f} behind ({signs.behind_s:.1f} s)"
    )
