"""Does what the event says, then answers with what it sees."""

import importlib
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

calls = 0


def tell(port: int, request_id: str) -> None:
    """Say to whoever listens on that port that this invocation runs."""
    with socket.socket(type=socket.SOCK_DGRAM) as outside:
        outside.sendto(request_id.encode(), ("127.0.0.1", port))


def lose_the_connection_and_freeze() -> None:
    """As a runtime that hangs: 0.1 s from now, while it waits for work."""
    time.sleep(0.1)
    for entry in list(pathlib.Path("/proc/self/fd").iterdir()):
        fd = int(entry.name)
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    os.kill(os.getpid(), signal.SIGSTOP)


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def handler(event: dict[str, Any], context: Any) -> Any:
    global calls
    calls += 1
    if "print" in event:
        print(event["print"])
        print("on stderr", file=sys.stderr)
    if "tell" in event:
        tell(event["tell"], context.aws_request_id)
    if "freeze" in event:
        threading.Thread(target=lose_the_connection_and_freeze).start()
    if "spin" in event:
        spin(event["spin"])
    tmp = pathlib.Path(tempfile.gettempdir())
    seen = sorted(x.name for x in tmp.iterdir())
    if "write" in event:
        (tmp / event["write"]).write_text("left behind")
    if "allocate" in event:
        held = b"x" * (event["allocate"] * 1024 * 1024)
        time.sleep(event["hold"])
        del held
    if "start" in event:
        subprocess.Popen(event["start"])
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "import" in event:
        return str(importlib.import_module(event["import"]).__file__)
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
        "tmp": str(tmp),
        "in_tmp": seen,
        "request_id": context.aws_request_id,
        "function": context.function_name,
        "arn": context.invoked_function_arn,
        "memory_mb": int(context.memory_limit_in_mb),
        "remaining_ms": context.get_remaining_time_in_millis(),
        "client": context.client_context.custom if context.client_context else None,
        "environment": dict(os.environ),
        "cgroup": pathlib.Path("/proc/self/cgroup").read_text(),
    }
