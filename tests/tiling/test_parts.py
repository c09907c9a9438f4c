"""Parts of a network: what they give must be numbers."""

import numpy as np
import onnx
import pytest

from fastnst.errors import InputError, StyleError
from fastnst.tiling.parts import Part

SHARE = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N] part, float[N] whole) => (float[N] share) { share = Div(part, whole) }"""


def test_nan_is_an_error_and_no_black_tile() -> None:
    part = Part(onnx.parser.parse_model(SHARE))
    feeds = {"part": np.array([3, 0], np.float32), "whole": np.array([4, 5], np.float32)}
    np.testing.assert_array_equal(part.run(feeds)["share"], np.array([0.75, 0], np.float32))
    with pytest.raises(StyleError, match=r"gave numbers that are none \(NaN\) on a part of this picture"):
        part.run(feeds | {"whole": np.zeros(2, np.float32)})


def test_a_part_that_fails_says_so_in_one_line() -> None:
    with pytest.raises(InputError, match="a tile failed") as caught:
        Part(onnx.parser.parse_model(SHARE)).run({"part": np.zeros(2, np.float32), "whole": np.zeros(3, np.float32)})
    assert "\n" not in str(caught.value)
