"""mIoU of all who answer a test of label maps: which segmenter judges these data, and its confusion matrices by role.

Rows beside the nets': `photos`, the real test images under the same segmenter (the ceiling), and `palette`, the label maps
in their colours (the floor).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ugc.core.encoding import UNKNOWN, LabelEncoding
from ugc.core.errors import UserError
from ugc.core.files import place
from ugc.core.images import to_channels
from ugc.data.dataset import Dataset
from ugc.data.fetch import marked
from ugc.data.stream import TestData
from ugc.metrics.scoring import Score
from ugc.metrics.segmentation import SEGMENTERS, Segmenter, confusion, intervals, numbers

BATCH = 8

Pair = tuple[Tensor, Tensor]


@dataclass
class Jury:
    """A segmenter, the label maps of a test, and what it found in the answers.

    Attributes:
        data: the test; its sources are label maps.
        dataset: where full-size label maps are read, for a segmenter that wants them.
    """

    segmenter: Segmenter
    data: TestData
    dataset: Dataset
    device: torch.device
    tables: dict[str, list[Tensor]] = field(default_factory=dict)  # role -> confusion matrices [n, K, K]

    def __post_init__(self) -> None:
        self.segmenter.net.to(self.device)

    def watch(self, role: str, pairs: Iterator[Pair], side: int = 0) -> Iterator[Pair]:
        """The same pairs (answer, truth), of the whole test in order; those of one side are judged as they go by."""
        tables = self.tables[role] = []
        at = 0
        for pair in pairs:
            tables.append(self.judged(pair[side], at))
            at += len(pair[0])
            yield pair

    def judged(self, pictures: Tensor, first: int) -> Tensor:
        """Confusion matrices [n, K, K] of pictures [n, C, H, W] in [-1, 1], the answers from the `first` test source on."""
        one, found = self.segmenter, []
        each = 1 if one.full else BATCH
        for at in range(0, len(pictures), each):
            some = to_channels(pictures[at:at + each].to(self.device), 3)
            truth = one.truth(self.labels(first + at, len(some)))
            found.append(confusion(truth, one.found(some, (truth.shape[1], truth.shape[2])), one.classes).cpu())
        return torch.cat(found)

    def labels(self, first: int, count: int) -> Tensor:
        """Label ids, uint8 [count, H, W] on the device: at the answers' size, or one at its own."""
        if self.segmenter.full:
            ids = self.dataset.full_labels(self.dataset.test[first].source)[None]
        else:
            ids = self.data.sources[first:first + count, ..., 0]
            encoding = self.dataset.encoding
            if isinstance(encoding, LabelEncoding) and encoding.unknown:  # stored as one class more
                ids = np.where(ids == encoding.classes, np.uint8(UNKNOWN), ids)
        return torch.from_numpy(ids.copy()).to(self.device)

    def scores(self) -> dict[str, Score]:
        """role -> its three numbers and their intervals."""
        found = {}
        for role, tables in self.tables.items():
            table, name = torch.cat(tables), self.segmenter.name
            found[role] = Score({f"{kind}_{name}": value for kind, value in numbers(table).items()},
                                {f"{kind}_{name}": ends for kind, ends in intervals(table).items()})
        return found

    def about(self) -> dict[str, Any]:
        """What a reader of the numbers must know."""
        return {"name": self.segmenter.name, **self.segmenter.provenance, "classes": self.segmenter.classes,
                "photos": "the ceiling: the real test images, judged alike",
                "palette": "the floor: the label maps in their colours, judged alike"}


def scenes(dataset: Dataset) -> tuple[str, ...]:
    """What label maps show: a folder's name, which a plugged-in segmenter may ask for, and what is known of them.

    `streets`: built in, or by the folder's mark; `cityscapes`: by its table of ids. A folder's name alone makes neither.
    """
    known = ""
    if dataset.config.path == "streets" or marked(place(dataset.config.path)).get("name") == "streets":
        known = "streets"
    elif getattr(dataset.encoding, "palette", "") == "cityscapes":
        known = "cityscapes"
    return tuple(name for name in (dataset.name if dataset.name not in ("streets", "cityscapes") else "", known) if name)


def jury_for(dataset: Dataset, data: TestData, device: torch.device, asked: bool = False) -> tuple[Jury | None, str]:
    """Who judges these data; or None, and a sentence that says why where they are label maps.

    Args:
        asked: it must be: a file is downloaded where that is possible.

    Raises:
        UserError: it was asked for, and cannot be; a file that is here is another than it should be.
    """
    why = "" if dataset.encoding.kind == "labels" else "mIoU needs label maps as sources; these are pictures"
    everyone = [one for _, one in SEGMENTERS.items()]
    offers = [one for name in scenes(dataset) for one in everyone if one.data == name]
    if not why and not offers:
        why = (f"no mIoU: no segmenter is known for the label maps of {dataset.name}; docs/measuring.md says how one is "
               "plugged in")
    if why:
        if asked:
            raise UserError(f"--miou: {why}")
        return None, why if dataset.encoding.kind == "labels" else ""
    here = next((one for one in offers if one.at_hand()), offers[0])
    if not (asked or here.at_hand()):
        return None, (f"no mIoU: the weights of {here.name} are not on this machine; ugc eval STUDENT DATA --miou says "
                      "where to get them")
    return Jury(here.load(asked), data, dataset, device), ""
