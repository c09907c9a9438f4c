"""Several processes that train one network, as `torchrun` starts them; alone, everything here does nothing.

The main process, the first, is the only one that writes files, says anything and decides what hangs on the clock; the
others follow. Each paints its share of a batch, and its mean counts by the pictures in it, so that the mean over the
processes is the mean of the batch; after a restart with fewer or more of them the shares are others.
"""

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from fastnst.models.network import StyleNetwork
from fastnst.training.objective import Paint


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


def store_of_restart() -> distributed.Store | None:
    """Torchrun's store, with names of its own for each restart; None where torchrun shares none, or with several agents.

    The processes that torchrun starts again find the addresses of those before them in the store, and may try to reach
    processes that are gone. Agents do not count restarts alike; docs/scale.md says what helps with several.
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and os.environ.get("GROUP_WORLD_SIZE") == "1"
    if not shared:
        return None
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(address, port, int(os.environ["WORLD_SIZE"]), is_master=False)
    return distributed.PrefixStore(f"fastnst/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


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
