"""The same calls through boto3 alone: what ours are held against, in answers, errors and CPU."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from flink_job.offload.client import Answer, CallFailed, Report, function_error, parse_report
from flink_job.offload.endpoint import lambda_api

# Of these boto3 raises now one and now another for a connection that ended too early.
_ENDED_EARLY = (IncompleteReadError, ResponseStreamingError)


class BotoClient:
    """Calls functions as `LambdaClient` does; arguments, answers and errors are the same.

    But for the time: boto3 bounds each wait for more of an answer, never a call as a whole.
    """

    def __init__(
        self,
        endpoint_url: str | None,
        region: str | None,
        timeout_s: float = 60.0,
        connections: int = 10,
    ) -> None:
        self._api = lambda_api(endpoint_url, region, timeout_s, connections)

    def invoke(self, function: str, event: Any, *, tail: bool = True) -> Answer:
        """Call `function` with `event` and wait for its answer. Raises CallFailed."""
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        options = {"LogType": "Tail"} if tail else {}
        started = time.perf_counter()
        try:
            response = self._api.invoke(FunctionName=function, Payload=payload, **options)
            body = response["Payload"].read()
            report = Report()
            if "LogResult" in response:
                log = base64.b64decode(response["LogResult"]).decode(errors="replace")
                report = parse_report(log)
            if "FunctionError" in response:
                raise CallFailed(*function_error(body), report)
            value = json.loads(body)
        except ClientError as error:
            told = error.response["Error"]
            raise CallFailed(str(told["Code"]), str(told["Message"])) from error
        except (BotoCoreError, OSError) as error:
            raise CallFailed(_kind(error), str(error)) from error
        except (ValueError, RecursionError) as error:
            raise CallFailed("WrongAnswer", str(error)) from error
        return Answer(value, (time.perf_counter() - started) * 1000, report)

    def close(self) -> None:
        """Hang up."""
        self._api.close()


def _kind(error: Exception) -> str:
    told_apart = isinstance(error, (ReadTimeoutError, ProxyConnectionError))
    if isinstance(error, _ENDED_EARLY) or (type(error) is HTTPClientError and not told_apart):
        return "ConnectionClosedError"
    return type(error).__name__
