"""The page as a folder that any web server can hand out: the page's own files, styles, samples and onnxruntime-web.

What changes from site to site is said in `styles.json`, which the page reads first.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fastnst.errors import OutputError, StyleError
from fastnst.inference.session import StyleSession
from fastnst.io.files import sole_writer, write_atomically
from fastnst.io.images import Frame, read_frame, resize_long_side
from fastnst.io.noise import noise_tile, with_noise
from fastnst.io.styles import LIVE, bundled_page, find_network, installed_styles, network_of_style, sample_picture
from fastnst.web.server import VERSION, copy_runtime

RUNTIME = Path("runtime") / VERSION
"""Where the page looks for onnxruntime-web: worker.js says the same."""

THUMBNAIL = (120, 160)
"""Height and width in pixels: twice what is shown, for fine screens."""

TITLES = {
    "starry_night": "The Starry Night",
    "great_wave": "The Great Wave",
    "the_scream": "The Scream",
    "composition_vii": "Composition VII",
    "the_kiss_klimt": "The Kiss",
    "wheat_field_cypresses": "Wheat Field with Cypresses",
    "hiroshige_fuji": "Fuji by Hiroshige",
    "impression_sunrise": "Impression, Sunrise",
    "shipwreck_minotaur": "Shipwreck of the Minotaur",
    "broadway_boogie_woogie": "Broadway Boogie Woogie",
    "vg_self_portrait": "Self-Portrait by van Gogh",
    "water_lilies_1919": "Water Lilies",
}
"""Of styles in the package whose names alone make no title."""

NOISE = "noise.bin"
"""The tile of noise on networks' input, a byte for each value: noise.js says the same."""

MARK = "styles.json"
"""A folder that has it is a site of ours, which may be replaced."""


@dataclass(frozen=True)
class SiteResult:
    """A site that is written."""

    styles: int
    """Styles that a visitor can choose."""

    as_they_are: tuple[str, ...]
    """Networks that could not be given the layout web, and stay as they are: slower on WebGPU."""

    bytes: int


def write_site(
    folder: Path,
    styles: Sequence[str],
    runtime: Path | None,
    *,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda _line: None,
) -> SiteResult:
    """Write the page into a folder; one with other things in it is refused.

    Styles are names of installed ones, or ONNX files; without any all that are installed. A folder of onnxruntime-web
    is copied; None: the server has it elsewhere. With `overwrite` it replaces what an earlier call wrote there.
    `announce` is called with a line for each network that is left out.

    Raises OutputError where the folder has something else in it, or cannot be written; StyleError for no such style, or
    none that paints.
    """
    _check_target(folder, overwrite)
    files = {Path(style).stem: find_network(style) for style in styles} if styles else installed_styles()
    files = dict(sorted(files.items(), key=lambda item: _rank(item[0])))
    with sole_writer(folder, folder=True):
        entries, kept = _write_styles(folder, files, strict=bool(styles), announce=announce)
        samples = _write_samples(folder)
        for path in bundled_page().iterdir():
            write_atomically(folder / path.name, path.read_bytes())
        write_atomically(folder / NOISE, noise_tile().tobytes())
        if runtime is not None:
            copy_runtime(runtime, folder / RUNTIME)
        described = {"format": 1, "networks": entries, "samples": samples, "first": _first(entries[0]["name"])}
        described["version"] = _version(folder, described)
        write_atomically(folder / MARK, json.dumps(described, indent=1).encode())
    count = sum(len(entry["styles"]) for entry in entries)
    return SiteResult(count, tuple(kept), sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def _check_target(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; expected the name of a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / MARK).is_file():
        raise OutputError(f"{folder}: has other files in it; choose an empty folder or a new name")
    if not overwrite:
        raise OutputError(f"{folder}: already exists; choose another name by -o or add --overwrite")


def _write_styles(
    folder: Path, files: dict[str, Path], *, strict: bool, announce: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    sample = sample_picture()
    photo = None if sample is None else _thumbnail_photo(read_frame(sample))
    entries, kept = [], []
    for name, path in files.items():
        try:
            entry, converted = _write_network(folder, name, path, photo)
        except StyleError as error:
            if strict:
                raise
            announce(f"{name}: left out, {error}")
            continue
        entries.append(entry)
        if not converted:
            kept.append(name)
    if not entries:
        raise StyleError("no style paints; name an .onnx file with --style, or train one (fastnst train)")
    return entries, kept


def _write_network(folder: Path, name: str, path: Path, photo: Frame | None) -> tuple[dict[str, Any], bool]:
    """Write a network and its thumbnails; returns what the page is told, and whether it has the layout web."""
    target = folder / "styles" / f"{name}.onnx"
    with StyleSession(path, provider="cpu") as session:
        names = session.style_names if session.styles > 1 else (name,)
        pictures = []
        for place, style in enumerate(names):
            thumbnail = "" if photo is None else f"styles/{name}-{place + 1}.jpg"
            if photo is not None:
                weights = {style: 1.0} if session.styles > 1 else None
                _write_jpeg(folder / thumbnail, session(with_noise(photo, session.input_noise), style_weights=weights))
            pictures.append({"name": style, "title": in_words(style), "thumbnail": thumbnail})
        metadata, strength = session.metadata, session.takes_strength
    model = web_model(path)
    content = path.read_bytes() if model is None else model
    write_atomically(target, content)
    entry = {
        "name": name,
        "title": in_words(name),
        "file": f"styles/{name}.onnx",
        "bytes": len(content),
        "styles": pictures,
        "strength": strength,
        "network": metadata.get("network", ""),
        "license": metadata.get("licence", ""),
    }
    return entry, model is not None


def web_model(path: Path) -> bytes | None:
    """A network in the layout web; None for one that fastnst export did not write."""
    import onnx  # noqa: PLC0415 - takes a moment

    from fastnst.backends.forms import to_web  # noqa: PLC0415

    try:
        return bytes(to_web(onnx.load(path)).SerializeToString())
    except StyleError:
        return None


def in_words(name: str) -> str:
    """A style's name as a title: starry-live -> Starry live."""
    if name in TITLES:
        return TITLES[name]
    words = name.replace("-", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _thumbnail_photo(frame: Frame) -> Frame:
    """Cut to the thumbnail's shape and reduce."""
    height, width = THUMBNAIL
    tall, wide = frame.shape[:2]
    keep = min(wide, tall * width // height), min(tall, wide * height // width)
    left, top = (wide - keep[0]) // 2, (tall - keep[1]) // 2
    return resize_long_side(frame[top : top + keep[1], left : left + keep[0]], max(THUMBNAIL))


def _write_jpeg(path: Path, frame: Frame, quality: int = 82) -> None:
    held = io.BytesIO()
    Image.fromarray(frame).save(held, "JPEG", quality=quality, optimize=True)
    write_atomically(path, held.getvalue())


def _write_samples(folder: Path) -> list[dict[str, str]]:
    """The sample pictures that came with fastnst, as they are."""
    sample = sample_picture()
    found = [] if sample is None else sorted(sample.parent.glob("*.jpg"))
    samples = []
    for path in found:
        write_atomically(folder / "samples" / path.name, path.read_bytes())
        samples.append({"title": in_words(path.stem), "file": f"samples/{path.name}"})
    return samples


def _rank(name: str) -> tuple[int, bool, str]:
    """Where a network stands among others: what suits a camera comes first."""
    live = [network_of_style(style) for style in LIVE]
    return live.index(name) if name in live else len(live), not name.endswith("live"), name


def _first(name: str) -> str:
    """What the page begins with where this network stands first."""
    return next((style for style in LIVE if network_of_style(style) == name), name)


def _version(folder: Path, described: dict[str, Any]) -> str:
    """Changes with any file but onnxruntime-web's, whose names hold for one version: tells the page's cache to go."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "runtime" not in path.parts and path.name != MARK:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
