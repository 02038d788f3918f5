"""Public data sets of pairs: fetched from pix2pix's address, unpacked side by side, whole or absent."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ugc.core import files
from ugc.core.archive import DamagedError, unpack
from ugc.core.download import fetch
from ugc.core.errors import UserError, near
from ugc.core.log import say
from ugc.core.pins import pin, pin_file, pinned, read_note
from ugc.data.layouts import find_layout

SITE = "http://efrosgans.eecs.berkeley.edu/pix2pix/datasets"
GZIP = b"\x1f\x8b"
MARK = ".fetched.json"  # in the folder: what it is, and how many pictures it had when it was whole


@dataclass(frozen=True)
class Source:
    """One archive of the site. Counts are those that users of it report; size and digest: None, the site publishes none."""

    file: str
    a: str  # what side A shows
    b: str
    direction: Literal["AtoB", "BtoA"]  # the task of the papers
    counts: Mapping[str, int]
    terms: str
    recipe: str = ""  # of the paper's runs on it
    size: int | None = None
    sha256: str | None = None


SOURCES: Mapping[str, Source] = {
    "edges2shoes": Source(
        "edges2shoes.tar.gz", "edges", "photo", "AtoB", {"train": 49_825, "val": 200},
        "UT Zappos50K (A. Yu and K. Grauman, CVPR 2014), for academic, non-commercial use; edges by HED, for pix2pix",
        "edges2shoes-resnet-25"),
    "edges2handbags": Source(
        "edges2handbags.tar.gz", "edges", "photo", "AtoB", {"train": 138_567, "val": 200},
        "photos of a shop, gathered for iGAN (J.-Y. Zhu et al., ECCV 2016), no licence known; edges by HED, for pix2pix"),
    "facades": Source(
        "facades.tar.gz", "photo", "label map", "BtoA", {"train": 400, "val": 100, "test": 106},
        "CMP Facade Database (R. Tylecek and R. Sara, GCPR 2013); its terms: cmp.felk.cvut.cz/~tylecr1/facade"),
    "maps": Source(
        "maps.tar.gz", "aerial photo", "map", "BtoA", {"train": 1096, "val": 1098},
        "pictures of Google Maps, gathered for pix2pix (CVPR 2017); Google's terms of service"),
    "night2day": Source(
        "night2day.tar.gz", "night", "day", "AtoB", {"train": 17_823, "val": 10, "test": 2287},
        "Transient Attributes (P.-Y. Laffont et al., SIGGRAPH 2014), no licence known"),
    "cityscapes-pix2pix": Source(
        "cityscapes.tar.gz", "photo", "label map", "BtoA", {"train": 2975, "val": 500},
        "Cityscapes (M. Cordts et al., CVPR 2016): its terms ask for a registration and for non-commercial use; agree to "
        "them first, at www.cityscapes-dataset.com", "cityscapes-resnet-25"),
}


@dataclass(frozen=True)
class Fetched:
    """A folder of `train/ val/ [test/]` with pairs side by side."""

    folder: Path
    source: Source
    counts: Mapping[str, int]
    notes: tuple[str, ...] = field(default=())  # sentences for the person


def source_of(name: str) -> Source:
    """Raises UserError where there is no such set; says what is near."""
    if name not in SOURCES:
        raise UserError(f"unknown data set {name!r}: {near(name, SOURCES)}")
    return SOURCES[name]


def marked(folder: Path) -> dict[str, Any]:
    """What `fetch_set` noted in a folder; nothing in any other folder."""
    return read_note(folder / MARK)


def fetch_set(name: str, out: Path) -> Fetched:
    """Download (or take from the cache), check and unpack a set; the folder appears whole or not at all.

    The site publishes no digest: that of the first archive that unpacked well is noted beside it in the cache, and any
    later download must have the same.

    Raises:
        UserError: unknown name, no network, another file than the first time, an archive that is damaged or not to be
            trusted, no room, or `out` holds something else.
    """
    source = source_of(name)
    if found := _already(name, source, out):
        return found
    address = f"{SITE}/{source.file}"
    archive = files.home() / "archives" / source.file
    part = out.absolute().with_name(f".{out.absolute().name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)  # before all that has to come
        fetch(address, archive, source.size, source.sha256, name, GZIP)
        folder, counts = _unpacked(archive, part, name, address)
        first = not pinned(archive)
        pin(archive, address)
        sha256 = pinned(archive)["sha256"]
        about = (f"{name}: pairs side by side, A (left) is {source.a}, B (right) is {source.b}.",
                 f"From {address}, sha256 {sha256}.", f"Data: {source.terms}.")
        files.write_text(folder / "README.txt", "".join(f"{line}\n" for line in about))
        files.write_json(folder / MARK, {"name": name, "address": address, "sha256": sha256, "counts": counts,
                                         "attribution": f"{name}: {source.terms}."})
        files.sync()
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except OSError as problem:
        raise UserError(f"cannot write {out}: {problem.strerror or problem}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    notes = [f"The archive stays at {archive} ({archive.stat().st_size / 1e6:,.0f} MB); remove it whenever you like."]
    if first:
        notes.append(f"The site publishes no digest, so this first one was noted in {pin_file(archive)}: sha256 {sha256}. "
                     "Later downloads must agree with it.")
    if counts != source.counts:
        notes.append(f"Others counted {_listed(source.counts)}: look at the folder before you rely on it.")
    return Fetched(out, source, counts, tuple(notes))


def _already(name: str, source: Source, out: Path) -> Fetched | None:
    """The folder, where an earlier call finished it.

    Raises:
        UserError: it is not empty and holds something else, or pictures are gone.
    """
    if not out.exists():
        return None
    mark = marked(out) if out.is_dir() else {}
    if mark.get("name") != name:
        if out.is_dir() and not any(out.iterdir()):
            return None
        raise UserError(f"{out} exists already and is not {name}; choose another --out")
    counts = _counts(out)
    if counts != mark.get("counts"):
        raise UserError(f"{out} held {_listed(mark.get('counts') or {})} when it was fetched and now holds "
                        f"{_listed(counts)}; remove it and run the same command again")
    return Fetched(out, source, counts, (f"{out} is there already, complete; nothing was done.",))


def _unpacked(archive: Path, part: Path, name: str, address: str) -> tuple[Path, dict[str, int]]:
    """The folder with `train`, somewhere in `part`, and how many pictures each split has."""
    size = archive.stat().st_size
    free = shutil.disk_usage(part).free
    if free < size:
        raise UserError(f"cannot unpack {name}: it takes about {size / 1e6:,.0f} MB, and {part.parent} has "
                        f"{free / 1e6:,.0f} MB free; make room, or choose another --out")
    say(f"unpacking {archive}")
    try:
        unpack(archive, part, name, most=4 * size + (64 << 20))
    except DamagedError as problem:
        archive.unlink(missing_ok=True)
        raise UserError(f"{problem}; it was removed, and the same command fetches it again; or get {address} elsewhere "
                        f"and put it at {archive}") from None
    folder = next((place for place in (part, *sorted(part.glob("*"))) if (place / "train").is_dir()), None)
    if folder is None:
        raise UserError(f"{archive} is no set of pairs side by side: it has no folder train")
    return folder, _counts(folder)


def _counts(folder: Path) -> dict[str, int]:
    return {split: len(sides["A"]) for split, sides in find_layout(folder).splits.items()}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in counts.items()) or "nothing"
