"""Styles by name: where each is found, and the shares of a network with several, written as `hokusai:0.5,munch:0.5`.

The user's own folder comes first, then the styles that come with fastnst; a path names any file. Networks take shares
as S numbers, S styles that they can mix.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from platformdirs import user_cache_path, user_data_path

from fastnst.errors import InputError, SettingError, StyleError, nearest_hint

STYLES_VARIABLE = "FASTNST_STYLES"
"""Environment variable that names another folder for the user's own styles."""

FOUNDATION = "gallery"
"""The network of many styles, in the package, that is fitted to paintings."""

LIVE = ("gallery-live@starry_night", "starry-live")
"""What a camera begins with, at the command line and on the page: the first whose network is installed."""

_NAME = re.compile(r"\w[\w-]*")

_PICTURES = frozenset([".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"])
_WEIGHTS = frozenset([".safetensors", ".pth", ".pt", ".ckpt"])


def find_style(name: str | Path, *, others: Iterable[str] = ()) -> Path:
    """Return the ONNX file of a style.

        >>> find_style("starry").name
        'starry.onnx'

    Args:
        name: the name of an installed style, or the path of a file ending in .onnx.
        others: further names that an unknown one may be meant for.

    Raises:
        StyleError: no such style or file, or a file that is no exported network.
    """
    path = Path(name)
    if path.suffix.lower() == ".onnx":
        if not path.is_file():
            raise StyleError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected a style's .onnx")
        if any("\udc80" <= letter <= "\udcff" for letter in str(path)):  # how Python writes a byte that is no text
            raise StyleError(f"{path}: its name is no text in UTF-8, and ONNX Runtime takes no other; rename it")
        return path
    # The suffix first: starry.jpg may lie in the working folder.
    if path.suffix.lower() in _PICTURES:
        raise StyleError(
            f"{path}: is a picture, and a network is expected here; fastnst styles add {path} fits one to it, "
            f"fastnst train --style {path} trains one"
        )
    if path.suffix.lower() in _WEIGHTS:
        raise StyleError(f"{path}: holds weights, expected ONNX; fastnst export turns a trained model into it")
    styles = installed_styles()
    if str(name) not in styles:
        hint = nearest_hint(str(name), {*styles, *others})
        raise StyleError(f"no style {str(name)!r}; {hint} (a file of your own is named by its path and .onnx)")
    return styles[str(name)]


def check_name(name: str) -> None:
    """Raise SettingError where a style cannot be called so: files are, and none must end up in another folder."""
    if not _NAME.fullmatch(name):
        raise SettingError(f"name {name!r}: expected letters, digits, - and _; give another by --name")


def installed_styles() -> dict[str, Path]:
    """Return the ONNX files of all installed styles by name, sorted; the user's own go before bundled ones.

    Among them are those that were fitted to paintings.

    Examples:
        >>> "starry" in installed_styles()
        True
    """
    styles: dict[str, Path] = {}
    for folder in (fitted_styles_folder(), bundled_styles_folder(), user_styles_folder()):
        # Hidden ones are files that are being copied, and what macOS leaves beside files on foreign disks.
        found = (path for path in folder.glob("*.onnx") if path.is_file() and not path.name.startswith("."))
        styles.update({path.stem: path for path in found})
    return dict(sorted(styles.items()))


def live_style() -> str | None:
    """Return what a camera begins with: the first of `LIVE` that is installed, perhaps with a mix; None: none is.

    Examples:
        >>> live_style() in LIVE
        True
    """
    styles = installed_styles()
    return next((style for style in LIVE if network_of_style(style) in styles), None)


def network_of_style(style: str) -> str:
    """The network's name in that of a style: gallery-live@munch -> gallery-live."""
    return style.partition("@")[0]


def user_styles_folder() -> Path:
    """Return the folder of the user's own styles, which need not exist."""
    chosen = os.environ.get(STYLES_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_data_path("fastnst", appauthor=False) / "styles"


def fitted_styles_folder() -> Path:
    """Return the folder of the styles that were fitted to paintings, a cache, which need not exist."""
    return user_cache_path("fastnst", appauthor=False) / "paintings"


def is_painting(style: str | Path) -> bool:
    """Whether a style is named by a picture of it, instead of a network."""
    return Path(style).suffix.lower() in _PICTURES


def fitted_name(painting: Path, seconds: float) -> str:
    """What the style is called that is fitted to a painting, by what both are made of: sunflowers-1f3a9c02-50s.

    Raises InputError: the picture cannot be read.
    """
    digest = hashlib.sha256()
    for path in (painting, bundled_models() / f"{FOUNDATION}.safetensors"):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected a painting") from error
    stem = re.sub(r"[^\w-]+", "_", painting.stem).strip("_-") or "painting"
    return f"{stem}-{digest.hexdigest()[:8]}-{seconds:g}s".replace(".", "_")


def sample_pictures() -> Path:
    """Return the folder of the pictures that were drawn for the project, which come with it."""
    package = Path(__file__).parents[1]
    inside = package / "data" / "content"
    return inside if inside.is_dir() else package.parent / "data" / "content"


def bundled_styles_folder() -> Path:
    """Return the folder of the styles that come with fastnst: in the installed package, or at the checkout's root."""
    return _bundled("exports", installed="exports")


def bundled_models() -> Path:
    """Return the folder of the weights that come with fastnst: in the installed package, or at the checkout's root."""
    return _bundled("models", installed="weights")


def bundled_page() -> Path:
    """Return the folder of the browser page: in the installed package, or at the checkout's root."""
    return _bundled("web", installed="page")


def _bundled(folder: str, *, installed: str) -> Path:
    package = Path(__file__).parents[1]
    return package / installed if (package / installed).is_dir() else package.parent / folder


def sample_picture() -> Path | None:
    """Return a picture to try styles on, drawn for the project; None where neither package nor checkout has it."""
    place = sample_pictures() / "harbour.jpg"
    return place if place.is_file() else None


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

    Raises StyleError: no such style, or one that several networks know; SettingError: a mix that is none.
    """
    name, sign, mix = str(style).rpartition(MIX_SIGN)
    # Files and folders may be called so, too.
    if not (name and sign) or mix.lower().endswith(".onnx") or {"/", "\\"}.intersection(mix):
        return _within(str(style)) or StyleChoice(_find(style))
    read_mix(mix)
    return StyleChoice(find_style(name), mix)


def every_style(first: Path) -> dict[str, StyleChoice]:
    """All styles that are installed, each by a name that `choose_style` takes; those of one network first."""
    found: dict[str, StyleChoice] = {}
    for name, path in sorted(installed_styles().items(), key=lambda entry: (entry[1] != first, entry[0])):
        within = [style for style in _styles_of(path) if style]
        if within:
            found |= {f"{name}{MIX_SIGN}{style}": StyleChoice(path, style) for style in within}
        else:
            found[name] = StyleChoice(path)
    return found


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
    if not re.fullmatch(r"[\w-]+", name):
        return None
    installed = installed_styles()
    if name in installed:
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
