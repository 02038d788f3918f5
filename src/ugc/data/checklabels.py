"""What `ugc data check` says of label maps beyond pictures: which classes they hold, and what their instance maps lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ugc.core.encoding import UNKNOWN, LabelEncoding
from ugc.core.errors import UserError
from ugc.core.palettes import TABLES
from ugc.data.dataset import text_of
from ugc.data.idmaps import Found, Seen, tally
from ugc.data.labelmaps import encoding_for
from ugc.data.layouts import Layout
from ugc.data.pictures import Info

RARE = 0.001  # of all pixels
SHOWN = 40  # classes that people see; programs get all

Ids = Mapping[str, Mapping[int, int]]  # path -> id -> pixels


def found_in(layout: Layout, ids: Ids) -> dict[str, Found]:
    """The ids of each split, of the label maps that could be read."""
    return {split: tally({path: ids[path] for path in sides["A"].values()}) for split, sides in layout.splits.items()}


def classes_of(root: Path, layout: Layout, ids: Ids) -> dict[str, Any]:
    """Plain data: how many classes, and of each id its name, in how many label maps it is, and its share of all pixels."""
    found = found_in(layout, ids)
    try:
        encoding = encoding_for(root, layout.labels, None, found.values(), any(s["I"] for s in layout.splits.values()))
    except UserError:  # ids beyond Cityscapes'; the sentence is the report's
        encoding = LabelEncoding(classes=len(TABLES[layout.labels]), palette=layout.labels)
    merged = tally({path: ids[path] for path in maps_of(layout)})
    pixels = sum(seen.pixels for seen in merged.values()) or 1
    return {"count": encoding.classes, "unknown": encoding.unknown, "edges": encoding.edges,
            "ids": {str(i): entry(i, merged.get(i), pixels, encoding)
                    for i in sorted({*range(encoding.classes), *merged})}}


def entry(i: int, seen: Seen | None, pixels: int, encoding: LabelEncoding) -> dict[str, Any]:
    table = TABLES.get(encoding.palette, ())
    name = "unknown" if i == UNKNOWN and encoding.unknown else table[i].name if i < len(table) else ""
    return {"name": name, "maps": seen.maps if seen else 0, "share": seen.pixels / pixels if seen else 0.0}


def class_lines(about: Mapping[str, Any]) -> Iterator[str]:
    """For people: the count, then what is rare and what is absent."""
    ids: Mapping[str, Mapping[str, Any]] = about["ids"]
    there = sum(entry["maps"] > 0 for i, entry in ids.items() if int(i) < about["count"])
    yield (f"classes     {about['count']}, of which {there} are found{', and unknown (255)' * about['unknown']}; "
           f"{'edges of instances' if about['edges'] else 'no instance maps, so no edge channel'}")
    rare = [f"{named(i, entry)} ({entry['maps']:,} maps, {entry['share']:.2%})" for i, entry in ids.items()
            if 0 < entry["share"] < RARE]
    absent = [named(i, entry) for i, entry in ids.items() if not entry["maps"]]
    for word, some in (("rare", rare), ("absent", absent)):
        if some:
            yield f"{word:10}  {', '.join(some[:SHOWN])}" + f" and {len(some) - SHOWN:,} more" * (len(some) > SHOWN)


def named(i: str, entry: Mapping[str, Any]) -> str:
    """`26 car`, or the id alone."""
    return f"{i} {entry['name']}".strip()


def label_problems(layout: Layout, infos: Mapping[str, Info], ids: Ids, classes: int) -> Iterator[tuple[str, list[str]]]:
    """(kind, every place) of what is wrong with ids and instance maps."""
    yield f"label maps with ids beyond the {classes} classes", [
        f"{path} has {', '.join(map(str, beyond))}" for path in maps_of(layout)
        if (beyond := [i for i in ids[path] if i >= classes and i != UNKNOWN])]
    pairs = [(path, sides["I"].get(key)) for sides in layout.splits.values() for key, path in sides["A"].items()]
    if any(instances for _, instances in pairs):
        yield "label maps without an instance map", [path for path, instances in pairs if not instances]
    yield "instance maps of another size than their label map", [
        f"{instances} of {text_of(infos[instances].size)} and {path} of {text_of(infos[path].size)}"
        for path, instances in pairs
        if instances and instances in infos and path in infos and infos[path].size != infos[instances].size]


def maps_of(layout: Layout) -> list[str]:
    """The paths of all label maps."""
    return [path for sides in layout.splits.values() for path in sides["A"].values()]
