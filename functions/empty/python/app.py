"""Does nothing: its cold start is the runtime's own."""

_first_call = True


def handler(event: object, context: object) -> dict[str, bool]:
    global _first_call
    first_call, _first_call = _first_call, False
    return {"first_call": first_call}
