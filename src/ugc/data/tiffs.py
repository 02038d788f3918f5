"""Which TIFFs hold grey or RGB as plain numbers, and which of these Pillow reads: others look right and are not."""

from __future__ import annotations

from pathlib import Path

from PIL.TiffImagePlugin import TiffImageFile

from ugc.core.errors import UserError

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, FORMAT = 258, 259, 262, 277, 339  # tags
COLOURS = {0: "grey whose white is 0", 1: "grey", 2: "RGB", 3: "a palette", 5: "CMYK", 6: "YCbCr", 8: "LAB"}
MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "I;16", "I;16B")  # Pillow's
JPEG = 7  # the compression that is undone to RGB, from YCbCr, too


def check(where: Path | str, image: TiffImageFile) -> None:
    """Look at the tags of a TIFF that Pillow opened.

    Raises:
        UserError: its numbers are no plain grey or RGB without sign.
    """
    tags = image.tag_v2
    formats = set(tags.get(FORMAT, (1,)))
    if formats & {2, 3, 5, 6}:
        kind = "numbers with sign" if 2 in formats else "floating-point numbers"
        raise UserError(f"{where} holds {kind}; expected 8 or 16 bits without sign: scale its values, fill what is NaN, "
                        "and save it again")
    if not pillow_reads(image):
        check_plain(where, set(tags.get(BITS, (1,))), tags.get(PHOTOMETRIC, 0), tags.get(COMPRESSION, 1))


def pillow_reads(image: TiffImageFile) -> bool:
    """Whether Pillow gives all of this page: of 8 bits and at most 4 channels, or grey of 16 bits whose black is 0."""
    tags = image.tag_v2
    bits, samples = set(tags.get(BITS, (1,))), tags.get(SAMPLES, 1)
    if set(tags.get(FORMAT, (1,))) != {1} or image.mode not in MODES:
        return False
    return samples <= 4 if max(bits) <= 8 else bits == {16} and samples == 1 and not white_is_zero(image)


def white_is_zero(image: TiffImageFile) -> bool:
    """Whether its numbers grow from white to black. Pillow turns them round where they have up to 8 bits."""
    return bool(image.tag_v2.get(PHOTOMETRIC, 0) == 0)


def check_plain(where: Path | str, bits: set[int], photometric: int, compression: int) -> None:
    """Look at the tags of a TIFF that is read as its numbers stand.

    Raises:
        UserError: they are no grey or RGB of 8 or 16 bits.
    """
    plain = photometric in (1, 2) or (photometric == 6 and compression == JPEG)
    if not plain or bits not in ({8}, {16}):
        colours = COLOURS.get(photometric, f"photometric interpretation {photometric}")
        raise UserError(f"{where} is a TIFF of {colours} ({' and '.join(map(str, sorted(bits)))} bits a channel); expected "
                        "grey whose black is 0, or RGB, of 8 or 16 bits: convert it and save it again")
