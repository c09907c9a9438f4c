"""The paintings that make up a stylized picture, and in words: networks, mixes and effects, as jobs and files say it.

What stands here of a stopped film's look must stay as it is: earlier versions wrote it.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fastnst.inference.effects import Effects, read_effects
from fastnst.inference.masks import Mask, read_mask
from fastnst.inference.paintings import NONE, Refinement
from fastnst.inference.session import StyleSession
from fastnst.io.styles import MIX_SIGN, StyleWeights, even_weights, to_shares

_DIGITS = 12
"""Of a network's SHA-256 that its pictures hold."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One of the paintings that make up a stylized picture."""

    session: StyleSession
    weights: dict[str, float] | None
    """How the network's styles are mixed; None: all alike, or there is but one."""

    @property
    def mix(self) -> str:
        """The mix in words, to stand after a name: @munch:2,monet:1; empty where there is none."""
        return _mix(self.weights)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the network file, in hexadecimal digits."""
        return _sha256(self.session.path)

    def named(self, style_weights: StyleWeights | None = None) -> str:
        """The style with its mix, or the given one, and the first digits of the file's SHA-256: starry (5d0c9f2a71)."""
        mix = self.mix if style_weights is None else _mix(shares_by_name(self.session, style_weights))
        return f"{self.session.style}{mix} ({self.digest[:_DIGITS]})"


def shares_by_name(session: StyleSession, weights: StyleWeights | None) -> dict[str, float]:
    """Share of each style of a network in a picture, by its name."""
    names = session.style_names if session.styles > 1 else (session.style,)
    return dict(zip(names, to_shares(names, weights or even_weights(len(names))), strict=True))


def describe_look(style: str | None, effects: Effects, refinement: Refinement = NONE) -> str:
    """Name networks, effects and mask in words, as `StylePipeline.identity` does, without opening the networks.

    Raises StyleError, InputError, SettingError as a `StylePipeline`.
    """
    choices, mask = read_effects(style, effects)
    networks = [f"{_sha256(choice.path)}{_mix(choice.weights)}" for choice in choices]
    faces = None if effects.faces is None else read_mask(effects.faces)
    return look_in_words(networks, effects, mask, faces, refinement)


def _mix(weights: dict[str, float] | None) -> str:
    words = (f"{name}:{weight:g}" for name, weight in (weights or {}).items())
    return "" if weights is None else MIX_SIGN + ",".join(words)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def look_in_words(
    networks: list[str], effects: Effects, mask: Mask | None, faces: Mask | None, refinement: Refinement
) -> str:
    """Networks, and all of the effects that is not as usual."""
    words = list(networks)
    if effects.strength != 1:
        words.append(f"strength {effects.strength}")
    if effects.preserve_color:
        words.append("own colors")
    if effects.stroke != 1:
        words.append(f"stroke {effects.stroke}")
    if effects.detail == "photo":
        words.append("the photo's detail")
    if effects.input_noise != "auto":
        words.append(f"input noise {effects.input_noise:g}")
    if effects.look != "plain":
        words.append(f"look {effects.look}")
    if faces is not None:
        words.append(f"faces {faces.identity}")
    if effects.brightness == "keep":
        words.append("own brightness")
    if refinement.steps:
        words.append(f"refined {refinement.steps}")
    if mask is not None:
        words.append(f"mask {mask.identity}")
    return ", ".join(words)
