"""Batches as a function of the clock: which pictures, which crops and which flips follow from seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import free_memory
from ugc.core.encoding import PICTURES, Encoding
from ugc.core.images import Array, to_unit
from ugc.data.arrays import decode
from ugc.data.dataset import DataConfig, Dataset, Size
from ugc.data.labels import Split

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """float32 on the device: pairs, and sources without targets (M is N, or 0 where there are none).

    Pictures are in [-1, 1]; label maps are one-hot (`core/encoding.py`).
    """

    source: Tensor  # [N, C, H, W]
    target: Tensor  # [N, C, H, W]
    unlabelled: Tensor  # [M, C, H, W]


@dataclass(frozen=True)
class Rows:
    """Some pictures of a larger array [n, H, W, C], without a copy of it."""

    base: Array | Tensor
    index: Indices

    def __len__(self) -> int:
        return len(self.index)


Pictures = Array | Tensor | Rows


@dataclass(frozen=True)
class TrainData:
    """What training may see: [n, H, W, C] at load size, uint8 or uint16, or float32 in [-1, 1].

    A is labelled, U is not, V is for validation and trained on by nobody. No target outside A is in here. Sources are as
    `encoding` stores them.
    """

    source_A: Pictures  # noqa: N815
    target_A: Pictures  # noqa: N815
    source_U: Pictures  # noqa: N815
    source_V: Pictures  # noqa: N815
    crop: Size
    flip: bool = False
    keys: tuple[str, ...] = ()  # of A, in the order of its arrays
    encoding: Encoding = PICTURES


def train_data(dataset: Dataset, config: DataConfig, split: Split) -> TrainData:
    """Decode (or find decoded) the sources of A, U and V and the targets of A, and nothing else."""
    records = {record.key: record for record in dataset.train}
    used = {*split.labelled, *split.unlabelled, *split.validation}
    keys = [record.key for record in dataset.train if record.key in used]
    load = dataset.load_size(config.size)
    sources = decode(dataset, [records[key].source for key in keys], dataset.source_channels, load,
                     load=True, title="sources")
    targets = decode(dataset, [records[key].target for key in split.labelled], dataset.target_channels, load,
                     load=True, title="targets")
    place = {key: at for at, key in enumerate(keys)}

    def rows(some: tuple[str, ...]) -> Rows:
        return Rows(sources, np.array([place[key] for key in some], np.int64))

    return TrainData(rows(split.labelled), targets, rows(split.unlabelled), rows(split.validation),
                     config.size, dataset.flip, split.labelled, dataset.encoding)


@dataclass(frozen=True)
class Sources(Sequence[Tensor]):
    """Sources as they are stored, [n, H, W, c], encoded when they are asked for, `each` at a time."""

    stored: Tensor
    encoding: Encoding
    device: torch.device
    each: int = 1

    def __len__(self) -> int:
        return (len(self.stored) + self.each - 1) // self.each

    @overload
    def __getitem__(self, at: int) -> Tensor: ...
    @overload
    def __getitem__(self, at: slice) -> Sources: ...
    def __getitem__(self, at: int | slice) -> Tensor | Sources:
        """float32 [each, C, H, W] on the device, or some of the sources."""
        if isinstance(at, slice):
            first, last, step = at.indices(len(self))
            assert step == 1
            return replace(self, stored=self.stored[first * self.each:last * self.each])
        if not 0 <= at < len(self):
            raise IndexError(at)
        return self.encoding.encode(_unsigned(self.stored[at * self.each:(at + 1) * self.each]).to(self.device))

    def split(self, each: int) -> Sources:
        """The same, more at a time."""
        return replace(self, each=each)

    def all(self) -> Tensor:
        """All of them at once, [n, C, H, W]."""
        return self.encoding.encode(_unsigned(self.stored).to(self.device))


class Stream:
    """Draws batches from training data.

    Args:
        data: arrays; they move to a CUDA device whole where a third of its free memory holds them.
        batch: the number of pairs and also of unlabelled sources, of all processes together.
        device: where batches are wanted.
    """

    def __init__(self, data: TrainData, batch: int, device: torch.device) -> None:
        self.data, self.size, self.device = data, batch, device
        self.A, self.T, self.U, self.V = (
            _rows(p) for p in (data.source_A, data.target_A, data.source_U, data.source_V))
        bases = {id(rows.base): rows.base for rows in (self.A, self.T, self.U, self.V)}
        self._bases = {at: _tensor(base) for at, base in bases.items()}
        total = sum(base.nbytes for base in self._bases.values())
        if device.type == "cuda" and total < free_memory(device) // 3:
            self._bases = {at: base.to(device) for at, base in self._bases.items()}
        self._orders: dict[tuple[str, int, int, int], Indices] = {}

    def batch(self, clock: Clock, unlabelled: Literal["U", "A"] = "U") -> Batch:
        """The batch of this step: a pure function of the clock. A source and its target share crop and flip.

        Of several processes each gets its share: N and M are then the batch size by their number.

        Args:
            unlabelled: whose sources `Batch.unlabelled` holds; A's are drawn apart from the pairs.
        """
        sources = self.U if unlabelled == "U" else self.A
        a, view = self._drawn("A", self.A, clock)
        u, view_u = self._drawn("U", sources, clock)
        encode = self.data.encoding.encode
        return Batch(source=encode(_unsigned(self._gather(self.A, a, view))),
                     target=to_unit(_unsigned(self._gather(self.T, a, view))),
                     unlabelled=encode(_unsigned(self._gather(sources, u, view_u))))

    def validation(self) -> Sources:
        """The sources held out for validation, cut at the centre."""
        return self._sources(self._plain(self.V, np.arange(len(self.V))))

    def calibration(self, count: int = 256, unlabelled: bool = True) -> Sources:
        """At most `count` training sources, spread evenly over A and, where that may be seen, U; cut at the centre."""
        total = len(self.A) + (len(self.U) if unlabelled else 0)
        pick = np.arange(min(count, total)) * total // min(count, total)
        return self._sources(torch.cat([self._plain(self.A, pick[pick < len(self.A)]),
                                        self._plain(self.U, pick[pick >= len(self.A)] - len(self.A))]))

    def _sources(self, stored: Tensor) -> Sources:
        return Sources(stored, self.data.encoding, self.device)

    def _drawn(self, name: str, rows: Rows, clock: Clock) -> tuple[Indices, View]:
        """Which pictures of `rows`, and how they are cut: drawn for the whole batch, this process's share of it."""
        turn = self._turn(name, len(rows), clock)
        view, mine = self._views(name, rows, len(turn), clock), processes.share(len(turn))
        return turn[mine], View(view.top[mine], view.left[mine], view.flip[mine])

    def _turn(self, name: str, n: int, clock: Clock) -> Indices:
        """Whose turn it is: every pass over the n pictures is a permutation of its own."""
        if n == 0:
            return np.zeros(0, np.int64)
        turns = clock.step * self.size + np.arange(self.size)
        return np.array([self._order(name, n, int(turn) // n, clock)[turn % n] for turn in turns])

    def _order(self, name: str, n: int, lap: int, clock: Clock) -> Indices:
        key = (name, n, lap, clock.seed)
        if key not in self._orders:
            if len(self._orders) > 8:
                self._orders.clear()
            self._orders[key] = clock.at(lap).rng(f"order of {name}").permutation(n)
        return self._orders[key]

    def _views(self, name: str, rows: Rows, n: int, clock: Clock) -> View:
        rng = clock.rng(f"crop of {name}")
        tall, wide = rows.base.shape[1:3]
        top = rng.integers(0, tall - self.data.crop[0] + 1, n)
        left = rng.integers(0, wide - self.data.crop[1] + 1, n)
        return View(top, left, (rng.random(n) < 0.5) & self.data.flip)

    def _plain(self, rows: Rows, pick: Indices) -> Tensor:
        n = len(pick)
        top, left = ((have - crop) // 2 for have, crop in zip(rows.base.shape[1:3], self.data.crop))
        return self._gather(rows, pick, View(np.full(n, top), np.full(n, left), np.zeros(n, bool)))

    def _gather(self, rows: Rows, pick: Indices, view: View) -> Tensor:
        """Pictures `pick` of `rows`, cropped and flipped where they lie, as they are stored, [n, H, W, c] on the device."""
        (height, width), base = self.data.crop, self._bases[id(rows.base)]
        crops = base.new_empty((len(pick), height, width, base.shape[3]))
        for crop, at, top, left, flip in zip(crops, rows.index[pick], view.top, view.left, view.flip):
            pixels = base[at, top:top + height, left:left + width]
            crop.copy_(pixels.flip(1) if flip else pixels)
        return crops.to(self.device)


@dataclass(frozen=True)
class View:
    """How each picture of a batch is cut: first row, first column, mirrored or not; all [n]."""

    top: Indices
    left: Indices
    flip: NDArray[np.bool_]


def _rows(pictures: Pictures) -> Rows:
    return pictures if isinstance(pictures, Rows) else Rows(pictures, np.arange(len(pictures)))


def _tensor(base: Array | Tensor) -> Tensor:
    """A tensor on the same memory; 16 bits travel as int16, which torch can index everywhere."""
    tensor = torch.from_numpy(base) if isinstance(base, np.ndarray) else base
    return tensor.view(torch.int16) if tensor.dtype == torch.uint16 else tensor


def _unsigned(pixels: Tensor) -> Tensor:
    return pixels.view(torch.uint16) if pixels.dtype == torch.int16 else pixels


@dataclass(frozen=True)
class TestData:
    """The test pairs at crop size, as they are stored, uint8 or uint16 [n, H, W, C]; read once, at the end of a run.

    Where the test has no targets, `targets` is of no rows, and so is that side of the batches. `name` is the data set's.
    """

    __test__ = False  # pytest: not a test

    sources: Array
    targets: Array
    keys: tuple[str, ...] = ()
    encoding: Encoding = PICTURES
    name: str = ""

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def depth(self) -> Any:
        """The sources' dtype, which answers are written with."""
        return self.sources.dtype

    @property
    def paired(self) -> bool:
        """Whether the test has targets."""
        return len(self.targets) == len(self.sources)

    def batches(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(encoded source, target in [-1, 1]), float32 [n, C, H, W], in order; the last may be smaller."""
        for at in range(0, len(self), batch):
            yield self.encoding.encode(self.sources[at:at + batch]), to_unit(self.targets[at:at + batch])


def test_data(dataset: Dataset, config: DataConfig) -> TestData:
    """Decode (or find decoded) the test pairs, or its sources where it has no targets."""
    sources = decode(dataset, [record.source for record in dataset.test], dataset.source_channels, config.size,
                     load=False, title="test sources")
    there = [record.target for record in dataset.test if record.target is not None]
    targets = decode(dataset, there, dataset.target_channels, config.size, load=False, title="test targets")
    return TestData(sources, targets, tuple(record.key for record in dataset.test), dataset.encoding, dataset.name)


test_data.__test__ = False  # type: ignore[attr-defined]
