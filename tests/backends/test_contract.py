"""What a file must promise, and the shares of the styles that a network mixes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fastnst.backends.contract import Port, read_contract
from fastnst.errors import SettingError, StyleError
from fastnst.io.styles import StyleChoice, choose_style, even_weights, place_of, read_mix, to_shares

FRAME = Port("frame", "uint8", (None, None, None, 3))
STYLIZED = Port("stylized", "uint8", (None, None, None, 3))
PATH = Path("a.onnx")


def test_contracts_by_hand() -> None:
    contract = read_contract(PATH, [FRAME], [STYLIZED], {"style": "wave"})
    assert contract.layout == "nhwc-uint8"
    assert contract.styles is None
    assert not contract.strength
    assert contract.metadata == {"style": "wave"}
    weights, strength = Port("style_weights", "float32", (4,)), Port("strength", "float32", (1,))
    contract = read_contract(PATH, [strength, weights, FRAME], [STYLIZED], {"fastnst_format": "2"})
    assert contract.styles == 4
    assert contract.strength
    assert read_contract(PATH, [FRAME], [STYLIZED], {"style": "wave"}).style_names == ("wave",)
    contract = read_contract(PATH, [Port("frame", "uint8", (1, 480, 640, 3))], [STYLIZED], {})
    assert (contract.size, contract.one_at_a_time) == ((480, 640), True)
    assert read_contract(PATH, [FRAME], [STYLIZED], {}).size is None
    ports = [Port(name, "float32", (None, 3, None, None)) for name in ("frame", "stylized")]
    assert read_contract(PATH, ports[:1], ports[1:], {}).layout == "nchw-float"


@pytest.mark.parametrize(
    ("written", "names"),
    [("munch,monet", ("munch", "monet")), (" munch , monet ", ("munch", "monet")), ("munch", ("1", "2"))]
    + [(other, ("1", "2")) for other in ("", "a,b,c", "a,a", "a,")],
)
def test_names_of_styles(written: str, names: tuple[str, ...]) -> None:
    weights = Port("style_weights", "float32", (2,))
    assert read_contract(PATH, [FRAME, weights], [STYLIZED], {"styles": written}).style_names == names


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([Port("input", "float32", (1, 3, 224, 224))], [STYLIZED]),
        ([FRAME], [Port("output", "uint8", (None, None, None, 3))]),
        ([Port("frame", "float32", (None, None, None, 3))], [STYLIZED]),
        ([Port("frame", "uint8", (2, 480, 640, 3))], [STYLIZED]),
        ([Port("frame", "uint8", (None, 480, None, 3))], [STYLIZED]),
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


NAMES = ("van_gogh", "hokusai", "munch")


def test_a_mix_in_words() -> None:
    assert read_mix("hokusai:0.5,munch:2") == {"hokusai": 0.5, "munch": 2}
    assert read_mix(" munch ") == {"munch": 1}
    assert read_mix("munch: 0, van_gogh :1e-1") == {"munch": 0, "van_gogh": 0.1}


@pytest.mark.parametrize("text", ["", ",", "munch:", "munch:x", "munch:-1", "munch:nan", "munch:inf", "a:1,a:2", ":1"])
def test_what_is_no_mix(text: str) -> None:
    with pytest.raises(SettingError, match=r"expected STYLE:WEIGHT,... with each style once"):
        read_mix(text)


def test_shares_by_hand() -> None:
    assert to_shares(NAMES, {"munch": 3, "van": 1}) == (0.25, 0, 0.75)
    assert to_shares(NAMES, (2, 2, 4)) == (0.25, 0.25, 0.5)
    assert sum(even_weights(3)) == pytest.approx(1)
    assert to_shares(("a", "b"), {"a": 1e308, "b": 1e308}) == (0.5, 0.5)
    assert to_shares(("a", "b"), (1.7e308, 0)) == (1, 0)
    for wrong in ((float("nan"), 1), (float("inf"), 1), (-1e308, 1e308), (1, float("nan")), (0, 0), ()):
        with pytest.raises(SettingError, match="style weights"):
            to_shares(("a", "b"), wrong)


def test_a_style_by_name_or_beginning() -> None:
    assert [place_of(name, NAMES) for name in ("munch", "Hok", "v")] == [2, 1, 0]
    # A whole name goes before longer ones that begin with it.
    assert place_of("wave", ("wave_2", "wave")) == 1
    for name in ("monet", ""):
        with pytest.raises(SettingError, match="is no style of this network"):
            place_of(name, NAMES)
    with pytest.raises(SettingError, match="'w' fits several styles"):
        place_of("w", ("wave_2", "wave"))


def test_a_style_with_a_mix(write_network: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path))
    write_network(name="trio.onnx")  # type: ignore[operator]
    trio = tmp_path / "trio.onnx"
    assert choose_style("trio") == StyleChoice(trio)
    assert choose_style("trio").weights is None
    assert choose_style("trio@munch").weights == {"munch": 1}
    assert choose_style(f"{trio}@munch:1,hokusai:3") == StyleChoice(trio, "munch:1,hokusai:3")
    with pytest.raises(SettingError, match="mix"):
        choose_style("trio@")
    with pytest.raises(StyleError, match="no style 'duo'"):
        choose_style("duo@munch")


def test_a_style_of_a_network_of_several_by_its_own_name(
    write_network: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTNST_STYLES", str(tmp_path))
    trio = write_network(name="trio.onnx", styles="hokusai, munch, monet")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    assert choose_style("munch") == StyleChoice(trio, "munch")
    assert choose_style("the_kiss_klimt").path.name == "gallery.onnx"
    with pytest.raises(StyleError, match=r"no style 'munsch'; did you mean 'munch'\?"):
        choose_style("munsch")
    write_network(name="other.onnx", styles="munch,van_gogh")
    with pytest.raises(StyleError, match="2 networks know munch; name one, other@munch or trio@munch"):
        choose_style("munch")
    write_network(name="gallery.onnx", styles="munch,klimt")  # for pictures
    assert choose_style("munch") == StyleChoice(tmp_path / "gallery.onnx", "munch")
    shutil.copyfile(trio, tmp_path / "munch.onnx")  # a file of that name goes before
    assert choose_style("munch") == StyleChoice(tmp_path / "munch.onnx")


def test_files_whose_names_contain_the_sign(write_network: object, tmp_path: Path) -> None:
    folder = tmp_path / "at@home"
    folder.mkdir()
    write_network(name="trio@2.onnx")  # type: ignore[operator]
    file = (tmp_path / "trio@2.onnx").rename(folder / "trio@2.onnx")
    assert choose_style(file) == choose_style(str(file)) == StyleChoice(file)
    assert choose_style(f"{file}@munch") == StyleChoice(file, "munch")
