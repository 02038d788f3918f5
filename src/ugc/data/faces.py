"""One typeface: which characters it has, and how one of them looks in a square of any size."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from ugc.core import files
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.data.dataset import Size


def _heights(tables: Any) -> tuple[int, int]:
    """Ascender and descender in units of the em; old fonts have them in `hhea` only."""
    if "OS/2" in tables:
        return tables["OS/2"].sTypoAscender, tables["OS/2"].sTypoDescender
    return tables["hhea"].ascent, tables["hhea"].descent


class Face:
    """A font file, drawn black on white.

    Args:
        path: OTF, TTF, or a collection (TTC, OTC).
        weight: of a variable font, such as 400; None leaves its default, which is often Thin.
        index: of the face in a collection.

    Raises:
        UserError: not a font, no such index, or no such weight.
    """

    def __init__(self, path: Path, weight: float | None = None, index: int = 0) -> None:
        self.path, self.weight, self.index = path, weight, index
        self._fonts: dict[int, ImageFont.FreeTypeFont] = {}
        self._lock = threading.Lock()  # FreeType faces are not thread-safe
        tables = self._tables()
        try:  # tables are read as they are asked for
            self.name: str = tables["name"].getDebugName(4) or path.stem
            self.units: int = tables["head"].unitsPerEm
            self.cmap: dict[int, str] = tables.getBestCmap() or {}
            self._advances: dict[str, tuple[int, int]] = tables["hmtx"].metrics
            above, below = _heights(tables)
            self._axes = self._place_on_axes(tables)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # fontTools has no one error for a damaged table: KeyError, struct.error, its own, ..
            raise UserError(f"{path} is damaged, or lacks a table that a font needs ({error}); get it anew, or take another "
                            f"font") from None
        self.centre: float = (above + below) / 2 / self.units

    def _tables(self) -> Any:
        try:
            from fontTools.ttLib import TTCollection, TTFont, TTLibError
        except ImportError:
            raise UserError("reading fonts needs fontTools: pip install 'ugc[fonts]'") from None
        logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of old dates
        try:
            with open(self.path, "rb") as file:
                collection = file.read(4) == b"ttcf"
            count = len(TTCollection(self.path, lazy=True).fonts) if collection else 1
            if not 0 <= self.index < count:
                raise UserError(f"{self.path} has {count} face(s), numbered from 0; there is no index {self.index}")
            return TTFont(self.path, lazy=True, fontNumber=self.index if collection else -1)
        except FileNotFoundError:
            raise UserError(f"there is no font file {self.path}") from None
        except (TTLibError, OSError) as error:
            raise UserError(f"{self.path} is not a font that can be read ({error}); "
                            f"expected OTF, TTF, TTC or OTC") from None

    def _place_on_axes(self, tables: Any) -> list[float] | None:
        """The setting of every axis of a variable font, when a weight was asked for."""
        if self.weight is None:
            return None
        axes = tables["fvar"].axes if "fvar" in tables else []
        for axis in axes:
            low, high = axis.minValue, axis.maxValue
            if axis.axisTag == "wght" and low <= self.weight <= high:
                return [self.weight if a is axis else a.defaultValue for a in axes]
            if axis.axisTag == "wght":
                raise UserError(f"{self.path}: weight {self.weight:g} is outside {low:g} to {high:g}")
        raise UserError(f"{self.path} has no weight axis; leave its weight option out")

    def at(self, pixels: int) -> ImageFont.FreeTypeFont:
        """The font at a size, made once."""
        if pixels not in self._fonts:
            font = ImageFont.truetype(str(self.path), pixels, index=self.index, layout_engine=ImageFont.Layout.BASIC)
            if self._axes:
                font.set_variation_by_axes(self._axes)
            self._fonts[pixels] = font
        return self._fonts[pixels]

    def has(self, characters: Iterable[int]) -> set[int]:
        """Those of the code points that are mapped to an outline which is not empty."""
        font = self.at(64)

        def inked(code: int) -> bool:
            _, top, _, bottom = font.getbbox(chr(code), anchor="ls")
            return bottom > top

        return {code for code in characters if code in self.cmap and inked(code)}

    def advance(self, characters: Iterable[int]) -> float:
        """The median advance width of the characters, in em."""
        return median_low(self._advances[self.cmap[code]][0] for code in characters) / self.units

    def draw(self, code: int, size: Size, pixels: int, origin: tuple[int, int]) -> Array:
        """uint8 [H, W, 1]: the character at `pixels` an em, the left end of its baseline at `origin` (x, y)."""
        picture = Image.new("L", (size[1], size[0]), 255)
        with self._lock:
            ImageDraw.Draw(picture).text(origin, chr(code), fill=0, font=self.at(pixels), anchor="ls")
        return np.asarray(picture)[:, :, None]

    @cached_property
    def identity(self) -> list[Any]:
        """All that decides this face's pixels."""
        return [files.sha256(self.path), self.index, self.weight, features.version("freetype2")]
