"""What AWS would add to a call here: network, placement, init, and how fast it scales.

The figures and their sources are in `as_on_aws.toml`; this module draws from them and waits. All
times are in milliseconds. Draws are seeded, one stream for each part, so that the n-th call has the
same network whatever else happens.

**Init.** AWS's distribution is known for a handler that does nothing. An init here becomes the init
there that has the same rank: its place among all inits that this function had so far (drawn evenly
within its step, so that already the first is a fair draw). What the function does beyond a handler
that does nothing is work, and is added: the median CPU time of its inits less that of such a
handler, both measured here (CPU time, since a busy machine makes the rest longer than on AWS). A
local init that takes longer than all that cannot be taken back: it is kept, and counted.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
import tomllib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

from bench.lambdas.local.template import Function

PARAMETERS = Path(__file__).with_name("as_on_aws.toml")
_BYTES_PER_MB = 1_000_000
_INITS_KEPT = 1000
_NORMAL = NormalDist()


class Quantiles:
    """A distribution of times, by pairs of probability and ms; see `as_on_aws.toml`."""

    def __init__(
        self, pairs: Sequence[tuple[float, float]], least: float = 0.0, most: float = math.inf
    ) -> None:
        self._points = [(_NORMAL.inv_cdf(p), math.log(ms)) for p, ms in pairs]
        self._least, self._most = least, most

    def at(self, probability: float) -> float:
        """The time that so many do not exceed; `probability` between 0 and 1, both excluded."""
        z = _NORMAL.inv_cdf(probability)
        points = self._points
        k = next((k for k in range(1, len(points) - 1) if z <= points[k][0]), len(points) - 1)
        (z0, log0), (z1, log1) = points[k - 1], points[k]
        return min(
            self._most, max(self._least, math.exp(log0 + (z - z0) * (log1 - log0) / (z1 - z0)))
        )

    def draw(self, rng: random.Random) -> float:
        return self.at(_open_unit(rng))


@dataclass(frozen=True)
class Network:
    """What one call waits beside everything that happens in Lambda; half of it each way."""

    there_ms: float
    back_ms: float


class _Inits:
    """The latest inits of one function here."""

    def __init__(self) -> None:
        self.ms: deque[float] = deque(maxlen=_INITS_KEPT)
        self.cpu_ms: deque[float] = deque(maxlen=_INITS_KEPT)

    def add(self, ms: float, cpu_ms: float) -> None:
        self.ms.append(ms)
        self.cpu_ms.append(cpu_ms)

    def rank(self, ms: float, within: float) -> float:
        """What share is below one of them; `within` (0..1) says where in its own step it is."""
        return (sum(x < ms for x in self.ms) + within * self.ms.count(ms)) / len(self.ms)


class Emulation:
    """Draws what AWS would add. Its state: the inits seen, and each function's room to grow.

    Args:
        parameters: the content of `as_on_aws.toml`.
        new_environments: that a function may have at once and in `per_s`, instead of AWS's.
        references_ms: by language, the CPU time here of the init of a handler that does nothing;
            where it is not known, a function's own work in its init is not counted.
        clock: seconds, of room that comes back.

    Attributes:
        version: of the parameters.
        inits, inits_kept: emulated so far, and those of them that took longer here than there.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        seed: int,
        new_environments: int | None = None,
        references_ms: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version: int = parameters["version"]
        self.inits = self.inits_kept = 0
        self.references_ms = dict(references_ms or {})
        self._parameters = parameters
        self._front, self._client, self._placement = (
            _quantiles(parameters[part]) for part in ("front", "client", "placement")
        )
        self._tables: dict[str, Quantiles] = {
            runtime: _quantiles(table)
            for runtime, table in parameters["init"].items()
            if isinstance(table, dict)
        }
        streams = ("front", "client", "placement", "init")
        self._streams = {name: random.Random(f"{seed} {name}") for name in streams}
        capacity = parameters["capacity"]
        self.new_environments: int = new_environments or capacity["new_environments"]
        self._refill_s: float = capacity["per_s"] / self.new_environments
        self._room: dict[str, tuple[float, float]] = {}  # how much, since when (s)
        self._inits: dict[object, _Inits] = {}
        self._clock = clock

    @classmethod
    def load(cls, seed: int, new_environments: int | None = None) -> Emulation:
        """With the parameters of this package."""
        return cls(tomllib.loads(PARAMETERS.read_text()), seed, new_environments)

    def network(self, sent_bytes: int, idle_s: float, new_connection: bool) -> Network:
        """Of a call with so large a payload to a function that nobody called for `idle_s`."""
        both_ways = self._front.draw(self._streams["front"])
        both_ways += self._client.draw(self._streams["client"])
        there_ms = both_ways / 2 + self.payload_ms(sent_bytes)
        if new_connection:
            there_ms += self._parameters["connection"]["ms"]
        return Network(there_ms + self._more("idle", idle_s), both_ways / 2)

    def payload_ms(self, size_bytes: int) -> float:
        """One way."""
        return float(self._parameters["payload"]["ms_per_mb"] * size_bytes / _BYTES_PER_MB)

    def placement_ms(self, idle_s: float) -> float:
        """Of a new environment for a function that nobody called for `idle_s`."""
        drawn = self._placement.draw(self._streams["placement"])
        return drawn + self._more("placement_idle", idle_s)

    def init_ms(self, function: Function, here_ms: float, cpu_ms: float) -> float:
        """The init on AWS that one of `here_ms` stands for, but never less than that.

        It is compared with those of the same function at the same memory size.
        """
        seen = self._inits.setdefault((function.name, function.memory_mb), _Inits())
        seen.add(here_ms, cpu_ms)
        rank = seen.rank(here_ms, _open_unit(self._streams["init"]))
        nothing_ms = self.references_ms.get(function.language, math.inf)
        work_ms = max(0.0, median(seen.cpu_ms) - nothing_ms)
        there_ms = self._tables[self.table_of(function.runtime)].at(rank) + work_ms
        self.inits += 1
        self.inits_kept += here_ms > there_ms
        return max(here_ms, there_ms)

    def table_of(self, runtime: str) -> str:
        """The runtime of the same language whose inits stand for those of `runtime`."""
        language, number = _parted(runtime)
        alike = {x: _parted(x)[1] for x in self._tables if _parted(x)[0] == language}
        return min(alike, key=lambda x: abs(alike[x] - number))

    def take_room(self, function: str) -> bool:
        """Whether the function may have one more new environment now; if so, it is taken."""
        now = self._clock()
        room, since = self._room.get(function, (float(self.new_environments), now))
        room = min(float(self.new_environments), room + (now - since) / self._refill_s)
        taken: bool = room >= 1
        self._room[function] = (room - taken, now)
        return taken

    def _more(self, part: str, idle_s: float) -> float:
        table = self._parameters[part]
        return float(table["ms"]) if idle_s > table["after_s"] else 0.0


async def wait(ms: float) -> float:
    """Wait that long, to half a millisecond, and return how long it was.

    The event loop's timers know whole milliseconds and may fire up to one too early.
    """
    began = time.perf_counter()
    while (left_ms := ms - (time.perf_counter() - began) * 1000) > 0.5:
        await asyncio.sleep(left_ms / 1000)
    return (time.perf_counter() - began) * 1000


def _open_unit(rng: random.Random) -> float:
    """Evenly between 0 and 1, both excluded."""
    return min(max(rng.random(), 1e-9), 1 - 1e-9)


def _quantiles(table: Mapping[str, Any]) -> Quantiles:
    pairs = [(float(p), float(ms)) for p, ms in table["quantiles"]]
    return Quantiles(pairs, table.get("least", 0.0), table.get("most", math.inf))


def _parted(runtime: str) -> tuple[str, int]:
    """Language and version, of which only the order matters: python3.9 is before python3.11."""
    match = re.fullmatch(r"([a-z]+)(\d+)(?:\.(\d+))?.*", runtime)
    if not match:
        return runtime, 0
    return match[1], int(match[2]) * 100 + int(match[3] or 0)
