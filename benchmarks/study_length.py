"""How long the original is trained, for each number of labels: the length beyond which PSNR on pairs that were held out
for this choice alone rises no more. They are 10 % of the labelled pairs, drawn by seed; no test image is looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from study_rows import LENGTHS, RECIPE, SHARES, Row

from ugc.core.clock import Clock
from ugc.core.files import read_json, write_json, write_text
from ugc.data.arrays import decode
from ugc.data.dataset import DataConfig, Dataset, open_dataset
from ugc.data.labels import split
from ugc.data.stream import TestData
from ugc.engine.answers import NetAnswers
from ugc.metrics.scoring import score
from ugc.recipes.table import parsed

SEED = 0  # of the labelled pairs and of these runs
HELD = 10  # one pair in so many


class Lengths:
    """What is known of the lengths, kept in `file`: labels -> steps -> scores on the held-out pairs."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file, self.folder = file, folder
        self.known: dict[str, dict[str, Any]] = read_json(file) if file.exists() else {}

    def psnr(self, labels: str) -> list[float]:
        """Of the lengths that were tried, in their order."""
        found = self.known.get(labels, {})
        return [found[str(steps)]["psnr"] for steps in LENGTHS if str(steps) in found]

    def chosen(self, labels: str) -> int | None:
        """The steps; None while that is open. UGC's text names no length: the rule is ours."""
        tried = self.psnr(labels)
        for at in range(1, len(tried)):
            if tried[at] <= tried[at - 1]:
                return LENGTHS[at - 1]
        return LENGTHS[-1] if len(tried) == len(LENGTHS) else None

    def next(self, labels: str) -> Row | None:
        """The next length to try; None when the choice is made."""
        if self.chosen(labels):
            return None
        steps = LENGTHS[len(self.psnr(labels))]
        options = ("--method", "original", "--labels", str(self.list_of(labels)), "--set", "data.unlabelled=all",
                   "--set", f"steps.original={steps}", "--until", "original")
        return Row(f"length-{labels}-{steps}", "length", labels, SEED, options)

    def list_of(self, labels: str) -> Path:
        """The .meta file of the labelled pairs that are not held out."""
        path = self.folder / f"length-{labels}.meta"
        if not path.exists():
            kept, _ = held_out(labels)
            write_text(path, "".join(f"{key}\n" for key in kept))
        return path

    def add(self, row: Row) -> None:
        """Score a run that has ended."""
        steps = row.name.rpartition("-")[2]
        self.known.setdefault(row.labels, {})[steps] = {
            **scored(self.folder / row.name / "original", row.labels),
            "seconds": read_json(self.folder / row.name / "stages" / "original" / "done.json")["seconds"]}
        write_json(self.file, self.known)


def opened(labels: str) -> tuple[Dataset, DataConfig, tuple[str, ...]]:
    """The data set with so many labels, and their keys."""
    recipe = parsed(RECIPE)
    config = recipe.data.with_settings([f"labels={SHARES[labels]}", "unlabelled=all"])
    dataset = open_dataset(config, SEED)
    return dataset, config, split(dataset, config, SEED, recipe.search.validation).labelled


def held_out(labels: str) -> tuple[list[str], list[str]]:
    """The labelled keys: those to train on, and those held out."""
    _, _, keys = opened(labels)
    order = [keys[at] for at in Clock(SEED).rng("length").permutation(len(keys))]
    count = len(keys) // HELD
    return order[count:], order[:count]


def scored(folder: Path, labels: str) -> dict[str, Any]:
    """Metrics of a saved net on the held-out pairs, at crop size, and their number."""
    dataset, config, _ = opened(labels)
    _, held = held_out(labels)
    records = {record.key: record for record in dataset.train}
    images = [decode(dataset, [getattr(records[key], side) for key in held], channels, config.size, load=False, title=side)
              for side, channels in (("source", dataset.source_channels), ("target", dataset.target_channels))]
    data = TestData(images[0], images[1], tuple(held), dataset.encoding)
    found = score(NetAnswers(folder).batches(data, torch.device("cpu")))
    return {**found.row, "pairs": len(held)}
