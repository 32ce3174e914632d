"""When a batch that is done goes downstream: at once, or in source order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor, ValueStateDescriptor

from flink_job.batch import Batch, Passage, emit

Tokens = list[list[str]]


def unfinished(runtime_context: RuntimeContext) -> MapState:
    """Number → batch, of those of the current key that have not gone downstream yet: what a
    restored checkpoint has done again."""
    return runtime_context.get_map_state(
        MapStateDescriptor("unfinished", Types.LONG(), Types.PICKLED_BYTE_ARRAY())
    )


class Outlet(Protocol):
    """Where batches that are done go."""

    def done(self, batch: Batch, passage: Passage, tokens: Tokens) -> Iterator[str]:
        """What goes downstream now that `batch` is done."""


class AtOnce:
    """Whatever is done goes downstream."""

    def __init__(self, state: MapState) -> None:
        self._unfinished = state

    def done(self, batch: Batch, passage: Passage, tokens: Tokens) -> Iterator[str]:
        yield from emit(passage, tokens)
        self._unfinished.remove(batch.number)


class InOrder:
    """What is done early waits, as unfinished, until everything before it on its lane is out.

    Args:
        lanes: how many there are: the numbers of a lane's batches are that far apart.
    """

    def __init__(self, runtime_context: RuntimeContext, state: MapState, lanes: int) -> None:
        self._unfinished = state
        self._lanes = lanes
        self._next = runtime_context.get_state(ValueStateDescriptor("next", Types.LONG()))
        self._held: dict[int, tuple[Passage, Tokens]] = {}

    def done(self, batch: Batch, passage: Passage, tokens: Tokens) -> Iterator[str]:
        number = self._next.value()
        if number is None:
            number = batch.number % self._lanes
        self._held[batch.number] = (passage, tokens)
        if batch.number != number:
            self._unfinished.put(batch.number, batch)
        while number in self._held:
            yield from emit(*self._held.pop(number))
            self._unfinished.remove(number)
            number += self._lanes
        self._next.update(number)
