"""How much? From rates and a backlog to a share and to calls in flight. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.steering.policy.model import Settings

# The local tokenizer is planned a little below its capacity: a queue that is planned to be exactly
# as fast as its input never gets shorter.
_LOCAL_UTILISATION = 0.9
# Calls vary; with only as many in flight as the mean asks for, half of the time one is missing.
_HEADROOM = 1.5


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

    If a share x of all sentences is offloaded, the local tokenizer, doing c a second, lets
    c / (1 - x) a second through. So that `wanted_per_s` pass, x = 1 - c / wanted.

    Calls in flight follow from Little's law: batches a second times the seconds that each is in
    flight. That is the call, `slowness` times as long as its profile says, and the local batch that
    the operator may be busy with when the answer comes: it sends the next one only after that.
    """
    wanted = wanted_per_s(demand_per_s, backlog, s)
    local = capacity_per_s * _LOCAL_UTILISATION
    offload = wanted - local
    if offload <= 0:
        return NOTHING
    batch = min(s.batch_size, max(1.0, wanted * s.linger_ms / 1000))
    local_batch_s = batch * s.parallelism / capacity_per_s
    flight_s = s.profile.call_ms / 1000 + local_batch_s
    most = s.max_in_flight / flight_s * batch
    limited = offload > most
    offload = min(offload, most)
    slowed_s = s.profile.call_ms / 1000 * slowness + local_batch_s
    in_flight = math.ceil(offload / batch * slowed_s * _HEADROOM - 1e-9)
    return Amount(offload / (local + offload), min(in_flight, s.max_in_flight), limited)
