"""The built-in data set `streets`: the open stand-in for Cityscapes, rendered from a seed and kept in the cache."""

from __future__ import annotations

from pathlib import Path

from ugc.core import files
from ugc.data.dataset import DATASETS, DataConfig, Dataset, Size, text_of
from ugc.data.street_render import VERSION
from ugc.data.street_tree import ATTRIBUTION, is_whole, write_tree

COUNTS = {"train": 1000, "val": 64, "test": 256}
SEED = 0  # whatever the run's: all runs see the same streets


@DATASETS.register("streets")
def streets(config: DataConfig, seed: int) -> Dataset:
    """Sources are label maps with instances, targets rendered photos; `seed` decides labels only.

    Raises:
        UserError: MuJoCo is not installed, or cannot draw here.
    """
    from ugc.data.labelmaps import open_labelled

    dataset = open_labelled(streets_tree(config.load or config.size, SEED), config, seed)
    dataset.name, dataset.attribution, dataset.unlabelled_default = "streets", ATTRIBUTION, "hidden"
    return dataset


def streets_tree(size: Size, seed: int) -> Path:
    """The folder of the built-in streets of (H, W) pixels: rendered once, then taken from the cache."""
    folder = files.home() / "streets" / f"{text_of(size)}-seed{seed}-v{VERSION}"
    if not is_whole(folder):
        write_tree(folder, size, seed, COUNTS)
    return folder
