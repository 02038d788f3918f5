"""Pictures on disk as arrays [H, W, C] in their own depth, and the few things done to such arrays."""

from __future__ import annotations

import importlib
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ugc.core import files
from ugc.core.errors import UserError, of_system
from ugc.core.images import PEAK, Array
from ugc.data import pillow, tiffs

TIFF = (".tif", ".tiff")
WEBP = 16_383  # the most pixels a side that its header can say
OPAQUE = (".jpg", ".jpeg", ".bmp")  # formats that cannot hold opacity
SUFFIXES = frozenset({*TIFF, *OPAQUE, ".png", ".webp"})
SAVE: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
SIDE = 1 << 15  # pixels, at most
PIXELS = 178_956_970  # beyond it Pillow speaks of a decompression bomb
SAMPLES = 4 * PIXELS  # pixels x channels
SMALLER = "scale it down or cut it into pieces"


@dataclass(frozen=True)
class Info:
    """What a file's header says, upright."""

    channels: int
    dtype: Any  # numpy's uint8 or uint16
    size: tuple[int, int]  # height, width
    alpha: bool  # the last channel is opacity
    deep: bool  # beyond Pillow: needs the extra packages


def picture_info(path: Path) -> Info:
    """Channels, depth and size, from the header alone.

    Raises:
        UserError: not a picture, or of a kind that is not read (floating point, CMYK TIFF and the like).
    """
    try:
        with pillow.opened(path) as image:
            info = _info(path, image)
    except (UserError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path} says that it has more than {PIXELS:,} pixels, the most that is read; {SMALLER}") from None
    except Exception as error:
        if (isinstance(error, OSError) and error.errno is not None) or not _is_tiff(path):
            raise unreadable(path, error) from None
        info = _tiff_info(path)
    return bounded(path, info)


def bounded(path: Path, info: Info) -> Info:
    """The same, unless it is too large, or of no pixels.

    Raises:
        UserError: which bound it passes.
    """
    tall, wide = info.size
    if min(tall, wide) < 1 or info.channels < 1:
        raise UserError(f"{path} cannot be read as a picture: it has no pixels ({tall} high, {wide} wide)")
    if max(tall, wide) > SIDE or tall * wide > PIXELS or tall * wide * info.channels > SAMPLES:
        raise UserError(f"{path} is {wide:,} wide and {tall:,} high with {info.channels} channel(s); at most "
                        f"{SIDE:,} pixels a side, {PIXELS:,} in all and {SAMPLES:,} numbers are read; {SMALLER}")
    return info


def read_picture(path: Path) -> Array:
    """uint8 or uint16 [H, W, C], turned upright by its EXIF data; C is 1, 2 (with opacity), 3, 4, or a TIFF's own.

    Raises:
        UserError: truncated, not a picture, or of a kind that is not read.
    """
    info = picture_info(path)
    try:
        if info.deep:
            return _read_deep(path)
        with pillow.opened(path) as image:
            turn = pillow.turned(image)  # before the pixels are decoded, as in `picture_info`
            return pillow.arranged(pillow.numbers(image, path), turn)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and (sentence := of_system(error)):
        return UserError(sentence)
    if path.stat().st_size == 0:
        why = "it is empty (0 bytes)"
    elif isinstance(error, UnidentifiedImageError):
        why = "its content is no PNG, TIFF, JPEG, WebP or BMP"
    else:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        why = f"it is truncated or damaged ({first})"
    return UserError(f"{path} cannot be read as a picture: {why}")


def _is_tiff(path: Path) -> bool:
    return pillow.head(path, 4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _info(path: Path, image: Image.Image) -> Info:
    if isinstance(image, TiffImageFile):
        tiffs.check(path, image)
        if not tiffs.pillow_reads(image) or image.n_frames > 1:
            return _tiff_info(path)
    wide, tall = image.size
    size = (wide, tall) if pillow.turned(image) >= 5 else (tall, wide)
    if image.format == "PNG":
        depth, colour = pillow.png_header(path)
        if depth == 16 and colour != 0:
            channels = 4 if "transparency" in image.info else {2: 3, 4: 2, 6: 4}[colour]
            return Info(channels, np.uint16, size, channels != 3, deep=True)
    if image.mode.startswith("I;16"):
        return Info(1, np.uint16, size, alpha=False, deep=False)
    mode = pillow.plain_mode(image, path)
    return Info(len(mode), np.uint8, size, mode.endswith("A"), deep=False)


# ---- TIFF with any number of channels, PNG of 16-bit colour: the extra `deep` ----

def _extra(path: Path, name: str) -> Any:
    logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said as a sentence
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{path} is of 16-bit colour, or of more channels than Pillow reads and writes: "
                        "pip install 'ugc[deep]'") from None


def _tiff_info(path: Path) -> Info:
    tifffile = _extra(path, "tifffile")
    try:
        with tifffile.TiffFile(path) as tiff:
            series, page = tiff.series[0], tiff.pages[0]
            shape, axes, dtype, alpha = series.shape, series.axes, series.dtype, bool({1, 2} & set(page.extrasamples))
            turn = pillow.orientation(page.tags.valueof(pillow.ORIENTATION))
            numbers = set(np.ravel(page.bitspersample).tolist()), int(page.photometric), int(page.compression)
    except Exception as error:
        raise unreadable(path, error) from None
    if "Y" not in axes or "X" not in axes or len(axes) > 3 or np.dtype(dtype) not in PEAK:
        raise UserError(f"{path} is a TIFF of {dtype} {axes} {shape}; "
                        "expected 8 or 16 bits without sign, height x width x channels")
    tiffs.check_plain(path, *numbers)
    sizes = dict(zip(axes, shape))
    channels = int(np.prod([n for axis, n in sizes.items() if axis not in "YX"]))
    size = (sizes["X"], sizes["Y"]) if turn >= 5 else (sizes["Y"], sizes["X"])
    return Info(channels, np.dtype(dtype).type, size, alpha and channels in (2, 4), deep=True)


def _read_deep(path: Path) -> Array:
    if _is_tiff(path):
        tifffile = _extra(path, "tifffile")
        with tifffile.TiffFile(path) as tiff:
            series, turn = tiff.series[0], pillow.orientation(tiff.pages[0].tags.valueof(pillow.ORIENTATION))
            order = [series.axes.index("Y"), series.axes.index("X")]
            order += [axis for axis in range(len(series.axes)) if axis not in order]
            array = series.asarray().transpose(order)
    else:
        array = _extra(path, "imagecodecs").png_decode(path.read_bytes())
        with pillow.opened(path) as image:
            turn = pillow.turned(image)
    return pillow.arranged(array, turn)


def write_picture(path: Path, array: Array) -> None:
    """Write uint8 or uint16 [H, W, C] in its own depth, in the format of the suffix, whole or not at all.

    Raises:
        UserError: the format cannot hold the depth or the number of channels, or the extra `deep` is missing.
    """
    data = _encoded(path, array)
    with files.atomic(path) as file:
        file.write(data)


def _encoded(path: Path, array: Array) -> bytes:
    kind, channels, deep = path.suffix.lower(), array.shape[2], array.dtype == np.uint16
    if kind not in SUFFIXES:
        raise UserError(f"{path}: expected a name that ends in {', '.join(sorted(SUFFIXES))}")
    if kind == ".webp" and max(array.shape[:2]) > WEBP:
        raise UserError(f"{path}: a WebP has at most {WEBP:,} pixels a side; use .png or .tif")
    if channels in (2, 4) and kind in OPAQUE:
        array, channels = as_channels(array, channels - 1), channels - 1
    flat = np.ascontiguousarray(array[:, :, 0] if channels == 1 else array)
    data = io.BytesIO()
    if (not deep and channels <= 4) or (channels == 1 and kind in (".png", *TIFF)):
        name = Image.registered_extensions()[kind]
        Image.fromarray(flat).save(data, name, **SAVE.get(name, {}))
    elif kind in TIFF:
        photometric = "rgb" if channels in (3, 4) else "minisblack"
        _extra(path, "tifffile").imwrite(data, flat, photometric=photometric, planarconfig="contig")
    elif kind == ".png" and channels <= 4:
        return bytes(_extra(path, "imagecodecs").png_encode(flat))
    else:
        other = ".png or .tif" if channels <= 4 else ".tif"
        raise UserError(f"{path}: {kind} cannot hold {channels} channels of {array.dtype}; use {other}")
    return data.getvalue()


# ---- arrays ----

def resize(array: Array, height: int, width: int) -> Array:
    """Bicubic, smoothed when it shrinks: uint8 or uint16 [H, W, C] -> the same kind of [height, width, C]."""
    if array.shape[:2] == (height, width):
        return array
    if array.dtype == np.uint8 and array.shape[2] in (1, 3):
        image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).reshape(height, width, -1)
    planes = [np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
              for plane in np.moveaxis(array.astype(np.float32), 2, 0)]
    return _rounded(np.stack(planes, axis=2), array.dtype)


def as_channels(array: Array, channels: int) -> Array:
    """[H, W, C] -> [H, W, channels]: grey repeated, colour to luminance (ITU-R 601), opacity laid on white.

    Two and four channels are taken to end in opacity.

    Raises:
        UserError: there is no such conversion.
    """
    have = array.shape[2]
    if have == channels:
        return array
    if have > 4 or channels > 4 or min(have, channels) < 1:
        raise UserError(f"a picture of {have} channel(s) cannot be made one of {channels}")
    if have in (2, 4):
        peak = PEAK[array.dtype]
        opacity = array[:, :, -1:].astype(np.float32) / peak
        return as_channels(_rounded(array[:, :, :-1] * opacity + peak * (1 - opacity), array.dtype), channels)
    if channels in (2, 4):
        opaque = np.full_like(array[:, :, :1], PEAK[array.dtype])
        return np.concatenate([as_channels(array, channels - 1), opaque], axis=2)
    if channels == 1:
        return _rounded(array @ np.array([[0.299], [0.587], [0.114]], np.float32), array.dtype)
    return np.repeat(array, 3, axis=2)


def as_depth(array: Array, dtype: Any) -> Array:
    """uint8 <-> uint16, white to white."""
    if array.dtype == dtype:
        return array
    return _rounded(array.astype(np.float32) * (PEAK[np.dtype(dtype)] / PEAK[array.dtype]), np.dtype(dtype))


def _rounded(array: Array, dtype: Any) -> Array:
    whole: Array = np.rint(np.clip(array, 0, PEAK[np.dtype(dtype)])).astype(dtype)
    return whole
