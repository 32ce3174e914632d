"""What a job says of the flatmap whose work it wants offloaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from flink_job.offload.batch import Batch, Call, Passage, Results


class Flatmap(ABC):
    """The same work in two places: here, and behind a function's name. Travels pickled.

    The work is stateless, and the same for a record whatever else is in the batch.
    """

    def open(self) -> None:  # noqa: B027
        """Called once in each subtask, before anything else."""

    @abstractmethod
    def records(self, payload: bytes) -> list[Any]:
        """The records of a batch."""

    @abstractmethod
    def work(self, records: list[Any]) -> Results:
        """Do some records here: one result each. Called for slices of a batch."""

    @abstractmethod
    def event(self, payloads: list[bytes], id: str) -> bytes:
        """The event of one call for the records of all these batches, in order, as JSON.

        Args:
            id: of the call; ASCII letters, digits and hyphens. An answer that echoes it is known
                to be this call's.
        """

    @abstractmethod
    def results(self, answer: Any, id: str) -> Results:
        """One result a record out of a function's parsed answer to the event of call `id`.

        Raises:
            ValueError: it is no answer to such an event; says why. The call counts as failed.
        """

    @abstractmethod
    def emit(self, batch: Batch, passage: Passage, results: Results) -> Iterable[Any]:
        """What goes downstream once a batch is done: all of it, in order, with no checkpoint in
        between."""

    def emit_call(self, call: Call) -> Iterable[Any]:
        """What goes downstream of a call that has ended, besides the results: nothing."""
        return ()
