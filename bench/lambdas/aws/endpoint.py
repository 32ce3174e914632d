"""One endpoint for all of AWS that is here: what is Lambda's goes to the service, the rest to moto.

moto is a WSGI application and not made for several threads: one thread serves it, request by
request, while invocations go on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote

from bench.lambdas.aws.functions import Functions
from bench.lambdas.local.api import ACCOUNT, LambdaApi
from bench.lambdas.local.http import Request, Response
from bench.lambdas.local.runtimes import REGION

_INVOCATION = re.compile(r"/2015-03-31/functions/[^/]+/invocations/?")
_CONFIGURATION = re.compile(r"/2015-03-31/functions/[^/]+/configuration/?")
_SCOPE = re.compile(r"Credential=[^/]*/\d*/([\w-]*)/([\w-]*)/aws4_request")
_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
_GLOBAL = {"iam", "sts", "s3"}
_HOP_BY_HOP = {"connection", "date", "keep-alive", "server", "transfer-encoding"}

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Endpoint:
    """Answers every request.

    Args:
        api: the service's.
        application: moto.
        functions: what brings moto's functions to the service.
        host: what clients call us, as localhost:PORT.
    """

    def __init__(
        self,
        api: LambdaApi,
        application: Application,
        functions: Functions,
        thread: ThreadPoolExecutor,
    ) -> None:
        self._api = api
        self._application = application
        self._functions = functions
        self._thread = thread
        self.host = "localhost"

    async def handle(self, request: Request) -> Response:
        if refusal := _elsewhere(request):
            return refusal
        request = _by_name(request)
        if _INVOCATION.fullmatch(request.path):
            return await self._api.handle(request)
        if request.method == "PUT" and _CONFIGURATION.fullmatch(request.path):
            answer = await self._api.handle(request)  # which refuses what AWS refuses
            if answer.status != HTTPStatus.OK:
                return answer
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self._thread, self._ask_moto, request)
        if request.method not in ("GET", "HEAD"):
            await self._functions.follow()
        return response

    def _ask_moto(self, request: Request) -> Response:
        begun: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            begun[:] = [int(status.split()[0]), headers]

        result = self._application(_environ(request, self.host), start_response)
        try:
            body = b"".join(result)
        finally:
            getattr(result, "close", lambda: None)()
        status, headers = begun
        told = {name.title(): value for name, value in headers if name.lower() not in _HOP_BY_HOP}
        told.setdefault("Content-Type", "application/octet-stream")
        if request.method != "HEAD":
            told["Content-Length"] = str(len(body))
        return Response(status, b"" if request.method == "HEAD" else body, told)


def _by_name(request: Request) -> Request:
    """A request about a function by its name, where it was by its ARN: moto knows that in few."""
    parts = request.path.split("/")
    if len(parts) < 4 or parts[2] != "functions" or not unquote(parts[3]).startswith(_ARN):
        return request
    parts[3] = quote(unquote(parts[3]).removeprefix(_ARN), safe="")
    return dataclasses.replace(request, path="/".join(parts))


def _environ(request: Request, host: str) -> dict[str, Any]:
    """A request as WSGI has it (PEP 3333)."""

    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()
    }
    return {
        **headers,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(request.path, "latin-1"),
        "RAW_URI": request.path + (f"?{request.query}" if request.query else ""),
        "REQUEST_URI": request.path + (f"?{request.query}" if request.query else ""),
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)),
        "HTTP_HOST": request.headers.get("host", host),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": host.rpartition(":")[2],
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def _elsewhere(request: Request) -> Response | None:
    """The refusal of a request that is signed for another region; None if it is for ours."""
    scope = _SCOPE.search(request.headers.get("authorization", ""))
    if not scope or scope[1] == REGION or scope[2] in _GLOBAL:
        return None
    words = f"`bench aws` is {REGION} alone, not {scope[1]}: set AWS_DEFAULT_REGION={REGION}"
    body = {"__type": "InvalidRegion", "Type": "User", "message": words, "Message": words}
    if scope[2] != "cloudformation":
        return Response(
            HTTPStatus.BAD_REQUEST, json.dumps(body).encode(), {"x-amzn-ErrorType": "InvalidRegion"}
        )
    xml = (
        "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidRegion</Code>"
        f"<Message>{words}</Message></Error></ErrorResponse>"
    )
    return Response(HTTPStatus.BAD_REQUEST, xml.encode(), {"Content-Type": "text/xml"})
