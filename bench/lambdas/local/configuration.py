"""What may be changed of a function's configuration, and what AWS says to the rest.

Source: the AWS Lambda API reference, UpdateFunctionConfiguration, and the developer guide, "Working
with environment variables" and "Defined runtime environment variables".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from bench.lambdas.local.template import LANGUAGES, Function

MEMORY_MB = range(128, 10_241)
TIMEOUT_S = range(1, 901)
STORAGE_MB = range(512, 10_241)
LOG_FORMATS = ("Text", "JSON")
_VARIABLES_BYTES = 4096
_VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
_RESERVED = {
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
}
# Taken if they ask for what is the case here anyway: nothing of the kind.
_ABSENT_HERE: dict[str, Any] = {
    "DeadLetterConfig": {"TargetArn": ""},
    "FileSystemConfigs": [],
    "ImageConfig": {},
    "KMSKeyArn": "",
    "Layers": [],
    "SnapStart": {"ApplyOn": "None"},
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
}


class Refused(Exception):
    """A configuration that cannot be had; `kind` is AWS's error code."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def changes(wanted: Any, function: Function) -> dict[str, Any]:
    """The fields of `function` that a request wants changed, with their new values.

    Raises:
        Refused: AWS would not take it, or we cannot do it and say so.
    """
    if not isinstance(wanted, dict):
        raise Refused("SerializationException", "The request is not a JSON object")
    changed: dict[str, Any] = {}
    for name, value in wanted.items():
        if value is None or name in ("FunctionName", "RevisionId"):
            continue
        match name:
            case "MemorySize":
                changed["memory_mb"] = _within(MEMORY_MB, value, name)
            case "Timeout":
                changed["timeout_s"] = _within(TIMEOUT_S, value, name)
            case "EphemeralStorage":
                changed["storage_mb"] = _within(STORAGE_MB, _member(value, "Size", name), name)
            case "Environment":
                changed["variables"] = variables(_member(value, "Variables", name, {}))
            case "LoggingConfig":
                changed["log_format"] = _log_format(value)
            case "Handler":
                changed["handler"] = _text(value, name)
            case "Runtime":
                changed["runtime"] = _runtime(value, function)
            case "Description" | "Role":
                changed[name.lower()] = _text(value, name)
            case _ if name in _ABSENT_HERE:
                if value and value != _ABSENT_HERE[name]:
                    raise _invalid(f"The local Lambda service has no {name}")
            case _:
                raise _invalid(f"The local Lambda service knows no {name}")
    return changed


def variables(wanted: Any) -> dict[str, str]:
    """Environment variables, if AWS would take them.

    Raises:
        Refused: a name that is reserved or no name, no text, or more than 4 KB of them.
    """
    if not isinstance(wanted, dict) or not all(isinstance(x, str) for x in wanted.values()):
        raise Refused("SerializationException", "Environment variables are texts by name")
    if not all(_VARIABLE.fullmatch(name) for name in wanted):
        raise Refused(
            "ValidationException",
            "1 validation error detected: Value at 'environment.variables' failed to satisfy "
            "constraint: Map keys must satisfy constraint: [Member must satisfy regular expression "
            "pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
        )
    unable = (
        "Lambda was unable to configure your environment variables because the environment "
        "variables you have provided "
    )
    if reserved := [name for name in wanted if name in _RESERVED]:
        raise _invalid(
            f"{unable}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    measured = json.dumps(wanted, separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode(errors="replace")) > _VARIABLES_BYTES:
        raise _invalid(f"{unable}exceeded the 4KB limit. String measured: {measured}")
    return dict(wanted)


def _within(allowed: range, value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("SerializationException", f"'{what}' is a whole number, not {value!r}")
    if value not in allowed:
        raise _invalid(f"'{what}' must be from {allowed.start} to {allowed.stop - 1}, not {value}")
    return value


def _member(value: Any, member: str, what: str, default: Any = None) -> Any:
    if not isinstance(value, Mapping):
        raise Refused("SerializationException", f"'{what}' is an object with '{member}'")
    return value.get(member, default)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise Refused("SerializationException", f"'{what}' is a text, not {value!r}")
    return value


def _log_format(value: Any) -> str:
    log_format = _member(value, "LogFormat", "LoggingConfig", "Text")
    if log_format not in LOG_FORMATS:
        raise _invalid(f"'LogFormat' is one of {', '.join(LOG_FORMATS)}, not {log_format!r}")
    if others := [x for x in value if x != "LogFormat"]:
        raise _invalid(f"The local Lambda service has no LoggingConfig.{others[0]}")
    return str(log_format)


def _runtime(value: Any, function: Function) -> str:
    language = LANGUAGES.get(_text(value, "Runtime").rstrip("0123456789.x"))
    if language != function.language:
        raise _invalid(f"The local Lambda service cannot make {function.runtime} {value}")
    return str(value)


def _invalid(message: str) -> Refused:
    return Refused("InvalidParameterValueException", message)
