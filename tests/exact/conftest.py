"""An optimization that takes seconds: each test file changes what it needs."""

from pathlib import Path

import pytest

from fastnst.exact.settings import OptimizeSettings


@pytest.fixture
def small(loss_weights: Path) -> OptimizeSettings:
    """24 pixels, two layers of the loss network."""
    return OptimizeSettings(
        size=24,
        tv_weight=0,  # at 24 pixels differences between neighbours are huge
        content_layers=("relu2_1",),
        style_layers=("relu1_1", "relu2_1"),
        loss_weights=loss_weights,
        precision="float32",
    )
