"""Network files that never end, or take all memory: another process tries them, and is killed."""

import time
from pathlib import Path

import onnx
import pytest

from fastnst.backends.trial import try_network
from fastnst.errors import StyleError

ENDLESS = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized)
<int64 many = {9000000000000000000}, bool yes = {1}> {
    stylized = Loop (many, yes, frame) <body = b (int64 i, bool c, uint8[N, H, W, 3] x)
        => (bool c2, uint8[N, H, W, 3] y) { c2 = Identity(c)  y = Identity(x) }>
}"""

# While the file is loaded, constants are computed: a matrix of 8,000 x 8,000, times itself and once more.
FOLDED = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) <int64[2] s = {SIDE, SIDE}> {
    c = ConstantOfShape(s)
    a = Cos(c)
    b = MatMul(a, a)
    d = MatMul(b, a)
    r = ReduceMin<keepdims = 0>(d)
    q = Sub(r, r)
    u = Cast<to = 2>(q)
    stylized = Add(frame, u)
}"""

IDENTITY = """<ir_version: 8, opset_import: ["" : 17]>
g (uint8[N, H, W, 3] frame) => (uint8[N, H, W, 3] stylized) { stylized = Identity(frame) }"""


def write(path: Path, text: str) -> Path:
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.mark.parametrize("text", [ENDLESS, FOLDED.replace("SIDE", "5000")])
def test_a_file_without_end_is_ended(tmp_path: Path, text: str) -> None:
    try_network(write(tmp_path / "id.onnx", IDENTITY))  # the process has started
    started = time.monotonic()
    path = write(tmp_path / "a.onnx", text)
    with pytest.raises(StyleError, match=r"a.onnx: has not loaded and painted a test picture within 0 s"):
        try_network(path, limit_s=0.4)
    assert time.monotonic() - started < 10
    try_network(tmp_path / "id.onnx")  # by a new process


def test_a_file_that_takes_all_memory_is_ended(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx", FOLDED.replace("SIDE", "9000"))
    with pytest.raises(StyleError, match=r"a.onnx: takes more than 0.5 GB for a test picture"):
        try_network(path, memory=500_000_000)


def test_a_relative_name_stays_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.onnx").write_bytes(b"no network")
    with pytest.raises(StyleError, match=r"^a\.onnx: not a readable ONNX network"):
        try_network(Path("a.onnx"))
