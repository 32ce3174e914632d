"""Which subtask an operator is."""

from __future__ import annotations

from pyflink.datastream import RuntimeContext


def subtask_index(runtime_context: RuntimeContext) -> int:
    """The operator's subtask index, from 0.

    PyFlink 2.3's own `get_index_of_this_subtask` fails in thread mode: it calls a Java method that
    Flink 2 has moved to `TaskInfo`.
    """
    return int(runtime_context._runtime_context.getTaskInfo().getIndexOfThisSubtask())
