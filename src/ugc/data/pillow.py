"""Pictures as Pillow opens and reads them: which formats, which way up, and its modes as numbers."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.data import tiffs

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")  # by content; Pillow knows more, some of which start programs
EIGHT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV")  # Pillow's modes of 8 bits
ORIENTATION = 0x0112
PNG = b"\x89PNG\r\n\x1a\n"

warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters is said as a sentence


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Not by name: Pillow would map the file into memory, and then reads turned grey TIFFs with their sides swapped."""
    with open(path, "rb") as file:
        exif = _png_exif(file)
        with Image.open(file, formats=FORMATS) as image:
            if image.format == "PNG":
                image.info["exif"] = exif
            image.info.pop("xmp", None)  # by which Pillow turns a TIFF, and then its header has the wrong size
            yield image


def _png_exif(file: IO[bytes]) -> bytes:
    """The Exif of a PNG, before its pixels or behind them, without decoding these."""
    if file.read(8) != PNG:
        return b""
    while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return file.read(length)
        file.seek(length + 4, io.SEEK_CUR)
    return b""


def turned(image: Image.Image) -> int:
    """How a picture lies, 1 (upright) to 8, by its Exif alone: not by XMP or text. Pillow turns a TIFF by itself."""
    exif = Image.Exif()
    exif.load(image.info.get("exif") or b"")
    return orientation(exif.get(ORIENTATION))


def orientation(value: Any) -> int:
    """An orientation as a tag has it; what is none means upright."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(array: Array, turn: int) -> Array:
    """Undo an EXIF orientation (1 to 8) of [H, W] or [H, W, C]."""
    if turn >= 5:
        array = array.swapaxes(0, 1)
    rows = -1 if turn in (3, 4, 7, 8) else 1
    columns = -1 if turn in (2, 3, 6, 7) else 1
    return array[::rows, ::columns]


def pixels(image: Image.Image) -> Array:
    """A PIL image as `read_picture` gives its file; 8 bits where PIL has no more (colour of 16).

    Raises:
        UserError: of a kind that is not read.
    """
    image.load()  # a PNG's Exif may stand behind its pixels
    return arranged(numbers(image, "the picture"), turned(image))


def numbers(image: Image.Image, where: Path | str) -> Array:
    """[H, W] or [H, W, C], as they lie in the file."""
    if isinstance(image, TiffImageFile):
        tiffs.check(where, image)
    return np.asarray(image if image.mode.startswith("I;16") else image.convert(plain_mode(image, where)))


def arranged(array: Array, turn: int) -> Array:
    """[H, W] or [H, W, C] of either byte order -> [H, W, C], upright."""
    array = array if array.ndim == 3 else array[:, :, None]
    return np.ascontiguousarray(upright(array, turn), array.dtype.newbyteorder("="))


def plain_mode(image: Image.Image, where: Path | str) -> str:
    """L, LA, RGB or RGBA for any 8-bit mode."""
    if image.mode not in EIGHT:
        raise UserError(f"{where} is of Pillow's mode {image.mode}; expected 8 bits a channel, or grey of 16, without sign "
                        "(such as L, RGB or I;16)")
    alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    return ("LA" if alpha else "L") if image.mode in ("1", "L", "LA", "La") else "RGBA" if alpha else "RGB"


def head(path: Path, count: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(count)


def png_header(path: Path) -> tuple[int, int]:
    """Bit depth and colour type of a PNG: Pillow reduces 16-bit colour to 8 bits without a word."""
    header = head(path, 26)
    return header[24], header[25]


def grey_bits(image: Image.Image) -> int:
    """Bits of the greys in the file that an image was opened from; 8 of all else; 0 of a PNG whose file is not known."""
    if image.mode == "L" and isinstance(image, TiffImageFile):
        return int(image.tag_v2.get(tiffs.BITS, (8,))[0])
    if image.mode != "L" or not isinstance(image, PngImageFile):
        return 8
    if image.fp:  # it is not decoded yet
        place = image.fp.tell()
        image.fp.seek(0)
        header = image.fp.read(26)
        image.fp.seek(place)
        return header[24]
    path = Path(os.fsdecode(image.filename))
    return png_header(path)[0] if path.is_file() else 0
