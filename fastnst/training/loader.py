"""Batches of content pictures, read by worker processes that begin and end with the training."""

import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from threading import Thread
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fastnst.errors import InputError, SettingError
from fastnst.training.crops import Framing, Skipped, first_usable
from fastnst.training.data import ContentImages, ContentSample, nothing_usable


class Batch(NamedTuple):
    """Content pictures, uint8 (B, 3, crop, crop) RGB, their numbers, and the files passed over to get them."""

    samples: range
    images: Tensor
    skipped: list[Skipped]


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

    A portion counts the pictures of one step over all processes; each of `world_size` processes gets its equal part.
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


class _Sized(Dataset[tuple[int, ContentSample]]):
    """The sequence by number and crop; gives the number back with the sample."""

    def __init__(self, images: ContentImages) -> None:
        self.images = images

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, ContentSample]:
        n, crop = key
        return n, self.images.with_crop(crop)[n]


class _Shares:
    """One process's share of each portion, as keys of `_Sized`."""

    def __init__(self, portions: Iterable[Portion], rank: int, world_size: int) -> None:
        self.portions, self.rank, self.world_size = portions, rank, world_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for first, size, crop in self.portions:
            start, share = shared(first, size, self.rank, self.world_size)
            yield [(n, crop) for n in range(start, start + share)]


def shared(first: int, size: int, rank: int, world_size: int) -> tuple[int, int]:
    """First sample and number of samples of one process's equal share; SettingError where there is none."""
    if size % world_size:
        raise SettingError(f"batch size {size}: {world_size} processes cannot share it equally; give a multiple")
    share = size // world_size
    return first + rank * share, share


def _collate(samples: list[tuple[int, ContentSample]]) -> Batch:
    numbers = range(samples[0][0], samples[-1][0] + 1)
    images = torch.stack([sample.image for _, sample in samples])
    return Batch(numbers, images, [entry for _, sample in samples for entry in sample.skipped])


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
