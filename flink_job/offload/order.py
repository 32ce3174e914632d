"""When a batch that is done goes downstream: at once, or in source order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from pyflink.common import Types
from pyflink.datastream import RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor, ValueStateDescriptor

from flink_job.offload.batch import Batch, Passage, Results
from flink_job.offload.flatmap import Flatmap


class Unfinished:
    """The batches of the current key that have been taken up and not gone downstream yet: what a
    restored checkpoint has done again. Batches that go downstream in the call that brought them
    need not be here."""

    def __init__(self, runtime_context: RuntimeContext) -> None:
        self._state: MapState = runtime_context.get_map_state(
            MapStateDescriptor("unfinished", Types.LONG(), Types.PICKLED_BYTE_ARRAY())
        )
        self._numbers: set[int] = set()

    def put(self, batch: Batch) -> None:
        """Remember `batch`, if it is not remembered yet."""
        if batch.number not in self._numbers:
            self._numbers.add(batch.number)
            self._state.put(batch.number, batch)

    def remove(self, batch: Batch) -> None:
        """Forget `batch`, if it is remembered."""
        if batch.number in self._numbers:
            self._numbers.discard(batch.number)
            self._state.remove(batch.number)

    def restored(self) -> list[Batch]:
        """What the current key's state held when this subtask first saw it, oldest first."""
        batches = sorted(self._state.values(), key=lambda batch: int(batch.number))
        self._numbers.update(batch.number for batch in batches)
        return batches


class Outlet(Protocol):
    """Where batches that are done go."""

    def done(self, batch: Batch, passage: Passage, results: Results) -> Iterator[Any]:
        """What goes downstream now that `batch` is done."""


class AtOnce:
    """Whatever is done goes downstream."""

    def __init__(self, flatmap: Flatmap, unfinished: Unfinished) -> None:
        self._flatmap = flatmap
        self._unfinished = unfinished

    def done(self, batch: Batch, passage: Passage, results: Results) -> Iterator[Any]:
        yield from self._flatmap.emit(batch, passage, results)
        self._unfinished.remove(batch)


class InOrder:
    """What is done early waits, as unfinished, until everything before it on its lane is out.

    Args:
        lanes: how many there are: the numbers of a lane's batches are that far apart.
    """

    def __init__(
        self,
        flatmap: Flatmap,
        unfinished: Unfinished,
        runtime_context: RuntimeContext,
        lanes: int,
    ) -> None:
        self._flatmap = flatmap
        self._unfinished = unfinished
        self._lanes = lanes
        self._next = runtime_context.get_state(ValueStateDescriptor("next", Types.LONG()))
        self._held: dict[int, tuple[Batch, Passage, Results]] = {}

    def done(self, batch: Batch, passage: Passage, results: Results) -> Iterator[Any]:
        number = self._next.value()
        if number is None:
            number = batch.number % self._lanes
        self._held[batch.number] = (batch, passage, results)
        if batch.number != number:
            self._unfinished.put(batch)
        while number in self._held:
            out, how, what = self._held.pop(number)
            yield from self._flatmap.emit(out, how, what)
            self._unfinished.remove(out)
            number += self._lanes
        self._next.update(number)
