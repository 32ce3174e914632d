"""How each language's runtime interface client is started, and in which surroundings.

`scripts/setup-runtimes` fills `.runtimes/` from the manifests in `runtimes/`; the JDK is the
machine's (JAVA_HOME, or `java` on the PATH).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from bench.lambdas.local.template import ROOT, Function

RUNTIMES = ROOT / ".runtimes"
REGION = "us-east-1"
_JAVA_CLIENT = "com.amazonaws.services.lambda.runtime.api.client"


class RuntimeMissing(Exception):
    """A toolchain that is not on this machine; the message says what brings it."""


def command(function: Function, tmp: Path | None = None) -> list[str]:
    """The program and arguments of the function's environment.

    Args:
        tmp: where it is to put temporary files, if not into /tmp.

    Raises:
        RuntimeMissing: the language's toolchain is not there, or the function cannot run here.
    """
    if function.obstacle:
        raise RuntimeMissing(f"{function.name} cannot run here: {function.obstacle}")
    match function.language:
        case "python":
            return [_found("python/bin/python"), "-m", "awslambdaric", function.handler]
        case "node":
            client = _found("node/node_modules/aws-lambda-ric/index.mjs")
            return [_found("node/bin/node"), client, function.handler]
        case _:
            elsewhere = [f"-Djava.io.tmpdir={tmp}", "-XX:-UsePerfData"] if tmp else []
            options = [*elsewhere, *_java_options(function)]
            return [java(), *options, f"{_JAVA_CLIENT}.AWSLambda", function.handler]


def needed(function: Function) -> list[Path]:
    """Folders that the function's environment reads, beside its code."""
    return [RUNTIMES.resolve(), *([_java_home()] if function.language == "java" else [])]


def surroundings(function: Function, runtime_api: str, log_stream: str) -> dict[str, str]:
    """The environment variables that a function sees on AWS, credentials apart.

    Source: the AWS Lambda developer guide, "Defined runtime environment variables". Nothing of the
    service's own environment goes in.
    """
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",  # as AWS's en_US.UTF-8, which few machines have generated
        "TZ": ":UTC",
        "PYTHONDONTWRITEBYTECODE": "1",  # /var/task is read-only on AWS
        "LAMBDA_TASK_ROOT": str(function.task_root),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group or f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        **({"AWS_LAMBDA_LOG_FORMAT": "JSON"} if function.log_format == "JSON" else {}),
        **function.variables,
        "_HANDLER": function.handler,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
    }


def java() -> str:
    """The machine's Java.

    Raises:
        RuntimeMissing: there is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    if not found or not Path(found).exists():
        raise RuntimeMissing("there is no Java here; bring a JDK with: make setup")
    return found


def versions() -> dict[str, str]:
    """Exact version by language, of those that are on this machine."""
    found = {language: version(language) for language in ("python", "java", "node")}
    return {language: said for language, said in found.items() if said}


def version(language: str) -> str | None:
    """Exact version of what runs a language here, None if nothing does."""
    match language:
        case "python":
            return _match(RUNTIMES / "python/pyvenv.cfg", r"^version = (\S+)")
        case "java":
            with contextlib.suppress(RuntimeMissing):
                return _match(_java_home() / "release", r'^JAVA_VERSION="([^"]+)"')
            return None
        case _:
            manifests = RUNTIMES.glob("node/node_modules/node-linux-*/package.json")
            return next((str(json.loads(x.read_text())["version"]) for x in manifests), None)


def told_versions(functions: Iterable[Function]) -> dict[str, str]:
    """What runs each language, and what was asked for where that is another version."""
    told = versions()
    for function in functions:
        if here := other_version(function):
            told[function.language] = f"{here} (asked for: {function.runtime})"
    return told


def other_version(function: Function) -> str | None:
    """The version that a function runs on here if that is not of the runtime it asks for."""
    asked = re.sub(r"^[a-z]+|\.x$", "", function.runtime)
    here = version(function.language)
    if here is None or here == asked or here.startswith(f"{asked}."):
        return None
    return here


def _java_home() -> Path:
    return Path(java()).resolve().parents[1]


def _match(path: Path, pattern: str) -> str | None:
    with contextlib.suppress(OSError):
        match = re.search(pattern, path.read_text(), re.MULTILINE)
        return match[1] if match else "unknown"
    return None


def _found(path: str) -> str:
    full = RUNTIMES / path
    if not full.exists():
        raise RuntimeMissing(f".runtimes/{path} is missing; bring it with: make setup")
    return str(full)


def _java_options(function: Function) -> list[str]:
    """AWS's own options for the JVM, each unless the function's JAVA_TOOL_OPTIONS sets it.

    Source: the AWS Lambda developer guide, "Customize Java runtime startup behavior": C1 only from
    Java 17 on, to be overridden by JAVA_TOOL_OPTIONS (which the JVM itself would rank below these).
    The runtime's own classes come from a shared archive, as the command line of AWS's process says
    (`-XX:SharedArchiveFile=/var/lang/lib/server/runtime.jsa`); one that does not fit is ignored.
    """
    chosen = function.variables.get("JAVA_TOOL_OPTIONS", "")
    defaults = {
        r"TieredCompilation|TieredStopAtLevel": "-XX:TieredStopAtLevel=1",
        r"-XX:\+Use\w+GC": "-XX:+UseSerialGC",
        r"-XX:SharedArchiveFile|-Xshare": f"-XX:SharedArchiveFile={_found('java/runtime.jsa')}",
        r"-Xmx|MaxHeapSize|MaxRAMPercentage": f"-Xmx{function.memory_mb * 85 // 100}m",
    }
    library = {"x86_64": "x86_64", "aarch64": "aarch_64"}.get(platform.machine(), "x86_64")
    native = _found(f"java/jni/libaws-lambda-jni.linux-{library}.so")
    return [
        *(option for pattern, option in defaults.items() if not re.search(pattern, chosen)),
        f"-D{_JAVA_CLIENT}.runtimeapi.NativeClient.JNI={native}",
        "-cp",
        f"{RUNTIMES}/java/lib/*",
    ]
