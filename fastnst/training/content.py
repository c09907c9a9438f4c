"""Content pictures for training: sample n of an endless sequence, the same wherever and whenever it is asked for.

Nothing here has a state. Sample n belongs to epoch n // files; which file it is follows from (seed, epoch), and
scale, position and mirror from (seed, n). So a run that goes on at step k needs no saved sampler, the number of
workers does not matter, and several processes share one sequence.

Images are uint8 (3, crop, crop) RGB tensors here; the trainer turns them into floats where it computes.
"""

import copy
import os
import signal
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fastnst.errors import InputError, SettingError
from fastnst.images import Frame, read_frame

MIN_SHORT_SIDE = 32
"""Pixels; a smaller picture has too little in it to learn from and is skipped."""

MAX_ZOOM = 1.25
"""The shorter side is scaled to a random length of 1 to this many crops."""

HELD_OUT_SHARE = 20
"""Pictures are held out of training only where there are this many times more."""

UNREADABLE_FORMATS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Pillow recognises these, but needs another program to decode them."""

# Keep the random streams of files and of crops apart.
_ORDER_STREAM, _CROP_STREAM = 0, 1


class Skipped(NamedTuple):
    """A file of the folder that cannot be used, and why."""

    name: str
    reason: str


class Sample(NamedTuple):
    """One content picture, uint8 (3, crop, crop) RGB, and the files passed over to get it."""

    image: Tensor
    skipped: list[Skipped]


class Batch(NamedTuple):
    """Content pictures, uint8 (B, 3, crop, crop) RGB, and the files passed over to get them."""

    images: Tensor
    skipped: list[Skipped]


class HeldOut(NamedTuple):
    """Fixed pictures to validate with, uint8 (B, 3, size, size) RGB, their names, and the files passed over."""

    images: Tensor
    names: list[str]
    skipped: list[Skipped]


class Framing(NamedTuple):
    """Which square of a picture is taken: everything in [0, 1] but `zoom`, the shorter side in crops."""

    zoom: float = 1.0
    across: float = 0.5
    down: float = 0.5
    mirror: bool = False


def find_pictures(folder: Path) -> list[str]:
    """List the picture files of a folder and its subfolders: paths relative to it, with /, in alphabetical order.

    Pictures are known by suffix; hidden files and folders are passed over, links to folders are followed.
    Raises InputError where there are none.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise InputError(f"{folder}: {found}; expected a folder of photographs, nested or not")
    suffixes = _picture_suffixes()
    names = [name for name in _walk(folder) if Path(name).suffix.lower() in suffixes]
    if not names:
        raise InputError(f"{folder}: no pictures in it or below; expected JPEG, PNG, WebP ... files")
    return sorted(names)


def _walk(folder: Path) -> Iterator[str]:
    seen = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(parent).relative_to(folder)
        yield from ((below / name).as_posix() for name in files if not name.startswith("."))


@lru_cache(maxsize=1)
def _picture_suffixes() -> frozenset[str]:
    known = Image.registered_extensions()
    readable = set(Image.OPEN) - UNREADABLE_FORMATS
    return frozenset(suffix for suffix, name in known.items() if name in readable)


@lru_cache(maxsize=4)
def epoch_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Order in which an epoch visits `count` files: a permutation that (seed, epoch) alone decide."""
    return np.random.default_rng((_ORDER_STREAM, seed, epoch)).permutation(count)


def draw_framing(seed: int, n: int) -> Framing:
    """Zoom, position and mirror of sample n; they do not depend on the file or the crop size."""
    zoom, across, down, mirror = np.random.default_rng((_CROP_STREAM, seed, n)).random(4)
    return Framing(1 + (MAX_ZOOM - 1) * float(zoom), float(across), float(down), bool(mirror < 0.5))


def read_square(path: Path, crop: int, framing: Framing) -> Frame:
    """Read a square of a picture, uint8 (crop, crop, 3) RGB; small pictures are enlarged.

    Raises InputError for a picture under MIN_SHORT_SIDE, and whatever the decoder raises for a broken one.
    """
    with Image.open(path) as opened:
        if min(opened.size) < MIN_SHORT_SIDE:
            width, height = opened.size
            raise InputError(f"{width} x {height} pixels; the shorter side must have {MIN_SHORT_SIDE}")
        picture = _upright(opened, path, at_least=crop * framing.zoom)
        return _cut(picture, crop, framing)


def _upright(opened: Image.Image, path: Path, at_least: float) -> Image.Image:
    """Decode, EXIF orientation applied; a JPEG no larger than needed for a shorter side of `at_least` pixels."""
    if opened.format != "JPEG" or opened.mode not in {"RGB", "L"}:
        return Image.fromarray(read_frame(path))
    short_side = int(np.ceil(at_least))
    opened.draft(None, (short_side, short_side))  # decodes at 1/2, 1/4 or 1/8 where that is enough
    ImageOps.exif_transpose(opened, in_place=True)
    return opened


def _cut(picture: Image.Image, crop: int, framing: Framing) -> Frame:
    width, height = picture.size
    side = min(width, height) / framing.zoom
    left, top = framing.across * (width - side), framing.down * (height - side)
    box = (left, top, min(left + side, width), min(top + side, height))
    square = picture.resize((crop, crop), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)
    if framing.mirror:
        square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(square.convert("RGB"))


class ContentImages(Dataset[Sample]):
    """An endless sequence of random squares of the pictures in a folder, by sample number.

    `names` are the files in use, relative to `folder`; `len` is the number of samples in an epoch.
    """

    def __init__(self, folder: Path, crop: int, seed: int = 0, exclude: Collection[str] = ()) -> None:
        """Scan a folder; `exclude` names files, relative to it, to keep out of training where there are enough."""
        if seed < 0:
            raise SettingError(f"seed {seed}: expected 0 or more")
        self.folder = folder
        self.crop = crop
        self.seed = seed
        self.names = find_pictures(folder)
        if exclude and len(self.names) >= HELD_OUT_SHARE * len(exclude):
            excluded = set(exclude)
            self.names = [name for name in self.names if name not in excluded]

    def __len__(self) -> int:
        return len(self.names)

    def with_crop(self, crop: int) -> "ContentImages":
        """The same sequence at another crop size: sample n shows the same part of the same picture."""
        other = copy.copy(self)
        other.crop = crop
        return other

    def __getitem__(self, n: int) -> Sample:
        """Sample n (0, 1, 2 ... without end); a file that cannot be used gives its place to the next one."""
        epoch, place = divmod(n, len(self.names))
        order = epoch_order(len(self.names), self.seed, epoch)
        candidates = (self.names[order[(place + i) % len(order)]] for i in range(len(order)))
        frame, _, skipped = _first_usable(self.folder, candidates, self.crop, draw_framing(self.seed, n))
        if frame is None:
            raise nothing_usable(self.folder, skipped)
        return Sample(_to_tensor(frame), skipped)


def _first_usable(
    folder: Path, names: Iterator[str], crop: int, framing: Framing
) -> tuple[Frame | None, str, list[Skipped]]:
    skipped: list[Skipped] = []
    for name in names:
        try:
            with warnings.catch_warnings():  # Pillow warns of damaged EXIF data and of very large pictures
                warnings.simplefilter("ignore")
                return read_square(folder / name, crop, framing), name, skipped
        except Exception as error:  # noqa: BLE001, RUF100 - decoders of broken files raise anything
            skipped.append(Skipped(name, str(error) or type(error).__name__))
    return None, "", skipped


def nothing_usable(folder: Path, skipped: Sequence[Skipped]) -> InputError:
    """The error to raise when every picture of a folder was passed over."""
    first = f"; the first, {skipped[0].name}: {skipped[0].reason}" if skipped else ""
    return InputError(f"{folder}: none of its {len(skipped)} pictures can be used; give other photographs{first}")


def _to_tensor(frame: Frame) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1).contiguous()


def held_out(folder: Path, count: int, size: int) -> HeldOut:
    """Read `count` fixed pictures, spread evenly over the folder's list, as centre crops of `size` pixels.

    Fewer where the folder has fewer that can be used; raises InputError where it has none.
    """
    names = find_pictures(folder)
    frames: list[Frame] = []
    chosen: list[str] = []
    skipped: list[Skipped] = []
    for i in range(min(count, len(names))):
        start = (2 * i + 1) * len(names) // (2 * min(count, len(names)))
        passed_over = {*chosen, *(entry.name for entry in skipped)}
        candidates = (name for name in names[start:] + names[:start] if name not in passed_over)
        frame, name, unusable = _first_usable(folder, candidates, size, Framing())
        skipped += unusable
        if frame is None:
            break
        frames.append(frame)
        chosen.append(name)
    if not frames:
        raise nothing_usable(folder, skipped)
    return HeldOut(torch.stack([_to_tensor(frame) for frame in frames]), chosen, skipped)


def content_batches(
    dataset: ContentImages,
    batch_size: int,
    first_step: int,
    steps: int,
    workers: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of steps `first_step`, `first_step + 1` ... : `steps` of them.

    `batch_size` counts the pictures of one step over all processes; each of `world_size` processes gets its equal
    part. So neither the number of processes nor that of workers changes what a step sees.
    """
    if batch_size % world_size:
        raise SettingError(f"batch size {batch_size}: {world_size} processes cannot share it equally; give a multiple")
    share = batch_size // world_size
    starts = [step * batch_size + rank * share for step in range(first_step, first_step + steps)]
    loader = DataLoader(
        dataset,
        batch_sampler=[list(range(start, start + share)) for start in starts],
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=_worker_context() if workers else None,
        generator=torch.Generator().manual_seed(0),  # or making a loader would advance the global random state
    )
    try:
        yield from loader
    except InputError:  # a worker's error arrives with its traceback in the message: say it again in one line
        _, _, skipped = _first_usable(dataset.folder, iter(dataset.names), dataset.crop, Framing())
        raise nothing_usable(dataset.folder, skipped) from None


def _collate(samples: list[Sample]) -> Batch:
    images = torch.stack([sample.image for sample in samples])
    return Batch(images, [entry for sample in samples for entry in sample.skipped])


def _start_worker(_number: int) -> None:
    """Leave Ctrl-C to the main process, which ends its workers; torch itself limits each to one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the main process is killed: torch watches the worker's parent, here the fork server."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _worker_context() -> BaseContext:
    """Start workers from a clean process: a fork of a process with threads (NCCL, TensorBoard) may hang for ever."""
    if sys.platform == "win32":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is then imported once, not once a worker
    return context
