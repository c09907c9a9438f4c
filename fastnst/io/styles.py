"""Where a style is found by name: the user's own folder, then those that come with fastnst; or any file by its path."""

import os
import re
from pathlib import Path

from platformdirs import user_data_path

from fastnst.errors import SettingError, StyleError, nearest_hint

STYLES_VARIABLE = "FASTNST_STYLES"
"""Environment variable that names another folder for the user's own styles."""

_NAME = re.compile(r"\w[\w-]*")

_PICTURES = frozenset([".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"])
_WEIGHTS = frozenset([".safetensors", ".pth", ".pt", ".ckpt"])


def find_style(name: str | Path) -> Path:
    """Return the ONNX file of a style.

    Args:
        name: the name of an installed style, or the path of a file ending in .onnx.

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
            f"{path}: is a picture; painting with it takes a trained style. "
            f"Train it (fastnst train --style {path}), or use fastnst optimize, which needs no training"
        )
    if path.suffix.lower() in _WEIGHTS:
        raise StyleError(f"{path}: holds weights, expected ONNX; fastnst export turns a trained model into it")
    styles = installed_styles()
    if str(name) not in styles:
        hint = nearest_hint(str(name), styles)
        raise StyleError(f"no style {str(name)!r}; {hint} (a file of your own is named by its path and .onnx)")
    return styles[str(name)]


def check_name(name: str) -> None:
    """Raise SettingError where a style cannot be called so: files are, and none must end up in another folder."""
    if not _NAME.fullmatch(name):
        raise SettingError(f"name {name!r}: expected letters, digits, - and _; give another by --name")


def installed_styles() -> dict[str, Path]:
    """Return the ONNX files of all installed styles by name, sorted; the user's own go before bundled ones."""
    styles: dict[str, Path] = {}
    for folder in (bundled_styles_folder(), user_styles_folder()):
        # Hidden ones are files that are being copied, and what macOS leaves beside files on foreign disks.
        found = (path for path in folder.glob("*.onnx") if path.is_file() and not path.name.startswith("."))
        styles.update({path.stem: path for path in found})
    return dict(sorted(styles.items()))


def user_styles_folder() -> Path:
    """Return the folder of the user's own styles, which need not exist."""
    chosen = os.environ.get(STYLES_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_data_path("fastnst", appauthor=False) / "styles"


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
    package = Path(__file__).parents[1]
    places = (root / "data" / "content" / "harbour.jpg" for root in (package, package.parent))
    return next((place for place in places if place.is_file()), None)
