"""A user's folder: which layout it has, which pictures belong together, and which of them are the test."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ugc.core import files
from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.data.dataset import DataConfig, Dataset, Record, Unlabelled, text_of
from ugc.data.fetch import marked
from ugc.data.labels import key_of, read_names
from ugc.data.layouts import ALONE, EXPECTED, Layout, Wanted, find_layout, has_labels
from ugc.data.pictures import Info, as_channels, as_depth, picture_info, read_picture, resize

Side = Literal["A", "B"]


@dataclass(frozen=True)
class Half:
    """A picture file as one side of a pair: all of it, or its left (A) or right (B) half."""

    path: str  # below the folder
    side: Side
    cut: bool


@dataclass(frozen=True)
class LabelMap(Half):
    """A label map as a source, with the file of its instance map, where there is one."""

    instances: str | None = None


class FolderDataset(Dataset):
    """Pictures of one layout; made by `open_folder`."""

    unlabelled_default: Unlabelled = "all"
    flip_default = True
    load_ratio = 286 / 256

    def __init__(self, root: Path, config: DataConfig, train: tuple[Record, ...], test: tuple[Record, ...],
                 notes: Iterable[str]) -> None:
        self.root, self.config, self.name, self.where = root, config, root.resolve().name, str(root.resolve())
        self.train, self.test = train, test
        self.attribution = str(marked(root).get("attribution", ""))
        self.source_side: Side = "A" if config.direction == "AtoB" else "B"
        refs = sorted({ref for record in (*train, *test) for ref in (record.source, record.target) if ref},
                      key=lambda half: (half.side, natural(half.path)))
        infos = {path: self.info(ref) for path, ref in {ref.path: ref for ref in refs}.items()}
        _check_shapes(root, infos, (*train, *test))
        sides = {side: {ref.path: infos[ref.path] for ref in refs if ref.side == side} for side in "AB"}
        wanted = {"A": config.source_channels, "B": config.target_channels}
        if self.source_side == "B":
            wanted = {"A": config.target_channels, "B": config.source_channels}
        self.channels = {side: wanted[side] or _channels(sides[side]) for side in "AB"}
        self.depth = {side: np.dtype(np.uint16 if any(i.dtype == np.uint16 for i in sides[side].values()) else np.uint8)
                      for side in "AB"}
        self.source_channels = self.channels[self.source_side]
        self.target_channels = self.channels["B" if self.source_side == "A" else "A"]
        self.notes = (*notes, *_mixtures(sides, self.channels))
        self.identity = files.digest([stamps(root, infos), self.channels,
                                      {side: str(depth) for side, depth in self.depth.items()}])

    def info(self, ref: Half) -> Info:
        """What the header of a file says."""
        return picture_info(self.root / ref.path)

    def read(self, ref: Half, height: int, width: int, load: bool) -> Array:
        """The whole picture, or its half, resized to (height, width); load and test views differ in size only."""
        picture = read_picture(self.root / ref.path)
        if ref.cut:
            middle = picture.shape[1] // 2
            picture = picture[:, :middle] if ref.side == "A" else picture[:, middle:]
        try:
            picture = as_channels(picture, self.channels[ref.side])
        except UserError as error:
            raise UserError(f"{self.root / ref.path}: {error}") from None
        return resize(as_depth(picture, self.depth[ref.side]), height, width)


def open_folder(root: Path, config: DataConfig, seed: int, targets: bool = True) -> FolderDataset:
    """Find the layout of a folder and pair its pictures by stem.

    Test pairs are those of `test`, else of `val`, else 10 % of the pairs (at most 256), drawn by `seed` from those
    that a .meta file does not claim. A source without a target is unlabelled; a target without a source is ignored.

    Args:
        targets: False where sources are enough. Then the test may be the sources of `test`, else of `val`, and where
            there is neither, nor a pair, 10 % of all sources.

    Raises:
        UserError: no layout, no picture, no pair, or nothing left to train on or to test with.
    """
    if has_labels(root):
        from ugc.data.labelmaps import open_labelled

        return open_labelled(root, config, seed, targets)
    for name, value in (("classes", config.classes), ("unknown", config.unknown)):
        if value is not None:
            raise UserError(f"data.{name}={value}: {root} holds pictures, and only label maps have classes")
    layout = find_layout(root, None if targets else Wanted("A" if config.direction == "AtoB" else "B", config.size))
    return FolderDataset(root, config, *divided(root, layout, config, seed, targets))


def divided(root: Path, layout: Layout, config: DataConfig, seed: int,
            targets: bool) -> tuple[tuple[Record, ...], tuple[Record, ...], list[str]]:
    """Training records, test records, and sentences about both; the rest as in `open_folder`."""
    if layout.clashes:
        (first, other), more = layout.clashes[0], len(layout.clashes) - 1
        raise UserError(f"{root / first} and {Path(other).name} have the same stem{_and_more(more)}; "
                        "expected one picture a stem")
    splits = {name: records(layout, name, config.direction) for name in layout.splits}
    train, alone_targets = splits["train"]
    pairs = [record for record in train if record.target is not None]
    if not pairs and targets:
        names = "a photo of the name of each label map" if layout.labels else "names such as 0001.png on both sides"
        raise UserError(f"{root} has no pair: {len(train)} source(s) and {alone_targets} target(s) in {layout.text}, "
                        f"and none share a stem (expected {names}){ALONE}")
    name, test = _held_out(splits, "pairs")
    kind = "pairs" if name or pairs else "sources"
    if not name and not targets:
        name, test = _held_out(splits, "sources")
        kind = "sources" if name else kind
    notes = [f"Layout: {layout.text}."]
    if name:
        notes.append(f"The test set is the {len(test):,} {kind} of {name}.")
    else:
        pool = pairs or train
        test = _carve(root, pool, config, seed)
        chosen = {record.key for record in test}
        train = [record for record in train if record.key not in chosen]
        notes.append(f"There is no test or val: the test set is {len(test):,} of {len(pool):,} {kind}, by seed {seed}.")
    labelled = sum(record.target is not None for record in train)
    notes.append(f"{labelled:,} pairs and {len(train) - labelled:,} unlabelled sources to train on." if targets else
                 f"{len(train):,} sources to train on; no target is read in training.")
    if alone_targets:
        notes.append(f"{alone_targets:,} targets without a source were ignored.")
    if others := len(layout.strangers) + len(layout.odd):
        notes.append(f"{others:,} files that are no pictures were ignored.")
    return tuple(train), tuple(test), notes


def _held_out(splits: Mapping[str, tuple[list[Record], int]], kind: str) -> tuple[str, list[Record]]:
    """`test`, else `val`, with its pairs, or with all its sources; ("", []) where there is none."""
    for name in ("test", "val"):
        found = [record for record in splits.get(name, ([], 0))[0] if record.target is not None or kind == "sources"]
        if found:
            return name, found
    return "", []


def records(layout: Layout, split: str, direction: str) -> tuple[list[Record], int]:
    """The records of a split in natural order, and how many targets have no source."""
    def half(side: Side) -> dict[str, Half]:
        if side == "A" and layout.labels:
            instances = layout.splits[split]["I"]
            return {key: LabelMap(path, side, False, instances.get(key)) for key, path in layout.splits[split][side].items()}
        return {key: Half(path, side, layout.cut) for key, path in layout.splits[split][side].items()}

    sources, targets = (half("A"), half("B")) if direction == "AtoB" else (half("B"), half("A"))
    records = [Record(key, sources[key], targets.get(key)) for key in sorted(sources, key=natural)]
    return records, len(targets.keys() - sources.keys())


def _carve(root: Path, pairs: list[Record], config: DataConfig, seed: int) -> list[Record]:
    """The test set out of the pairs, or out of sources where there is no pair."""
    if len(pairs) == 1:
        kind = "source" if pairs[0].target is None else "pair"
        raise UserError(f"{root} has only one {kind}: nothing is left to test with; add {kind}s, or a test folder")
    keys = {record.key for record in pairs}
    claimed = {key_of(name, keys) for name in read_names(config.labels)} if isinstance(config.labels, str) else set()
    free = [record for record in pairs if record.key not in claimed]
    if not free:
        raise UserError(f"labels={config.labels} claims every pair of {root}: nothing is left to test with; "
                        "leave some out, or add a test folder")
    count = min(len(free), max(1, min(256, (len(pairs) + 5) // 10)))
    chosen = sorted(Clock(seed).rng("test").permutation(len(free))[:count])
    return [free[at] for at in chosen]


def stamps(root: Path, paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """Path, size and time of files: the same as long as nobody has written to them."""
    found = [(path, (root / path).stat()) for path in paths]
    return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in found]


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key by which frame_9 comes before frame_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _channels(infos: Mapping[str, Info]) -> int:
    """One count for a role: its own where all agree (opacity laid on white), else colour; 0 where there is no picture."""
    counts = {info.channels - info.alpha: path for path, info in infos.items()}
    if len(counts) > 1 and max(counts) > 3:
        (few, first), *_, (many, second) = sorted(counts.items())
        raise UserError(f"{first} has {few} channel(s) and {second} has {many}; expected one number on a side")
    return 3 if len(counts) > 1 else next(iter(counts), 0)


def _check_shapes(root: Path, infos: Mapping[str, Info], records: Iterable[Record]) -> None:
    """UserError for pictures that are no two halves, and for pairs whose sides are cut differently."""
    halves = {ref.path for record in records for ref in (record.source, record.target) if ref and ref.cut}
    if single := [path for path in sorted(halves) if infos[path].size[1] <= infos[path].size[0]]:
        height, width = infos[single[0]].size
        raise UserError(f"{root / single[0]} is {width} wide and {height} high, not a pair side by side"
                        f"{_and_more(len(single) - 1)}; expected {EXPECTED}{ALONE}")
    if odd := [record for record in records if misfit(record, infos)]:
        a, b = (ref.path for ref in (odd[0].source, odd[0].target) if ref)
        raise UserError(f"{root / a} is {text_of(infos[a].size)} and its target {b} is {text_of(infos[b].size)} (height x "
                        f"width): they do not show the same cut{_and_more(len(odd) - 1)}; ugc data check lists all")


def misfit(record: Record, infos: Mapping[str, Info]) -> bool:
    """Whether the sides of a pair differ in proportions by more than a pixel; a mere difference in scale is none."""
    if record.target is None or record.source.cut:
        return False
    (h, w), (tall, wide) = infos[record.source.path].size, infos[record.target.path].size
    return abs(h * wide - w * tall) > max(h, w, tall, wide)


def differs(record: Record, infos: Mapping[str, Info]) -> bool:
    """Whether the sides of a pair differ in size, but not in proportions."""
    same = record.target is None or record.source.cut or infos[record.source.path].size == infos[record.target.path].size
    return not same and not misfit(record, infos)


def _and_more(count: int) -> str:
    return f" (and {count:,} more)" if count else ""


def _mixtures(sides: Mapping[str, Mapping[str, Info]], channels: Mapping[str, int]) -> Iterable[str]:
    """Sentences about what was made uniform."""
    for side, infos in sides.items():
        found = infos.values()
        if len({info.channels - info.alpha for info in found}) > 1:
            yield f"Side {side} mixes grey and colour; all of it is read as colour."
        if any(info.alpha and info.channels > channels[side] for info in found):
            yield f"Side {side} has opacity; it is laid on white."
        if len({info.dtype for info in found}) > 1:
            yield f"Side {side} mixes 8 and 16 bits; all of it is read as 16 bits."
        sizes = {info.size for info in found}
        if len(sizes) > 1:
            yield f"Side {side} has pictures of {len(sizes):,} sizes, {text_of(min(sizes))} the least; all are resized."
