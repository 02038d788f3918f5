"""Pictures of the study: the same twelve test characters in every row, and a paragraph set in the student's type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from study_keep import shown

from ugc.core.files import atomic
from ugc.core.images import Array, from_unit, to_unit
from ugc.data.dataset import DataConfig, open_dataset
from ugc.data.fonts import FontDataset, Glyph, glyph_name
from ugc.engine.recipe import Recipe
from ugc.export.saved import load_net
from ugc.recipes.table import parsed

GAP, MARGIN, LINE = 6, 230, 30  # pixels between pictures, and for a row's name; its characters a line
# The beginning of the Thousand Character Classic (Zhou Xingsi, 6th century): no character comes twice.
TEXT = ("天地玄黄 宇宙洪荒 日月盈昃 辰宿列张", "寒来暑往 秋收冬藏 闰余成岁 律吕调阳", "云腾致雨 露结为霜 金生丽水 玉出昆冈")


def sheet(path: Path, rows: Sequence[tuple[str, Array]]) -> Path:
    """Named rows of pictures, uint8 [n, H, W, 1 or 3] each."""
    count, height, width, _ = rows[0][1].shape
    page = Image.new("RGB", (MARGIN + count * (width + GAP), len(rows) * (height + GAP)), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=15)
    for at, (name, pictures) in enumerate(rows):
        top = at * (height + GAP)
        draw.multiline_text((4, top + height // 2), fill(name, LINE), fill="black", font=font, anchor="lm")
        for i, picture in enumerate(pictures):
            page.paste(Image.fromarray(picture.squeeze()), (MARGIN + i * (width + GAP), top + GAP // 2))
    return _saved(page, path)


def characters(path: Path, rows: Sequence[tuple[str, Array]], recipe: Recipe) -> Path:
    """The sheet of all rows below source and target."""
    data = shown(recipe)
    return sheet(path, [("source", data.sources), ("target", data.targets), *rows])


def paragraph(path: Path, net: Path, labelled: Sequence[str]) -> str:
    """TEXT three times: the source's type, the net's, and the real one. Returns how many characters the net was trained
    on with their target."""
    recipe = parsed("sans2serif-study")
    data = open_dataset(DataConfig(path=recipe.data.path, size=recipe.data.size), 0)
    assert isinstance(data, FontDataset)
    height, width = recipe.data.size
    model, _ = load_net(net)
    lines = []
    for side in ("source", "net", "target"):
        for text in TEXT:
            glyphs = [Glyph("B" if side == "target" else "A", ord(character)) for character in text if character != " "]
            images = np.stack([data.read(glyph, height, width, load=False) for glyph in glyphs])
            if side == "net":
                with torch.no_grad():
                    images = from_unit(model(to_unit(images)))
            lines.append((text, iter(images[..., 0])))
    page = Image.new("L", (len(TEXT[0]) * width, len(lines) * height + 2 * height // 2), 255)
    top = 0
    for at, (text, pictures) in enumerate(lines):
        for i, character in enumerate(text):
            if character != " ":
                page.paste(Image.fromarray(next(pictures)), (i * width, top))
        top += height + (height // 2 if at % len(TEXT) == len(TEXT) - 1 else 0)
    _saved(page, path)
    characters = [character for text in TEXT for character in text if character != " "]
    known = sum(glyph_name(ord(character)) in labelled for character in characters)
    return f"{known} of {len(characters)}"


def _saved(page: Image.Image, path: Path) -> Path:
    with atomic(path) as file:
        page.quantize(32 if page.mode == "L" else 256).save(file, "PNG", optimize=True)
    return path
