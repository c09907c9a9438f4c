"""What changes from step to step of a training: the network, its optimiser, and how far they have come."""

import copy
from dataclasses import dataclass, field

import torch

from fastnst.errors import CheckpointError
from fastnst.models.checkpoint import (
    ModelInfo,
    build_network,
    find_model,
    init_from,
    load_model,
    size_of,
    styles_of_names,
)
from fastnst.models.network import StyleNetwork
from fastnst.training.settings import TrainSettings


@dataclass
class TrainState:
    """All that a training needs to go on. The pictures of a step follow from `images` alone."""

    network: StyleNetwork
    optimizer: torch.optim.Adam
    ema: StyleNetwork | None = None
    """Running average of the network's weights, where the settings ask for one."""
    step: int = 0
    """Updates done."""
    images: int = 0
    """Content pictures seen."""
    elapsed_s: float = 0.0
    """Seconds of training, over all runs."""
    begun_s: float = 0.0
    """Seconds until the first step began."""
    multiply_adds: float = 0.0
    """Arithmetic of all updates, and of those of the network it started from where that says."""
    style_weight: float = 0.0
    """Weight of the style term; 0 until it is known."""
    rescues: int = 0
    """How often it went back to a good state."""
    rate_factor: float = 1.0
    """What the schedule's learning rate is multiplied by: half for each rescue."""
    gradient: float = 0.0
    """Running mean of the gradient's length; 0 before the first step."""
    losses: list[dict[str, float]] = field(default_factory=list)
    """Losses on the held-out pictures so far, each with its step, seconds and arithmetic."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Content pictures that could not be used, and why."""

    @property
    def validated_step(self) -> int:
        """The last step after which the held-out pictures were painted; -1 before the first."""
        return int(self.losses[-1]["step"]) if self.losses else -1

    @property
    def shown(self) -> StyleNetwork:
        """The network that is measured, shown and exported: the average where there is one."""
        return self.ema if self.ema is not None else self.network


def new_state(settings: TrainSettings, device: torch.device) -> TrainState:
    """Network and optimiser before the first step; the same seed gives the same weights on every device."""
    torch.manual_seed(settings.seed)
    network = build_network(settings.network_spec)
    already = 0.0
    if settings.init_model is not None:
        trained, info = load_model(find_model(settings.init_model))
        if size_of(info.network) != size_of(settings.network_spec):
            raise CheckpointError(
                f"{settings.init_model}: a network of {_described(info.network)} ({info.style}); asked for is one of "
                f"{_described(settings.network_spec)}"
            )
        init_from(network, trained, styles_of_names(settings.style_names, info))
        already = _arithmetic(info)
    network.to(memory_format=torch.channels_last).to(device).train()
    return TrainState(
        network,
        torch.optim.Adam(network.parameters(), settings.learning_rate),
        start_ema(network) if settings.ema_decay else None,
        multiply_adds=already,
    )


def _arithmetic(info: ModelInfo) -> float:
    """Multiply-adds that a network was trained with; 0 where its file does not say."""
    return float(info.training.get("multiply_adds", 0.0))


def _described(spec: dict[str, int | str]) -> str:
    return " ".join(f"{name} {value}" for name, value in size_of(spec).items())


def start_ema(network: StyleNetwork) -> StyleNetwork:
    """A copy of the network to hold the running average of its weights, which is steadier than the newest ones."""
    return copy.deepcopy(network).requires_grad_(False)


def update_ema(ema: StyleNetwork, network: StyleNetwork, decay: float, step: int) -> None:
    """Move the average towards the network after update `step`, counted from 1.

    Early on the decay is (1 + step) / (10 + step) where that is less, as TensorFlow's ExponentialMovingAverage has it,
    so that the first weights are soon forgotten.
    """
    part = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), part)
        for own, new in zip(ema.buffers(), network.buffers(), strict=True):
            own.copy_(new)
