"""The Flink task that an operator runs in."""

from __future__ import annotations

from functools import cache
from typing import Any

from pyflink.datastream import RuntimeContext


class Cancelled(Exception):
    """The job is being cancelled while the operator waits."""


def subtask_index(runtime_context: RuntimeContext) -> int:
    """The operator's subtask index, from 0.

    PyFlink 2.3's own `get_index_of_this_subtask` fails in thread mode: it calls a Java method that
    Flink 2 has moved to `TaskInfo`.
    """
    return int(runtime_context._runtime_context.getTaskInfo().getIndexOfThisSubtask())


def check_cancelled() -> None:
    """To be called by whatever waits: Flink cancels a task by interrupting its thread, which no
    wait in Python notices. Raises Cancelled."""
    if _java_thread().currentThread().isInterrupted():
        raise Cancelled("the job is being cancelled")


@cache
def _java_thread() -> Any:
    from pemja import findClass  # there in thread mode only

    return findClass("java.lang.Thread")
