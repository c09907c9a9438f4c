"""What a training shows while it runs: TensorBoard events and a sheet of stylized held-out pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fastnst.files import atomic_path
from fastnst.images import Frame
from fastnst.networks.network import StyleNetwork
from fastnst.tensors import to_frame
from fastnst.training.objective import Objective


class Watcher:
    """Writes losses, rates and pictures of a training to TensorBoard, and the newest sheet to `preview.png`."""

    def __init__(self, folder: Path, held_out: Sequence[Tensor], first_step: int) -> None:
        self.folder = folder
        self.held_out = held_out
        # After a resume, events of steps that are done again are dropped.
        purge_step = first_step + 1 if first_step else None
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=purge_step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def step(self, step: int, losses: dict[str, float], learning_rate: float, images_per_s: float) -> None:
        """Note one update."""
        for name, value in losses.items():
            self.writer.add_scalar(f"train/{name}", value, step)
        self.writer.add_scalar("train/learning_rate", learning_rate, step)
        self.writer.add_scalar("speed/images_per_s", images_per_s, step)

    def preview(self, step: int, network: StyleNetwork, objective: Objective) -> dict[str, float]:
        """Stylize the held-out pictures, one by one; return their mean losses and keep a sheet of the results."""
        network.eval()
        rows: list[Frame] = []
        measured: list[dict[str, float]] = []
        for image in self.held_out:
            stylized, losses = objective.measure(network, image)
            measured.append(losses)
            rows.append(np.concatenate([to_frame(image), to_frame(stylized)], axis=0))
        network.train()
        sheet = np.concatenate(rows, axis=1)
        means = {name: float(np.mean([row[name] for row in measured])) for name in measured[0]}
        self.writer.add_image("held-out", sheet, step, dataformats="HWC")
        for name, value in means.items():
            self.writer.add_scalar(f"held-out/{name}", value, step)
        self.writer.flush()
        with atomic_path(self.folder / "preview.png") as temporary:
            Image.fromarray(sheet).save(temporary, format="PNG")
        return means
