"""Recipes that are none: devices, pipes, endless or deeply nested text."""

import os
from pathlib import Path

import pytest

from fastnst.cli.recipe import LARGEST_RECIPE, read_recipe
from fastnst.errors import SettingError


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = " + b"[" * 5000, r"not a (recipe|TOML file)"),
        (b"#" * (LARGEST_RECIPE + 1), r"has 1,048,577 bytes, expected at most 1,048,576"),
        (b"\xff\xfe", "not a TOML file"),
        (b"steps = 3 4", "not a TOML file"),
    ],
)
def test_what_is_no_recipe(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(SettingError, match=words):
        read_recipe(tmp_path / "a.toml")


@pytest.mark.skipif(os.name == "nt", reason="there are none")
def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (Path("/dev/zero"), tmp_path / "pipe.toml"):
        with pytest.raises(SettingError, match="is no ordinary file"):
            read_recipe(path)


def test_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("steps = 3\n", encoding="utf-8")
    assert read_recipe(tmp_path / "a.toml") == {"steps": 3}
