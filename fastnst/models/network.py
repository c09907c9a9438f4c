"""What every network that paints in one pass has in common, painting with one in torch, and the best-known of them.

`TransformNet` is the image transformation network of Johnson et al. (2016). Differs from the paper: instance instead of
batch normalization (Ulyanov et al. 2016), upsampling and a convolution instead of transposed convolutions
(Odena et al. 2016), reflection padding at every convolution, a linear output instead of a scaled tanh.

The normalization's scale and shift follow the style and its strength: "conditional instance normalization" of Dumoulin
et al. (2017, "A learned representation for artistic style", section 2.2). All styles share the convolutions. Each
normalization has a table of scales and one of shifts, a row for each style; a mix of styles takes the same mix of rows
(their section 3.4). Strength is ours, by the same tables: further rows hold what is added to a style's own at the
strengths 0.5 and 1.5, and, for all styles alike, at 0; in between they are mixed. At strength 1 nothing is added, so
what is learnt at any strength serves all.

Shapes: B batch, C channels, H and W height and width, S styles, R rows. A condition is the same for a batch, style
weights (S,) and strength (1,), or each picture's own, (B, S) and (B, 1).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastnst.io.images import Frame
from fastnst.io.tensors import to_frame, to_image
from fastnst.models import Upsampling

STRENGTHS = (0.0, 0.5, 1.0, 1.5)
"""Strengths with rows of their own; 1 has those of the styles."""

_STEP = STRENGTHS[1] - STRENGTHS[0]


@dataclass(frozen=True)
class Conditions:
    """What a network can be conditioned on."""

    styles: int = 1
    """S, how many styles it knows."""

    strength: bool = False
    """On how strongly it stylizes."""

    @property
    def plain(self) -> bool:
        """On nothing: one style, always of full strength."""
        return self.styles == 1 and not self.strength

    @property
    def rows(self) -> int:
        """R, rows of the tables: one for each style; with strength then one for the photo, and two for each style."""
        return self.styles + (1 + 2 * self.styles if self.strength else 0)

    def shares(
        self, style_weights: Tensor | None, strength: Tensor | None, device: torch.device | None = None
    ) -> Tensor | None:
        """Share of each row in a mix of styles of a strength: (S,) or (B, S), (1,) or (B, 1) -> (R,) or (B, R).

        Without style weights all styles alike, without a strength the full one. None for a plain network.
        """
        if self.plain:
            return None
        if style_weights is None:
            style_weights = torch.full((self.styles,), 1 / self.styles, device=device)
        if not self.strength:
            return style_weights
        if strength is None:
            strength = torch.ones(1, device=device)
        places = torch.arange(len(STRENGTHS), device=device)
        near = (1 - (strength / _STEP - places).abs()).relu()
        added = style_weights[..., :, None] * near[..., None, 1::2]
        batch = added.shape[:-2]
        photo = near[..., :1].expand(*batch, 1)
        return torch.cat([style_weights.expand(*batch, self.styles), photo, added.flatten(-2)], dim=-1)

    def ones(self, channels: int) -> Tensor:
        """A table that says 1 for every style and adds nothing, (R, C)."""
        table = torch.zeros(self.rows, channels)
        table[: self.styles] = 1
        return table


PLAIN = Conditions()


class Conditioned(nn.Module):
    """A part of a network that takes the shares of rows beside its input."""

    @abstractmethod
    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) and shares, (R,), (B, R) or, in a plain network, None."""


class Chain(Conditioned, nn.Sequential):
    """Parts one after the other; those that are conditioned get the shares."""

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        for part in self:
            x = part(x, shares) if isinstance(part, Conditioned) else part(x)
        return x


class ConditionalInstanceNorm2d(Conditioned, nn.InstanceNorm2d):
    """Instance normalisation with a scale and a shift for each row; in a plain network PyTorch's own."""

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__(channels, affine=True)
        if not conditions.plain:
            self.weight = nn.Parameter(conditions.ones(channels))
            self.bias = nn.Parameter(torch.zeros(conditions.rows, channels))

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if shares is None:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        scale, shift = mixed(self.weight, shares), mixed(self.bias, shares)
        if shares.ndim == 1:
            return F.instance_norm(x, weight=scale, bias=shift, eps=self.eps)
        # What instance_norm does inside, with scales that may differ from picture to picture: no pass over x is added.
        batch, channels, height, width = x.shape
        apart = x.contiguous().view(1, batch * channels, height, width)
        normal = F.batch_norm(apart, None, None, scale.flatten(), shift.flatten(), training=True, eps=self.eps)
        return normal.view(batch, channels, height, width)


def mixed(table: Tensor, shares: Tensor) -> Tensor:
    """Mix the rows of a table, (R, ...): shares (R,) -> (...), (B, R) -> (B, ...).

    No matrix product, which autocast would round to bfloat16.
    """
    return (table * shares.reshape(*shares.shape, *[1] * (table.ndim - 1))).sum(shares.ndim - 1)


class ConditionalScale(Conditioned):
    """A scale of each channel for each row; nothing in a plain network."""

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__()
        # None is registered as a parameter too, and left out of files.
        self.scale: nn.Parameter | None
        self.register_parameter("scale", None if conditions.plain else nn.Parameter(conditions.ones(channels)))

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x if self.scale is None or shares is None else x * mixed(self.scale, shares)[..., None, None]


class ConditionalAffine(ConditionalScale):
    """A scale and a shift of each channel for each row; nothing in a plain network.

    Files of version 0.1 have none; there it changes nothing.
    """

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__(channels, conditions)
        rows = None if conditions.plain else nn.Parameter(torch.zeros(conditions.rows, channels))
        self.shift: nn.Parameter | None
        self.register_parameter("shift", rows)

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        scaled = super().forward(x, shares)
        return scaled if self.shift is None or shares is None else scaled + mixed(self.shift, shares)[..., None, None]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name, value in self.named_parameters():
            state_dict.setdefault(prefix + name, value.detach().clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)


class StyleNetwork(nn.Module):
    """Image to stylized image of the same size, whose height and width must be multiples of `stride`.

    At strength 0 a network that takes a strength gives the image back exactly, however it was trained: of the image
    itself it keeps a share, which is 1 at strength 0 and learnt for the others, from 0 on.
    """

    stride: int
    """Pixels of the picture, each way, for one place of the deepest layers."""

    phases: int = 1
    """Pixels of the picture, each way, that `paint_phases` gives as channels of one place."""

    width: int
    """Channels, as each kind counts them."""

    blocks: int
    """Residual blocks."""

    def __init__(self, conditions: Conditions = PLAIN) -> None:
        super().__init__()
        self.conditions = conditions
        self.kept: nn.Parameter | None
        self.register_parameter("kept", nn.Parameter(torch.zeros(conditions.rows)) if conditions.strength else None)

    def forward(self, image: Tensor, style_weights: Tensor | None = None, strength: Tensor | None = None) -> Tensor:
        """Paint images, (B, 3, H, W) in [0, 1]; the result is about [0, 1] but not clamped.

        Shares of the styles, (S,), or each image's, (B, S); None: all alike. Strength (1,), or each image's, (B, 1);
        None: 1.
        """
        shares = self.conditions.shares(style_weights, strength, image.device)
        painted = self.paint(image, shares)
        if self.kept is None or shares is None:
            return painted
        photo = shares[..., self.conditions.styles]
        kept = photo + (1 - photo) * mixed(self.kept, shares)
        return painted + kept.reshape(-1, 1, 1, 1) * (image - painted)

    def paint(self, image: Tensor, shares: Tensor | None) -> Tensor:
        """Paint images as `forward`, by shares of rows, (R,) or (B, R); None in a plain network."""
        raise NotImplementedError

    def paint_phases(self, levels: Tensor, shares: Tensor | None) -> Tensor:
        """Paint levels of 0 to 255, (B, 3, H, W), in the form that an exported graph weaves last, as uint8.

        Returns about [0, 255], not clamped. With `phases` 1 (B, 3, H, W); with 2 (B, 12, H / 2 - 1, W / 2 - 1): pixels
        by row, column and colour, of which the border's are left out, as they are those next to it once more.
        """
        return 255 * self.paint(levels / 255, shares)

    def for_export(self) -> "StyleNetwork":
        """A network that paints the same, and whose graph holds all its weights as they are."""
        return self


# Centred and scaled to about unit variance: a photograph's mean is near 0.45, its deviation near 0.25.
MEAN, DEVIATION = 0.45, 0.25


def centred(image: Tensor) -> Tensor:
    """An image in [0, 1] as networks take it."""
    return (image - MEAN) / DEVIATION


def uncentred(image: Tensor) -> Tensor:
    """What a network gives as an image, in float32 also under autocast: bfloat16 has but 128 steps from 0.5 to 1."""
    return MEAN + DEVIATION * image.float()


# Smaller pictures are extended to this many pixels a side: reflection inside the network needs room.
SMALLEST_SIDE = 64


def padded(image: Tensor, stride: int) -> Tensor:
    """Extend an image, (B, 3, H, W), below and to the right: its edge to 64 pixels, then reflected to `stride`."""
    below, right = (max(0, SMALLEST_SIDE - side) for side in image.shape[2:])
    image = F.pad(image, (0, right, 0, below), mode="replicate")
    below, right = (-side % stride for side in image.shape[2:])
    return F.pad(image, (0, right, 0, below), mode="reflect")


def stylize_frame(
    network: StyleNetwork,
    frame: Frame,
    *,
    style_weights: Sequence[float] | None = None,
    strength: float | None = None,
) -> Frame:
    """Frame, uint8 (H, W, 3), to stylized frame of the same size; torch's own arithmetic, on the network's device.

    `style_weights` are shares of the network's styles, None all alike; `strength` is 1 if None.
    """
    height, width = frame.shape[:2]
    device = next(network.parameters()).device
    weights = None if style_weights is None else torch.tensor(style_weights, device=device)
    strengths = None if strength is None else torch.tensor([strength], device=device)
    with torch.no_grad():
        stylized = network(padded(to_image(frame).to(device), network.stride), weights, strengths)
    return to_frame(stylized[..., :height, :width])


UPSAMPLINGS: tuple[Upsampling, ...] = get_args(Upsampling)


def _doubled(upsampling: Upsampling) -> nn.Upsample:
    if upsampling == "bilinear":
        return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Upsample(scale_factor=2)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution that pads by reflection to keep the size (divided by the stride)."""
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride))


def normalized(inputs: int, outputs: int, kernel: int, stride: int = 1, *, conditions: Conditions = PLAIN) -> Chain:
    """Convolution, instance normalisation with scale and shift, rectifier."""
    return Chain(
        convolution(inputs, outputs, kernel, stride), ConditionalInstanceNorm2d(outputs, conditions), nn.ReLU()
    )


class ResidualBlock(Conditioned):
    """Two normalised convolutions beside the identity, no rectifier after the sum (Gross and Wilber 2016)."""

    def __init__(self, channels: int, conditions: Conditions = PLAIN) -> None:
        super().__init__()
        self.body = Chain(
            normalized(channels, channels, 3, conditions=conditions),
            convolution(channels, channels, 3),
            ConditionalInstanceNorm2d(channels, conditions),
        )

    def forward(self, x: Tensor, shares: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        residual: Tensor = self.body(x, shares)
        return x + residual


class TransformNet(StyleNetwork):
    """Works at a quarter of the size; `width` is the number of channels at full size: 32 in the paper."""

    stride = 4

    def __init__(
        self, width: int = 32, blocks: int = 5, conditions: Conditions = PLAIN, upsampling: Upsampling = "nearest"
    ) -> None:
        super().__init__(conditions)
        self.width, self.blocks = width, blocks
        self.body = Chain(
            normalized(3, width, 9, conditions=conditions),
            normalized(width, 2 * width, 3, stride=2, conditions=conditions),
            normalized(2 * width, 4 * width, 3, stride=2, conditions=conditions),
            *(ResidualBlock(4 * width, conditions) for _ in range(blocks)),
            _doubled(upsampling),
            normalized(4 * width, 2 * width, 3, conditions=conditions),
            _doubled(upsampling),
            normalized(2 * width, width, 3, conditions=conditions),
            convolution(width, 3, 9),
        )

    def paint(self, image: Tensor, shares: Tensor | None) -> Tensor:
        """Image, (B, 3, H, W) in [0, 1], to stylized image, (B, 3, H, W), about [0, 1] but not clamped."""
        return uncentred(self.body(centred(image), shares))
