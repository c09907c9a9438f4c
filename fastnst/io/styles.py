"""Where a style is found by name: the user's own folder, then those that come with fastnst; or any file by its path."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

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

    Raises:
        InputError: the picture cannot be read.
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
