"""Refining what a network painted: some steps of the exact method on the picture itself, through the compact network.

H height, W width. Frames are uint8 (H, W, 3) RGB.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from fastnst.exact.engine import minimize
from fastnst.exact.memory import fitting_size, measure_footprint
from fastnst.exact.objective import PixelObjective
from fastnst.exact.result import Trace
from fastnst.exact.settings import OptimizeSettings
from fastnst.io.blending import add_change
from fastnst.io.images import Frame, fit_long_side, resize_frame
from fastnst.io.tensors import to_frame, to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.precision import resolve_precision
from fastnst.losses.references import STYLE_SIDE, find_references, measure_painting
from fastnst.losses.terms import StyleTarget
from fastnst.losses.weights import load_loss_network


class PictureRefiner:
    """Call it with what a network was given and what it painted; pictures too large for the memory are refined smaller,
    and what changes is enlarged and added."""

    def __init__(self, steps: int, painting: Frame | None = None) -> None:
        """Load the compact loss network.

        Args:
            steps: of L-BFGS, for each picture.
            painting: of the style; None: what is known of the network's own.

        Raises:
            WeightsError: the network is missing.
        """
        self.on_progress: Callable[[float], None] | None = None
        """Called with the share of the steps that is done of a picture."""

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._settings = OptimizeSettings(loss_network="compact", steps=steps)
        self._dtype = resolve_precision(self._settings.precision, self.device)
        self._network, _ = load_loss_network(self._settings, self.device)
        self._reference = None if painting is None else measure_painting(self._network, painting)

    def __call__(
        self, given: Frame, painted: Frame, network: Path, styles: Mapping[str, float], strength: float = 1.0
    ) -> Frame:
        """Refine a picture.

        Args:
            given: the photo as the network got it.
            painted: what the network painted of it.
            network: its file.
            styles: share of each of its styles, by name.
            strength: how strongly it painted: the weight of style is multiplied by its square.

        Raises:
            StyleError: the painting of a style is not known.
            DivergedError: the loss is no finite number.
        """
        reference = self._reference or find_references(network, styles)
        weighed = replace(self._settings, style_weight=self._settings.style_weight * strength**2)
        loss = PerceptualLoss(self._network, weighed)
        size = self._size(loss, given)
        photo, begun = resize_frame(given, size), resize_frame(painted, size)
        on_device = {name: tuple(part.to(self.device) for part in parts) for name, parts in reference.items()}
        image = to_image(photo).to(self.device)
        objective = PixelObjective(loss, image, [StyleTarget(on_device)], self._dtype)
        trace = Trace()
        minimize(objective, to_image(begun).to(self.device), weighed, trace, lambda at: self._report(at.done))
        refined = to_frame(trace.best_image)
        return refined if size == painted.shape[:2] else add_change(painted, begun, refined)

    def _report(self, done: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done / self._settings.steps)

    def _size(self, loss: PerceptualLoss, given: Frame) -> tuple[int, int]:
        """The largest size, up to that of the picture, that fits into memory."""
        own = (given.shape[0], given.shape[1])

        def pixels_at(size: int) -> tuple[int, int]:
            height, width = fit_long_side(own, size)
            return height * width, STYLE_SIDE**2

        footprint = measure_footprint(loss, self._dtype, self.device)
        side = fitting_size(footprint, replace(self._settings, size=max(own)), pixels_at, self.device)
        return own if side == max(own) else fit_long_side(own, side)
