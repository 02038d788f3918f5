"""What a folder of pictures holds, before anything is trained on it: counts, sizes, channels, and all that is wrong.

Every file is decoded, so this takes as long as the beginning of a run. Nothing is written.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ugc.core.errors import UserError
from ugc.core.files import place
from ugc.core.images import Array
from ugc.core.log import progress
from ugc.data.checklabels import class_lines, classes_of, found_in, label_problems
from ugc.data.dataset import DataConfig, Dataset, Record, open_dataset, text_of
from ugc.data.folders import LabelMap, differs, misfit, records
from ugc.data.idmaps import id_counts, map_info, read_labels, read_map
from ugc.data.labelmaps import with_classes
from ugc.data.labels import split
from ugc.data.layouts import Layout, find_labels, find_layout, has_labels
from ugc.data.pictures import Info, picture_info, read_picture

SHOWN = 10  # lines of each kind of problem that people see; programs get all
ROLES = {"source": "A", "target": "B"}


@dataclass(frozen=True)
class Look:
    """What one file turned out to be: a picture, with a digest of the pixels of each side, or an error.

    ids: of a label map, pixels by class id.
    """

    info: Info | None = None
    ids: Mapping[int, int] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be, and every place where it is so."""

    kind: str
    where: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What `ugc data check` tells. error: the sentence with which `ugc run` would end, or ""."""

    about: Mapping[str, Any]
    problems: tuple[Problem, ...]
    error: str

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {"starts": not self.error, "error": self.error or None, **self.about,
                "problems": [{"kind": p.kind, "count": len(p.where), "where": list(p.where)} for p in self.problems]}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"folder      {self.about['folder']}"
        if self.about["layout"]:
            yield f"layout      {self.about['layout']}"
            yield f"pairs       {self.about['pairs']:,} to train on"
            yield f"unlabelled  {self.about['unlabelled']:,} sources without a target"
            yield f"test        {self.about['test']:,} pairs ({self.about['test_from']})"
            for role in ROLES:
                side = self.about[role]
                yield (f"{role:10}  {side['pictures']:,} pictures; channels: {most(side['channels'])}; "
                       f"bits: {most(side['bits'])}; height x width: {most(side['sizes'])}")
            yield from class_lines(self.about["classes"]) if "classes" in self.about else ()
        for problem in self.problems:
            yield f"\n{problem.kind}: {len(problem.where):,}"
            yield from (f"  {place}" for place in problem.where[:SHOWN])
            if len(problem.where) > SHOWN:
                yield f"  and {len(problem.where) - SHOWN:,} more"
        yield "" if self.error else "\nugc run can train on this folder."


def most(counts: Mapping[str, int]) -> str:
    """`3` or `3 (20), 1 (4) and 2 more`: the commonest first."""
    if len(counts) == 1:
        return next(iter(counts))
    text = ", ".join(f"{name} ({count:,})" for name, count in list(counts.items())[:4])
    return text + (f" and {len(counts) - 4:,} more" if len(counts) > 4 else "") if counts else "none"


def check(folder: str) -> Report:
    """Look at all pictures of a folder.

    Raises:
        UserError: no folder.
        OSError: a folder cannot be listed.
    """
    root = place(folder).resolve()
    config = DataConfig(path=str(root))
    dataset, error = None, ""
    if not root.is_dir():
        raise UserError(f"{folder} is no folder; expected one with pictures")
    try:
        dataset = open_dataset(config, 0)
    except UserError as problem:
        error = str(problem)
    try:
        layout = find_labels(root) if has_labels(root) else find_layout(root)
    except UserError:
        return Report({"folder": str(root), "layout": None}, (), error)
    looks = look_at(root, layout)
    if layout.labels:
        layout = with_classes(layout, found_in(layout, ids_of(looks)))
    parts = {name: records(layout, name, config.direction)[0] for name in layout.splits}
    problems = tuple(p for p in all_problems(root, layout, parts, looks) if p.where)
    return Report(counted(root, layout, parts, looks, dataset), problems, error or in_a_run(root, config, dataset, looks))


Parts = Mapping[str, list[Record]]
Looks = Mapping[str, Look]


# ---- the files ----

def look_at(root: Path, layout: Layout) -> dict[str, Look]:
    """Every picture of the layout, by path below `root`."""
    paths = {path: side if layout.labels else "" for sides in layout.splits.values() for side, files in sides.items()
             for path in files.values()}
    with progress("check", len(paths)) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        found = {}
        for path, look in zip(paths, pool.map(lambda path: look_at_one(root / path, layout.cut, paths[path]), paths)):
            found[path] = look
            bar.advance()
    return found


def look_at_one(path: Path, cut: bool, labels: str) -> Look:
    """labels: A for a label map, I for an instance map; else it is a picture."""
    try:
        if labels == "A":
            ids = read_labels(path)
            return Look(map_info(path), id_counts(ids), {"A": digest(ids)})
        if labels == "I":
            read_map(path, "instance map")
            return Look(map_info(path, "instance map"))
        info, pixels = picture_info(path), read_picture(path)
    except UserError as error:
        return Look(error=str(error))
    middle = pixels.shape[1] // 2
    return Look(info, digests={"A": digest(pixels[:, :middle]), "B": digest(pixels[:, middle:])} if cut
                else dict.fromkeys("AB", digest(pixels)))


def ids_of(looks: Looks) -> dict[str, Mapping[int, int]]:
    """path -> id -> pixels."""
    return {path: look.ids for path, look in looks.items()}


def digest(pixels: Array) -> str:
    """Of the decoded pixels, so that the same picture in another lossless format is the same."""
    head = f"{pixels.dtype.itemsize} {pixels.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


# ---- what they come to ----


def counted(root: Path, layout: Layout, parts: Parts, looks: Looks, dataset: Dataset | None) -> dict[str, Any]:
    """Plain data: counts of pairs and of kinds. Without a data set, no test pairs have been drawn."""
    name = test_part(parts)
    train = dataset.train if dataset else parts["train"]
    test = dataset.test if dataset else [r for r in parts[name] if r.target] if name else []
    pairs = sum(record.target is not None for record in train)
    about = {"folder": str(root), "layout": layout.text, "pairs": pairs, "unlabelled": len(train) - pairs, "test": len(test),
             "test_from": name or "drawn from the pairs", "other_files": len(layout.strangers)}
    for role, side in ROLES.items():
        infos = [looks[path].info for sides in layout.splits.values() for path in sides[side].values()]
        sizes = Counter(text_of((i.size[0], i.size[1] // 2) if layout.cut else i.size) for i in infos if i)
        about[role] = {"pictures": sum(sizes.values()), "sizes": dict(sizes.most_common()),
                       "channels": dict(Counter(str(i.channels) for i in infos if i).most_common()),
                       "bits": dict(Counter(str(8 * np.dtype(i.dtype).itemsize) for i in infos if i).most_common())}
    if layout.labels:
        about["classes"] = classes_of(root, layout, ids_of(looks))
    return about


def test_part(parts: Parts) -> str:
    """The split that is the test set; "" where it is drawn from the pairs."""
    return next((name for name in ("test", "val") if any(r.target for r in parts.get(name, []))), "")


test_part.__test__ = False  # type: ignore[attr-defined]  # pytest: not a test


def all_problems(root: Path, layout: Layout, parts: Parts, looks: Looks) -> Iterator[Problem]:
    """In the order of how much they matter."""
    damaged = [look.error.removeprefix(f"{root}/") for look in looks.values() if look.error]
    yield Problem("unreadable files", (*damaged, *layout.odd))
    yield Problem("files of one folder with the same stem", tuple(f"{a} and {b}" for a, b in layout.clashes))
    infos = {path: look.info for path, look in looks.items() if look.info}
    seen = [r for part in parts.values() for r in part if all(ref.path in infos for ref in (r.source, r.target) if ref)]
    if layout.cut:
        yield Problem("not two halves side by side",
                      tuple(f"{path} is {text_of(i.size)}" for path, i in infos.items() if i.size[1] <= i.size[0]))
    else:
        def sizes(r: Record) -> str:
            return " and ".join(f"{ref.path} of {text_of(infos[ref.path].size)}" for ref in (r.source, r.target) if ref)

        yield Problem("pairs of different proportions", tuple(sizes(r) for r in seen if misfit(r, infos)))
        yield Problem("pairs of different sizes (both are resized)", tuple(sizes(r) for r in seen if differs(r, infos)))
        lone = {name: [files[key] for key in files if key not in layout.splits[name]["A"]]
                for name, sides in layout.splits.items() for files in [sides["B"]]}
        yield Problem("targets without a source (ignored)", tuple(path for paths in lone.values() for path in paths))
        yield Problem("test sources without a target (ignored)", tuple(
            r.source.path for name, part in parts.items() if name != "train" for r in part if not r.target))
    if layout.labels:
        classes = classes_of(root, layout, ids_of(looks))["count"]
        yield from (Problem(kind, tuple(places)) for kind, places in label_problems(layout, infos, ids_of(looks), classes))
    where = "in train and test" if test_part(parts) else "twice (one of them may be drawn for the test)"
    for role in ROLES:
        yield Problem(f"the same {role} {where}", tuple(twins(role, parts, looks)))
    yield Problem("other files (ignored)", layout.strangers)


def twins(role: str, parts: Parts, looks: Looks) -> Iterator[str]:
    """Test pictures with the same pixels as one to train on; where the test is drawn, pictures of pairs that come twice."""
    def paths(some: Iterable[Record]) -> Iterator[tuple[str, str]]:
        for record in some:
            ref = getattr(record, role)
            if ref and (found := looks[ref.path].digests.get(ref.side)):
                yield found, ref.path

    name, train = test_part(parts), parts["train"]
    if name:
        known = dict(paths(train))
        yield from (f"{path} is {known[found]}" for found, path in paths(parts[name]) if found in known)
        return
    known = dict(paths(r for r in train if r.target))  # by pixels, the last of each
    yield from (f"{path} is {known[found]}" for found, path in paths(train) if known.get(found, path) != path)


def in_a_run(root: Path, config: DataConfig, dataset: Dataset | None, looks: Looks) -> str:
    """The sentence with which a run on the opened data set would end, in the order in which it decodes."""
    assert dataset
    try:
        parts = split(dataset, config, 0)
    except UserError as error:
        return str(error)
    of = {record.key: record for record in dataset.train}
    used = {*parts.labelled, *parts.unlabelled, *parts.validation}
    order = [*(r.source for r in dataset.train if r.key in used), *(of[key].target for key in parts.labelled),
             *(r.source for r in dataset.test), *(r.target for r in dataset.test)]
    paths = [path for ref in order if ref for path in (ref.path, ref.instances if isinstance(ref, LabelMap) else None)]
    return next((looks[path].error for path in paths if path and looks[path].error), "")
