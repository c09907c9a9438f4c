"""One open network: what it refuses, and where it runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnst.errors import SettingError, StyleError
from fastnst.inference.session import StyleSession

CROP = """
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized)
<int64[1] start = {0}, int64[1] end = {100}, int64[1] axis = {1}> { stylized = Slice(frame, start, end, axis) }"""
"""Leaves out what is below row 100."""


def test_a_network_that_changes_the_size_of_large_pictures_only(write_network: Any) -> None:
    small, large = np.ones((100, 8, 3), np.uint8), np.ones((120, 8, 3), np.uint8)
    with StyleSession(write_network(CROP, "crop.onnx"), provider="cpu") as session:
        np.testing.assert_array_equal(session(small), small)
        with pytest.raises(StyleError, match=r"turned \(1, 120, 8, 3\) into \(1, 100, 8, 3\); expected the same size"):
            session(large)


def test_auto_prefers_what_runs_another_network(invert: Path) -> None:
    with StyleSession(invert, prefer="cpu") as session:
        assert (session.choice.provider, session.choice.skipped) == ("cpu", {})
    # Core ML is on macOS alone, DirectML on Windows alone: where the preferred one cannot run, all are tried.
    with StyleSession(invert, prefer="coreml") as session:
        assert session.choice.skipped
    with pytest.raises(SettingError, match="provider coreml cannot run here"):
        StyleSession(invert, provider="coreml", prefer="cpu")
    with StyleSession(invert, provider="cpu", prefer="coreml") as session:
        assert str(session.choice) == "cpu"
