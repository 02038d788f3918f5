"""The layouts in which people keep pairs, found by looking."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

from ugc.core.errors import UserError
from ugc.data.dataset import Size
from ugc.data.pictures import SUFFIXES, picture_info

SPLITS = ("train", "val", "test")
TWO_SIDED = (("{}A", "{}B"), ("{}_A", "{}_B"), ("A/{}", "B/{}"))
EXPECTED = ("pairs side by side (A|B) in train/ [val/ test/] or in the folder itself, or A/train B/train, or A/ B/, "
            "or trainA trainB [valA valB testA testB], or train_A train_B, or label maps in train_label with photos in "
            "train_img, or as Cityscapes has them")
ALONE = "; sources alone are enough to compress a net that you have: --method from-teacher --original DIR"

LABELS = {"A": "{}_label", "I": "{}_inst", "B": "{}_img"}  # of pix2pixHD
CITYSCAPES = {"A": "gtFine/{}", "I": "gtFine/{}", "B": "leftImg8bit/{}"}
ENDINGS = {"A": "_gtFine_labelIds", "I": "_gtFine_instanceIds", "B": "_leftImg8bit"}  # of its names; others lie beside

Files = dict[str, str]  # key (path without suffix) -> path below the root


@dataclass(frozen=True)
class Layout:
    """What was found: for each split, the files of both sides; of label maps their instance maps, too."""

    text: str  # such as "trainA trainB testA testB"
    splits: Mapping[str, Mapping[str, Files]]  # split -> "A", "B" or "I" (instance maps) -> files
    cut: bool = False  # each file holds both sides
    strangers: tuple[str, ...] = ()  # what is ignored: files that are not named as pictures, linked folders
    odd: tuple[str, ...] = ()  # what is named as a picture and is no file: `trainA/1.png is a link to nothing`
    clashes: tuple[tuple[str, str], ...] = ()  # pictures of one folder and one stem
    labels: Literal["", "ids", "cityscapes"] = ""  # A holds label maps: any ids, or those of Cityscapes


@dataclass(frozen=True)
class Wanted:
    """What a method that needs no target looks for: sources, on one side (`A` or `B`), for crops of a size."""

    side: str
    crop: Size


def find_layout(root: Path, alone: Wanted | None = None) -> Layout:
    """The first layout that the folder has, two-sided ones first.

    Args:
        alone: sources are enough; None where targets are needed, too.

    Raises:
        UserError: none, with what was expected and what was found.
    """
    for a, b in TWO_SIDED:
        if (root / a.format("train")).is_dir() or (root / b.format("train")).is_dir():
            return _two_sided(root, {split: (a.format(split), b.format(split)) for split in SPLITS}, alone)
    if (root / "A").is_dir() or (root / "B").is_dir():
        return _two_sided(root, {"train": ("A", "B")}, alone)
    if (root / "train").is_dir():
        return _one_sided(root, {split: split for split in SPLITS if (root / split).is_dir()}, alone)
    if Pictures(root, root, deep=False).found:
        return _one_sided(root, {"train": "."}, alone)
    inside = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir() if not entry.name.startswith("."))
    found = ", ".join(inside[:6]) + (f" and {len(inside) - 6} more" if len(inside) > 6 else "") if inside else "nothing"
    if alone:
        raise UserError(f"{root} holds no sources that are understood: found {found}; expected pictures in the folder "
                        f"itself, in train/ or in train{alone.side}/")
    raise UserError(f"{root} holds no pairs that are understood: found {found}; expected {EXPECTED}")


def has_labels(root: Path) -> bool:
    """Whether a folder is a tree of label maps."""
    return (root / "gtFine").is_dir() or (root / LABELS["A"].format("train")).is_dir()


def find_labels(root: Path) -> Layout:
    """The layout of a tree of label maps (A), their instance maps (I) and photos (B).

    Raises:
        UserError: it holds no label map to train on.
    """
    places = CITYSCAPES if (root / "gtFine").is_dir() else LABELS
    city = places is CITYSCAPES or any((root / places["A"].format("train")).glob(f"*{ENDINGS['A']}.*"))
    endings = ENDINGS if city else dict.fromkeys("AIB", "")
    splits, looked, names = dict[str, dict[str, Files]](), list[Pictures](), list[str]()
    for split in SPLITS:
        there = {side: name for side in "AIB" if (root / (name := places[side].format(split))).is_dir()}
        if "A" in there:
            sides = {side: Pictures(root, root / name, ending=endings[side]) for side, name in there.items()}
            splits[split] = {side: sides[side].found if side in sides else {} for side in "AIB"}
            looked += sides.values()
            names += there.values()
    if not splits.get("train", {}).get("A"):
        raise UserError(f"{root / places['A'].format('train')} holds no label map (expected files such as "
                        f"{'CITY/NAME' if city else '0001'}{endings['A']}.png)")
    text = f"Cityscapes' own, gtFine and leftImg8bit: {' '.join(splits)}" if places is CITYSCAPES else " ".join(names)
    return replace(_layout(text, splits, looked), labels="cityscapes" if city else "ids")


def _two_sided(root: Path, folders: Mapping[str, tuple[str, str]], alone: Wanted | None) -> Layout:
    needed = "AB" if alone is None else alone.side
    missing = [name for side, name in zip("AB", folders["train"]) if side in needed and not (root / name).is_dir()]
    if missing:
        other = next(name for name in folders["train"] if name not in missing)
        if alone:
            raise UserError(f"{root} has {other} but no {missing[0]}, where --direction says that the sources are")
        raise UserError(f"{root} has {other} but no {missing[0]}; expected {EXPECTED}{ALONE}")
    splits: dict[str, dict[str, Files]] = {}
    names, looked = list[str](), list[Pictures]()
    for split, pair in folders.items():
        there = {side: name for side, name in zip("AB", pair) if (root / name).is_dir()}
        if there if alone is None else alone.side in there:  # of a test without one side there are no pairs, which is told
            sides = {side: Pictures(root, root / name) for side, name in there.items()}
            splits[split] = {"A": {}, "B": {}, **{side: pictures.found for side, pictures in sides.items()}}
            looked += sides.values()
            names += there.values()
    for side, name in zip("AB", folders["train"]):
        if side in needed and not splits["train"][side]:
            some = any(splits["train"].values())
            raise UserError(f"{root / name} holds no picture ({_kinds()}){ALONE if some and alone is None else ''}")
    return _layout(" ".join(names), splits, looked)


def _one_sided(root: Path, folders: Mapping[str, str], alone: Wanted | None) -> Layout:
    """One folder a split: its pictures are pairs side by side, or sources where these are enough.

    Then they are pairs only where a half, and not the whole, has the crop's shape: nothing else tells a pair A|B from
    a wide source.
    """
    if alone is None:
        return _side_by_side(root, folders)
    if folders["train"] == ".":
        folders = {**folders, **{split: split for split in SPLITS if (root / split).is_dir()}}
    both = {split: Pictures(root, root / name, deep=name != ".") for split, name in folders.items()}
    splits = {split: {"A": Files(), "B": Files(), alone.side: found.found} for split, found in both.items()}
    if not (first := splits["train"][alone.side]):
        raise UserError(f"{root / folders['train']} holds no picture ({_kinds()})")
    height, width = picture_info(root / min(first.values())).size
    if width > height and abs(width * alone.crop[0] - 2 * height * alone.crop[1]) <= 0.02 * height * alone.crop[1]:
        return _side_by_side(root, folders)
    where = "the folder itself" if folders["train"] == "." else folders["train"]
    return _layout(f"sources alone in {' '.join([where, *list(folders)[1:]])}", splits, both.values())


def _side_by_side(root: Path, folders: Mapping[str, str]) -> Layout:
    both = {split: Pictures(root, root / name, deep=name != ".") for split, name in folders.items()}
    splits = {split: {"A": pictures.found, "B": pictures.found} for split, pictures in both.items()}
    if not splits["train"]["A"]:
        raise UserError(f"{root / folders['train']} holds no picture ({_kinds()})")
    if {key.partition("/")[0] for key in splits["train"]["A"]} == {"A", "B"}:
        raise UserError(f"{root / folders['train']} holds folders A and B, and no pairs side by side: expected the two "
                        f"sides in {root / 'trainA'} and {root / 'trainB'}, or in {root / 'A'} and {root / 'B'}")
    where = "the folder itself" if folders["train"] == "." else " ".join(folders.values())
    return _layout(f"pairs side by side in {where}", splits, both.values(), cut=True)


def _layout(text: str, splits: Mapping[str, Mapping[str, Files]], looked: Iterable[Pictures], cut: bool = False) -> Layout:
    looked = list(looked)
    return Layout(text, splits, cut, tuple(name for one in looked for name in one.strangers),
                  tuple(line for one in looked for line in one.odd), tuple(clash for one in looked for clash in one.clashes))


class Pictures:
    """The pictures of a folder.

    found: by key (path below `folder` without suffix), the first of each. clashes: pictures whose key another one has.
    strangers, odd: as in `Layout`. Names that begin with a dot are left alone.

    Args:
        deep: look into its folders, too.
        ending: of the stems that are looked for. Then the key is the stem before it, and other files are no strangers.
    """

    def __init__(self, root: Path, folder: Path, deep: bool = True, ending: str = "") -> None:
        self.found: Files = {}
        self.strangers: list[str] = []
        self.odd: list[str] = []
        self.clashes: list[tuple[str, str]] = []
        for path in sorted(_files(folder, deep)):
            key, name = path.relative_to(folder).with_suffix("").as_posix(), path.relative_to(root).as_posix()
            if ending:
                if not (path.stem.endswith(ending) and _named_as_picture(path)):
                    continue
                key = path.stem.removesuffix(ending)
            if not _named_as_picture(path):
                self.strangers.append(_shown(name) + "/ (a link to a folder)" * path.is_dir())
                continue
            if not path.is_file():
                self.odd.append(f"{_shown(name)} is {_kind(path)}")
                continue
            if len(key.splitlines()) != 1 or any("\ud800" <= sign <= "\udfff" for sign in key):  # labels.txt takes neither
                raise UserError(f"{name!r} in {root}: its name has a line break, or bytes that are no UTF-8; rename it")
            if key in self.found:
                self.clashes.append((self.found[key], name))
            else:
                self.found[key] = name


def _files(folder: Path, deep: bool) -> Iterator[Path]:
    """All that is no folder; and folders that are named as pictures or, among those to look into, are links."""
    for where, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(where, name) for name in names if not name.startswith("."))
        yield from (path for name in folders if _named_as_picture(path := Path(where, name)) or (deep and path.is_symlink()))
        folders[:] = folders if deep else []


def _named_as_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _kind(path: Path) -> str:
    """What something that is no file is."""
    if path.is_dir():
        return "a link to a folder, which is not looked into" if path.is_symlink() else "a folder"
    return "no file (a pipe, a device)" if path.exists() else "a link to nothing"


def _shown(name: str) -> str:
    """A name that a terminal takes: without line breaks, and bytes that are no UTF-8 escaped."""
    return name if name.isprintable() else repr(name)


def _refuse(error: OSError) -> NoReturn:
    raise error


def _kinds() -> str:
    return "expected " + ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
