"""Parsing orders: here in the job of `parse_orders.py`, and elsewhere as a Lambda function."""

import json
from typing import Any


def parse(line: str) -> str:
    """A line of JSON → `id customer total`; a line that is none → `? ` and the line."""
    try:
        order = json.loads(line)
        total = sum(item["price"] * item["pieces"] for item in order["items"])
        return f"{order['id']} {order['customer']} {total:.2f}"
    except (ValueError, TypeError, KeyError):
        return f"? {line}"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Event: {"id": …, "lines": […]}; answer: the same id and {"orders": […]}, one a line."""
    return {"id": event["id"], "orders": [parse(line) for line in event["lines"]]}
