"""Content pictures for training: sample n of an endless sequence, the same wherever and whenever it is asked for.

Nothing here has a state. Sample n belongs to epoch n // files; which file it is follows from (seed, epoch), and
scale, position and mirror from (seed, n). So a run that goes on at step k needs no saved sampler, the number of
workers does not matter, and several processes share one sequence. Worker processes begin and end with the training.

Images are uint8 (3, crop, crop) RGB tensors here; the trainer turns them into floats where it computes.
"""

import copy
import os
import signal
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fastnst.errors import InputError, SettingError
from fastnst.io.images import Frame
from fastnst.training.photographs import Framing, Skipped, draw_framing, first_usable, list_pictures

HELD_OUT_SHARE = 20
"""Pictures are held out of training only where there are this many times more."""

_ORDER_STREAM = 0  # other than CROP_STREAM: keeps the order of files apart from their crops


class ContentSample(NamedTuple):
    """One content picture, uint8 (3, crop, crop) RGB, and the files passed over to get it."""

    image: Tensor
    skipped: list[Skipped]


class HeldOut(NamedTuple):
    """Fixed pictures to validate with, uint8 (B, 3, size, size) RGB, their names, and the files passed over."""

    images: Tensor
    names: list[str]
    skipped: list[Skipped]


@lru_cache(maxsize=4)
def epoch_order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Order in which an epoch visits `count` files: a permutation that (seed, epoch) alone decide."""
    return np.random.default_rng((_ORDER_STREAM, seed, epoch)).permutation(count)


class ContentImages(Dataset[ContentSample]):
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
        self.names = list_pictures(folder)
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

    def __getitem__(self, n: int) -> ContentSample:
        """Sample n (0, 1, 2 ... without end); a file that cannot be used gives its place to the next one."""
        epoch, place = divmod(n, len(self.names))
        order = epoch_order(len(self.names), self.seed, epoch)
        candidates = (self.names[order[(place + i) % len(order)]] for i in range(len(order)))
        frame, _, skipped = first_usable(self.folder, candidates, self.crop, draw_framing(self.seed, n))
        if frame is None:
            raise nothing_usable(self.folder, skipped)
        return ContentSample(_to_tensor(frame), skipped)


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
    names = list_pictures(folder)
    frames: list[Frame] = []
    chosen: list[str] = []
    skipped: list[Skipped] = []
    for i in range(min(count, len(names))):
        start = (2 * i + 1) * len(names) // (2 * min(count, len(names)))
        passed_over = {*chosen, *(entry.name for entry in skipped)}
        candidates = (name for name in names[start:] + names[:start] if name not in passed_over)
        frame, name, unusable = first_usable(folder, candidates, size, Framing())
        skipped += unusable
        if frame is None:
            break
        frames.append(frame)
        chosen.append(name)
    if not frames:
        raise nothing_usable(folder, skipped)
    return HeldOut(torch.stack([_to_tensor(frame) for frame in frames]), chosen, skipped)


class Batch(NamedTuple):
    """Content pictures, uint8 (B, 3, crop, crop) RGB, their numbers, and the files passed over to get them."""

    samples: range
    images: Tensor
    skipped: list[Skipped]
    size: int
    """Pictures of the step over all processes."""


class Portion(NamedTuple):
    """The pictures of one step: `size` samples of the sequence from `first` on, as squares of `crop` pixels."""

    first: int
    size: int
    crop: int


def content_batches(
    dataset: ContentImages,
    portions: Iterable[Portion],
    workers: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yield the batch of each portion; portions are asked for as workers come to need them, a few steps ahead.

    A portion counts the pictures of one step over all processes; each of `world_size` processes gets its part.
    So neither the number of processes nor that of workers changes what a step sees.

    Workers import the main script again, as multiprocessing does on Windows and macOS: a script of one's own that
    asks for some starts its work under `if __name__ == "__main__":`.
    """
    with warnings.catch_warnings():
        # Told to use one core, torch warns of a second worker; readers mostly wait, so it does no harm.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            _Sized(dataset),
            batch_sampler=_Shares(portions, rank, world_size),
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            worker_init_fn=start_worker if workers else None,
            multiprocessing_context=worker_context() if workers else None,
            generator=torch.Generator().manual_seed(0),  # or making a loader would advance the global random state
        )
        batches = iter(loader)
    try:
        yield from batches
    except InputError:  # a worker's error arrives with its traceback in the message: say it again in one line
        _, _, skipped = first_usable(dataset.folder, dataset.names, dataset.crop, Framing())
        raise nothing_usable(dataset.folder, skipped) from None


class _Sized(Dataset[tuple[int, int, ContentSample]]):
    """The sequence by number, size of the batch and crop; gives number and size back with the sample."""

    def __init__(self, images: ContentImages) -> None:
        self.images = images

    def __getitem__(self, key: tuple[int, int, int]) -> tuple[int, int, ContentSample]:
        n, size, crop = key
        return n, size, self.images.with_crop(crop)[n]


class _Shares:
    """One process's share of each portion, as keys of `_Sized`."""

    def __init__(self, portions: Iterable[Portion], rank: int, world_size: int) -> None:
        self.portions, self.rank, self.world_size = portions, rank, world_size

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        for first, size, crop in self.portions:
            start, share = shared(first, size, self.rank, self.world_size)
            yield [(n, size, crop) for n in range(start, start + share)]


def shared(first: int, size: int, rank: int, world_size: int) -> tuple[int, int]:
    """First sample and number of samples of one process's share, which differ by one at most between processes."""
    share, more = divmod(size, world_size)
    return first + rank * share + min(rank, more), share + (rank < more)


def check_shares(size: int, world_size: int) -> None:
    """Raise SettingError where a batch gives some process no picture."""
    if size < world_size:
        raise SettingError(
            f"batch size {size}: {world_size} processes train, and each needs a picture; give {world_size} or more"
        )


def _collate(samples: list[tuple[int, int, ContentSample]]) -> Batch:
    numbers = range(samples[0][0], samples[-1][0] + 1)
    images = torch.stack([sample.image for _, _, sample in samples])
    skipped = [entry for _, _, sample in samples for entry in sample.skipped]
    return Batch(numbers, images, skipped, samples[0][1])


def start_worker(_number: int) -> None:
    """Leave Ctrl-C to the main process, which ends its workers; torch itself limits each to one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the main process is killed: torch watches the worker's parent, here the fork server."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def worker_context() -> BaseContext:
    """Start workers from a clean process: a fork of a process with threads (NCCL, TensorBoard) may hang for ever."""
    if sys.platform == "win32":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch"])  # torch is then imported once, not once a worker
    return context
