"""Blind comparisons: pairs of pictures without names, and what people's answers say.

Sheets show what two contenders made of the same photo, in random order, with the painting. Which is which stands in a
key, kept apart from the sheets. Frames are uint8 (H, W, 3) RGB, H height and W width in pixels.
"""

import json
import random
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from fastnst.errors import InputError, OutputError, SettingError
from fastnst.io.files import write_atomically
from fastnst.io.folders import find_pictures
from fastnst.io.images import Frame, Picture, read_frame, resize_frame, resize_long_side, write_picture
from fastnst.metrics.perceptual import STYLE_SIZE
from fastnst.report.blocks import PictureGrid, share_interval
from fastnst.report.report import draw_sheet
from fastnst.research.evaluate import choose_evenly, read_sized
from fastnst.research.judge import open_network

Answer: TypeAlias = Literal["left", "right", "same"]


@dataclass(frozen=True)
class Contender:
    """One of two whose pictures are compared: a network, or a folder of pictures that were painted before."""

    name: str
    picture: Callable[[Path, Frame], Frame]
    """What it made of a photo, given its file and its frame; of the frame's size."""

    covers: Callable[[Path], bool]
    """Whether it has a picture for that photo."""


@dataclass(frozen=True)
class Key:
    """Which contender stands where."""

    contenders: tuple[str, str]
    left: Mapping[int, str]
    """By number of the sheet, the contender on the left."""

    photos: Mapping[int, str]
    """By number of the sheet, the file name of the photo."""

    seed: int
    size: int

    def write(self, file: Path) -> None:
        """Write it as JSON. Raises OutputError."""
        sheets = {str(number): {"left": name, "photo": self.photos[number]} for number, name in self.left.items()}
        content = {"contenders": self.contenders, "seed": self.seed, "size": self.size, "sheets": sheets}
        write_atomically(
            file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
        )

    @staticmethod
    def read(file: Path) -> "Key":
        """Read it back. Raises InputError."""
        try:
            content = json.loads(file.read_text("utf-8"))
            sheets = {int(number): sheet for number, sheet in content["sheets"].items()}
            first, second = content["contenders"]
            left = {number: sheet["left"] for number, sheet in sheets.items()}
            photos = {number: sheet["photo"] for number, sheet in sheets.items()}
            return Key((first, second), left, photos, int(content["seed"]), int(content["size"]))
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(f"{file}: is not the key of blind sheets") from error


@dataclass(frozen=True)
class Preference:
    """How often one contender was preferred, among the answers that preferred one."""

    name: str
    count: int
    total: int
    low: float
    """Lower end of the 95 % interval of the share, 0 to 1."""

    high: float

    @property
    def share(self) -> float:
        """Share of the answers, 0 to 1; 0.5 of none."""
        return self.count / self.total if self.total else 0.5


@dataclass(frozen=True)
class Tally:
    """What the answers say."""

    preferences: tuple[Preference, Preference]
    same: int
    """Answers that preferred neither."""

    left: Preference
    """How often the left picture was preferred, whatever it was: far from half, people did not look."""


def open_contender(given: str) -> Contender:
    """Open a folder of painted pictures, an installed style with its mix, or an ONNX file, ours or another project's.

    Raises InputError, StyleError and SettingError.
    """
    if Path(given).is_dir():
        files = {found.path.stem: found.path for found in find_pictures([given])}

        def read(photo: Path, frame: Frame) -> Frame:
            height, width = frame.shape[:2]
            return resize_frame(read_frame(files[photo.stem]), (height, width))

        return Contender(given, read, lambda photo: photo.stem in files)
    network = open_network(given)
    return Contender(given, lambda _photo, frame: network.paint(frame), lambda _photo: True)


def write_sheets(
    contenders: tuple[Contender, Contender],
    painting: Frame,
    photos: Sequence[Path],
    folder: Path,
    key_file: Path,
    *,
    size: int = 512,
    pairs: int | None = None,
    seed: int | None = None,
    on_sheet: Callable[[int], None] = lambda _number: None,
) -> Key:
    """Write numbered sheets, 001.png and on, into a folder without files, and the key outside of it.

    Photos that a contender has no picture for are left out; the others have a long side of `size` pixels. There are
    `pairs` sheets at most, spread evenly over the photos. The seed of the order and of the sides is drawn where it is
    None, and written into the key. `on_sheet` is called after each sheet with its number.

    Raises SettingError for contenders of one name, or the key inside the folder; InputError where a picture cannot be
    read, or no photo is left; OutputError where the folder holds files, the key already exists, or either cannot be
    written.
    """
    first, second = contenders
    if first.name == second.name:
        raise SettingError(f"both contenders are {first.name}; give two that differ")
    if folder.resolve() in key_file.resolve().parents:
        raise SettingError(f"{key_file}: lies among the sheets; choose a place outside, or everyone sees the key")
    if key_file.exists():
        raise OutputError(f"{key_file}: already exists; choose another by --key")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: is not an empty folder; choose another by -o")
    usable = choose_evenly([photo for photo in photos if first.covers(photo) and second.covers(photo)], pairs)
    if not usable:
        raise InputError(f"{first.name} and {second.name} have no photo in common; pictures need the photos' names")
    seed = secrets.randbits(32) if seed is None else seed
    key = _draw_lots((first.name, second.name), usable, seed, size)
    key.write(key_file)
    by_name = {contender.name: contender for contender in contenders}
    files = {path.name: path for path in usable}
    for number, name in key.left.items():
        photo = files[key.photos[number]]
        frame = read_sized(photo, size)
        left = by_name[name].picture(photo, frame)
        right = by_name[second.name if name == first.name else first.name].picture(photo, frame)
        write_picture(folder / f"{number:03}.png", Picture(frame=draw_pair(number, left, right, painting)))
        on_sheet(number)
    return key


def draw_pair(number: int, left: Frame, right: Frame, painting: Frame) -> Frame:
    """One sheet: both pictures at 1:1, and the painting at 512 px, or as tall as they are where they are smaller."""
    fitted = resize_long_side(painting, min(STYLE_SIZE, max(left.shape[:2])))
    columns = ["left", "right", "painting"]
    return draw_sheet(PictureGrid(columns, [(f"sheet {number}", [left, right, fitted])]))


def _draw_lots(names: tuple[str, str], photos: Sequence[Path], seed: int, size: int) -> Key:
    lots = random.Random(seed)
    shuffled = lots.sample([path.name for path in photos], len(photos))
    # Each stands on the left as often as the other, so that whoever always says left says nothing.
    begin = lots.getrandbits(1)
    sides = [names[(begin + index) % 2] for index in range(len(photos))]
    lots.shuffle(sides)
    return Key(names, dict(enumerate(sides, 1)), dict(enumerate(shuffled, 1)), seed, size)


def read_answers(file: Path, key: Key) -> dict[int, Answer]:
    """Read one person's answers: a line for each sheet, such as `12 left`; left, right or same, # begins a comment.

    Raises InputError, which names the line.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    answers: dict[int, Answer] = {}
    for place, line in enumerate(lines, 1):
        words = line.partition("#")[0].lower().split()
        if not words:
            continue
        where = f"{file}, line {place}"
        if len(words) != 2 or not words[0].isdecimal() or words[1] not in ("left", "right", "same"):
            raise InputError(f"{where}: {line.strip()!r} is no answer; expected a number and left, right or same")
        number = int(words[0])
        if number not in key.left:
            raise InputError(f"{where}: there is no sheet {number}; the key has 1 to {len(key.left)}")
        if number in answers:
            raise InputError(f"{where}: sheet {number} is answered twice")
        answers[number] = cast("Answer", words[1])
    return answers


def count_answers(answers: Sequence[Mapping[int, Answer]], key: Key) -> Tally:
    """Count answers, each person's own, against the key."""
    first, second = key.contenders
    votes: Counter[str] = Counter()
    for person in answers:
        for number, answer in person.items():
            other = second if key.left[number] == first else first
            votes[{"left": key.left[number], "right": other, "same": ""}[answer]] += 1
    left = sum(answer == "left" for person in answers for answer in person.values())
    total = votes[first] + votes[second]
    preferences = _preference(first, votes[first], total), _preference(second, votes[second], total)
    return Tally(preferences, votes[""], _preference("left", left, total))


def _preference(name: str, count: int, total: int) -> Preference:
    return Preference(name, count, total, *share_interval(count, total))
