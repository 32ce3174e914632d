"""The sink: tokens in, one line of JSON a batch (and one a call) out, into files that a checkpoint
commits. It runs in the JVM alone: each token that crosses into Python costs microseconds there."""

from __future__ import annotations

from pyflink.common import Encoder, Types
from pyflink.datastream import DataStream
from pyflink.datastream.connectors.file_system import FileSink, RollingPolicy
from pyflink.java_gateway import get_gateway

from flink_job.clock import Anchor

VERTEX = "sink"


def split(batches: DataStream, first_sender: int) -> DataStream:
    """The tokens of batches, one by one, as the last step of the operator before it: see
    `java/burst/Split.java`. All senders into one sink have different numbers."""
    return _java(batches, get_gateway().jvm.burst.Split(first_sender))


def gather(tokens: DataStream, clock: Anchor) -> DataStream:
    """Lines of JSON made of tokens: see `java/burst/Gather.java`."""
    return _java(tokens, get_gateway().jvm.burst.Gather(clock.boot_id, clock.offset_s))


def _java(stream: DataStream, function: object) -> DataStream:
    string = Types.STRING().get_java_type_info()
    return DataStream(stream._j_data_stream.process(function, string))


def file_sink(folder: str) -> FileSink:
    """Lines of text into `folder`; a file becomes visible when its checkpoint is complete."""
    return (
        FileSink.for_row_format(folder, Encoder.simple_string_encoder())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .build()
    )
