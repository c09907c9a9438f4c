"""How curved the loss is in each colour and at each spatial frequency, as the steps so far have shown.

A loss network hardly feels fine chroma or the finest luminance, and feels strokes: one length of step does not suit
both. L-BFGS takes what is told here as the inverse Hessian that it begins from.

Images are float32 (1, 3, H, W) RGB, H height and W width; spectra are complex (3, H, W // 2 + 1).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

SMALLEST_SIDE = 8
"""Pixels; smaller images have no bands worth the name."""

BANDS = 8
"""Half octaves of frequency, the finest up to half a cycle a pixel; the coarsest has all that is below."""

LONGEST = 4.0
"""A band's steps are at most that much longer or shorter than they would be without bands."""

FADING = 0.9
"""What older steps count for, at each newer one."""

# Luminance and two axes of chroma, orthonormal: so that distances stay what they are.
_AXES = ((3**-0.5, 3**-0.5, 3**-0.5), (2**-0.5, -(2**-0.5), 0.0), (6**-0.5, 6**-0.5, -2 * 6**-0.5))


class Spectrum:
    """Lengths of step for each axis of colour and band of frequencies.

    A length is the geometric mean of Barzilai and Borwein's two (1988): how far pixels were moved over how much their
    gradient changed by it, |s| / |y|, of the part of both that lies in the band.
    """

    def __init__(self) -> None:
        self._moved = self._changed = self._newest = torch.empty(0)

    @property
    def known(self) -> bool:
        """Whether there was a step to learn from."""
        return self._moved.numel() > 0

    def forget(self) -> None:
        """Drop all."""
        self._moved = self._changed = self._newest = torch.empty(0)

    def learn(self, change: Tensor, gradient_change: Tensor) -> None:
        """Take in how pixels were moved and how the gradient changed by it, both (1, 3, H, W)."""
        if change.ndim != 4 or min(change.shape[2:]) < SMALLEST_SIDE:
            return
        moved, changed = _energies(change), _energies(gradient_change)
        self._newest = changed
        # Steps get shorter on the way down: each counts in parts of its own.
        moved, changed = moved / moved.sum(), changed / changed.sum()
        if self.known:
            moved, changed = moved + FADING * self._moved, changed + FADING * self._changed
        self._moved, self._changed = moved, changed

    def lengths(self) -> Tensor:
        """How much longer than without bands steps are to be, (3, BANDS)."""
        lengths = (self._moved / self._changed.clamp_min(1e-30)).sqrt()
        usual = (lengths * self._changed).sum() / self._changed.sum()
        return (lengths / usual).clamp(1 / LONGEST, LONGEST)

    def stretch(self, direction: Tensor) -> Tensor:
        """A direction, (1, 3, H, W), with each band as long as it is to be."""
        if not self.known:
            return direction
        spectrum = _to_axes(direction)
        lengths, bands = self.lengths().to(direction.dtype), _bands(direction)
        for axis in range(3):
            spectrum[axis] *= lengths[axis][bands]
        stretched = torch.einsum("ac,ahw->chw", _axes(direction), torch.fft.irfft2(spectrum, s=direction.shape[2:]))
        return stretched[None].contiguous(memory_format=torch.channels_last)

    def growth(self) -> float:
        """By how much the newest step's change of gradient y gets larger, as (y, stretched y) / (y, y)."""
        if not self.known:
            return 1.0
        return float((self.lengths() * self._newest).sum() / self._newest.sum())

    def state(self) -> dict[str, Tensor]:
        """All that changes."""
        return {"moved": self._moved, "changed": self._changed, "newest": self._newest}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` gave."""
        self._moved, self._changed, self._newest = state["moved"], state["changed"], state["newest"]
        shapes = {self._moved.shape, self._changed.shape, self._newest.shape}
        if shapes not in ({torch.Size([0])}, {torch.Size([3, BANDS])}):
            raise ValueError("the spectrum is of the wrong shape")


def _to_axes(values: Tensor) -> Tensor:
    spectrum: Tensor = torch.fft.rfft2(torch.einsum("ac,chw->ahw", _axes(values), values[0]))
    return spectrum


def _axes(values: Tensor) -> Tensor:
    return torch.tensor(_AXES, dtype=values.dtype, device=values.device)


def _energies(values: Tensor) -> Tensor:
    """Energy in each band, float64 (3, BANDS), of values (1, 3, H, W)."""
    spectrum, width = _to_axes(values), values.shape[3]
    energy = spectrum.real.square().add_(spectrum.imag.square()).double()
    # The spectrum of real values holds half of the columns: all others stand for their mirror images too.
    energy[..., 1 : (width + 1) // 2] *= 2
    bands = _bands(values).flatten()
    return torch.stack([torch.bincount(bands, plane.flatten(), BANDS) for plane in energy])


def _bands(values: Tensor) -> Tensor:
    """Number of the band that each place of the spectrum belongs to, int64 (H, W // 2 + 1)."""
    height, width = values.shape[2:]
    down = torch.fft.fftfreq(height, device=values.device)[:, None]
    across = torch.fft.rfftfreq(width, device=values.device)
    octaves = torch.log2((2 * torch.hypot(down, across)).clamp_min_(1e-9))
    return (BANDS - 1 + 2 * octaves).round_().clamp_(0, BANDS - 1).long()
