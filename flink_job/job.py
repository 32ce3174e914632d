"""The topology, and nothing else: source → tokenizer → sink.

Submit it with `flink run --pyModule flink_job.job --settings JSON`; the settings are
`flink_job.settings.JobSettings`.
"""

from __future__ import annotations

import argparse

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import (
    CheckpointingMode,
    DataStream,
    KeyedStream,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.java_gateway import get_gateway

from flink_job import sink
from flink_job.load import source
from flink_job.offload import operators as offload
from flink_job.settings import JobSettings
from flink_job.tokenizer import VERTEX, Tokenizer

# Flink's default for small jobs, written down because the lanes below depend on it.
_MAX_PARALLELISM = 128
_BUFFER_TIMEOUT_MS = 5


def build(env: StreamExecutionEnvironment, settings: JobSettings) -> None:
    """Add the whole job to `env`."""
    env.set_parallelism(settings.parallelism)
    env.set_max_parallelism(_MAX_PARALLELISM)
    # Flink's default of 100 ms would be most of an unloaded batch's latency.
    env.set_buffer_timeout(_BUFFER_TIMEOUT_MS)
    env.enable_checkpointing(settings.checkpoint_ms, CheckpointingMode.EXACTLY_ONCE)
    batches = _source(env, settings)
    if settings.method == "none":
        lines = _flatmap(batches.rebalance().process(Tokenizer(settings), Types.STRING())).process(
            sink.Collect(), Types.STRING()
        )
    elif settings.method == "source":
        called = (
            _by_lane(batches.get_side_output(source.OFFLOADED), settings)
            .process(offload.Caller(settings), Types.STRING())
            .disable_chaining()
            .name(offload.CALLER)
        )
        to_do = batches.union(called.get_side_output(offload.TO_TOKENIZER))
        if settings.ordered:
            ordering = offload.OrderingTokenizer(settings)
            tokens = _flatmap(_by_lane(to_do, settings).process(ordering, Types.STRING()))
        else:
            tokens = _flatmap(to_do.rebalance().process(Tokenizer(settings), Types.STRING()))
        lines = tokens.connect(called).process(sink.CollectBoth(), Types.STRING())
    else:
        lines = _flatmap(
            _by_lane(batches, settings).process(
                offload.OffloadingTokenizer(settings), Types.STRING()
            )
        ).process(sink.Collect(), Types.STRING())
    lines = lines.start_new_chain().slot_sharing_group("default").name(sink.VERTEX)
    lines.sink_to(sink.file_sink(settings.output)).name("files")


def _source(env: StreamExecutionEnvironment, settings: JobSettings) -> DataStream:
    """The sequence and its pacing are one vertex: unchained, the sequence would fill the network
    buffers with thousands of numbers, and checkpoint barriers would wait behind them."""
    last = source.batch_count(settings) + settings.max_parallelism - 1
    sequence = NumberSequenceSource(0, last)
    return (
        env.from_source(sequence, WatermarkStrategy.no_watermarks(), "sequence", Types.LONG())
        .set_parallelism(1)
        .process(source.PacedSource(settings), Types.PICKLED_BYTE_ARRAY())
        .set_parallelism(1)
        .name(source.VERTEX)
    )


def _flatmap(tokens: DataStream) -> DataStream:
    """A vertex of its own, or the metrics would say nothing about the flatmap; and slots of its
    own, so that it can be a process of its own: with the sink in the same interpreter, the two
    would hand its lock to and fro with every token."""
    return tokens.disable_chaining().slot_sharing_group(VERTEX).name(VERTEX)


def _by_lane(batches: DataStream, settings: JobSettings) -> KeyedStream:
    keys = _lane_keys(settings.max_parallelism)
    return batches.key_by(lambda batch: keys[batch.number % len(keys)], Types.LONG())


def _lane_keys(lanes: int) -> list[int]:
    """One key a lane, such that `lanes` subtasks get one lane each, and half as many get two.

    Flink hashes a key, which PyFlink wraps in a Row, to a key group, and gives each subtask a range
    of those.
    """
    gateway = get_gateway()
    flink = gateway.jvm.org.apache.flink
    keys: dict[int, int] = {}
    key = 0
    while len(keys) < lanes:
        row = flink.types.Row(1)
        row.setField(0, key)
        group = flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup(row, _MAX_PARALLELISM)
        keys.setdefault(group * lanes // _MAX_PARALLELISM, key)
        key += 1
    return [keys[lane] for lane in range(lanes)]


def main() -> None:
    """Read the settings and submit the job."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--settings", required=True, help="JobSettings as one JSON object")
    settings = JobSettings.from_json(arguments.parse_args().settings)
    env = StreamExecutionEnvironment.get_execution_environment()
    build(env, settings)
    env.execute(f"tokenize ({settings.method})")


if __name__ == "__main__":
    main()
