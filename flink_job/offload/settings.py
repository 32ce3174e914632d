"""What the offloading operators are told when the job is submitted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Offloading:
    """Where to call, who decides, and what bounds it.

    Attributes:
        function: name of the function to call.
        endpoint_url, region: the Lambda API; None is AWS itself, and what boto3 finds.
        control: `host:port` of a controller that decides; None: `share` and `in_flight` hold.
        secret: what the controller wants to hear.
        share: of the batches that are offloaded without a controller, 0 to 1.
        in_flight: calls that each subtask may have in flight without a controller.
        call_timeout_ms: a batch whose answer takes longer is done here, and its answer dropped.
            Three seconds are longer than most cold starts, and short for a stream.
        most_bytes: of one event; Lambda takes 6 MB (6,291,456 bytes).
        patience_ms: how long a batch that is to be offloaded waits for a free call at most: well
            below the second that checkpoints and cancelling may take. It never waits longer than
            doing it here would take, unless everything is to be offloaded.
        tail_every: of so many calls, one asks for the log tail, which costs both sides; its
            figures are those that the bill is made of. 1: every call.
    """

    function: str
    endpoint_url: str | None = None
    region: str | None = None
    control: str | None = None
    secret: str = ""
    share: float = 0.0
    in_flight: int = 8
    call_timeout_ms: float = 3000.0
    most_bytes: int = 6_291_456
    patience_ms: float = 500.0
    tail_every: int = 1
