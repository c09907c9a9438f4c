"""What changes from step to step of a training: the network, its optimiser, and how far they have come."""

from dataclasses import dataclass, field

import torch

from fastnst.errors import CheckpointError
from fastnst.networks.kinds import build_network
from fastnst.networks.model import load_model
from fastnst.networks.network import StyleNetwork
from fastnst.training.settings import TrainSettings


@dataclass
class TrainState:
    """All that a training needs to go on. The pictures of a step follow from `images` alone."""

    network: StyleNetwork
    optimizer: torch.optim.Adam
    step: int = 0
    """Updates done."""
    images: int = 0
    """Content pictures seen."""
    elapsed_s: float = 0.0
    """Seconds of training, over all runs."""
    losses: list[dict[str, float]] = field(default_factory=list)
    """Losses on the held-out pictures so far, each with its step."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Content pictures that could not be used, and why."""


def new_state(settings: TrainSettings, device: torch.device) -> TrainState:
    """Network and optimiser before the first step; the same seed gives the same weights on every device."""
    torch.manual_seed(settings.seed)
    network = build_network(settings.network_spec)
    if settings.start is not None:
        trained, info = load_model(settings.start)
        if info.network != settings.network_spec:
            raise CheckpointError(
                f"{settings.start}: a network of {_described(info.network)} ({info.style}); asked for is one of "
                f"{_described(settings.network_spec)}"
            )
        network.load_state_dict(trained.state_dict())
    network.to(memory_format=torch.channels_last).to(device).train()
    return TrainState(network, torch.optim.Adam(network.parameters(), settings.learning_rate))


def _described(spec: dict[str, int | str]) -> str:
    return " ".join(f"{name} {value}" for name, value in spec.items())
