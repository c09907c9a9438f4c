"""What Pillow does not tell of PNG files: color codes (cICP), all 16 bits, and the transparent color beside them."""

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from fastnst.io.tone_mapping import BT2020, PQ

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Chunks before the pixels that are looked at; a file may hold any number.
_MOST_CHUNKS = 1000
# How some programs say PQ by a profile's name alone (W3C, "Using the ITU BT.2100 PQ EOTF with the PNG format").
_PQ_PROFILE = b"ITUR_2100_PQ_FULL"
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}

Source: TypeAlias = Path | io.BytesIO


@dataclass(frozen=True)
class PngHeader:
    """What stands before the pixels."""

    depth: int
    """Bits for each channel."""

    channels: int
    width: int
    height: int
    color_codes: tuple[int, int] | None
    """Primaries and transfer function by ITU-T H.273; None where the file does not say."""

    @property
    def decoded_bytes(self) -> int:
        """Length of the pixels before compression."""
        return self.height * (1 + -(-self.width * self.channels * self.depth // 8))


def read_png_header(path: Path) -> PngHeader | None:
    """Read what stands before the pixels; None for another kind of file, or a damaged one."""
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            return None
        depth, color_type, width, height = 0, -1, 0, 0
        codes: tuple[int, int] | None = None
        for _ in range(_MOST_CHUNKS):
            start = file.read(8)
            if len(start) < 8 or start[4:] in {b"IDAT", b"IEND"}:
                break
            length = struct.unpack(">I", start[:4])[0]
            content = file.read(min(length, 32))
            file.seek(max(length - 32, 0) + 4, 1)
            if start[4:] == b"IHDR" and len(content) >= 13:
                width, height, depth, color_type = struct.unpack(">IIBB", content[:10])
            elif start[4:] == b"cICP" and len(content) >= 4:
                codes = (content[0], content[1])
            elif start[4:] == b"iCCP" and content.startswith(_PQ_PROFILE) and codes is None:
                codes = (BT2020, PQ)
    return PngHeader(depth, _CHANNELS[color_type], width, height, codes) if color_type in _CHANNELS else None


def without_damaged_additions(path: Path) -> tuple[io.BytesIO, str] | None:
    """Leave out what is not needed for the pixels of a PNG file and is damaged, as viewers do (libpng warns of it).

    That is every addition with a wrong checksum, and all texts: Pillow refuses those of more than a megabyte.

    Returns:
        The file without them, and their names; None for another kind of file, or where there is nothing to leave out.
    """
    content = path.read_bytes()
    if not content.startswith(SIGNATURE):
        return None
    kept, left_out, at = [SIGNATURE], list[str](), len(SIGNATURE)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind, checksum = content[at + 4 : at + 8], content[end - 4 : end]
        is_addition = bool(kind[0] & 0x20)  # a small letter
        damaged = is_addition and zlib.crc32(content[at + 4 : end - 4]).to_bytes(4, "big") != checksum
        if damaged or kind in _TEXTS:
            left_out.append(kind.decode("latin-1"))
        else:
            kept.append(content[at:end])
        at = end
    return (io.BytesIO(b"".join(kept)), ", ".join(dict.fromkeys(left_out))) if left_out else None


def sixteen_bits(source: Source, picture: Image.Image) -> npt.NDArray[np.uint16] | None:
    """All bits of a picture of 16 bits a channel, uint16 (H, W, 3 or 4); None where Pillow keeps no low halves.

    Pillow decodes such colors to 8 bits: once more by the other half of each sample, and nothing is lost.

    Args:
        source: the file, or what is in it.
        picture: the same, opened by Pillow and decoded.
    """
    with Image.open(source) as again:
        tile = again.tile[0]
        if tile.args not in {"RGB;16B", "RGBA;16B"}:
            return None
        again.tile = [tile._replace(args=tile.args.replace("16B", "16L"))]
        again.load()
        levels: npt.NDArray[np.uint16] = np.asarray(picture).astype(np.uint16) << 8 | np.asarray(again)
        return levels


def mend_transparent_color(source: Source, picture: Image.Image, header: PngHeader) -> Image.Image:
    """Let a color that means "transparent" (tRNS) be found in a decoded picture of few or of 16 bits.

    Pillow compares its number with levels that are scaled already, or cut to 8 bits.
    """
    key = picture.info.get("transparency")
    if key is None or picture.mode == "P":
        return picture
    if header.depth in {2, 4} and isinstance(key, int):
        picture.info["transparency"] = key * 255 // (2**header.depth - 1)
    elif header.depth == 16 and picture.mode == "RGB" and (levels := sixteen_bits(source, picture)) is not None:
        mended = picture.convert("RGB")
        mended.putalpha(Image.fromarray(np.where((levels == key).all(-1), 0, 255).astype(np.uint8)))
        mended.format = picture.format
        mended.info = {name: value for name, value in picture.info.items() if name != "transparency"}
        return mended
    return picture
