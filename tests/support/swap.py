"""Orders with an unlock share are refused by a machine with swap, the one that runs the tests included."""

import pytest

from lfr_edge.van.deployment import swap_is_on


def require_no_swap() -> None:
    """Skip the test here if there is swap."""
    if swap_is_on():
        pytest.skip("this machine has swap, so it refuses every order with an unlock share: swapoff --all")
