"""What is painted, and like what: the pictures of one painting, brought into form once, at whatever size is asked for.

H and W are height and width; images are float32 (1, 3, H, W) RGB in [0, 1], frames uint8 (H, W, 3) RGB.
"""

from dataclasses import replace

import torch
from torch import Tensor

from fastnst.exact.blending import MeasuredStyle, blend_images, make_targets
from fastnst.exact.color_control import recolour_style
from fastnst.exact.guides import Guides
from fastnst.exact.objective import PixelObjective
from fastnst.exact.settings import OptimizeSettings
from fastnst.exact.style import Styles, check_picture, crop_to, fitted_size, share_out
from fastnst.io.images import Frame, resize_frame
from fastnst.io.tensors import to_frame, to_image
from fastnst.losses.perceptual import PerceptualLoss
from fastnst.losses.terms import Positions, StyleTarget
from fastnst.losses.vgg import LossNetwork


class Subject:
    """A photo and its styles. Asked for a size, it measures them anew: so every level of a pyramid has its own."""

    def __init__(
        self, content: Frame, styles: Styles, settings: OptimizeSettings, content_mask: Frame | None = None
    ) -> None:
        """Take the pictures; they are not changed.

        Args:
            content: the photo, uint8 (H, W, 3) RGB.
            styles: one or several style pictures, as frames or as Style with weight and mask.
            settings: how they are brought together: size, style_size, style_scale, fit, style_blend, regions ...
            content_mask: the photo's regions, each painted in a colour of its own.

        Raises InputError for what is no picture and for masks that do not fit, SettingError for impossible weights.
        """
        self.settings = settings
        self._content = check_picture(content, "photo")
        given = share_out(styles)
        self._guides = Guides.of(content, given, content_mask, settings)
        shape = content.shape[:2]
        if settings.fit == "crop":
            given = [replace(style, frame=crop_to(style.frame, shape)) for style in given]
        self._styles = blend_images(given) if settings.style_blend == "image" else given

    def size(self, long_side: int) -> tuple[int, int]:
        """(height, width) of the picture at a long side of that many pixels."""
        return fitted_size(self._content, long_side, self.settings.fit)

    def photo(self, long_side: int) -> Tensor:
        """The content image at a long side of that many pixels."""
        return to_image(resize_frame(self._content, self.size(long_side)))

    def objective(
        self, loss: PerceptualLoss, long_side: int, device: torch.device, dtype: torch.dtype | None
    ) -> PixelObjective:
        """What is minimised at a long side of that many pixels; style pictures are scaled along with the photo.

        Raises InputError for a picture that is too small for the loss network.
        """
        self._check_sizes(loss.network, long_side)
        photo = self.photo(long_side).to(device)
        targets = self._targets(loss, photo, long_side)
        return PixelObjective(loss, photo, targets, dtype, color=self.settings.color)

    def style_side(self, long_side: int) -> int:
        """Long side of the style pictures beside a photo of that long side, pixels."""
        s = self.settings
        return max(1, round((s.style_size or s.size) * s.style_scale * long_side / s.size))

    def shortest_side(self, long_side: int) -> int:
        """Shortest side of photo and styles at a long side of the photo of that many pixels."""
        fit, style_side = self.settings.fit, self.style_side(long_side)
        sizes = [self.size(long_side), *(fitted_size(style.frame, style_side, fit) for style in self._styles)]
        return min(min(size) for size in sizes)

    def _check_sizes(self, network: LossNetwork, long_side: int) -> None:
        s = self.settings
        larger = "--style-size" if s.style_scale == 1 else "--style-scale"
        whole = ("--size", "a larger --size"), ("--style-size", f"a larger {larger}")
        smallest = (("the smallest of --scales", "fewer --scales"),) * 2
        # At the whole size first: what is too small there is helped by no other number of scales.
        for side, (of_photo, of_style) in ((s.size, whole), (long_side, smallest)):
            PixelObjective.check_size(network, "photo", self.size(side), *of_photo)
            for style in self._styles:
                size = fitted_size(style.frame, self.style_side(side), s.fit)
                PixelObjective.check_size(network, "style picture", size, *of_style)

    def _targets(self, loss: PerceptualLoss, photo: Tensor, long_side: int) -> list[StyleTarget]:
        guides = self._guides
        measured = []
        for index, style in enumerate(self._styles):
            size = fitted_size(style.frame, self.style_side(long_side), self.settings.fit)
            frame = recolour_style(resize_frame(style.frame, size), to_frame(photo), self.settings.color)
            image = to_image(frame).to(photo.device)
            regions = {0: None} if guides is None else guides.of_style(index, loss, image)
            statistics = loss.measure_regions(image, list(regions.values()))
            measured.append(MeasuredStyle(style.weight, dict(zip(regions, statistics, strict=True))))
        positions: dict[int, Positions | None] = {0: None} if guides is None else guides.of_content(loss, photo)
        even = self.settings.normalization == "balanced"
        return make_targets(measured, positions, self.settings.style_blend, even=even)
