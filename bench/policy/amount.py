"""How much? From rates and a backlog to a share and to calls in flight. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.policy.model import Settings

# The local tokenizer is planned a little below its capacity: a queue that is planned to be exactly
# as fast as its input never gets shorter.
_LOCAL_UTILISATION = 0.9
# Calls vary; with only as many in flight as the mean asks for, half of the time one is missing.
# And with a single one, nothing goes out while its answer waits to be taken up.
_HEADROOM, _LEAST_IN_FLIGHT = 2.0, 2


@dataclass(frozen=True)
class Amount:
    """`share` of the sentences to offload, in `in_flight` calls; `limited` by the concurrency."""

    share: float
    in_flight: int
    limited: bool = False


NOTHING = Amount(0.0, 0)


def wanted_per_s(demand_per_s: float, backlog: float, s: Settings) -> float:
    """Sentences/s that have to pass so that `backlog` is gone after `catch_up_s`."""
    return demand_per_s + backlog / s.catch_up_s


def amount(
    demand_per_s: float,
    capacity_per_s: float,
    backlog: float,
    s: Settings,
    slowness: float = 1.0,
) -> Amount:
    """What has to go to Lambda so that `backlog` sentences are gone after `catch_up_s`.

    `slowness` says how many times longer calls take than their profile says.

    If a share x of all sentences is offloaded, the local tokenizer, doing c a second, lets
    c / (1 - x) a second through. So that `wanted_per_s` pass, x = 1 - c / wanted.
    Calls in flight follow from Little's law: batches a second times the seconds of a call.
    """
    wanted = wanted_per_s(demand_per_s, backlog, s)
    local = capacity_per_s * _LOCAL_UTILISATION
    offload = wanted - local
    if offload <= 0:
        return NOTHING
    batch = min(s.batch_size, max(1.0, wanted * s.linger_ms / 1000))
    batches_per_s_and_call = 1000 / (s.profile.call_ms * _HEADROOM)
    most = s.max_in_flight * batches_per_s_and_call * batch
    limited = offload > most
    offload = min(offload, most)
    if offload <= 0:
        return NOTHING
    in_flight = math.ceil(offload / batch / batches_per_s_and_call * slowness - 1e-9)
    in_flight = min(max(in_flight, _LEAST_IN_FLIGHT), s.max_in_flight)
    return Amount(offload / (local + offload), in_flight, limited)
