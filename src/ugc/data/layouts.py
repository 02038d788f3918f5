"""The layouts in which people keep pairs, found by looking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ugc.core.errors import UserError
from ugc.data.pictures import SUFFIXES, picture_info

SPLITS = ("train", "val", "test")
TWO_SIDED = (("{}A", "{}B"), ("{}_A", "{}_B"), ("A/{}", "B/{}"))
EXPECTED = ("pairs side by side (A|B) in train/ [val/ test/] or in the folder itself, or A/train B/train, or A/ B/, "
            "or trainA trainB [valA valB testA testB], or train_A train_B")

Files = dict[str, str]  # key (path without suffix) -> path below the root


@dataclass(frozen=True)
class Layout:
    """What was found: for each split, the files of both sides."""

    text: str  # such as "trainA trainB testA testB"
    splits: Mapping[str, Mapping[str, Files]]  # split -> "A" or "B" -> files
    cut: bool = False  # each file holds both sides
    strangers: int = 0  # files that are no pictures


def find_layout(root: Path) -> Layout:
    """The first layout that the folder has, two-sided ones first.

    Raises:
        UserError: none, with what was expected and what was found.
    """
    for a, b in TWO_SIDED:
        if (root / a.format("train")).is_dir() or (root / b.format("train")).is_dir():
            return _two_sided(root, {split: (a.format(split), b.format(split)) for split in SPLITS})
    if (root / "A").is_dir() or (root / "B").is_dir():
        return _two_sided(root, {"train": ("A", "B")})
    if (root / "train").is_dir():
        return _side_by_side(root, {split: split for split in SPLITS if (root / split).is_dir()})
    if _pictures(root, root, deep=False)[0]:
        return _side_by_side(root, {"train": "."})
    inside = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir() if not entry.name.startswith("."))
    found = ", ".join(inside[:6]) + (f" and {len(inside) - 6} more" if len(inside) > 6 else "") if inside else "nothing"
    raise UserError(f"{root} holds no pairs that are understood: found {found}; expected {EXPECTED}")


def _two_sided(root: Path, folders: Mapping[str, tuple[str, str]]) -> Layout:
    missing = [name for name in folders["train"] if not (root / name).is_dir()]
    if missing:
        other = next(name for name in folders["train"] if name not in missing)
        raise UserError(f"{root} has {other} but no {missing[0]}; expected {EXPECTED}")
    splits: dict[str, dict[str, Files]] = {}
    strangers, names = 0, list[str]()
    for split, pair in folders.items():
        if all((root / name).is_dir() for name in pair):
            (a, odd_a), (b, odd_b) = (_pictures(root, root / name) for name in pair)
            splits[split] = {"A": a, "B": b}
            strangers += odd_a + odd_b
            names += pair
    for side, name in zip("AB", folders["train"]):
        if not splits["train"][side]:
            raise UserError(f"{root / name} holds no picture ({_kinds()})")
    return Layout(" ".join(names), splits, strangers=strangers)


def _side_by_side(root: Path, folders: Mapping[str, str]) -> Layout:
    splits, strangers = {}, 0
    for split, name in folders.items():
        both, odd = _pictures(root, root / name, deep=name != ".")
        splits[split] = {"A": both, "B": both}
        strangers += odd
    if not (first := splits["train"]["A"]):
        raise UserError(f"{root / folders['train']} holds no picture ({_kinds()})")
    path = root / min(first.values())
    height, width = picture_info(path).size
    if width <= height:
        raise UserError(f"{path} is {width} wide and {height} high, not a pair side by side; expected {EXPECTED}")
    where = "the folder itself" if folders["train"] == "." else " ".join(folders.values())
    return Layout(f"pairs side by side in {where}", splits, cut=True, strangers=strangers)


def _pictures(root: Path, folder: Path, deep: bool = True) -> tuple[Files, int]:
    """Pictures by key (path below `folder` without suffix), and how many other files there are."""
    found: Files = {}
    strangers = 0
    for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
        inside = path.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or not path.is_file():
            continue
        if path.suffix.lower() not in SUFFIXES:
            strangers += 1
            continue
        key = inside.with_suffix("").as_posix()
        if key in found:
            raise UserError(f"{root / found[key]} and {path.name} have the same stem; expected one picture a stem")
        found[key] = path.relative_to(root).as_posix()
    return found, strangers


def _kinds() -> str:
    return "expected " + ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
