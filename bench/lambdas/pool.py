"""Environments that are started before they are needed, by calls that bring no work."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from bench.lambdas.target import Target, TargetError
from flink_job.offload.client import Answer, CallFailed, LambdaClient

_EVENT = {"sentences": ["warm"] * 100}


class Pool:
    """The environments of one function; to be closed.

    Args:
        most: environments that are ever asked for.
    """

    def __init__(self, target: Target, function: str, most: int) -> None:
        self._client = LambdaClient(target.endpoint_url, target.region, connections=most)
        self._function = function
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="pool")
        self._calls: list[Future[Answer]] = []

    def close(self) -> None:
        """Wait for the calls that are under way, and hang up; there can be no more."""
        self._threads.shutdown()
        self._client.close()

    def warm_up(self, environments: int) -> None:
        """Have so many environments started in all, at once and without waiting for them.

        A call that finds a free environment starts none, so those that are missing are called
        together.
        """
        for _ in range(environments - len(self._calls)):
            self._calls.append(self._threads.submit(self._call))

    def wait(self) -> None:
        """Until all that was asked for is up. Raises TargetError if one cannot be."""
        try:
            for call in self._calls:
                call.result()
        except CallFailed as error:
            raise TargetError(f"{self._function} cannot be warmed up: {error}") from error

    def spent(self) -> tuple[int, float]:
        """Calls so far that brought an answer, and ms billed for them."""
        answers = [x.result() for x in self._calls if x.done() and not x.exception()]
        return len(answers), sum(x.report.billed_ms or 0.0 for x in answers)

    def _call(self) -> Answer:
        return self._client.invoke(self._function, _EVENT)
