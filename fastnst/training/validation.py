"""The held-out pictures, painted by a network that is in training, and how far they are from what is wanted."""

from dataclasses import dataclass

import numpy as np

from fastnst.io.images import Frame
from fastnst.io.tensors import to_frame
from fastnst.training.run import TrainingRun


@dataclass(frozen=True)
class Validation:
    """The held-out pictures as a network paints them."""

    step: int
    photos: list[Frame]
    """Where the network knows several styles, once for each."""

    painted: list[Frame]
    losses: dict[str, float]
    """Means over the pictures, by name; with several styles, content and style of each as well, as "style munch"."""

    def sheet(self) -> Frame:
        """All photos above, what became of them below, uint8 (H, W, 3)."""
        columns = [np.concatenate(pair, axis=0) for pair in zip(self.photos, self.painted, strict=True)]
        sheet: Frame = np.concatenate(columns, axis=1)
        return sheet


def validate(run: TrainingRun) -> Validation:
    """Paint the held-out pictures, one by one, and measure the results."""
    network = run.state.shown.eval()
    painted: list[Frame] = []
    by_style: dict[str, dict[str, float]] = {}
    for number, style in enumerate(run.settings.style_names):
        measured = []
        for image in run.held_out:
            stylized, losses = run.fine_tuning_objective.measure(network, image, number)
            painted.append(to_frame(stylized))
            measured.append(losses)
        by_style[style] = {name: float(np.mean([row[name] for row in measured])) for name in measured[0]}
    network.train()
    each = list(by_style.values())
    means = {name: float(np.mean([losses[name] for losses in each])) for name in each[0]}
    if len(each) > 1:
        means |= {f"{term} {style}": by_style[style][term] for style in by_style for term in ("content", "style")}
    return Validation(run.state.step, [to_frame(image) for image in run.held_out] * len(each), painted, means)
