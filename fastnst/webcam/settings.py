"""What a user can choose about a camera that is stylized live, beforehand and by keys, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from fastnst.inference.steadying import check_steady
from fastnst.io.images import Frame
from fastnst.io.styles import even_weights, to_shares

MIX_STEP = 0.25
"""How far one press of a key goes from one style of a network towards the next."""

STRENGTH_STEP = 0.1


@dataclass(frozen=True)
class Controls:
    """What the keys set."""

    style: int = 0
    """Place in the list of installed styles."""

    strength: float = 1.0
    """0 leaves the photo, 1 is the full style; more for networks that take a strength."""

    mix: float | None = None
    """For a network that mixes S styles: 0 is its first, 0.5 halfway to its second, up to S; None: the style's own."""

    even: bool = False
    """All styles of the network alike."""

    preserve_color: bool = False
    """Only brightness is stylized."""

    split: bool = False
    """The left half shows the photo."""

    def shares(self, names: tuple[str, ...], own: Mapping[str, float] | None) -> tuple[float, ...] | None:
        """Shares of the styles of these names, whose sum is 1; None for a network that knows but one.

        `own` are those of the style that is chosen, by name; None: all alike.
        """
        if len(names) < 2:
            return None
        if self.mix is not None:
            return mix_weights(self.mix, len(names))
        return even_weights(len(names)) if self.even or own is None else to_shares(names, own)


def mix_weights(mix: float, styles: int) -> tuple[float, ...]:
    """Shares of a network's S styles, which stand in a ring, for a place between two of them; their sum is 1."""
    first, share = int(mix) % styles, mix - int(mix)
    weights = [0.0] * styles
    weights[first] += 1 - share
    weights[(first + 1) % styles] += share
    return tuple(weights)


def split_view(painted: Frame, photo: Frame) -> Frame:
    """Show the photo in the left half, the painted picture in the right one, a white line between them."""
    shown, middle = painted.copy(), painted.shape[1] // 2
    shown[:, :middle] = photo[:, :middle]
    shown[:, max(0, middle - 1) : middle + 1] = 255
    return shown


@dataclass(frozen=True, kw_only=True)
class WebcamSettings:
    """What the user asks for."""

    fps: float = 30
    """Frames a second to hold by painting smaller."""

    long_side: int | None = None
    """Stylize at this size always, pixels; None: as large as the frame rate allows."""

    controls: Controls = field(default_factory=Controls)
    """What the keys change, as it is at first."""

    steady: float = 0.0
    """How much of the frame before stays in what only moves or stands still: 0 stylizes each frame on its own."""

    record: Path | None = None
    """Record into this file from the start."""

    overwrite: bool = False
    """Replace that file if it is there."""

    folder: Path = Path()
    """Where snapshots and recordings that keys ask for go."""

    virtual_camera: bool = False
    frames: int | None = None
    """End after so many pictures were shown."""

    seconds: float | None = None
    """End after so long."""

    def __post_init__(self) -> None:
        check_steady(self.steady)


@dataclass(frozen=True, kw_only=True)
class WebcamResult:
    """What happened."""

    captured: int
    """Pictures that the camera gave."""

    shown: int
    elapsed_s: float
    latency_ms: float
    """From capture to screen, median."""

    slow_latency_ms: float
    """95 of 100 pictures were faster."""

    size: tuple[int, int]
    """At which the network stylized last, (height, width)."""

    files: tuple[Path, ...]
    """Snapshots and recordings."""

    failures: tuple[str, ...]
    """Snapshots and recordings that could not be written, each with the reason."""

    provider: str
    """What computed last."""


class Action(Enum):
    """What a key can ask for."""

    NEXT_STYLE = auto()
    PREVIOUS_STYLE = auto()
    MIX_ON = auto()
    MIX_BACK = auto()
    MIX_EVEN = auto()
    STRONGER = auto()
    WEAKER = auto()
    PRESERVE_COLOR = auto()
    SPLIT = auto()
    SNAPSHOT = auto()
    RECORD = auto()
    FULL_SCREEN = auto()
    STATUS = auto()
    HELP = auto()
    QUIT = auto()


@dataclass(frozen=True)
class Binding:
    """Keys and what they do."""

    keys: tuple[str, ...]
    """Single letters as typed, or left, right, escape."""

    action: Action
    words: str
    """For the help."""


BINDINGS = (
    Binding(("n", "right"), Action.NEXT_STYLE, "next style"),
    Binding(("p", "left"), Action.PREVIOUS_STYLE, "previous style"),
    Binding(("+", "="), Action.STRONGER, "stronger"),
    Binding(("-",), Action.WEAKER, "weaker"),
    Binding((".",), Action.MIX_ON, "mix towards the network's next style"),
    Binding((",",), Action.MIX_BACK, "mix towards its previous style"),
    Binding(("m",), Action.MIX_EVEN, "mix all its styles alike"),
    Binding(("c",), Action.PRESERVE_COLOR, "keep the camera's colors"),
    Binding(("o",), Action.SPLIT, "original beside the painting"),
    Binding(("s",), Action.SNAPSHOT, "snapshot"),
    Binding(("r",), Action.RECORD, "record, stop recording"),
    Binding(("f",), Action.FULL_SCREEN, "full screen"),
    Binding(("i",), Action.STATUS, "latency and frame rate"),
    Binding(("h", "?"), Action.HELP, "this help"),
    Binding(("q", "escape"), Action.QUIT, "quit"),
)
"""All keys but the digits, which choose a style by its place."""

MIXING = frozenset({Action.MIX_ON, Action.MIX_BACK, Action.MIX_EVEN})
"""What only networks with several styles can do."""

_BY_KEY = {key: binding.action for binding in BINDINGS for key in binding.keys}
_NAMES = {"escape": "Esc"}


def action_of(key: str) -> Action | None:
    """What a key asks for; capitals count as small letters."""
    return _BY_KEY.get(key.lower())


def change_controls(controls: Controls, key: str, styles: int, mixes: int, most: float = 1.0) -> Controls:
    """Return the controls after a key, as `Binding.keys` or a digit, was pressed; the same where it has no say in them.

    So many styles are installed, so many the network can mix; `most` is the largest strength that it takes.
    """
    if key.isdecimal() and 1 <= int(key) <= min(9, styles):
        return _choose(controls, int(key) - 1)
    action = action_of(key)
    if action in MIXING:
        even = action is Action.MIX_EVEN
        return replace(controls, mix=_mix(controls.mix, action, mixes), even=even) if mixes > 1 else controls
    changed = controls
    match action:
        case Action.NEXT_STYLE:
            changed = _choose(controls, (controls.style + 1) % styles)
        case Action.PREVIOUS_STYLE:
            changed = _choose(controls, (controls.style - 1) % styles)
        case Action.STRONGER:
            changed = replace(controls, strength=min(most, round(controls.strength + STRENGTH_STEP, 3)))
        case Action.WEAKER:
            changed = replace(controls, strength=max(0.0, round(min(controls.strength, most) - STRENGTH_STEP, 3)))
        case Action.PRESERVE_COLOR:
            changed = replace(controls, preserve_color=not controls.preserve_color)
        case Action.SPLIT:
            changed = replace(controls, split=not controls.split)
    return changed


def help_lines(styles: list[str]) -> tuple[str, ...]:
    """The keys in words, for the help on the picture."""
    lines = [f"{'  '.join(_NAMES.get(key, key) for key in binding.keys)}:  {binding.words}" for binding in BINDINGS]
    numbered = [f"{place}:  {name}" for place, name in enumerate(styles[:9], start=1)]
    return (*lines, *numbered)


def _choose(controls: Controls, style: int) -> Controls:
    return controls if style == controls.style else replace(controls, style=style, mix=None, even=False)


def _mix(mix: float | None, action: Action | None, mixes: int) -> float | None:
    if action is Action.MIX_EVEN:
        return None
    if mix is None:
        return 0.0
    return (mix + (MIX_STEP if action is Action.MIX_ON else -MIX_STEP)) % mixes
