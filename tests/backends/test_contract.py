"""Which files are networks of ours."""

from pathlib import Path

import pytest

from fastnst.backends.contract import Port, read_contract
from fastnst.errors import StyleError

FRAME = Port("frame", "uint8", (None, None, None, 3))
STYLIZED = Port("stylized", "uint8", (None, None, None, 3))
PATH = Path("a.onnx")


def test_plain_contract() -> None:
    contract = read_contract(PATH, [FRAME], [STYLIZED], {"style": "wave"})
    assert contract.layout == "nhwc-uint8"
    assert contract.styles is None
    assert not contract.strength
    assert contract.metadata == {"style": "wave"}


def test_optional_inputs_in_any_order() -> None:
    weights, strength = Port("style_weights", "float32", (4,)), Port("strength", "float32", (1,))
    contract = read_contract(PATH, [strength, weights, FRAME], [STYLIZED], {"fastnst_format": "2"})
    assert contract.styles == 4
    assert contract.strength


@pytest.mark.parametrize(
    ("written", "names"),
    [("munch,monet", ("munch", "monet")), (" munch , monet ", ("munch", "monet")), ("munch", ("1", "2"))]
    + [(other, ("1", "2")) for other in ("", "a,b,c", "a,a", "a,")],
)
def test_names_of_styles(written: str, names: tuple[str, ...]) -> None:
    weights = Port("style_weights", "float32", (2,))
    assert read_contract(PATH, [FRAME, weights], [STYLIZED], {"styles": written}).style_names == names


def test_name_of_the_only_style() -> None:
    assert read_contract(PATH, [FRAME], [STYLIZED], {"style": "wave"}).style_names == ("wave",)


def test_embedders_layout() -> None:
    ports = [Port(name, "float32", (None, 3, None, None)) for name in ("frame", "stylized")]
    assert read_contract(PATH, ports[:1], ports[1:], {}).layout == "nchw-float"


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([Port("input", "float32", (1, 3, 224, 224))], [STYLIZED]),
        ([FRAME], [Port("output", "uint8", (None, None, None, 3))]),
        ([Port("frame", "float32", (None, None, None, 3))], [STYLIZED]),
        ([Port("frame", "uint8", (1, 480, 640, 3))], [STYLIZED]),
        ([Port("frame", "uint8", (None, None, None, 4))], [STYLIZED]),
        ([FRAME], [Port("stylized", "float32", (None, 3, None, None))]),
        ([FRAME, Port("mask", "uint8", (None, None, None, 1))], [STYLIZED]),
        ([], []),
    ],
)
def test_other_networks_are_named_with_what_was_expected(inputs: list[Port], outputs: list[Port]) -> None:
    with pytest.raises(StyleError, match=r"a\.onnx: not a network.*expected input 'frame'") as caught:
        read_contract(PATH, inputs, outputs, {})
    for port in inputs + outputs:
        assert str(port) in str(caught.value)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (Port("style_weights", "float32", (None,)), r"\(S,\) with S, the number of styles, fixed"),
        (Port("style_weights", "float32", (None, 4)), r"\(S,\)"),
        (Port("style_weights", "float16", (4,)), r"\(S,\)"),
        (Port("strength", "float32", (None, 1)), r"expected float32 \(1,\)"),
        (Port("strength", "float32", ()), r"expected float32 \(1,\)"),
    ],
)
def test_other_forms_of_the_further_inputs(port: Port, expected: str) -> None:
    with pytest.raises(StyleError, match=f"has the input '{port.name}'.*{expected}"):
        read_contract(PATH, [FRAME, port], [STYLIZED], {})


@pytest.mark.parametrize("version", ["3", "one", ""])
def test_newer_format_asks_for_an_update(version: str) -> None:
    with pytest.raises(StyleError, match=r"format '.*'; this fastnst reads format 2"):
        read_contract(PATH, [FRAME], [STYLIZED], {"fastnst_format": version})


def test_hostile_metadata_is_tamed() -> None:
    given = {"style": "\x1b[2Jwave\r\n", "licence": "x" * 10_000, "other": "dropped"}
    metadata = read_contract(PATH, [FRAME], [STYLIZED], given).metadata
    assert metadata["style"] == " [2Jwave  "
    assert len(metadata["licence"]) == 500
    assert "other" not in metadata
