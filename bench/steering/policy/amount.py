"""How much? From rates and costs to a share, to calls, and to what they carry. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.steering.policy.learn import Learned
from bench.steering.policy.model import Settings

# The local tokenizer is planned a little below its capacity: a queue that is planned to be exactly
# as fast as its input never gets shorter.
_LOCAL_UTILISATION = 0.9
# Calls vary, and come in bursts between local batches; with only as many in flight as the mean asks
# for one is often missing, and the worker waits for it. More than are used cost nothing.
_HEADROOM, _LEAST_IN_FLIGHT = 3.0, 2
# Everything would leave nothing to learn the worker's pace from.
_MOST_SHARE = 0.95
# More batches in a call must relieve so much more, or the smaller call, which is faster, is taken.
_WORTH_A_LARGER_CALL = 1.15
# That is compared at a share that a surge asks for.
_USUAL_SHARE = 0.75
_MOST_BATCHES = 16


@dataclass(frozen=True)
class Amount:
    """`share` of the sentences to offload, in `in_flight` calls of `batches` batches; `limited` by
    the concurrency."""

    share: float
    in_flight: int
    limited: bool = False
    batches: int = 1


NOTHING = Amount(0.0, 0)


def wanted_per_s(demand_per_s: float, backlog: float, s: Settings) -> float:
    """Sentences/s that have to pass so that `backlog` is gone after `catch_up_s`."""
    return demand_per_s + backlog / s.catch_up_s


def relief(share: float, call_cost: float) -> float:
    """Throughput of a worker that offloads `share`, over that of one that does not.

    Args:
        call_cost: CPU of a sentence that is called for, as a multiple of one that is done here.
    """
    return 1 / (1 - share + share * call_cost)


def batches_per_call(learned: Learned, s: Settings) -> int:
    """Batches in a call: as few as relieve about as much as the most that come back in time."""
    most = int((s.most_call_ms - s.profile.shipping_ms) / max(s.profile.compute_ms, 1e-3))
    choices = range(1, max(1, min(most, _MOST_BATCHES)) + 1)
    costs = [learned.call_cost(s.profile, k * s.batch_size) for k in choices]
    relieves = [relief(_USUAL_SHARE, cost) for cost in costs if cost is not None]
    if not relieves:
        return 1
    return next(
        k
        for k, by in zip(choices, relieves, strict=True)
        if by * _WORTH_A_LARGER_CALL >= max(relieves)
    )


def amount(
    demand_per_s: float,
    capacity_per_s: float,
    backlog: float,
    s: Settings,
    *,
    call_cost: float = 0.0,
    batches: int = 1,
    limit: int | None = None,
    flight_s: float | None = None,
) -> Amount:
    """What has to go to Lambda so that `backlog` sentences are gone after `catch_up_s`.

    If a share x of all sentences is offloaded, and each costs the worker r times what one done here
    does, a worker that does c a second lets c / (1 - x + x r) through. So that `wanted_per_s` pass,
    x = (1 - c / wanted) / (1 - r).

    Calls in flight follow from Little's law: calls a second times the seconds that each is in
    flight. As long as that is not measured, it is the call and the local batch that the operator
    may be busy with when the answer comes: it sends the next one only after that.

    Args:
        call_cost: r, below 1.
        batches: in a call.
        limit: of calls in flight, where it is lower than the settings say.
        flight_s: seconds that a call is in flight, if measured.
    """
    limit = s.max_in_flight if limit is None else min(limit, s.max_in_flight)
    wanted = wanted_per_s(demand_per_s, backlog, s)
    local = capacity_per_s * _LOCAL_UTILISATION
    if wanted <= local:
        return NOTHING
    share = min(_MOST_SHARE, (1 - local / wanted) / (1 - call_cost))
    offload = share * min(wanted, local * relief(share, call_cost))
    batch = min(s.batch_size, max(1.0, wanted * s.linger_ms / 1000))
    call_ms = s.profile.compute_ms * batches + s.profile.shipping_ms
    expected_s = call_ms / 1000 + batch * s.parallelism / capacity_per_s
    flight_s = max(flight_s or expected_s, call_ms / 1000)
    most = limit / flight_s * batch * batches
    limited = offload > most
    if limited:
        offload = most
        share = offload / (local - offload * call_cost + offload)
    in_flight = math.ceil(offload / batch / batches * flight_s * _HEADROOM - 1e-9)
    return Amount(share, min(max(in_flight, _LEAST_IN_FLIGHT), limit), limited, batches)
