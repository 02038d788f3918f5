"""Label and instance maps as arrays of numbers: one id a pixel, whatever the file's colours are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.data.pictures import opened, picture_info, readable

MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")


def read_ids(path: Path) -> Array:
    """int32 [H, W].

    Raises:
        UserError: truncated, not a picture, or one of colours.
    """
    picture_info(path)
    with readable(path), opened(path) as image:
        return ids_of(image, str(path))


def ids_of(image: Image.Image | Array, where: str) -> Array:
    """int32 [H, W] of a PIL image (indices, where it has a palette) or of an array of integers [H, W] or [H, W, 1].

    Raises:
        UserError: it holds colours, or numbers that are not whole.
    """
    if isinstance(image, Image.Image):
        if image.mode not in MODES:
            raise UserError(f"{where} holds colours ({image.mode}); expected a map of ids, one number a pixel: grey, or "
                            "indices of a palette")
        image = np.asarray(ImageOps.exif_transpose(image))
    array = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if array.ndim != 2 or array.dtype.kind not in "bui":
        raise UserError(f"{where} is an array of {array.dtype} {list(array.shape)}; expected a map of ids: integers [H, W]")
    return array.astype(np.int32)
