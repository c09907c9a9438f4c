"""The settings of a training, each written once: recipes and command-line options only override them."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastnst.errors import SettingError
from fastnst.io.noise import MAX_LEVELS
from fastnst.io.styles import bundled_models, check_name
from fastnst.losses.settings import (
    FURTHER_TERMS,
    LOOK,
    LOSS,
    RESEARCH,
    SCHEDULE,
    LossSettings,
    StyleStatistic,
    check_fine_tuning,
    option_of,
)
from fastnst.models import Upsampling
from fastnst.renamed import with_current_names

SMALLEST_CROP = 64
"""Pixels; the loss network's deepest layers have little left of smaller ones."""

_SIZES = {"johnson": ("johnson", 16, 5), "live": ("live", 48, 3), "live-small": ("live", 32, 3)}


@dataclass(frozen=True, kw_only=True)
class TrainSettings(LossSettings):
    """How a network is trained.

    Examples:
        >>> TrainSettings(style="starry_night.jpg", budget="20m").budget_s
        1200.0
    """

    style: tuple[Path, ...]
    """Style: a picture; given several times, one network learns all of them and mixes them afterwards. In
    Python a single path will do."""

    name: str = ""
    """Name of the style: of a network of several, its own; by default the pictures' file names."""

    strength_input: Annotated[bool, LOOK] = False
    """Train for any strength from 0, the photo itself, over 1, the full style, to 1.5: the network gets an input for
    it."""

    temporal_weight: Annotated[float, LOOK] = 0.0
    """Weight of the penalty on flicker: the same picture, moved and with noise, must be stylized alike. For films and
    cameras 0.3 to 1; it costs the painting some detail, and half as much again of the network's time."""

    input_noise: Annotated[float, LOOK] = 12.0
    """Smooth noise on what a network gets, levels of 255, from which flat parts of a photo become strokes instead of a
    regular pattern: more gives more, 0 none. Pictures are stylized (auto) with what it was trained with."""

    license: str = "not stated"
    """License of the trained weights, written into the files."""

    content: str = "val2017"
    """Photographs: a folder (searched with its subfolders), or COCO's val2017 or train2017, fetched if needed."""

    network: Literal["johnson", "live", "live-small"] = "johnson"
    """Kind of network: that of Johnson et al. (2016), or one for live pictures, about 40 or 50 times as fast."""

    width: Annotated[int | None, RESEARCH] = None
    """Channels: johnson has 16 at full size (32 in the paper, which takes three times as long),
    live 48 and live-small 32 at an eighth of it."""

    blocks: Annotated[int | None, RESEARCH] = None
    """Residual blocks: johnson has 5, live and live-small 3."""

    upsampling: Annotated[Upsampling, RESEARCH] = "bilinear"
    """How a johnson gets back to full size: bilinear, or nearest, as usual, which leaves strokes like bricks of 4
    pixels."""

    style_weight: Annotated[float | Literal["auto"], LOOK] = 5.0  # type: ignore[assignment]
    """Weight of the style term: how much of the painting comes in. auto: found before the training, so that content
    ends near --content-target whatever the painting."""

    style_statistic: Annotated[StyleStatistic, LOSS] = "covariance"
    """What style compares: each channel's mean and the channels' covariance, or what else `fastnst optimize` has
    (gram: Gatys et al., Johnson et al.)."""

    statistics_over: Annotated[Literal["image", "batch"], LOSS] = "batch"
    """What style statistics are taken over: each picture, or all pictures of a batch as if they were one, so that not
    each must have all that the painting has. A batch is then of one style; several processes take their own pictures
    each."""

    color_weight: Annotated[float, LOSS] = 0.2
    detail_weight: Annotated[float, LOSS] = 0.1
    pattern_weight: Annotated[float, LOSS] = 0.15
    relief_weight: Annotated[float, LOSS] = 3.0
    content_target: Annotated[float, LOOK] = 0.6
    """Content loss to aim at, 0 to 1: where --style-weight is auto, it is found for it. Less, and more of the photo
    stays."""

    steps: Annotated[int, SCHEDULE] = 1600
    """Optimizer steps: with --budget as many as fit."""

    budget: str = ""
    """Time for everything up to the exported network, e.g. 90s, 20m or 2h (not for fetching photographs): a few steps
    are timed, crops chosen, and learning rate and end follow the clock."""

    fine_tune_fraction: Annotated[float, LOSS] = 0.0
    """Fraction of the training, 0 to 1, at its end that goes through VGG-19, where the loss network is compact: the
    pictures become VGG-19's own at a fraction of its time. The held-out pictures are judged by it throughout."""

    fine_tune_weights: Annotated[Path | None, LOSS] = None
    """File with VGG-19's weights for the fine-tuning, instead of a download."""

    batch_size: Annotated[int, SCHEDULE] = 3
    """Pictures per step."""

    crop_size: Annotated[int, SCHEDULE] = 256
    """Side of the square crops, pixels; a multiple of 8."""

    progressive_resizing: Annotated[float, SCHEDULE] = 0.0
    """Part of the training, 0 to 1, that is done on smaller crops first: they cost less, and palette and strokes are
    learned from them as well."""

    progressive_crop_size: Annotated[int, SCHEDULE] = 0
    """Side of those crops, pixels; 0 is half of --crop-size."""

    progressive_batch_size: Annotated[int, SCHEDULE] = 0
    """Pictures per step of those; 0 is --batch-size."""

    learning_rate: Annotated[float, SCHEDULE] = 8e-4
    """Learning rate of the optimizer: Adam's at its highest."""

    lr_schedule: Annotated[Literal["cosine", "constant"], SCHEDULE] = "cosine"
    """Schedule of the learning rate. cosine: 50 steps of warm-up, then down to 0 along half a cosine; constant: none,
    as the usual recipes have it."""

    ema_decay: Annotated[float, SCHEDULE] = 0.0
    """Decay of a running average of the weights, e.g. 0.99, which is then what is shown and exported; 0 none."""

    init_from: Annotated[Literal["auto", "none"] | Path, SCHEDULE] = "auto"
    """Trained network to start from, instead of from nothing: of the same width and blocks, a .safetensors file, or
    the name of a style in the package. It may know other styles: a style starts from the one of its name, else from the
    nearest. auto: gallery where it fits, which is a johnson of 16 channels; none: random weights."""

    teacher: Annotated[Literal["auto", "none"] | Path | None, LOSS] = None
    """Trained network of the same painting (.safetensors, or the name of a style in the package) whose pictures are
    imitated as well: a network that is too small to find a good way of painting itself, as those for live pictures are,
    learns it from a large one. auto: a johnson of 16 channels is trained first. By default auto for networks for live
    pictures without --init-from, else none."""

    teacher_weight: Annotated[float, LOSS] = 2.0
    """Weight of the difference to the teacher's pictures, pixel by pixel and as the loss network sees it."""

    imitation_fraction: Annotated[float, LOSS] = 0.5
    """Fraction of the training, 0 to 1, at its beginning in which a network with a teacher learns the teacher's
    pictures pixel by pixel alone, three times as many in the same time; without a teacher it plays no part."""

    checkerboard_weight: Annotated[float, LOSS] = 1000.0
    """Weight of the penalty on patterns that repeat every 4 or 8 pixels, as networks that work at a quarter or an
    eighth of the size make."""

    style_size: Annotated[tuple[int, ...], LOOK] = (1024,)
    """Longest side of the style picture, pixels: the larger, the larger the strokes. Of several pictures one number for
    all, or one for each."""

    seed: Annotated[int, RESEARCH] = 0
    """Random seed: of the network's first weights and of the order and the crops of the pictures."""

    workers: Annotated[int, SCHEDULE] = 2
    """Worker processes: those that read pictures."""

    preview_every: Annotated[int, SCHEDULE] = 250
    """Steps between two sheets of stylized held-out pictures."""

    checkpoint_every_s: Annotated[float, SCHEDULE] = 300.0
    """Seconds between two checkpoints."""

    early_export_s: Annotated[float, SCHEDULE] = 60.0
    """Seconds until preview.onnx, to be tried while the training continues, is written first; 0 never."""

    @property
    def style_name(self) -> str:
        """The name that the results are called by."""
        lone = self.style[0].stem if len(self.style) == 1 else ""
        # Files are called so: bytes that are no text, and control characters, give way.
        return self.name or (lone if lone and lone.isprintable() else "-".join(self.style_names))

    @property
    def style_names(self) -> tuple[str, ...]:
        """Names of the pictures' styles, in which letters, digits, - and _ are left."""
        return tuple(re.sub(r"[^\w-]+", "_", path.stem) for path in self.style)

    @property
    def style_sizes(self) -> tuple[int, ...]:
        """Longest side of each style picture, pixels."""
        return self.style_size if len(self.style_size) == len(self.style) else self.style_size * len(self.style)

    @property
    def network_spec(self) -> dict[str, int | str]:
        """Kind and size of the network, as it is written into files."""
        kind, width, blocks = self._size
        spec: dict[str, int | str] = {"kind": kind, "width": width, "blocks": blocks}
        spec |= {"upsampling": "bilinear"} if kind == "johnson" and self.upsampling == "bilinear" else {}
        spec |= {"styles": len(self.style)} if len(self.style) > 1 else {}
        return spec | ({"strength": 1} if self.strength_input else {})

    @property
    def _size(self) -> tuple[str, int, int]:
        kind, width, blocks = _SIZES[self.network]
        return kind, self.width or width, self.blocks or blocks

    @property
    def init_model(self) -> Path | None:
        """The network to start from, a file or the name of one of the package, where there is one."""
        if isinstance(self.init_from, Path):
            return self.init_from
        fits = self.init_from == "auto" and self._size == _SIZES["johnson"]
        # Its own file: not one that happens to be called gallery where the command is run.
        return bundled_models() / "gallery.safetensors" if fits else None

    @property
    def fine_tunes(self) -> bool:
        """Whether the end of the training goes through VGG-19, after the compact network."""
        return self.fine_tune_fraction > 0

    @property
    def budget_s(self) -> float | None:
        """The budget in seconds, where there is one."""
        return seconds_in(self.budget) if self.budget else None

    def __post_init__(self) -> None:
        if isinstance(self.style, str | Path):
            object.__setattr__(self, "style", (Path(self.style),))
        for name in ("init_from", "teacher"):
            if isinstance(value := getattr(self, name), str) and value not in ("auto", "none"):
                object.__setattr__(self, name, Path(value))
        self._check_styles()
        self._check_teacher()
        self._check_fine_tuning()
        for name in ("width", "blocks", "steps", "batch_size", "crop_size", "preview_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{option_of(name)} is {value}; expected at least 1")
        for name, side in (("crop_size", self.crop_size), ("progressive_crop_size", self.progressive_crop_size)):
            if side % 8 or (side < SMALLEST_CROP and not (name == "progressive_crop_size" and side == 0)):
                raise SettingError(
                    f"{option_of(name)} is {side}; expected a multiple of 8 from {SMALLEST_CROP} pixels on"
                )
        if not 0 <= self.progressive_resizing <= 1:
            raise SettingError(
                f"--progressive-resizing is {self.progressive_resizing}; expected a part of the training, 0 to 1"
            )
        if self.progressive_batch_size < 0:
            raise SettingError(
                f"--progressive-batch-size is {self.progressive_batch_size}; expected at least 1, or 0 for --batch-size"
            )
        self._check_course()
        if not self.learning_rate > 0:
            raise SettingError(f"--learning-rate is {self.learning_rate}; expected a number above 0, e.g. 0.001")
        if not 0 <= self.ema_decay < 1:
            raise SettingError(f"--ema-decay is {self.ema_decay}; expected 0 or a decay below 1, e.g. 0.99")
        if not 0 < self.content_target < 1:
            raise SettingError(f"--content-target is {self.content_target}; expected a loss between 0 and 1, e.g. 0.6")
        _ = self.budget_s

    def _check_course(self) -> None:
        if not 0 <= self.input_noise <= MAX_LEVELS:
            raise SettingError(f"--input-noise is {self.input_noise:g}; expected 0 to {MAX_LEVELS:g} levels")
        if self.workers < 0:
            raise SettingError(f"--workers is {self.workers}; expected 0, for none beside the main one, or more")
        for name in ("checkpoint_every_s", "early_export_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"{option_of(name)} is {getattr(self, name)}; expected seconds from 0 on")
        if not 0 <= self.seed < 1 << 63:
            raise SettingError(f"--seed is {self.seed}; expected a whole number from 0 on")

    def _check_teacher(self) -> None:
        if not 0 <= self.teacher_weight < math.inf:
            raise SettingError(f"--teacher-weight is {self.teacher_weight}; expected 0 or a weight above, e.g. 2")
        if not 0 <= self.imitation_fraction <= 1:
            raise SettingError(
                f"--imitation-fraction is {self.imitation_fraction}; expected a part of the training, 0 to 1"
            )

    def _check_fine_tuning(self) -> None:
        if not 0 <= self.fine_tune_fraction <= 1:
            raise SettingError(
                f"--fine-tune-fraction is {self.fine_tune_fraction}; expected a part of the training, 0 to 1"
            )
        check_fine_tuning("--fine-tune-fraction", self.fine_tune_fraction, self.fine_tune_weights, self.loss_network)
        if self.fine_tune_fraction and not self.budget and self.steps * self.fine_tune_fraction < 1:
            raise SettingError(
                f"--fine-tune-fraction {self.fine_tune_fraction} of --steps {self.steps} is less than one step; "
                f"expected {1 / self.steps:.2g} or more"
            )

    def _check_styles(self) -> None:
        names = self.style_names
        if not names:
            raise SettingError("--style is missing; expected a picture to learn the style of")
        if self.name and self.name != self.style[0].stem:
            check_name(self.name)
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"--style: two pictures are called {name}; rename one, a mix names styles by them")
        if isinstance(self.style_size, int):
            object.__setattr__(self, "style_size", (self.style_size,))
        sides = self.style_size
        if len(sides) not in (1, len(self.style)) or not all(side > 0 for side in sides):
            words = " ".join(map(str, sides))
            raise SettingError(f"--style-size is {words}; expected one number of pixels, or one for each style picture")
        if not 0 <= self.temporal_weight < math.inf:
            raise SettingError(f"--temporal-weight is {self.temporal_weight}; expected 0 or a weight above, e.g. 5")


def plain(settings: TrainSettings) -> dict[str, Any]:
    """Settings as values that JSON and TOML hold; what is unset is left out, the network's size never is."""
    values = dataclasses.asdict(settings) | {name: settings.network_spec[name] for name in ("width", "blocks")}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def of_their_time(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings, with what was the default when older ones were saved: random weights, a johnson of 32 with the
    nearest neighbor on the way back to full size, a loss of one scale and each picture's own statistics, without the
    terms of color, detail, patterns and relief, and no noise on the input."""
    kind, width, blocks = _SIZES[saved.get("network", "johnson")]
    network = {"width": 32 if kind == "johnson" else width, "blocks": blocks, "upsampling": "nearest"}
    loss = {"style_scales": [1], "statistics_over": "image", **dict.fromkeys(FURTHER_TERMS, 0.0)}
    known = with_current_names("train", saved)
    if isinstance(known.get("style_size"), int):  # one for all styles
        known["style_size"] = [known["style_size"]]
    return {"init_from": "none", "input_noise": 0.0, **network, **loss} | known


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_in(duration: str) -> float:
    """Read a time like 90s, 20m or 1.5h; raises SettingError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", duration.strip().lower())
    if not found or float(found[1]) == 0:
        raise SettingError(f"--budget is {duration!r}; expected a time like 90s, 20m or 2h")
    return float(found[1]) * _UNITS[found[2]]
