"""Blind sheets: who stands where, what the sheets show, and how answers are counted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastnst.cli import main
from fastnst.errors import InputError, OutputError, SettingError
from fastnst.io.images import Frame, Picture, read_frame, write_picture
from fastnst.research.blind import (
    Answer,
    Contender,
    Key,
    count_answers,
    draw_pair,
    open_contender,
    read_answers,
    write_sheets,
)

PAINTING = np.full((40, 60, 3), 90, np.uint8)


def plain(name: str, level: int) -> Contender:
    """Paints everything in one grey."""
    return Contender(name, lambda _photo, frame: np.full_like(frame, level), lambda _photo: True)


DARK, LIGHT = plain("dark", 30), plain("light", 220)


def key_of(left: dict[int, str]) -> Key:
    return Key(("dark", "light"), left, dict.fromkeys(left, "photo.png"), seed=1, size=64)


def levels_on(sheet: Frame) -> list[int]:
    """Greys of the sheet's two pictures from left to right, on a row through them."""
    row = sheet[sheet.shape[0] // 2, :, 0]
    found = [int(level) for level in row if level in (30, 220)]
    return list(dict.fromkeys(found))


def test_sheets_show_what_the_key_says(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.iterdir())
    key = write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / "sheets", tmp_path / "key.json", size=80, seed=3)
    assert sorted(path.name for path in (tmp_path / "sheets").iterdir()) == [f"{n:03}.png" for n in range(1, 9)]
    for number, name in key.left.items():
        sheet = read_frame(tmp_path / "sheets" / f"{number:03}.png")
        assert levels_on(sheet) == ([30, 220] if name == "dark" else [220, 30])
    assert sorted(key.photos.values()) == [path.name for path in paths]
    assert Key.read(tmp_path / "key.json") == key


@pytest.mark.parametrize("seed", range(6))
def test_each_stands_on_the_left_as_often(photos: Path, tmp_path: Path, seed: int) -> None:
    paths = sorted(photos.iterdir())
    key = write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / "a", tmp_path / "key", size=64, seed=seed)
    assert sorted(key.left.values()) == ["dark"] * 4 + ["light"] * 4


def test_the_seed_decides_and_without_one_lots_are_drawn(photos: Path, tmp_path: Path) -> None:
    def draw(name: str, seed: int | None) -> Key:
        paths = sorted(photos.iterdir())
        return write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / name, tmp_path / f"{name}.json", seed=seed)

    first, again, other, drawn = draw("a", 5), draw("b", 5), draw("c", 6), draw("d", None)
    assert first == again
    assert (first.left, first.photos) != (other.left, other.photos)
    assert draw("e", drawn.seed) == drawn


def test_nothing_on_the_sheets_tells_who_is_who(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.iterdir())[:2]
    write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / "a", tmp_path / "a.json", size=64, seed=1)
    write_sheets(
        (plain("x", 30), plain("y", 220)), PAINTING, paths, tmp_path / "b", tmp_path / "b.json", size=64, seed=1
    )
    for number in (1, 2):
        assert (tmp_path / f"a/{number:03}.png").read_bytes() == (tmp_path / f"b/{number:03}.png").read_bytes()
        with Image.open(tmp_path / f"a/{number:03}.png") as image:
            assert image.info == {}


def test_pairs_are_limited(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.iterdir())
    key = write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / "a", tmp_path / "key", size=64, pairs=3, seed=0)
    assert list(key.left) == [1, 2, 3]
    assert len(set(key.photos.values())) == 3


def test_a_folder_takes_part_with_pictures_of_the_same_names(photos: Path, tmp_path: Path) -> None:
    painted = tmp_path / "painted"
    for number in (1, 4):
        write_picture(painted / f"photo{number}.jpg", Picture(frame=np.full((37, 50, 3), 30, np.uint8)))
    contender = open_contender(str(painted))
    paths = sorted(photos.iterdir())
    key = write_sheets((contender, LIGHT), PAINTING, paths, tmp_path / "a", tmp_path / "key", size=80, seed=0)
    assert sorted(key.photos.values()) == ["photo1.png", "photo4.png"]
    frame = read_frame(photos / "photo1.png")
    assert contender.picture(photos / "photo1.png", frame).shape == frame.shape
    with pytest.raises(InputError, match="no photo in common"):
        write_sheets((contender, LIGHT), PAINTING, paths[:1], tmp_path / "b", tmp_path / "other")


def test_the_painting_is_as_tall_as_small_pictures() -> None:
    left, right = (np.full((60, 80, 3), level, np.uint8) for level in (30, 220))
    sheet = draw_pair(7, left, right, np.full((300, 400, 3), 90, np.uint8))
    assert (sheet == 90).all(-1).sum() == (sheet == 30).all(-1).sum() == 60 * 80


def test_what_is_in_the_way_is_refused(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.iterdir())[:1]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.png").touch()
    (tmp_path / "old.json").touch()
    with pytest.raises(OutputError, match="full: is not an empty folder"):
        write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / "full", tmp_path / "key.json")
    with pytest.raises(OutputError, match=r"old\.json: already exists"):
        write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / "new", tmp_path / "old.json")
    with pytest.raises(SettingError, match="lies among the sheets"):
        write_sheets((DARK, LIGHT), PAINTING, paths, tmp_path / "new", tmp_path / "new" / "key.json")
    with pytest.raises(SettingError, match="both contenders are dark"):
        write_sheets((DARK, DARK), PAINTING, paths, tmp_path / "new", tmp_path / "key.json")
    assert not (tmp_path / "new").exists() and not (tmp_path / "key.json").exists()


def test_answers_by_hand(tmp_path: Path) -> None:
    key = key_of({1: "dark", 2: "light", 3: "dark", 4: "light"})
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("# mine\n1 left\n\n2 Left  # hm\n3 same\n")
    two.write_text("4 right\n1 right\n")
    answers = [read_answers(file, key) for file in (one, two)]
    assert answers == [{1: "left", 2: "left", 3: "same"}, {4: "right", 1: "right"}]
    tally = count_answers(answers, key)
    # Dark: sheet 1 of the first, sheet 4 of the second. Light: sheet 2, and sheet 1 of the second.
    assert [(one.name, one.count, one.total) for one in tally.preferences] == [("dark", 2, 4), ("light", 2, 4)]
    assert (tally.same, tally.left.count, tally.left.total) == (1, 2, 4)
    assert tally.preferences[0].share == 0.5


def test_intervals_are_wilsons() -> None:
    key = key_of(dict.fromkeys(range(1, 11), "dark"))
    answers: dict[int, Answer] = {number: "left" if number <= 8 else "right" for number in range(1, 11)}
    dark = count_answers([answers], key).preferences[0]
    # 8 of 10 (Wilson 1927): (0.8 + 0.19207 +- 1.96 sqrt(0.016 + 0.0096)) / 1.38415 with z^2 = 3.8415.
    assert (dark.low, dark.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    nothing = count_answers([{}], key).preferences[0]
    assert (nothing.share, nothing.low, nothing.high) == (0.5, 0, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 left\nleft 2\n", r"line 2: 'left 2' is no answer; expected a number and left, right or same"),
        ("1 middle", r"line 1: '1 middle' is no answer"),
        ("1", r"'1' is no answer"),
        ("9 left", r"line 1: there is no sheet 9; the key has 1 to 2"),
        ("1 left\n1 right", r"line 2: sheet 1 is answered twice"),
    ],
)
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "answers.txt").write_text(text)
    with pytest.raises(InputError, match=words):
        read_answers(tmp_path / "answers.txt", key_of({1: "dark", 2: "light"}))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"contenders": ["a"], "sheets": {}, "seed": 1, "size": 2}'])
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key.json").write_text(content)
    with pytest.raises(InputError, match=r"key\.json: is not the key of blind sheets"):
        Key.read(tmp_path / "key.json")
    with pytest.raises(InputError, match="gone: cannot be read"):
        Key.read(tmp_path / "gone")


def test_from_the_command_line(
    photos: Path,
    style_picture: Path,
    write_duo: Callable[[Path], None],
    invert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    duo = tmp_path / "duo.onnx"
    write_duo(duo)
    given = ["--style-image", str(style_picture), "--photos", str(photos), "--size", "64", "--pairs", "4"]
    with pytest.raises(SystemExit, match="0"):
        main(["research", "blind", f"{duo}@munch", str(invert), *given, "-o", str(tmp_path / "sheets")])
    key = json.loads((tmp_path / "sheets-key.json").read_text())
    assert key["contenders"] == [f"{duo}@munch", str(invert)]
    assert len(list((tmp_path / "sheets").iterdir())) == len(key["sheets"]) == 4
    assert "4 sheets; the key is in" in capsys.readouterr().err
    lines = [f"{n} {'left' if sheet['left'] == str(invert) else 'right'}" for n, sheet in key["sheets"].items()]
    (tmp_path / "answers.txt").write_text("\n".join(lines))
    with pytest.raises(SystemExit, match="0"):
        main(["research", "blind-count", str(tmp_path / "answers.txt"), "--key", str(tmp_path / "sheets-key.json")])
    printed = capsys.readouterr().out
    assert f"{invert}: 4 of 4, 100% (51% to 100%)" in printed
    assert f"{duo}@munch: 0 of 4, 0% (0% to 49%)" in printed
    assert f"{invert} is preferred beyond chance" in printed
