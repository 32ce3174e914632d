"""Lanes: the keys by which batches are spread over the subtasks of an offloading operator.

What is in flight is keyed state, so that it moves with the key when the job is rescaled; and a lane
is the unit within which order can be kept.
"""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.java_gateway import get_gateway

# Flink's default for small jobs, written down because the lanes depend on it: to be set as the
# environment's.
MAX_PARALLELISM = 128


def by_lane(batches: DataStream, lanes: int) -> KeyedStream:
    """Batch n goes to lane n mod `lanes`, the most subtasks that the operator may ever have."""
    keys = _keys(lanes)
    return batches.key_by(lambda batch: keys[batch.number % len(keys)], Types.LONG())


def _keys(lanes: int) -> list[int]:
    """One key a lane, such that `lanes` subtasks get one lane each, and half as many get two.

    Flink hashes a key, which PyFlink wraps in a Row, to a key group, and gives each subtask a range
    of those.
    """
    gateway = get_gateway()
    flink = gateway.jvm.org.apache.flink
    keys: dict[int, int] = {}
    key = 0
    while len(keys) < lanes:
        row = flink.types.Row(1)
        row.setField(0, key)
        group = flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup(row, MAX_PARALLELISM)
        keys.setdefault(group * lanes // MAX_PARALLELISM, key)
        key += 1
    return [keys[lane] for lane in range(lanes)]
