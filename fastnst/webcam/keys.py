"""What the keys do."""

from dataclasses import dataclass, replace
from enum import Enum, auto

from fastnst.webcam.settings import MIX_STEP, STRENGTH_STEP, Controls


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
    """Return the controls after a key was pressed; the same where the key has no say in them.

    Args:
        controls: as they were.
        key: as `Binding.keys`, or a digit.
        styles: how many styles are installed.
        mixes: how many styles the network can mix.
        most: the largest strength that it takes.
    """
    if key.isdecimal() and 1 <= int(key) <= min(9, styles):
        return _choose(controls, int(key) - 1)
    action = action_of(key)
    if action in MIXING:
        return replace(controls, mix=_mix(controls.mix, action, mixes), weights=None) if mixes > 1 else controls
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
    return controls if style == controls.style else replace(controls, style=style, mix=None, weights=None)


def _mix(mix: float | None, action: Action | None, mixes: int) -> float | None:
    if action is Action.MIX_EVEN:
        return None
    if mix is None:
        return 0.0
    return (mix + (MIX_STEP if action is Action.MIX_ON else -MIX_STEP)) % mixes
