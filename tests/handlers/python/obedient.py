"""Does what the event says, then answers with what it sees."""

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

calls = 0


def handler(event: dict[str, Any], context: Any) -> Any:
    global calls
    calls += 1
    if "print" in event:
        print(event["print"])
        print("on stderr", file=sys.stderr)
    if "start" in event:
        subprocess.Popen(event["start"])
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "exit" in event:
        os._exit(event["exit"])
    if "kill" in event:
        os.kill(os.getpid(), signal.SIGKILL)
    if "raise" in event:
        raise ValueError(event["raise"])
    if "bytes" in event:
        return "x" * event["bytes"]
    return {
        "event": event,
        "calls": calls,
        "pid": os.getpid(),
        "request_id": context.aws_request_id,
        "function": context.function_name,
        "arn": context.invoked_function_arn,
        "memory_mb": int(context.memory_limit_in_mb),
        "remaining_ms": context.get_remaining_time_in_millis(),
        "client": context.client_context.custom if context.client_context else None,
        "environment": dict(os.environ),
        "cgroup": pathlib.Path("/proc/self/cgroup").read_text(),
    }
