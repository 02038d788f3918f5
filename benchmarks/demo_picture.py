"""The README's picture of a finished run: the test characters that the run drew at random, a row for each picture.

    python benchmarks/demo_picture.py runs/demo docs/demo.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROWS = ("source", "target", "original", "student")
SIDE, MARGIN = 80, 84


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    samples = options.run / "stages" / "test" / "samples"
    page = Image.new("L", (MARGIN + options.count * SIDE, len(ROWS) * SIDE), 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=16)
    for row, name in enumerate(ROWS):
        draw.text((6, row * SIDE + SIDE // 2), name, fill=0, font=font, anchor="lm")
        for column in range(options.count):
            with Image.open(samples / f"{column:03d}-{name}.png") as picture:
                page.paste(picture.convert("L").resize((SIDE - 4, SIDE - 4), Image.Resampling.BICUBIC),
                           (MARGIN + column * SIDE, row * SIDE + 2))
    page.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
