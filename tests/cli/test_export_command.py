"""`fastnst export`: names that are refused before torch is imported."""

from pathlib import Path

import pytest

from fastnst.cli.export import export
from fastnst.errors import InputError, OutputError


def test_the_model_is_never_overwritten(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"trained for hours")
    with pytest.raises(OutputError, match=r"model\.safetensors: is no name of an ONNX file; let it end in \.onnx"):
        export(model, output=model, overwrite=True)
    assert model.read_bytes() == b"trained for hours"


def test_onnx_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"starry\.onnx: is ONNX already; expected a trained network"):
        export(tmp_path / "starry.onnx")
