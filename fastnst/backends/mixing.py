"""Shares of a network's several styles: written by users as `hokusai:0.5,munch:0.5`, taken by networks as S numbers.

S styles that the network can mix.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fastnst.errors import SettingError, StyleError, nearest_hint
from fastnst.io.styles import FOUNDATION, find_style, installed_styles, user_styles_folder

StyleWeights: TypeAlias = Sequence[float] | Mapping[str, float]
"""S numbers in the order of the styles, or numbers by name, what is not named being 0."""

MIX_SIGN = "@"
"""Between a network's name and its mix, where a style is named: trio@munch."""


def even_weights(styles: int) -> tuple[float, ...]:
    """All styles alike."""
    return (1 / styles,) * styles


def to_shares(names: Sequence[str], weights: StyleWeights) -> tuple[float, ...]:
    """Shares of the styles of these names, from 0 to 1, whose sum is 1; raises SettingError for other weights."""
    if isinstance(weights, Mapping):
        given = [0.0] * len(names)
        for name, weight in weights.items():
            given[place_of(name, names)] += weight
    else:
        given = list(weights)
    largest = max(given, default=0.0)
    # In parts of the largest, or the sum of large ones is not a number that can be written.
    parts = [weight / largest for weight in given] if 0 < largest < math.inf else given
    total = math.fsum(parts) if all(math.isfinite(part) for part in parts) else math.nan
    if len(given) != len(names) or not all(0 <= weight < math.inf for weight in given) or not total > 0:
        raise SettingError(
            f"style weights {weights}; expected {len(names)} numbers from 0 on, not all 0, for {', '.join(names)}"
        )
    return tuple(float(part / total) for part in parts)


def place_of(name: str, names: Sequence[str]) -> int:
    """Place of a style by its name, or by a beginning of it that no other shares; raises SettingError for others."""
    if name in names:
        return names.index(name)
    starting = [place for place, known in enumerate(names) if known.lower().startswith(name.lower())]
    if not name or len(starting) != 1:
        found = "fits several styles" if name and starting else "is no style of this network"
        raise SettingError(f"{name!r} {found}; {nearest_hint(name, names)}")
    return starting[0]


def read_mix(text: str) -> dict[str, float]:
    """Read `hokusai:0.5,munch:0.5` or `munch` as weights by name. Raises SettingError for what is neither."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = (word.strip() for word in part.partition(":"))
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not name or name in weights or not 0 <= weight < math.inf:
            raise SettingError(f"mix {text!r}: expected STYLE:WEIGHT,... with each style once, such as munch:2,monet:1")
        weights[name] = weight
    return weights


@dataclass(frozen=True)
class StyleChoice:
    """A network, and how its styles are mixed."""

    path: Path
    mix: str = ""
    """As `read_mix` takes it; empty: all alike, or there is but one."""

    @property
    def weights(self) -> dict[str, float] | None:
        """The mix as a `Stylizer` takes it."""
        return read_mix(self.mix) if self.mix else None


def choose_style(style: str | Path) -> StyleChoice:
    """Find a style by what a user calls it: a name or a file as `find_style` takes, or one with a mix, `trio@munch`.

    A name that no installed file has may be that of one style in a network of several: munch.

    Raises:
        StyleError: no such style, or one that several networks know.
        SettingError: a mix that is none.
    """
    name, sign, mix = str(style).rpartition(MIX_SIGN)
    # Files and folders may be called so, too.
    if not (name and sign) or mix.lower().endswith(".onnx") or {"/", "\\"}.intersection(mix):
        return _within(str(style)) or StyleChoice(_find(style))
    read_mix(mix)
    return StyleChoice(find_style(name), mix)


def find_network(style: str | Path) -> Path:
    """Find a whole network, as `find_style` does; raises StyleError also for a style within a network."""
    within = _within(str(style))
    if within is not None:
        network = within.path.stem
        raise StyleError(f"{style}: is one of the styles in {network}, and a whole network is expected: name {network}")
    return _find(style)


def _find(style: str | Path) -> Path:
    """The file of a style; an unknown name is told the nearest also of those within networks."""
    try:
        return find_style(style)
    except StyleError:
        within = {name for path in installed_styles().values() for name in _styles_of(path) if name}
        return find_style(style, others=within)


def _within(name: str) -> StyleChoice | None:
    """The style of this name in an installed network of several; None for the name of a file."""
    installed = installed_styles()
    if name in installed or not re.fullmatch(r"[\w-]+", name):
        return None
    found = {network: path for network, path in installed.items() if name in _styles_of(path)}
    # The user's own go before bundled ones, as with files; of those, the one for pictures before that for cameras.
    found = {network: path for network, path in found.items() if path.parent == user_styles_folder()} or found
    if len(found) > 1 and FOUNDATION in found:
        found = {FOUNDATION: found[FOUNDATION]}
    if len(found) > 1:
        written = " or ".join(f"{network}{MIX_SIGN}{name}" for network in found)
        raise StyleError(f"{len(found)} networks know {name}; name one, {written}")
    return next((StyleChoice(path, name) for path in found.values()), None)


def _styles_of(path: Path) -> list[str]:
    """Names of the styles that an exported network knows, if several; none for a file that cannot be read."""
    import onnx  # noqa: PLC0415 - only where a name is not that of a file

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # protobuf's errors have no common base; a broken file knows no style
        return []
    names = next((entry.value for entry in model.metadata_props if entry.key == "styles"), "")
    return [name.strip() for name in names.split(",")]
