"""The settings of a training, each written once: recipes and command-line options only override them."""

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastnst.errors import SettingError
from fastnst.io.styles import bundled_models
from fastnst.losses.settings import LossSettings, check_polish
from fastnst.training.progress import seconds_in

SMALLEST_CROP = 64
"""Pixels; the loss network's deepest layers have little left of smaller ones."""

_SIZES = {"johnson": ("johnson", 16, 5), "live": ("live", 48, 3), "live-small": ("live", 32, 3)}


@dataclass(frozen=True, kw_only=True)
class TrainSettings(LossSettings):
    """How a network is trained."""

    style: tuple[Path, ...]
    """Style picture; given several times, one network learns all of them and mixes them afterwards. In Python a single
    path will do."""

    name: str = ""
    """Name of the style, or of the network of several; by default the pictures' file names."""

    strength_input: bool = False
    """Train for any strength from 0, the photo itself, over 1, the full style, to 1.5: the network gets an input for
    it."""

    steady: float = 0.0
    """Weight of the penalty on flicker: the same picture, moved and with noise, must be painted alike. For films and
    cameras 0.3 to 1; it costs the painting some detail, and half as much again of the network's time."""

    licence: str = "not stated"
    """Terms under which the trained weights may be used; written into the files."""

    content: str = "val2017"
    """Content pictures: a folder (searched with its sub-folders), or COCO's val2017 or train2017, fetched if needed."""

    network: Literal["johnson", "live", "live-small"] = "johnson"
    """Kind of network: that of Johnson et al. (2016), or one for live pictures, about 40 or 50 times as fast."""

    width: int | None = None
    """Channels: johnson has 16 at full size (32 in the paper, which takes three times as long),
    live 48 and live-small 32 at an eighth of it."""

    blocks: int | None = None
    """Residual blocks: johnson has 5, live and live-small 3."""

    style_weight: float | Literal["auto"] = 5.0  # type: ignore[assignment]
    """Weight of the style term: how much of the painting comes in. auto: found before the training, so that content
    ends near --content-goal whatever the painting."""

    content_goal: float = 0.6
    """Content loss that --style-weight auto aims at: less, and more of the photo stays."""

    steps: int = 2400
    """Optimiser updates; with --budget as many as fit."""

    budget: str = ""
    """Time for everything up to the exported network, e.g. 90s, 20m or 2h (not for fetching photographs): a few steps
    are timed, crops chosen, and learning rate and end follow the clock."""

    polish: float = 0.0
    """Part of the training, 0 to 1, at its end that goes through VGG-19, where the loss network is compact: the
    pictures become VGG-19's own at a fraction of its time. The held-out pictures are judged by it throughout."""

    polish_weights: Path | None = None
    """File with VGG-19's weights for --polish, instead of a download."""

    batch: int = 2
    """Pictures per step."""

    crop: int = 256
    """Side of the square crops, pixels; a multiple of 8."""

    small_first: float = 0.0
    """Part of the training, 0 to 1, that is done on smaller crops first: they cost less, and palette and strokes are
    learnt from them as well."""

    small_crop: int = 0
    """Side of those crops, pixels; 0 is half of --crop."""

    small_batch: int = 0
    """Pictures per step of those; 0 is --batch."""

    learning_rate: float = 1e-3
    """Adam's learning rate at its highest."""

    decay: Literal["cosine", "constant"] = "cosine"
    """Course of the learning rate. cosine: 50 steps of warm-up, then down to 0 along half a cosine; constant: none, as
    the usual recipes have it."""

    average: float = 0.0
    """Decay of a running average of the weights, e.g. 0.99, which is then what is shown and exported; 0 none."""

    start: Literal["auto", "none"] | Path = "auto"
    """Trained network of the same width and blocks to start from, instead of random weights: a .safetensors file, or
    the name of a style in the package. It may know other styles: a painting begins as the one of its name, else as the
    one that comes nearest. auto: gallery where it fits, which is a johnson of 16 channels; none: random weights."""

    teacher: Literal["auto", "none"] | Path | None = None
    """Trained network of the same painting (.safetensors, or the name of a style in the package) whose pictures are
    imitated as well: a network that is too small to find a good way of painting itself, as those for live pictures are,
    learns it from a large one. auto: a johnson of 16 channels is trained first. By default auto for networks for live
    pictures without --start, else none."""

    teacher_weight: float = 2.0
    """Weight of the difference to the teacher's pictures, as the loss network sees it."""

    lattice_weight: float = 1000.0
    """Weight of the penalty on patterns that repeat every 4 or 8 pixels, as networks that work at a quarter or an
    eighth of the size make."""

    style_size: int = 512
    """Long side of the style picture, pixels: the larger, the larger the strokes."""

    seed: int = 0
    """Seed of the network's first weights and of the order and the crops of the pictures."""

    workers: int = 2
    """Processes that read pictures."""

    preview_every: int = 250
    """Steps between two sheets of stylized held-out pictures."""

    checkpoint_every_s: float = 300.0
    """Seconds between two checkpoints."""

    early_export_s: float = 60.0
    """Seconds until preview.onnx, to be tried while the training goes on, is written first; 0 never."""

    @property
    def style_name(self) -> str:
        """The name that the results are called by."""
        return self.name or (self.style[0].stem if len(self.style) == 1 else "-".join(self.style_names))

    @property
    def style_names(self) -> tuple[str, ...]:
        """Names of the pictures' styles, in which letters, digits, - and _ are left."""
        return tuple(re.sub(r"[^\w-]+", "_", path.stem) for path in self.style)

    @property
    def network_spec(self) -> dict[str, int | str]:
        """Kind and size of the network, as it is written into files."""
        kind, width, blocks = self._size
        spec: dict[str, int | str] = {"kind": kind, "width": width, "blocks": blocks}
        spec |= {"styles": len(self.style)} if len(self.style) > 1 else {}
        return spec | ({"strength": 1} if self.strength_input else {})

    @property
    def _size(self) -> tuple[str, int, int]:
        kind, width, blocks = _SIZES[self.network]
        return kind, self.width or width, self.blocks or blocks

    @property
    def start_model(self) -> Path | None:
        """The network to start from, a file or the name of one of the package, where there is one."""
        if isinstance(self.start, Path):
            return self.start
        fits = self.start == "auto" and self._size == _SIZES["johnson"]
        # Its own file: not one that happens to be called gallery where the command is run.
        return bundled_models() / "gallery.safetensors" if fits else None

    @property
    def budget_s(self) -> float | None:
        """The budget in seconds, where there is one."""
        return seconds_in(self.budget) if self.budget else None

    def __post_init__(self) -> None:
        if isinstance(self.style, str | Path):
            object.__setattr__(self, "style", (Path(self.style),))
        for name in ("start", "teacher"):
            if isinstance(value := getattr(self, name), str) and value not in ("auto", "none"):
                object.__setattr__(self, name, Path(value))
        self._check_styles()
        self._check_teacher()
        self._check_polish()
        for name in ("width", "blocks", "steps", "batch", "crop", "style_size", "preview_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        for name, smallest in (("crop", SMALLEST_CROP), ("small_crop", SMALLEST_CROP)):
            side = getattr(self, name)
            if side % 8 or (side < smallest and not (name == "small_crop" and side == 0)):
                raise SettingError(
                    f"--{name.replace('_', '-')} is {side}; expected a multiple of 8 from {smallest} pixels on"
                )
        if not 0 <= self.small_first <= 1:
            raise SettingError(f"--small-first is {self.small_first}; expected a part of the training, 0 to 1")
        if self.small_batch < 0:
            raise SettingError(f"--small-batch is {self.small_batch}; expected at least 1, or 0 for --batch")
        if not self.learning_rate > 0:
            raise SettingError(f"--learning-rate is {self.learning_rate}; expected a number above 0, e.g. 0.001")
        if not 0 <= self.average < 1:
            raise SettingError(f"--average is {self.average}; expected 0 or a decay below 1, e.g. 0.99")
        if not 0 < self.content_goal < 1:
            raise SettingError(f"--content-goal is {self.content_goal}; expected a loss between 0 and 1, e.g. 0.6")
        _ = self.budget_s

    def _check_teacher(self) -> None:
        if not 0 <= self.teacher_weight < math.inf:
            raise SettingError(f"--teacher-weight is {self.teacher_weight}; expected 0 or a weight above, e.g. 2")

    def _check_polish(self) -> None:
        if not 0 <= self.polish <= 1:
            raise SettingError(f"--polish is {self.polish}; expected a part of the training, 0 to 1")
        check_polish(self.polish, self.polish_weights, self.loss_network)
        if self.polish and not self.budget and self.steps * self.polish < 1:
            raise SettingError(
                f"--polish {self.polish} of --steps {self.steps} is less than one step; expected "
                f"{1 / self.steps:.2g} or more"
            )

    def _check_styles(self) -> None:
        names = self.style_names
        if not names:
            raise SettingError("--style is missing; expected a picture to learn the style of")
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"--style: two pictures are called {name}; rename one, a mix names styles by them")
        if not 0 <= self.steady < math.inf:
            raise SettingError(f"--steady is {self.steady}; expected 0 or a weight above, e.g. 5")


def plain(settings: TrainSettings) -> dict[str, Any]:
    """Settings as values that JSON and TOML hold; what is unset is left out, the network's size never is."""
    values = dataclasses.asdict(settings) | {name: settings.network_spec[name] for name in ("width", "blocks")}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def of_their_time(saved: dict[str, Any]) -> dict[str, Any]:
    """Saved settings, with what was the default when older ones were saved: random weights, and a johnson of 32."""
    kind, width, blocks = _SIZES[saved.get("network", "johnson")]
    return {"start": "none", "width": 32 if kind == "johnson" else width, "blocks": blocks} | saved


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
