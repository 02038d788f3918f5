"""Label maps as sources: class ids and the edges of instances, with photos for targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ugc.core import files
from ugc.core.encoding import MOST, UNKNOWN, LabelEncoding
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.core.palettes import CITYSCAPES
from ugc.data.dataset import DataConfig, Record, text_of
from ugc.data.folders import FolderDataset, Half, LabelMap, divided, stamps
from ugc.data.idmaps import Found, map_info, nearest, read_labels, read_map, scan
from ugc.data.layouts import Layout, find_labels
from ugc.data.pictures import Info

VOID = frozenset(range(5))  # unlabeled, ego vehicle, rectification border, out of roi, static: all that Cityscapes' test has


class LabelDataset(FolderDataset):
    """Label maps of one layout, with photos; made by `open_labelled`."""

    def __init__(self, root: Path, config: DataConfig, train: tuple[Record, ...], test: tuple[Record, ...],
                 notes: Iterable[str], encoding: LabelEncoding, layout: Layout) -> None:
        self.maps = encoding
        self.load_ratio = 286 / 256 if encoding.unknown and layout.labels == "ids" else 1.0  # COCO-Stuff's, Cityscapes'
        super().__init__(root, config, train, test, notes)
        self.source_channels = encoding.stored
        instances = [r.source.instances for r in (*train, *test)] if encoding.edges else []
        self.identity = files.digest([self.identity, encoding.model_dump(mode="json"), stamps(root, instances)])

    @property
    def encoding(self) -> LabelEncoding:
        return self.maps

    def info(self, ref: Half) -> Info:
        """As of pictures; an instance map is as large as its label map."""
        if not isinstance(ref, LabelMap):
            return super().info(ref)
        info = map_info(self.root / ref.path)
        if ref.instances and (size := map_info(self.root / ref.instances, "instance map").size) != info.size:
            raise UserError(f"{self.root / ref.instances} is {text_of(size)} and its label map {ref.path} is "
                            f"{text_of(info.size)} (height x width); expected the same size")
        return info

    def read(self, ref: Half, height: int, width: int, load: bool) -> Array:
        """A photo as of any folder. A label map: uint8 [height, width, 1 or 2], class ids and edges (0 or 1).

        Ids are those of the nearest pixel; edges are found in the instance map when it has its new size.
        """
        if not isinstance(ref, LabelMap):
            return super().read(ref, height, width, load)
        ids, instances = nearest(self.full_labels(ref), height, width), None
        if self.encoding.edges:
            assert ref.instances
            instances = nearest(read_map(self.root / ref.instances, "instance map"), height, width)
        return self.encoding.store(ids, instances, str(self.root / ref.path))

    def full_labels(self, ref: LabelMap) -> Array:
        """The class ids of a source at its own size, as the file has them: uint8 [H, W]."""
        return read_labels(self.root / ref.path)


def open_labelled(root: Path, config: DataConfig, seed: int, targets: bool = True) -> LabelDataset:
    """A tree of label maps, [instance maps] and photos; pairs, unlabelled sources and test as in `open_folder`.

    Args:
        targets: False where label maps without photos are enough.

    Raises:
        UserError: no label map or no pair; ids that are no class; some, but not all instance maps; options that make
            no sense here; and as `open_folder`.
    """
    _check_options(config, root)
    layout = find_labels(root)
    found = scan(root, {split: sides["A"] for split, sides in layout.splits.items()})
    kept = with_classes(layout, found)
    train, test, notes = divided(root, kept, config, seed, targets)
    if kept is not layout:
        notes.insert(1, "The label maps of Cityscapes' own test hold no classes and are left out.")
    sources = [record.source for record in (*train, *test)]
    edges = any(source.instances for source in sources)
    if edges and (bare := [source.path for source in sources if not source.instances]):
        raise UserError(f"{root}: {len(bare):,} of {len(sources):,} label maps have no instance map, the first is "
                        f"{bare[0]}; add them, or take all instance maps away to train without edges")
    encoding = encoding_for(root, kept.labels, config, [found[split] for split in kept.splits], edges)
    notes.append(f"Label maps of {encoding.classes} classes{', and 255 for unknown' * encoding.unknown}; "
                 f"{'the last channel is the edges of instances' if edges else 'no instance maps, so no edge channel'}.")
    return LabelDataset(root, config, train, test, notes, encoding, kept)


def _check_options(config: DataConfig, root: Path) -> None:
    if config.direction == "BtoA":
        raise UserError(f"{root} holds label maps, which are sources only: --direction BtoA makes no sense here")
    if config.source_channels:
        raise UserError(f"data.source_channels={config.source_channels}: {root} holds label maps, whose channels follow "
                        "from their classes; set data.classes instead")


def with_classes(layout: Layout, found: Mapping[str, Found]) -> Layout:
    """The same without a test split of Cityscapes whose label maps hold no classes."""
    test = found.get("test")
    if layout.labels != "cityscapes" or not test or not set(test) <= VOID:
        return layout
    return replace(layout, splits={split: sides for split, sides in layout.splits.items() if split != "test"})


def encoding_for(root: Path, labels: str, config: DataConfig | None, found: Iterable[Found], edges: bool) -> LabelEncoding:
    """What the ids that were found need.

    Args:
        config: its `classes` and `unknown` count for more than what was found.

    Raises:
        UserError: an id beyond the classes.
    """
    seen: dict[int, Any] = {}
    for part in found:
        seen = {**part, **seen}
    asked, classes = (config.unknown, config.classes) if config else (None, None)
    known = [i for i in sorted(seen) if i != UNKNOWN or asked is False]
    classes = classes or (len(CITYSCAPES) if labels == "cityscapes" else max(known, default=0) + 1)
    if beyond := [i for i in known if i >= classes]:
        first = root / seen[beyond[0]].first
        raise UserError(f"{first} holds the class id {beyond[0]}, and there are {classes} classes (ids 0 to "
                        f"{classes - 1}); set data.classes={beyond[-1] + 1}, or mend the label maps")
    unknown = (UNKNOWN in seen if asked is None else asked) and classes < MOST
    return LabelEncoding(classes=classes, unknown=unknown, edges=edges,
                         palette="cityscapes" if labels == "cityscapes" else "distinct")
