"""Maps of ids on disk: one whole number a pixel, a class (label map) or a thing (instance map); and what ids there are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from ugc.core import files
from ugc.core.encoding import MOST
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.core.log import progress
from ugc.core.pins import read_note
from ugc.data.folders import stamps
from ugc.data.layouts import Files
from ugc.data.pictures import Info, bounded, picture_info, read_picture, unreadable
from ugc.data.pillow import grey_bits, opened, turned, upright
from ugc.data.tiffs import white_is_zero

READING = 2  # raise when the same file would give other ids
GREY = {2: 85, 4: 17}  # bits -> by what Pillow multiplies the greys of such a PNG or TIFF, to make white 255
WHOLE = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")  # PIL's modes of one whole number a pixel
COLOURS = "write ids, or put colour maps in train_A and their photos in train_B: they are then plain pictures"


class Seen(NamedTuple):
    """A class id in some label maps: in how many of them, on how many pixels, and the first of them."""

    maps: int
    pixels: int
    first: str


Found = dict[int, Seen]  # by id


def map_info(path: Path, kind: str = "label map") -> Info:
    """Size of a map of ids, from the header alone; its depth is of no matter.

    Raises:
        UserError: not a picture, in colour, of floating point, a TIFF whose white is 0, or in a format that changes ids.
    """
    try:
        with opened(path) as image:
            mode, form, size, reverse = image.mode, image.format, (image.height, image.width), _reverse(image)
    except Exception:  # of which `picture_info` says what it is, or that it is one of more channels
        mode, form, size, reverse = "", "", (0, 0), False
    if mode == "F":
        raise UserError(f"{path} holds floating-point numbers; expected {_a(kind)}: one whole number a pixel")
    if reverse:
        raise _no_way_round(path, kind)
    if mode == "I":
        return bounded(path, Info(1, np.uint8, size, alpha=False, deep=False))
    info = picture_info(path)
    if mode != "P" and info.channels > 1:
        raise UserError(f"{path} has {info.channels} channels; expected {_a(kind)}: one whole number a pixel; {COLOURS}")
    if form == "JPEG":
        raise UserError(f"{path} is a JPEG, which changes ids; expected {_a(kind)} as PNG")
    return Info(1, np.uint8, info.size, alpha=False, deep=info.deep)


def _reverse(image: Image.Image) -> bool:
    return isinstance(image, TiffImageFile) and white_is_zero(image)


def _no_way_round(what: Path | str, kind: str) -> UserError:
    return UserError(f"{what} is a TIFF whose white is 0, and then some programs turn ids round; expected {_a(kind)} whose "
                     "black is 0: save it as PNG")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def read_map(path: Path, kind: str = "label map") -> Array:
    """The ids, int64 [H, W]: of 1 to 32 bits; of a picture with a palette its indices.

    Raises:
        UserError: as `map_info`, or the file is truncated.
    """
    if map_info(path, kind).deep:
        return read_picture(path)[:, :, 0].astype(np.int64)
    try:
        with opened(path) as image:
            return _ids(image, grey_bits(image), turned(image))
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(path, error) from None


def _ids(image: Image.Image, bits: int, turn: int) -> Array:
    ids: Array = upright(np.asarray(image), turn).astype(np.int64) // GREY.get(bits, 1)
    return ids


def ids_of(image: Image.Image | Array, kind: str = "label map") -> Array:
    """The same of a PIL image, int64 [H, W], or of an array of whole numbers [H, W] or [H, W, 1].

    Raises:
        UserError: colours, numbers that are not whole, a TIFF whose white is 0, or greys of which nobody knows the bits.
    """
    if isinstance(image, Image.Image):
        if image.mode not in WHOLE:
            raise UserError(f"the {kind} is of mode {image.mode}; expected one whole number a pixel (L, P or I;16)")
        if _reverse(image):
            raise _no_way_round(f"the {kind}", kind)
        bits = grey_bits(image)
        image.load()  # a PNG's Exif may stand behind its pixels
        ids = _ids(image, bits, turned(image))
        if not bits and ids.any() and not (ids % GREY[4]).any():
            raise UserError(f"the {kind} was read from a stream before, which alone said how many bits its ids have; give "
                            "it as it is opened, or its ids as an array")
        return ids
    array = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if array.ndim != 2 or array.dtype.kind not in "bui":
        raise UserError(f"the {kind} is an array of {array.dtype} {list(array.shape)}; expected whole numbers [H, W]")
    whole: Array = array.astype(np.int64)
    return whole


def read_labels(path: Path) -> Array:
    """The class ids of a label map, uint8 [H, W].

    Raises:
        UserError: as `read_map`, or an id that is no class.
    """
    ids = read_map(path)
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= MOST:
        raise UserError(f"{path} holds the id {most if most >= MOST else least}; class ids are 0 to {MOST - 1} "
                        "(is it an instance map?)")
    return ids.astype(np.uint8)


def nearest(ids: Array, height: int, width: int) -> Array:
    """[H, W] -> [height, width]: each pixel takes the id at its centre; as Pillow's NEAREST."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip((height, width), ids.shape))
    resized: Array = ids[rows[:, None], columns]
    return resized


def id_counts(labels: Array) -> dict[int, int]:
    """{class id: pixels} of a label map."""
    pixels = np.bincount(labels.ravel(), minlength=MOST)
    return {int(i): int(pixels[i]) for i in np.flatnonzero(pixels)}


def tally(counts: Mapping[str, Mapping[int, int]]) -> Found:
    """What ids some label maps hold, {path: {id: pixels}} -> by id, in order."""
    found = Found()
    for path, pixels in counts.items():
        for i, count in pixels.items():
            seen = found.get(i, Seen(0, 0, path))
            found[i] = Seen(seen.maps + 1, seen.pixels + count, seen.first)
    return dict(sorted(found.items()))


def scan(root: Path, splits: Mapping[str, Files]) -> dict[str, Found]:
    """The ids of all label maps of each split. They are read once; what was found is kept until one is written to.

    Raises:
        UserError: of the first that cannot be read, is no label map, or holds an id that is no class.
    """
    paths = [path for maps in splits.values() for path in maps.values()]
    key = files.digest([READING, str(root.resolve()), list(splits), stamps(root, paths)])
    note = files.home() / "data" / f"{key}-ids.json"
    if not (known := read_note(note)):
        with progress("label maps", len(paths)) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = dict[str, dict[int, int]]()
            for path, pixels in zip(paths, pool.map(lambda path: id_counts(read_labels(root / path)), paths)):
                counts[path] = pixels
                bar.advance()
        known = {split: list(tally({path: counts[path] for path in maps.values()}).items())
                 for split, maps in splits.items()}
        files.write_json(note, known)
    return {split: {i: Seen(*seen) for i, seen in found} for split, found in known.items()}
