"""The README's pictures of a finished run: test images that the run drew at random, a row for each kind of picture.

    python benchmarks/demo_picture.py runs/demo docs/demo.png
    python benchmarks/demo_picture.py runs/streets docs/streets-gaugan.png --count 4 --height 128
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROWS = {"source": "source", "target": "target", "original": "original", "student": "student"}
OF_LABELS = ROWS | {"source": "label map", "target": "photo"}
MARGIN, GAP = 84, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--height", type=int, default=76, help="of a picture")
    options = parser.parse_args()
    about = json.loads((options.run / "student" / "config.json").read_text())
    rows = OF_LABELS if (about.get("source") or {}).get("kind") == "labels" else ROWS
    samples = options.run / "stages" / "test" / "samples"
    found = {(row, i): Image.open(samples / f"{i:03d}-{row}.png") for row in rows for i in range(options.count)}
    mode = "L" if all(picture.mode == "L" for picture in found.values()) else "RGB"
    first = found["target", 0]
    tall, wide = options.height + GAP, round(options.height * first.width / first.height) + GAP
    page = Image.new(mode, (MARGIN + options.count * wide, len(rows) * tall), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=16)
    for at, (row, name) in enumerate(rows.items()):
        draw.text((6, at * tall + tall // 2), name, fill="black", font=font, anchor="lm")
        for i in range(options.count):
            picture = found[row, i].convert(mode).resize((wide - GAP, tall - GAP), Image.Resampling.BICUBIC)
            page.paste(picture, (MARGIN + i * wide, at * tall + GAP // 2))
    page.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
