"""The processes that train one network together, as `torchrun` starts them, and the memory that a step of theirs takes.

The main process, the first, is the only one that writes files, says anything and decides what hangs on the clock; the
others follow. Each paints its share of a batch, and its mean counts by the pictures in it, so that the mean over the
processes is the mean of the batch; after a restart with fewer or more of them the shares are others. A process that is
alone shares with nobody.

Whether a step fits into memory is told before the first one: the system would end it without a line. What a step keeps
for its gradient is found out on two small batches: it grows with the pixels. Images are float (B, 3, H, W) RGB in
[0, 1].
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from fastnst.errors import SettingError
from fastnst.losses.compact import CompactFeatures
from fastnst.losses.weights import kept_bytes
from fastnst.machine import available_memory
from fastnst.models.network import StyleNetwork
from fastnst.training.objective import Paint, TrainingObjective
from fastnst.training.schedule import SMALLEST_PLANNED_CROP
from fastnst.training.settings import SMALLEST_CROP, TrainSettings


class Processes:
    """The processes of one training, seen from one of them."""

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        """Take this process's place among how many, and the device by which they talk."""
        self.rank, self.count, self.device = rank, count, device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def wrap(self, network: StyleNetwork) -> Paint:
        """The network as all processes train it: the main process's weights, gradients averaged over all."""
        if self.count == 1:
            return network
        device = next(network.parameters()).device
        return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)

    def weight(self, pictures: int, size: int) -> float:
        """How much this process's mean counts beside the others', 1 on average: by its pictures of a batch."""
        return pictures * self.count / size

    def mean(self, values: dict[str, Tensor], weight: float = 1.0) -> dict[str, float]:
        """Average scalars by name over the processes, each of which gives the same names."""
        # One tensor, so that a GPU is waited for once.
        stacked = torch.stack([value.detach().float() for value in values.values()])
        if self.count > 1:
            stacked = stacked.to(self.device) * weight
            distributed.all_reduce(stacked)
            stacked = stacked / self.count
        return dict(zip(values, stacked.tolist(), strict=True))

    def broadcast(self, numbers: list[float]) -> list[float]:
        """The main process's numbers; the others' own are dropped."""
        if self.count == 1:
            return numbers
        shared = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return [float(number) for number in shared]


def started_by_torchrun() -> bool:
    """Whether several processes were started to train together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main() -> bool:
    """Whether this process is the one that writes and speaks, or the only one."""
    return not started_by_torchrun() or int(os.environ.get("RANK", "0")) == 0


def usual_device() -> torch.device:
    """The GPU of this process where torch finds one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def store_of_restart() -> Any:  # a store of torch.distributed, whose types it does not export
    """Torchrun's store, with names of its own for each restart; None where torchrun shares none, or for several agents.

    The processes that torchrun starts again find the addresses of those before them in the store, and may try to reach
    processes that are gone. Agents do not count restarts alike; docs/scale.md says what helps with several.
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get("GROUP_WORLD_SIZE") == "1"
    if not shared:
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        address, port, int(os.environ["WORLD_SIZE"]), is_master=False
    )
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return distributed.PrefixStore(f"fastnst/{restart}", store)  # type: ignore[attr-defined]


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Meet the other processes, over NCCL where each has a GPU of its own, else over gloo; part from them at the end.

    A group that is there already is used as it is.
    """
    if not started_by_torchrun() and not distributed.is_initialized():
        yield Processes()
        return
    own = not distributed.is_initialized()
    if own:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        alone = device.type == "cuda" and torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        backend, store = "nccl" if alone else "gloo", store_of_restart()
        if store is None:
            distributed.init_process_group(backend)
        else:
            rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
    try:
        by = device if distributed.get_backend() == "nccl" else torch.device("cpu")
        yield Processes(distributed.get_rank(), distributed.get_world_size(), by)
    finally:
        if own:
            distributed.destroy_process_group()


# Of the small batches: every second picture is painted twice where flicker is trained against.
_BATCH = 2
_WIDTH = 16
# Bytes a pixel of johnson's 16 channels, from above: where so much is free, nothing needs to be found out.
_MOST_PER_PIXEL = 12_000
# Peak of a step's resident memory over what autograd keeps: gradients on the way back, and what the allocator holds.
# Measured 1.0 to 1.4 in a warm process, and more at the first step.
_OVER_KEPT = 2.0
# Kernels prepared at the first step, TensorBoard, pictures that are read: measured 125 MB before the first step.
_FURTHER_BYTES = 150e6
# Peak of measuring a style picture over its features, with the copies that the terms make: measured 2.3 to 3.0 with the
# compact network, not yet with VGG.
_STYLE_COPIES = 3.0


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step takes beside what the process holds."""

    fixed: float
    per_pixel: float

    def __call__(self, batch: int, crop: int) -> float:
        """For a batch of square crops, side in pixels."""
        return self.fixed + self.per_pixel * batch * crop**2


def check_step(
    settings: TrainSettings,
    make_objective: Callable[[], TrainingObjective],
    paint: Paint,
    style_pixels: int,
    *,
    processes: int = 1,
) -> None:
    """Raise SettingError, naming a batch and a crop that fit, where a step takes more memory than is free.

    The settings have the training's largest crops. `make_objective` makes the loss, on the CPU, of style pictures that
    may be small; asked for where memory may be short. `style_pixels` are those of the largest style picture as it is
    measured; so many processes share a batch.
    """
    batch, free = -(-settings.batch_size // processes), available_memory()
    width = int(settings.network_spec["width"])
    most = _MOST_PER_PIXEL * max(1, width / _WIDTH) * max(batch * settings.crop_size**2, style_pixels / 4)
    if free > _FURTHER_BYTES + most:
        return
    if free < _FURTHER_BYTES:
        raise SettingError(
            f"training needs {_FURTHER_BYTES / 1e9:.2f} GB of memory beside its steps, {free / 1e9:.2f} GB are free; "
            "end other programs or raise the limit"
        )
    objective = make_objective()
    _check_style(settings, objective, style_pixels, free)
    needed = measure_step(objective, paint)
    if needed(batch, settings.crop_size) <= free:
        return
    raise SettingError(
        f"a step with --batch-size {settings.batch_size} and --crop-size {settings.crop_size} takes about "
        f"{needed(batch, settings.crop_size) / 1e9:.2f} GB of memory, {free / 1e9:.2f} GB are free; "
        f"{_remedy(needed, free, batch, settings.crop_size, processes)}"
    )


def _check_style(settings: TrainSettings, objective: TrainingObjective, pixels: int, free: int) -> None:
    """Measuring a style picture keeps the features of all layers, without gradients."""
    side = max(SMALLEST_CROP, objective.loss.network.smallest_side)
    with torch.no_grad():
        sizes = [layer.numel() * 4 for layer in objective.loss.network(torch.rand(1, 3, side, side)).values()]
    copies = _STYLE_COPIES if isinstance(objective.loss.network, CompactFeatures) else 1.0
    needed = _FURTHER_BYTES + copies * pixels * (sum(sizes) + 2 * max(sizes)) / side**2
    if needed > free:
        side = max(settings.style_sizes)
        fitting = int(side * ((free - _FURTHER_BYTES) / (needed - _FURTHER_BYTES)) ** 0.5)
        raise SettingError(
            f"a style picture of --style-size {side} takes about {needed / 1e9:.2f} GB of memory, "
            f"{free / 1e9:.2f} GB are free; --style-size {max(1, fitting)} fits"
        )


def _remedy(needed: StepMemory, free: int, batch: int, crop: int, processes: int) -> str:
    """The largest crop for the batch, unless that is small: rather fewer pictures, then."""
    least = min(crop, SMALLEST_PLANNED_CROP)
    for count in (*range(batch, 0, -1), 0):
        side = _largest_crop(needed, free, max(1, count), crop)
        if side >= (least if count else SMALLEST_CROP):
            return f"--batch-size {max(1, count) * processes} --crop-size {side} fits"
    least_bytes = needed(1, SMALLEST_CROP)
    return f"even --batch-size {processes} --crop-size {SMALLEST_CROP} takes {least_bytes / 1e9:.2f} GB"


def _largest_crop(needed: StepMemory, free: int, batch: int, crop: int) -> int:
    """Side of the largest crop that fits, a multiple of 8; 0 where none does."""
    return next((side for side in range(crop, SMALLEST_CROP - 1, -8) if needed(batch, side) <= free), 0)


def measure_step(objective: TrainingObjective, paint: Paint) -> StepMemory:
    """Find out what a step keeps, on two small batches."""
    smallest = max(SMALLEST_CROP, objective.loss.network.smallest_side)
    sides = smallest, 2 * smallest
    kept = [_kept_bytes(objective, paint, side) for side in sides]
    pixels = [_BATCH * side**2 for side in sides]
    per_pixel = (kept[1] - kept[0]) / (pixels[1] - pixels[0])
    fixed = max(0.0, kept[0] - per_pixel * pixels[0])
    return StepMemory(_FURTHER_BYTES + _OVER_KEPT * fixed, _OVER_KEPT * per_pixel)


def _kept_bytes(objective: TrainingObjective, paint: Paint, side: int) -> int:
    """Bytes of all that autograd keeps in one evaluation."""
    images = torch.rand(_BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    return kept_bytes(lambda: objective(paint, images, range(_BATCH)))
