"""Brings the functions that moto keeps to the service that runs them, and what they log to moto."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from moto.awslambda.models import LambdaBackend, LambdaFunction, lambda_backends
from moto.logs.models import LogsBackend, logs_backends

from bench.lambdas.local.api import ACCOUNT, LATEST
from bench.lambdas.local.runtimes import REGION
from bench.lambdas.local.service import Pool, Service
from bench.lambdas.local.template import Function, obstacle


class Functions:
    """The functions and versions of moto's Lambda, as pools of the service.

    Args:
        folder: where their code is unpacked, once for each content.
        thread: the only one that may touch moto.
    """

    def __init__(self, service: Service, folder: Path, thread: ThreadPoolExecutor) -> None:
        self._service = service
        self._folder = folder
        self._thread = thread

    async def follow(self) -> None:
        """Have the service run what moto has now, and nothing that is gone."""
        loop = asyncio.get_running_loop()
        wanted = await loop.run_in_executor(self._thread, self._declared)
        pools = self._service.pools
        for name in pools.keys() - wanted.keys():
            pools.pop(name).end_idle(float("inf"))
        for name, function in wanted.items():
            if name not in pools:
                pools[name] = Pool(function)
            elif pools[name].function != function:
                changes = {x.name: getattr(function, x.name) for x in dataclasses.fields(function)}
                self._service.update(pools[name], **changes)

    def pool_of(self, function: str, qualifier: str) -> str | None:
        """The pool of what a version number or an alias of a function means, None if nothing."""
        if qualifier == LATEST:
            return function
        backend: LambdaBackend = lambda_backends[ACCOUNT][REGION]
        if function not in self._service.pools:
            return None
        for alias in backend.list_aliases(function):
            if alias.name == qualifier:
                return _key(function, str(alias.function_version))
        return _key(function, qualifier)

    def _declared(self) -> dict[str, Function]:
        backend: LambdaBackend = lambda_backends[ACCOUNT][REGION]
        functions: dict[str, Function] = {}
        for latest in backend.list_functions():
            functions[latest.function_name] = self._function(latest, LATEST)
            for one in backend.list_versions_by_function(latest.function_name):
                if str(one.version) != LATEST:
                    key = _key(latest.function_name, str(one.version))
                    functions[key] = self._function(one, str(one.version))
        return functions

    def _function(self, kept: LambdaFunction, version: str) -> Function:
        return Function(
            name=kept.function_name,
            runtime=kept.run_time or "container image",
            handler=kept.handler or "",
            task_root=self._unpacked(kept),
            memory_mb=int(kept.memory_size),
            timeout_s=int(kept.timeout),
            variables=dict(kept.environment_vars),
            storage_mb=int(kept.ephemeral_storage),
            log_format=getattr(kept, "log_format", "Text"),
            description=kept.description,
            role=kept.role,
            log_group=kept.logs_group_name,
            version=version,
            obstacle=obstacle(kept.run_time or "", kept.package_type, kept.layers),
        )

    def _unpacked(self, kept: LambdaFunction) -> Path:
        content = kept.code_bytes if kept.package_type == "Zip" else b""
        folder = self._folder / kept.code_digest.replace(":", "-") if content else self._folder
        if content and not folder.exists():
            making = folder.with_suffix(".part")
            making.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(making)
                for entry in archive.infolist():
                    if mode := entry.external_attr >> 16 & 0o777:
                        (making / entry.filename).chmod(mode | 0o400)
            making.rename(folder)
        return folder


def _key(function: str, version: str) -> str:
    return function if version == LATEST else f"{function}--{version}"


class LogGroups:
    """Writes what functions log into moto's log groups, which come to be as they do on AWS."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._parts: dict[tuple[str, str], bytes] = {}

    def write(self, function: Function, stream: str, text: bytes) -> None:
        """Take output as it comes; what is not yet a whole line waits for the rest of it."""
        group = function.log_group or f"/aws/lambda/{function.name}"
        lines = (self._parts.pop((group, stream), b"") + text).split(b"\n")
        if lines[-1]:
            self._parts[group, stream] = lines[-1]
        messages = [x.decode("utf-8", "replace") + "\n" for x in lines[:-1]]
        if messages:
            self._thread.submit(_put, group, stream, messages, int(time.time() * 1000))


def _put(group: str, stream: str, messages: list[str], at_ms: int) -> None:
    backend: LogsBackend = logs_backends[ACCOUNT][REGION]
    if group not in backend.groups:
        backend.create_log_group(group, {})
    if stream not in backend.groups[group].streams:
        backend.create_log_stream(group, stream)
    backend.put_log_events(group, stream, [{"timestamp": at_ms, "message": x} for x in messages])
