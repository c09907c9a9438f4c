"""A training that takes seconds: each test file changes what it needs. Its loss is that of Gram matrices."""

from pathlib import Path

import pytest

from fastnst.training.settings import TrainSettings


@pytest.fixture(scope="session")
def tiny(style_picture: Path, loss_weights: Path) -> TrainSettings:
    """Two channels, crops of 64 px, two layers of the loss network, nothing read by other processes."""
    return TrainSettings(
        style=style_picture,
        width=2,
        blocks=1,
        steps=6,
        batch_size=2,
        crop_size=64,
        style_size=64,
        style_statistic="gram",
        style_weight=5.0,
        style_scales=(1,),
        statistics_over="image",
        detail_weight=0,
        pattern_weight=0,
        relief_weight=0,
        color_weight=0,
        content_layers=("relu2_1",),
        style_layers=("relu1_1", "relu2_1"),
        loss_weights=loss_weights,
        workers=0,
        preview_every=3,
        early_export_s=0,
        precision="float32",
    )
