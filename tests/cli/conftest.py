"""What commands are tried with."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def style(write_network: Callable[..., Path]) -> str:
    """A network that gives 255 minus the picture, as a command takes it."""
    return str(write_network())
