"""Names, colours and training classes of label ids. A label map on disk holds ids; people see colours."""

from __future__ import annotations

import colorsys
from functools import cache
from typing import NamedTuple

import numpy as np

from ugc.core.images import Array

IGNORED = 255  # in place of a training class: not judged


class Label(NamedTuple):
    """One id of a label map. train: its class in Cityscapes' benchmark of 19 (IGNORED: none)."""

    name: str
    train: int
    colour: tuple[int, int, int]


_ = IGNORED
CITYSCAPES = (  # by id; the 35th is never used, and is counted by everybody
    Label("unlabeled",            _, (0, 0, 0)),       Label("ego vehicle",   _, (0, 0, 0)),
    Label("rectification border", _, (0, 0, 0)),       Label("out of roi",    _, (0, 0, 0)),
    Label("static",               _, (0, 0, 0)),       Label("dynamic",       _, (111, 74, 0)),
    Label("ground",               _, (81, 0, 81)),     Label("road",          0, (128, 64, 128)),
    Label("sidewalk",             1, (244, 35, 232)),  Label("parking",       _, (250, 170, 160)),
    Label("rail track",           _, (230, 150, 140)), Label("building",      2, (70, 70, 70)),
    Label("wall",                 3, (102, 102, 156)), Label("fence",         4, (190, 153, 153)),
    Label("guard rail",           _, (180, 165, 180)), Label("bridge",        _, (150, 100, 100)),
    Label("tunnel",               _, (150, 120, 90)),  Label("pole",          5, (153, 153, 153)),
    Label("polegroup",            _, (153, 153, 153)), Label("traffic light", 6, (250, 170, 30)),
    Label("traffic sign",         7, (220, 220, 0)),   Label("vegetation",    8, (107, 142, 35)),
    Label("terrain",              9, (152, 251, 152)), Label("sky",          10, (70, 130, 180)),
    Label("person",              11, (220, 20, 60)),   Label("rider",        12, (255, 0, 0)),
    Label("car",                 13, (0, 0, 142)),     Label("truck",        14, (0, 0, 70)),
    Label("bus",                 15, (0, 60, 100)),    Label("caravan",       _, (0, 0, 90)),
    Label("trailer",              _, (0, 0, 110)),     Label("train",        16, (0, 80, 100)),
    Label("motorcycle",          17, (0, 0, 230)),     Label("bicycle",      18, (119, 11, 32)),
    Label("license plate",        _, (0, 0, 142)),
)
TABLES = {"cityscapes": CITYSCAPES}


@cache
def palette(name: str, classes: int) -> Array:
    """uint8 [classes, 3]: a table's colours, `distinct` ones for anything else; what a table does not name is black."""
    if name in TABLES:
        rows = [label.colour for label in TABLES[name]]
        colours = np.array(rows + [(0, 0, 0)] * max(0, classes - len(rows)), np.uint8)[:classes]
    else:  # hues a golden angle apart, lighter and darker by turns
        hues = [(i * 0.618034 % 1.0, (0.55, 0.75, 0.4)[i % 3], (0.95, 0.7, 0.5)[i // 3 % 3]) for i in range(classes)]
        colours = np.array([colorsys.hsv_to_rgb(*hsv) for hsv in hues]) * 255
        colours = colours.round().astype(np.uint8)
    colours.setflags(write=False)
    return colours


@cache
def train_ids(name: str) -> Array:
    """uint8 [256]: the training class of every id of a table, IGNORED where it has none."""
    classes = np.full(256, IGNORED, np.uint8)
    classes[: len(TABLES[name])] = [label.train for label in TABLES[name]]
    classes.setflags(write=False)
    return classes
