"""Parsing orders: here in the job of `parse_orders.py`, and elsewhere as a Lambda function."""

import json


def parse(line: str) -> str:
    """A line of JSON → `id customer total`; a line that is none → `? ` and the line."""
    try:
        order = json.loads(line)
        total = sum(item["price"] * item["pieces"] for item in order["items"])
        return f"{order['id']} {order['customer']} {total:.2f}"
    except (ValueError, TypeError, KeyError):
        return f"? {line}"


def handler(event: dict[str, list[str]], context: object) -> dict[str, list[str]]:
    """Event: {"lines": […]}; answer: {"orders": […]}, one a line."""
    return {"orders": [parse(line) for line in event["lines"]]}
