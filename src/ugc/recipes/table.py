"""All recipes by name. Columns are aligned so that the eye sees what differs; what is not said is `Recipe`'s default.

The demos' numbers are measured (docs/lab-book.md); the paper's rows take its widths, its weights and the lineage's
lengths, and their data from you: `ugc run edges2shoes-resnet-25 --set data.path=FOLDER --out RUN`.
"""

from __future__ import annotations

from typing import Any

from ugc.core.errors import UserError, near
from ugc.engine.recipe import Recipe

# ---- the built-in demonstration: sans2serif at 64x64, a quarter of the labels ----

SANS2SERIF: dict[str, Any] = {
    "data": {"path": "sans2serif", "size": 64, "labels": 0.25},
    "family": "pix2pix-resnet", "base": 16, "generator": {"blocks": 6}, "patch": {"ndf": 16}, "budget": "12x", "batch": 8,
    # Short runs: better than 2e-4, which the paper takes for long ones; and the student, who plays no game, bears more.
    "optimiser": {"lr": 5e-4, "student": 4.0},
    # In the pilot the pixel term gave the crispest students, and Lite0 added nothing to it.
    "distillation": {"backbone": "none", "l1": 100.0, "tv": 0.0},
}


def sans2serif(original: int, supernet: int, distill: int, population: int, generations: int, trials: int = 25
               ) -> dict[str, Any]:
    return {**SANS2SERIF, "steps": {"original": original, "supernet": supernet, "distill": distill},
            "search": {"population": population, "generations": generations, "validation": 48, "recalibrate": 64,
                       "random": 64, "parents": 0.25, "trials": trials}}


# ---- the study of docs/results.md: the same with the published nine blocks and the paper's budget ----


def study(original: int, supernet: int, distill: int, population: int, generations: int) -> dict[str, Any]:
    return {**sans2serif(original, supernet, distill, population, generations), "generator": {}, "budget": "40x",
            "optimiser": {"lr": 5e-4}}  # its arms were measured so; some have a rate of the student's own


# ---- rendered streets at 128x256, a quarter of the photos: label maps in, pictures out; within an hour of two cores ----


def streets(family: str, original: int, supernet: int, distill: int, every: int) -> dict[str, Any]:
    return {"data": {"path": "streets", "size": "128x256", "labels": 0.25}, "family": family, "base": 16, "budget": "12x",
            "batch": 2, "options": {"every": every}, "optimiser": {"lr": 4e-4},
            "distillation": {"backbone": "lite0", "l1": 50.0},
            "steps": {"original": original, "supernet": supernet, "distill": distill},
            "search": {"population": 10, "generations": 3, "validation": 16, "recalibrate": 16, "random": 16,
                       "parents": 0.4, "trials": 8, "trial": 100}}


YOURS = "FOLDER"  # stands for a path that the user gives

# ---- the paper's runs on your copy of the data ----


def paper(family: str, labels: float, budget: str, steps: int, batch: int, direction: str = "AtoB", size: str = "256"
          ) -> dict[str, Any]:
    return {"data": {"path": YOURS, "size": size, "labels": labels, "direction": direction, "unlabelled": "hidden"},
            "family": family, "base": 64, "budget": budget, "batch": batch,
            "steps": {"original": steps, "supernet": steps, "distill": steps},
            "distillation": {"backbone": "vgg16"}, "search": {"population": 100, "generations": 500}}


# Steps of OMGD's lengths at batch 4, rounded: 200 epochs of 47,977 images, 750 of 2,975.
E2S, CITY = 2_400_000, 560_000
LABELS = 150_000  # 200 epochs of 2,975, as pix2pixHD and GauGAN are trained

TABLE: dict[str, dict[str, Any]] = {
    #                                     original  supernet  distill  population  generations  trials
    "sans2serif-demo":         sans2serif(    2000,     1500,    2500,         16,           4,     10),
    "sans2serif-hour":         sans2serif(    8000,     6000,    7000,         32,          10),
    "sans2serif-study":            study(    20000,     5000,    6000,         32,          10),  # docs/results.md
    #                                             original  supernet  distill  every
    "streets-pix2pixhd-hour":  streets("pix2pixhd",      2600,     1500,    1700,     4),
    "streets-gaugan-hour":     streets("gaugan",         1200,      800,     850,     4),
    #                                family            labels  budget              steps  batch
    "edges2shoes-resnet-10":   paper("pix2pix-resnet",   0.10, "macs_paper=1.5G",   E2S,     4),          # Table 2
    "edges2shoes-resnet-25":   paper("pix2pix-resnet",   0.25, "macs_paper=1.5G",   E2S,     4),          # Table 2
    "edges2shoes-resnet-50":   paper("pix2pix-resnet",   0.50, "macs_paper=1.5G",   E2S,     4),          # Table 2
    "edges2shoes-unet-10":     paper("pix2pix-unet",     0.10, "macs_paper=1.3G",   E2S,     4),          # Table 2
    "edges2shoes-unet-25":     paper("pix2pix-unet",     0.25, "macs_paper=1.3G",   E2S,     4),          # Table 2
    "edges2shoes-unet-50":     paper("pix2pix-unet",     0.50, "macs_paper=1.3G",   E2S,     4),          # Table 2
    "cityscapes-resnet-25":    paper("pix2pix-resnet",   0.25, "macs_paper=1.5G",  CITY,     4, "BtoA"),  # Table 1
    "cityscapes-unet-25":      paper("pix2pix-unet",     0.25, "macs_paper=1.3G",  CITY,     4, "BtoA"),  # Table 1
    "cityscapes-pix2pixhd-25": paper("pix2pixhd",        0.25, "macs_paper=10G", LABELS,     4, size="256x512"),  # Table 1
    "cityscapes-gaugan-25":    paper("gaugan",           0.25, "macs_paper=10G", LABELS,     4, size="256x512"),  # Table 1
}


def recipe(name: str) -> dict[str, Any]:
    """The row of that name as plain data.

    Raises:
        UserError: there is none; says what is near.
    """
    if name not in TABLE:
        raise UserError(f"unknown recipe {name!r}: {near(name, TABLE)}")
    return {"name": name, **TABLE[name]}


def parsed(name: str) -> Recipe:
    """The row of that name, checked."""
    return Recipe.parse(recipe(name), f"recipe {name}")
