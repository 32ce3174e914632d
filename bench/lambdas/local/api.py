"""The Lambda API, as far as invoking and configuring a function needs it.

Source: the AWS Lambda API reference (2015-03-31): Invoke, GetFunction, GetFunctionConfiguration,
ListFunctions, UpdateFunctionConfiguration, ListVersionsByFunction, ListAliases, GetAlias.
"""

from __future__ import annotations

import base64
import binascii
import json
import platform
import re
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote

from bench.lambdas.local import configuration, runtimes
from bench.lambdas.local.emulation import wait
from bench.lambdas.local.environment import Invocation
from bench.lambdas.local.events import TooManyRequests
from bench.lambdas.local.http import Request, Response
from bench.lambdas.local.runtimes import REGION, RuntimeMissing
from bench.lambdas.local.service import Ending, Pool, Service

REQUEST_LIMIT_BYTES = 6_291_456  # of a synchronous invocation
EVENT_LIMIT_BYTES = 1_048_576  # of an asynchronous one
ACCOUNT = "000000000000"
LATEST = "$LATEST"
_ROOT = "/2015-03-31/functions"
_NAME = re.compile(  # a name, ACCOUNT:function:NAME or an ARN, each with or without a qualifier
    r"(?:(?:arn:aws[\w-]*:lambda:[\w-]+:)?\d{12}:function:)?([\w-]{1,64})(?::(\$LATEST|[\w-]+))?"
)


class ApiError(Exception):
    """A request that AWS would refuse, with the status, type and words that it would use."""

    def __init__(self, status: HTTPStatus, kind: str, message: str, reason: str | None = None):
        super().__init__(message)
        self.status, self.kind, self.message, self.reason = status, kind, message, reason

    def response(self) -> Response:
        body = {"Type": "User", "Message": self.message, "message": self.message}
        if self.reason:
            body["Reason"] = self.reason
        return Response(self.status, json.dumps(body).encode(), {"x-amzn-ErrorType": self.kind})


def _only_latest(function: str, qualifier: str) -> str | None:
    return function if qualifier == LATEST else None


class LambdaApi:
    """Answers requests to the Lambda API from a service.

    Args:
        pool_of: the name of the service's pool for a function and a version or alias of it; None
            where there is no such version. By default there are no versions but the latest.

    Headers beyond AWS's: `X-Bring-Up-Ms` on an invocation that had to wait for a new environment
    before its own time (`Duration`) began: from the decision to start it to its first `next`. An
    init inside the invocation is in `Duration` alone. Where AWS is imitated: `X-Placement-Ms`, that
    long the caller waited for a new environment beside its bring-up, and `X-Network-Ms`, that long
    for everything outside of Lambda.
    """

    def __init__(
        self, service: Service, pool_of: Callable[[str, str], str | None] = _only_latest
    ) -> None:
        self._service = service
        self._pool_of = pool_of

    async def handle(self, request: Request) -> Response:
        request_id = str(uuid.uuid4())
        try:
            response = await self._route(request, request_id)
        except ApiError as error:
            response = error.response()
        except (OSError, RuntimeMissing, Ending) as error:
            words = str(error) or "the local Lambda service is ending"
            response = ApiError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "ServiceException", words
            ).response()
        headers = {"x-amzn-RequestId": request_id, **response.headers}
        return Response(response.status, response.body, headers)

    async def handle_call(self, request: Request) -> Response:
        """Calls of functions, for whoever comes from another machine: nothing else, so that nobody
        there sees or changes how they are configured."""
        if request.method != "POST" or not request.path.rstrip("/").endswith("/invocations"):
            return ApiError(
                HTTPStatus.NOT_FOUND, "UnknownOperationException", "calls alone are taken here"
            ).response()
        return await self.handle(request)

    async def _route(self, request: Request, request_id: str) -> Response:
        path = request.path.rstrip("/")
        if request.method == "GET" and path == "":
            return _json(self._status())
        if not path.startswith(_ROOT):
            return _no_such_path()
        name, _, action = path.removeprefix(_ROOT).removeprefix("/").partition("/")
        match request.method, bool(name), action:
            case "POST", True, "invocations":
                return await self._from_afar(name, request, request_id)
            case "GET", False, "":
                pools = self._service.pools.values()
                return _json({"Functions": [_configuration(pool) for pool in pools]})
            case "GET", True, "":
                return _json({"Configuration": self._described(name, request)})
            case "GET", True, "configuration":
                return _json(self._described(name, request))
            case "PUT", True, "configuration":
                return _json(self._update(self._find(name, request, _only_latest), request))
            case "GET", True, "versions":
                return _json({"Versions": [_configuration(self._find(name, request), LATEST)]})
            case "GET", True, "aliases":
                self._find(name, request)
                return _json({"Aliases": []})
            case "GET", True, _ if action.startswith("aliases/"):
                alias = unquote(action.partition("/")[2])
                raise _not_found(
                    f"Cannot find alias arn: {_arn(self._find(name, request).function.name, alias)}"
                )
        return _no_such_path()

    def _status(self) -> dict[str, Any]:
        shares = self._service.shares
        emulation = self._service.emulation
        imitated = (
            {
                "parameters": emulation.version,
                "new_environments": emulation.new_environments,
                "references_ms": emulation.references_ms,
                "inits": emulation.inits,
                "inits_longer_here": emulation.inits_kept,
            }
            if emulation
            else None
        )
        return {
            "service": "local process",
            "as_on_aws": imitated,
            "cpu_share_enforced": shares is not None,
            "cpu_share": str(shares) if shares else None,
            "tmp": str(self._service.storage),
            "runtimes": {
                pool.function.runtime: runtimes.version(pool.function.language)
                for pool in self._service.pools.values()
            },
            "functions": [pool.function.told() for pool in self._service.pools.values()],
            "max_concurrency": self._service.max_concurrency,
            "events": len(self._service.events),
            **self._service.usage(),
        }

    def _described(self, name: str, request: Request) -> dict[str, Any]:
        return _configuration(self._find(name, request), _called(name, request)[1])

    def _find(
        self,
        name: str,
        request: Request,
        pool_of: Callable[[str, str], str | None] | None = None,
    ) -> Pool:
        """The function that a name, ARN or qualified name in a path means.

        Raises:
            ApiError: there is none.
        """
        function, qualifier = _called(name, request)
        key = (pool_of or self._pool_of)(function, qualifier or LATEST)
        pool = None if key is None else self._service.pools.get(key)
        if pool is None:
            told = None if qualifier == LATEST else qualifier
            raise _not_found(f"Function not found: {_arn(function, told)}")
        return pool

    async def _from_afar(self, name: str, request: Request, request_id: str) -> Response:
        """Invoke as a client of AWS would see it, where that is imitated."""
        pool = self._find(name, request)
        idle_s = pool.called()
        arn = _arn(*_called(name, request))
        emulation = self._service.emulation
        if emulation is None:
            return await self._invoke(pool, arn, request, request_id, idle_s)
        network = emulation.network(len(request.body), idle_s, request.first)
        waited_ms = await wait(network.there_ms)
        try:
            response = await self._invoke(pool, arn, request, request_id, idle_s)
        except ApiError as error:
            response = error.response()
        back_ms = network.back_ms + emulation.payload_ms(len(response.body))
        waited_ms += await wait(network.there_ms + back_ms - waited_ms)
        headers = {**response.headers, "X-Network-Ms": f"{waited_ms:.3f}"}
        return Response(response.status, response.body, headers)

    async def _invoke(
        self, pool: Pool, arn: str, request: Request, request_id: str, idle_s: float
    ) -> Response:
        invocation_type = request.headers.get("x-amz-invocation-type", "RequestResponse")
        limit = EVENT_LIMIT_BYTES if invocation_type == "Event" else REQUEST_LIMIT_BYTES
        if request.too_large or len(request.body) > limit:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "RequestTooLargeException",
                f"Request must be smaller than {limit} bytes for the InvokeFunction operation",
            )
        payload = request.body or b"{}"
        _check_json(payload)
        invocation = Invocation(request_id, payload, arn, _context(request), idle_s=idle_s)
        match invocation_type:
            case "RequestResponse":
                return await self._wait_for(pool, invocation, request)
            case "Event":
                self._service.events.accept(pool, invocation)
                return Response(HTTPStatus.ACCEPTED)
            case "DryRun":
                return Response(HTTPStatus.NO_CONTENT)
            case _:
                raise ApiError(
                    HTTPStatus.BAD_REQUEST,
                    "InvalidParameterValueException",
                    f"Unknown invocation type: {invocation_type}",
                )

    async def _wait_for(self, pool: Pool, invocation: Invocation, request: Request) -> Response:
        try:
            result = await self._service.invoke(pool, invocation)
        except TooManyRequests:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "TooManyRequestsException",
                "Rate Exceeded.",
                "ConcurrentInvocationLimitExceeded",
            ) from None
        headers = {"X-Amz-Executed-Version": pool.function.version}
        if result.outcome.status:
            headers["X-Amz-Function-Error"] = "Unhandled"
        if request.headers.get("x-amz-log-type") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail).decode()
        if result.bring_up_ms is not None:
            # As precise as the init in the REPORT, which is a part of it.
            headers["X-Bring-Up-Ms"] = f"{result.bring_up_ms:.2f}"
        if result.placement_ms is not None:
            headers["X-Placement-Ms"] = f"{result.placement_ms:.3f}"
        return Response(HTTPStatus.OK, result.outcome.body, headers)

    def _update(self, pool: Pool, request: Request) -> dict[str, Any]:
        try:
            wanted = json.loads(request.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise _not_json(error) from None
        if isinstance(wanted, dict) and wanted.get("RevisionId") not in (None, pool.revision):
            raise ApiError(
                HTTPStatus.PRECONDITION_FAILED,
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id. Call the "
                "GetFunction/GetAlias API to retrieve the latest Revision Id",
            )
        try:
            changed = configuration.changes(wanted, pool.function)
        except configuration.Refused as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, error.kind, str(error)) from None
        self._service.update(pool, **changed)
        return _configuration(pool)


def _json(value: object) -> Response:
    return Response(HTTPStatus.OK, json.dumps(value).encode())


def _arn(name: str, qualifier: str | None = None) -> str:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn


def _called(name: str, request: Request) -> tuple[str, str | None]:
    """The function and the version or alias that a request names; None: no version.

    Raises:
        ApiError: it is no name.
    """
    function, qualifier = _parsed_name(name)
    if request.query and "Qualifier" in (queried := parse_qs(request.query)):
        qualifier = queried["Qualifier"][0]
    return function, qualifier


@lru_cache
def _parsed_name(quoted: str) -> tuple[str, str | None]:
    """Function name and qualifier of what a path calls a function.

    Raises:
        ApiError: it is no name.
    """
    match = _NAME.fullmatch(unquote(quoted))
    if not match:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "ValidationException",
            f"1 validation error detected: Value '{unquote(quoted)}' at 'functionName' failed to "
            "satisfy constraint: Member must satisfy regular expression pattern",
        )
    return match[1], match[2]


def _configuration(pool: Pool, qualifier: str | None = None) -> dict[str, Any]:
    function = pool.function
    updated = time.gmtime(pool.updated_at)
    return {
        "FunctionName": function.name,
        "FunctionArn": _arn(function.name, qualifier),
        "Runtime": function.runtime,
        "Handler": function.handler,
        "MemorySize": function.memory_mb,
        "Timeout": function.timeout_s,
        "Environment": {"Variables": function.variables},
        "EphemeralStorage": {"Size": function.storage_mb},
        "LoggingConfig": {
            "LogFormat": function.log_format,
            "LogGroup": f"/aws/lambda/{function.name}",
        },
        "Description": function.description,
        "Role": function.role,
        "LastModified": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", updated),
        "RevisionId": pool.revision,
        "Version": function.version,
        "PackageType": "Zip",
        "Architectures": ["arm64" if platform.machine() == "aarch64" else "x86_64"],
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {
            "ApplyOn": "PublishedVersions" if function.snap_start else "None",
            "OptimizationStatus": "Off",
        },
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _check_json(payload: bytes) -> None:
    try:
        _DECODER.decode(payload.decode())
    except (ValueError, RecursionError) as error:
        raise _not_json(error) from None


def _not_json(error: Exception) -> ApiError:
    return ApiError(
        HTTPStatus.BAD_REQUEST,
        "InvalidRequestContentException",
        f"Could not parse request body into json: {error}",
    )


def _context(request: Request) -> str | None:
    """The client context, which comes base64-encoded and reaches the runtime as JSON."""
    encoded = request.headers.get("x-amz-client-context")
    if not encoded:
        return None
    try:
        context = base64.b64decode(encoded, validate=True).decode()
        return json.dumps(json.loads(context))
    except (binascii.Error, ValueError) as error:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "InvalidRequestContentException",
            f"Client context must be a valid Base64-encoded JSON object: {error}",
        ) from None


def _not_found(message: str) -> ApiError:
    return ApiError(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", message)


def _no_such_path() -> Response:
    raise ApiError(HTTPStatus.NOT_FOUND, "UnknownOperationException", "No such operation here")
