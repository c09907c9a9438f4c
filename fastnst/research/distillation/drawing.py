"""Pictures for the refinement, drawn by worker processes a few steps ahead.

What is drawn for a step follows from the seed and the step's number alone, whatever the number of workers.
Images are float32 (B, 3, H, W) RGB in [0, 1].
"""

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from fastnst.research.distillation.descents import DescentPlan, draw_plan
from fastnst.research.distillation.pictures import Pictures
from fastnst.training.loader import start_worker, worker_context

_PAIRS, _PLANS = 1, 2  # keep their random numbers apart
_Item = TypeVar("_Item")


def near_pairs(pictures: Pictures, seed: int, count: int, workers: int) -> Iterator[Tensor]:
    """Endlessly: `count` pictures and then what is near each of them, (2 * count, 3, H, W)."""
    return _drawn(_Pairs(pictures, seed, count), workers)


def plans(pictures: Pictures, seed: int, workers: int) -> Iterator[DescentPlan]:
    """Endlessly: pictures to be optimized."""
    return _drawn(_Plans(pictures, seed), workers)


def draw(pictures: Pictures, rng: np.random.Generator) -> Tensor:
    """A photograph or, as often, something else, (1, 3, H, W)."""
    return pictures.other(rng) if rng.random() < 0.5 else pictures.photo(rng)


def near(image: Tensor, pictures: Pictures, rng: np.random.Generator) -> Tensor:
    """The image, (1, 3, H, W), with noise of one pixel or of four, or a little nearer to another one."""
    amount, kind = float(rng.choice([0.03, 0.06, 0.12])), rng.random()
    if kind < 0.75:
        grain = 1 if kind < 0.5 else 4
        size = (1, 3, image.shape[2] // grain, image.shape[3] // grain)
        noise = torch.from_numpy(rng.standard_normal(size, dtype=np.float32))
        noise = F.interpolate(noise, image.shape[2:], mode="bilinear") if grain > 1 else noise
        return (image + (amount if grain == 1 else 2 * amount) * noise).clamp(0, 1)
    return (image + 4 * amount * (draw(pictures, rng) - image)).clamp(0, 1)


@dataclass(frozen=True)
class _Pairs(Dataset[Tensor]):
    pictures: Pictures
    seed: int
    count: int

    def __getitem__(self, step: int) -> Tensor:
        rng = np.random.default_rng((_PAIRS, self.seed, step))
        images = [draw(self.pictures, rng) for _ in range(self.count)]
        return torch.cat([*images, *(near(image, self.pictures, rng) for image in images)])


@dataclass(frozen=True)
class _Plans(Dataset[DescentPlan]):
    pictures: Pictures
    seed: int

    def __getitem__(self, number: int) -> DescentPlan:
        return draw_plan(self.pictures, np.random.default_rng((_PLANS, self.seed, number)))


class _Numbers:
    def __iter__(self) -> Iterator[int]:
        return itertools.count()


def _drawn(items: Dataset[_Item], workers: int) -> Iterator[_Item]:
    with warnings.catch_warnings():
        # Told to use one core, torch warns of a second worker; readers mostly wait, so it does no harm.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader: DataLoader[_Item] = DataLoader(
            items,
            batch_size=None,
            sampler=_Numbers(),
            num_workers=workers,
            worker_init_fn=start_worker if workers else None,
            multiprocessing_context=worker_context() if workers else None,
            generator=torch.Generator().manual_seed(0),
        )
        return iter(loader)
