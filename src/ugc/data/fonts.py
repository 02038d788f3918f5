"""Characters of one typeface from the same characters of another: any two fonts as a data set, and as a folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from ugc.core import files
from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.core.log import progress
from ugc.data.dataset import DataConfig, Dataset, Record, Size
from ugc.data.faces import Face
from ugc.data.pictures import as_channels

Side = Literal["A", "B"]
TYPE = 56 / 64  # the em, as a share of the square


@dataclass(frozen=True)
class Glyph:
    """A character in one of the two faces."""

    side: Side
    code: int


class FontDataset(Dataset):
    """Black characters on white, aligned by the baseline, with one offset and one scale a font.

    Args:
        faces: A and B; direction `BtoA` makes B the source.
        pool: training characters that have a target.
        alone: training characters that are sources only.
        test: characters of the test pairs.
    """

    flip_default = False
    load_ratio = 72 / 64

    def __init__(self, config: DataConfig, name: str, faces: tuple[Face, Face], *,
                 pool: Sequence[int], alone: Sequence[int], test: Sequence[int]) -> None:
        self.config, self.name = config, name
        self.faces: dict[Side, Face] = {"A": faces[0], "B": faces[1]}
        self.source_channels = config.source_channels or 1
        self.target_channels = config.target_channels or 1
        self.unlabelled_default = "hidden"
        source: Side = "A" if config.direction == "AtoB" else "B"
        target: Side = "B" if source == "A" else "A"
        both = [*pool, *test]
        self.centre = self.faces["A"].centre
        self.advance = {side: face.advance(both) for side, face in self.faces.items()}
        self.channels = {source: self.source_channels, target: self.target_channels}
        records = {code: Record(glyph_name(code), Glyph(source, code), Glyph(target, code)) for code in both}
        records |= {code: Record(glyph_name(code), Glyph(source, code)) for code in alone}
        self.train = tuple(records[code] for code in sorted([*pool, *alone]))
        self.test = tuple(records[code] for code in sorted(test))
        self.notes = (f"{len(pool):,} training characters with a target, {len(alone):,} sources without one, "
                      f"{len(test):,} test characters; {self.faces[source].name} to {self.faces[target].name}.",)
        self.identity = files.digest([face.identity for face in faces] +
                                     [self.channels, self.centre, self.advance, config.size, config.load])

    def read(self, ref: Glyph, height: int, width: int, load: bool) -> Array:
        """The character with an em of 7/8 of the square; the load view is the same with a margin for shifts."""
        tall, wide = self.crop_size(height, width) if load else (height, width)
        pixels = max(1, round(TYPE * min(tall, wide)))
        left = (width - wide) // 2 + round((wide - pixels * self.advance[ref.side]) / 2)
        baseline = (height - tall) // 2 + round(tall / 2 + pixels * self.centre)
        picture = self.faces[ref.side].draw(ref.code, (height, width), pixels, (left, baseline))
        return as_channels(picture, self.channels[ref.side])


def glyph_name(code: int) -> str:
    """`uni4E00`, `u20000`: the name that font editors give a character's glyph."""
    return f"uni{code:04X}" if code < 0x10000 else f"u{code:X}"


def font_dataset(source: Path, target: Path, *, weight_source: float | None = None,
                 weight_target: float | None = None, index_source: int = 0, index_target: int = 0,
                 charset: Iterable[str] | None = None, seed: int = 0) -> FontDataset:
    """Every character of two fonts: pairs where both draw it, an unlabelled source where only the source does.

    A tenth of the pairs (at most 256) becomes the test set, drawn by `seed`.

    Args:
        weight_source, weight_target: of a variable font; None leaves its default.
        index_source, index_target: of the face in a collection.
        charset: only these characters; None means all that the source has.

    Raises:
        UserError: a font cannot be read, both are the same, or they share fewer than two characters.
    """
    a, b = Face(source, weight_source, index_source), Face(target, weight_target, index_target)
    if a.identity == b.identity:
        raise UserError(f"{source} and {target} are the same font; the target is what characters are to become")
    drawn = a.has(a.cmap if charset is None else {ord(character) for character in charset})
    pairs = sorted(b.has(drawn))
    if len(pairs) < 2:
        raise UserError(f"{source} and {target} both draw {len(pairs)} character(s); at least 2 are needed")
    count = max(1, min(256, (len(pairs) + 5) // 10))
    test = {pairs[at] for at in Clock(seed).rng("test").permutation(len(pairs))[:count]}
    pool = [code for code in pairs if code not in test]
    return FontDataset(DataConfig(path=str(source)), f"{a.name} to {b.name}", (a, b),
                       pool=pool, alone=sorted(drawn - set(pairs)), test=sorted(test))


def write_folder(dataset: Dataset, size: Size, out: Path) -> None:
    """Write `trainA trainB testA testB` of PNG files of (H, W) pixels; the folder appears whole or not at all.

    trainB holds the targets that exist, so trainA is larger where sources are unlabelled.

    Raises:
        UserError: the folder exists and is not empty, or is the working directory, which cannot be replaced.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already and is not an empty folder; choose another --out")
    out = out.absolute()
    if out == Path.cwd():
        raise UserError("--out . is the folder that this command was given in; name a new folder, such as --out pictures")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write_pictures(dataset, size, part)
        about = (dataset.name, *dataset.notes, dataset.attribution)
        files.write_text(part / "README.txt", "".join(f"{line}\n" for line in about if line))
        if out.exists():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_pictures(dataset: Dataset, size: Size, folder: Path) -> None:
    jobs = [(folder / f"{split}{side}" / f"{record.key}.png", ref)
            for split, records in (("train", dataset.train), ("test", dataset.test))
            for record in records for side, ref in (("A", record.source), ("B", record.target)) if ref is not None]
    for parent in {path.parent for path, _ in jobs}:
        parent.mkdir(parents=True)
    with progress("pictures", len(jobs)) as bar:
        for path, ref in jobs:
            picture = dataset.read(ref, *size, load=False)
            Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(path)
            bar.advance()
