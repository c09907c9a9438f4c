"""OpenCV's quick resizing: values by hand."""

import numpy as np

from fastnst.io.blending import resample


def test_resample_averages_when_it_shrinks() -> None:
    stripes = np.zeros((4, 8, 3), np.uint8)
    stripes[:, ::4] = 200
    assert resample(stripes, (2, 2)).tolist() == [[[50] * 3] * 2] * 2
    assert resample(stripes, (8, 16)).shape == (8, 16, 3)
    assert resample(stripes, (4, 8)) is stripes
