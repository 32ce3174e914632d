"""The topology, and nothing else: source → tokenizer → sink.

Submit it with `flink run --pyModule flink_job.job --settings FILE`; the file holds
`flink_job.settings.JobSettings` as JSON.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import CheckpointingMode, DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource

from flink_job import clock, sink
from flink_job.load import source
from flink_job.offload.lanes import MAX_PARALLELISM, by_lane
from flink_job.offload.operators import (
    CALLER,
    FLATMAP,
    TO_FLATMAP,
    Caller,
    OffloadingFlatmap,
    OrderingFlatmap,
    PlainFlatmap,
)
from flink_job.offload.settings import Offloading
from flink_job.settings import JobSettings
from flink_job.tokenizer import Tokenize

_BUFFER_TIMEOUT_MS = 5


def build(env: StreamExecutionEnvironment, settings: JobSettings) -> None:
    """Add the whole job to `env`."""
    env.set_parallelism(settings.parallelism)
    env.set_max_parallelism(MAX_PARALLELISM)
    # Flink's default of 100 ms would be most of an unloaded batch's latency.
    env.set_buffer_timeout(_BUFFER_TIMEOUT_MS)
    env.enable_checkpointing(settings.checkpoint_ms, CheckpointingMode.EXACTLY_ONCE)
    batches = _source(env, settings)
    flatmap, lanes, ordered = (
        Tokenize(settings.operator, settings.clock),
        settings.max_parallelism,
        settings.ordered,
    )
    if settings.method == "none":
        tokens = _flatmap(batches.rebalance().process(PlainFlatmap(flatmap), Types.STRING()))
    elif settings.method == "source":
        caller = Caller(flatmap, _offloading(settings), ordered=ordered)
        called = _vertex(
            by_lane(batches.get_side_output(source.OFFLOADED), lanes).process(
                caller, Types.STRING()
            ),
            CALLER,
            "default",
        )
        to_do = batches.union(called.get_side_output(TO_FLATMAP))
        done = (
            by_lane(to_do, lanes).process(OrderingFlatmap(flatmap, lanes=lanes), Types.STRING())
            if ordered
            else to_do.rebalance().process(PlainFlatmap(flatmap), Types.STRING())
        )
        tokens = _flatmap(done).union(sink.split(called, first_sender=lanes))
    else:
        tokens = _flatmap(
            by_lane(batches, lanes).process(
                OffloadingFlatmap(flatmap, _offloading(settings), lanes=lanes, ordered=ordered),
                Types.STRING(),
            )
        )
    lines = (
        sink.gather(tokens, settings.clock or clock.anchor())
        .start_new_chain()
        .slot_sharing_group("default")
        .name(sink.VERTEX)
    )
    lines.sink_to(sink.file_sink(settings.output)).name("files")


def _source(env: StreamExecutionEnvironment, settings: JobSettings) -> DataStream:
    """The sequence and its pacing are one vertex: unchained, the sequence would fill the network
    buffers with thousands of numbers, and checkpoint barriers would wait behind them."""
    sequence = NumberSequenceSource(0, source.last_number(settings))
    return (
        env.from_source(sequence, WatermarkStrategy.no_watermarks(), "sequence", Types.LONG())
        .set_parallelism(1)
        .process(source.PacedSource(settings), Types.PICKLED_BYTE_ARRAY())
        .set_parallelism(1)
        .name(source.VERTEX)
    )


def _flatmap(done: DataStream) -> DataStream:
    return sink.split(_vertex(done, FLATMAP, FLATMAP), first_sender=0)


def _vertex(stream: DataStream, name: str, slots: str) -> DataStream:
    """A vertex of its own, or the metrics would say nothing about it. The flatmap has slots of its
    own, so that it can be a process of its own; the caller is at the source's side."""
    return stream.start_new_chain().slot_sharing_group(slots).name(name)


def _offloading(settings: JobSettings) -> Offloading:
    if settings.offloading is None:
        raise ValueError(f"not JobSettings: method {settings.method!r} without offloading")
    return settings.offloading


def main() -> None:
    """Read the settings and submit the job."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--settings", required=True, type=Path, help="file of JobSettings")
    settings = JobSettings.from_json(arguments.parse_args().settings.read_text())
    env = StreamExecutionEnvironment.get_execution_environment()
    build(env, settings)
    env.execute(f"tokenize ({settings.method})")


if __name__ == "__main__":
    main()
