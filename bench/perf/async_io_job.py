"""A PyFlink job that has every batch done by a function, as public examples do it: AsyncDataStream
and boto3. AsyncDataStream runs in process mode only.

    flink run --pyModule bench.perf.async_io_job ENDPOINT FUNCTION BATCHES CALLS

BATCHES is a file, each line a JSON array of sentences; they are taken over and over again until the
job is cancelled. Source, flatmap and sink have the slots that those of our job have.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from pyflink.common import Configuration, Time, Types, WatermarkStrategy
from pyflink.datastream import (
    AsyncDataStream,
    AsyncFunction,
    MapFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.java_gateway import get_gateway

_TIMEOUT_S = 60
_LAST = 2**62


class Batches(MapFunction):  # type: ignore[misc]
    """The n-th line of a file, again and again."""

    def __init__(self, file: str) -> None:
        self._file = file

    def open(self, runtime_context: RuntimeContext) -> None:
        self._lines = Path(self._file).read_text().splitlines()

    def map(self, number: int) -> str:
        return self._lines[number % len(self._lines)]


class Invoke(AsyncFunction):  # type: ignore[misc]
    """A batch to its tokens, by a function."""

    def __init__(self, endpoint: str, function: str, calls: int) -> None:
        self._endpoint = endpoint
        self._function = function
        self._most = calls

    def open(self, runtime_context: RuntimeContext) -> None:
        self._threads = ThreadPoolExecutor(self._most)
        self._client = boto3.client(
            "lambda",
            endpoint_url=self._endpoint,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(max_pool_connections=self._most, proxies={}),
        )

    async def async_invoke(self, batch: str) -> list[str]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, batch)

    def _call(self, batch: str) -> list[str]:
        event = f'{{"sentences":{batch}}}'.encode()
        answer = self._client.invoke(FunctionName=self._function, Payload=event)
        return [
            token
            for entry in json.loads(answer["Payload"].read())["tokens"]
            for token in entry.split()
        ]


def main() -> None:
    endpoint, function, batches, calls = sys.argv[1:]
    configuration = Configuration()
    configuration.set_string("python.execution-mode", "process")
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.set_parallelism(1)
    env.enable_checkpointing(1000)
    env.set_buffer_timeout(5)
    lines = (
        env.from_source(
            NumberSequenceSource(0, _LAST),
            WatermarkStrategy.no_watermarks(),
            "sequence",
            Types.LONG(),
        )
        .map(Batches(batches), Types.STRING())
        .name("source")
    )
    tokens = AsyncDataStream.unordered_wait(
        lines,
        Invoke(endpoint, function, int(calls)),
        Time.seconds(_TIMEOUT_S),
        int(calls),
        Types.STRING(),
    )
    tokens = tokens.slot_sharing_group("tokenizer").name("tokenizer")
    discard = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink()
    tokens._j_data_stream.sinkTo(discard).slotSharingGroup("default").name("sink")
    env.execute("PyFlink AsyncDataStream")


if __name__ == "__main__":
    main()
