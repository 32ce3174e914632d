"""What is tried many more times than every test run can afford."""

from __future__ import annotations

from typing import Any

import pytest


def proof(*values: Any) -> list[Any]:
    """Values of a parameter (tuples: of several) for `make proofs` alone.

    What a test claims is shown every time by the values before them; these are the same claim at
    more sizes, more seeds, or in more combinations.
    """
    return [
        pytest.param(*(x if isinstance(x, tuple) else (x,)), marks=pytest.mark.proof)
        for x in values
    ]
