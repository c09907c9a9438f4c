"""Mixes of styles as users write them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fastnst.backends.mixing import StyleChoice, choose_style, even_weights, place_of, read_mix, to_shares
from fastnst.errors import SettingError, StyleError

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
    with pytest.raises(StyleError, match="no style 'mun'"):
        choose_style("mun")
    write_network(name="other.onnx", styles="munch,van_gogh")
    with pytest.raises(StyleError, match="2 networks know munch; name one, other@munch or trio@munch"):
        choose_style("munch")
    shutil.copyfile(trio, tmp_path / "munch.onnx")  # a file of that name goes before
    assert choose_style("munch") == StyleChoice(tmp_path / "munch.onnx")


def test_files_whose_names_contain_the_sign(write_network: object, tmp_path: Path) -> None:
    folder = tmp_path / "at@home"
    folder.mkdir()
    write_network(name="trio@2.onnx")  # type: ignore[operator]
    file = (tmp_path / "trio@2.onnx").rename(folder / "trio@2.onnx")
    assert choose_style(file) == choose_style(str(file)) == StyleChoice(file)
    assert choose_style(f"{file}@munch") == StyleChoice(file, "munch")


def test_weights_whose_sum_is_too_large_to_be_written() -> None:
    assert to_shares(("a", "b"), {"a": 1e308, "b": 1e308}) == (0.5, 0.5)
    assert to_shares(("a", "b"), (1.7e308, 0)) == (1, 0)
    for wrong in ((float("nan"), 1), (float("inf"), 1), (-1e308, 1e308), (1, float("nan")), (0, 0), ()):
        with pytest.raises(SettingError, match="style weights"):
            to_shares(("a", "b"), wrong)
