"""Another flatmap with half of its input offloaded: lines of JSON → orders.

    bench serve --template examples/template.yaml        (prints its address)
    flink run --pyModule examples.parse_orders --endpoint http://127.0.0.1:3001 --output /tmp/orders

What it needs of the kit is `flink_job.offload`: a `Flatmap` that says how the work is done in
either place, `Offloading` that says where that is, and `by_lane`, which spreads the batches.
"""

import argparse
import json
import time
from typing import Any

from pyflink.common import Encoder, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, RollingPolicy
from pyflink.datastream.connectors.number_seq import NumberSequenceSource

from examples.function.orders import parse
from flink_job.offload.batch import Batch, Passage, Results
from flink_job.offload.flatmap import Flatmap
from flink_job.offload.lanes import MAX_PARALLELISM, by_lane
from flink_job.offload.operators import OffloadingFlatmap
from flink_job.offload.settings import Offloading

BATCHES, LINES, PAUSE_S = 400, 50, 0.02


class ParseOrders(Flatmap):
    def records(self, payload: bytes) -> list[str]:
        lines: list[str] = json.loads(payload)
        return lines

    def work(self, records: list[str]) -> list[str]:
        return [parse(line) for line in records]

    def event(self, payloads: list[bytes], id: str) -> bytes:
        lines = b",".join(payload[1:-1] for payload in payloads)
        return b'{"id":"' + id.encode() + b'","lines":[' + lines + b"]}"

    def results(self, answer: Any, id: str) -> list[str]:
        if not isinstance(answer, dict) or not isinstance(answer.get("orders"), list):
            raise ValueError("the answer has no orders")
        if answer.get("id") != id:
            raise ValueError("the answer is to another event")
        orders: list[str] = answer["orders"]
        return orders

    def emit(self, batch: Batch, passage: Passage, results: Results) -> list[str]:
        return [f"{order} {passage.way}" for order in results]


def batch(number: int) -> Batch:
    """Stands for a real source: the number-th batch of 50 lines; an empty one ends the stream."""
    if number == BATCHES:
        return Batch(number, 0, b"")
    time.sleep(PAUSE_S)
    orders = (
        {"id": id, "customer": f"c{id % 7}", "items": [{"price": id / 4, "pieces": 2}]}
        for id in range(number * LINES, (number + 1) * LINES)
    )
    return Batch(number, LINES, json.dumps([json.dumps(order) for order in orders]).encode())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--endpoint", help="of the Lambda API; without it, AWS")
    arguments.add_argument("--function", default="Orders")
    arguments.add_argument("--output", required=True)
    said = arguments.parse_args()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(1).set_max_parallelism(MAX_PARALLELISM).enable_checkpointing(500)
    numbers = NumberSequenceSource(0, BATCHES)
    batches = env.from_source(numbers, WatermarkStrategy.no_watermarks(), "numbers", Types.LONG())
    offloading = Offloading(said.function, endpoint_url=said.endpoint, share=0.5)
    orders = by_lane(batches.map(batch, Types.PICKLED_BYTE_ARRAY()), lanes=1).process(
        OffloadingFlatmap(ParseOrders(), offloading), Types.STRING()
    )
    sink = FileSink.for_row_format(said.output, Encoder.simple_string_encoder())
    sink = sink.with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy()).build()
    orders.disable_chaining().slot_sharing_group("orders").name("orders").sink_to(sink)
    env.execute("parse orders")


if __name__ == "__main__":
    main()
