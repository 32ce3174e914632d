"""What several test modules need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.lambdas.target import Target, TargetError, open_target


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """The built functions in a local service, as every command sees them."""
    try:
        with open_target() as opened:
            yield opened
    except TargetError as error:
        pytest.fail(f"{error.message} (the tests call the built functions)")
