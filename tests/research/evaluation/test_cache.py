"""Figures of an interrupted evaluation: what is taken over, what is not, and what a crash leaves behind."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastnst.errors import OutputError
from fastnst.research.evaluation.cache import MeasurementCache, digest

STYLE = np.zeros((2, 3, 3), np.uint8)
VALUES = {"content": 0.25, "style": 1 / 3}


def opened(file: Path, *, resume: bool = True, size: str = "512", style: np.ndarray = STYLE) -> MeasurementCache:
    return MeasurementCache(file, resume=resume, given={"size": size}, style=style)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new" / "figures.jsonl"
    opened(path).add("net", "photo", VALUES)
    return path


def test_figures_are_taken_over_to_the_last_bit(file: Path) -> None:
    assert opened(file).find("net", "photo", ["style", "content"]) == VALUES


def test_figures_are_there_at_once(tmp_path: Path) -> None:
    kept = opened(tmp_path / "figures.jsonl")
    assert kept.find("net", "photo", ["content"]) is None
    kept.add("net", "photo", VALUES)
    assert kept.find("net", "photo", ["content"]) == {"content": 0.25}


def test_without_resume_it_begins_anew(file: Path) -> None:
    assert opened(file, resume=False).find("net", "photo", list(VALUES)) is None
    assert file.read_bytes() == b""


@pytest.mark.parametrize(("row", "photo"), [("other", "photo"), ("net", "other"), ("netp", "hoto")])
def test_another_network_or_photo_is_not_known(file: Path, row: str, photo: str) -> None:
    assert opened(file).find(row, photo, ["content"]) is None


@pytest.mark.parametrize("other", [{"size": "256"}, {"style": STYLE + 1}, {"style": STYLE.reshape(3, 2, 3)}])
def test_figures_of_other_sizes_and_style_images_are_not_taken_over(file: Path, other: dict[str, object]) -> None:
    assert opened(file, **other).find("net", "photo", ["content"]) is None  # type: ignore[arg-type]


def test_a_measure_that_is_missing_has_to_be_measured(file: Path) -> None:
    assert opened(file).find("net", "photo", ["content", "lpips"]) is None


def test_a_line_that_was_cut_short_is_left_out_and_spoils_no_other(file: Path) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write('{"key": "ab')
    opened(file).add("net", "second", VALUES)
    again = opened(file)
    assert again.find("net", "photo", ["content"]) is not None
    assert again.find("net", "second", ["content"]) is not None
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 2


def test_what_is_no_line_of_figures_is_left_out(file: Path) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write('[1]\n{"key": "a"}\n{"key": "a", "values": 3}\n{"key": "a", "values": {"content": "x"}}\n\n')
    assert opened(file).find("net", "photo", ["content"]) is not None


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "figures.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"figures.jsonl: cannot be "):
        opened(tmp_path / "figures.jsonl")


def test_digest_tells_where_one_part_ends() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest(b"ab") == digest("ab")
