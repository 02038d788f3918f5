"""The test split, read once: rows of numbers for every net, for `copy` and `floor`; a few pictures; latencies.

What imitates an original is measured against the original's pictures, too: `psnr_to_original` is `psnr` with such a
picture in the target's place. A test without targets has these numbers only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.device import cpu_name
from ugc.core.images import from_unit, to_unit
from ugc.core.log import progress
from ugc.data.pictures import write_picture
from ugc.data.stream import TestData
from ugc.export.saved import load_net
from ugc.metrics.features import Extractor
from ugc.metrics.protocols import TO_ORIGINAL, evaluate, floor, ordered, to_original
from ugc.models.generator import Generator
from ugc.nn.cost import total, trace

BATCH = 32
SAMPLES = 12
RUNS = 30


class Asked(Protocol):
    """What answers are compared with: `batches` of (source, truth), [n, C, H, W] in [-1, 1]."""

    def __len__(self) -> int: ...
    def batches(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]: ...


@dataclass(frozen=True)
class Imitated:
    """The test sources with a net's pictures of them in the targets' place."""

    data: TestData
    net: Generator
    device: torch.device

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for source, _ in self.data.batches(batch):
            with torch.no_grad():
                yield source, self.net(source.to(self.device))


def test(folders: Mapping[str, Path], data: TestData, device: torch.device, samples: Path, seed: int,
         imitated: str | None = None) -> dict[str, Any]:
    """Score saved nets on the test pairs.

    Args:
        folders: role -> folder of a saved net.
        samples: where SAMPLES pictures, drawn at random, are written for the report.
        imitated: the role whose pictures the others were made to give; None where there is no such net.

    Returns:
        `{"rows": {role: {metric: number}}, "protocol": {..}}`: what `metrics.json` keeps.
    """
    extractor = Extractor(device)
    nets = {role: load_net(folder)[0] for role, folder in folders.items()}
    rows: dict[str, dict[str, float]] = {role: {} for role in folders}
    texts: dict[str, str] = {}
    if data.paired:
        _merge(rows, scores(nets, data, device, extractor))
        texts |= {m.name: m.text for m in ordered()}
    if imitated:
        others = {role: net for role, net in nets.items() if role != imitated}
        found = scores(others, Imitated(data, nets[imitated].to(device), device), device, extractor)
        _merge(rows, {role: {key + TO_ORIGINAL: value for key, value in row.items()} for role, row in found.items()})
        texts |= {m.name: m.text for m in to_original()}
    for role, net in nets.items():
        rows[role] |= vars(total(trace(net, None, data.sources.shape[1:3])))
        rows[role]["latency_ms"] = latency(net, data.sources.shape[1:3])
    _samples({r: folders[r] for r in ("original", "student") if r in folders}, data, samples, seed)
    protocol = {
        "test_images": len(data), "size": list(data.sources.shape[1:3]), "seed": seed, **extractor.provenance,
        "metrics": texts, "copy": "the source as the answer",
        "floor": "two halves of the test targets (or of the original's pictures) against each other",
        "latency_ms": f"median of {RUNS}, batch 1, fp32, torch {torch.__version__}, {cpu_name()}, "
                      f"{torch.get_num_threads()} threads",
    }
    return {"rows": rows, "protocol": protocol}


def scores(nets: Mapping[str, Generator], asked: Asked, device: torch.device, extractor: Extractor
           ) -> dict[str, dict[str, float]]:
    """role -> metric -> number, of every net, of `copy` where channels allow it, and of `floor`."""
    rows: dict[str, dict[str, float]] = {}
    first, truth = next(asked.batches(1))
    copies = first.shape[1] == truth.shape[1]
    with progress("test", len(asked) * (len(nets) + 1 + copies)) as bar:
        def told(note: str) -> Iterator[tuple[Tensor, Tensor]]:
            for source, target in asked.batches(BATCH):
                yield source.to(device), target.to(device)
                bar.advance(len(source), note=note)

        targets = extractor.collect(target for _, target in told("targets"))
        for role, net in nets.items():
            moved = net.to(device)
            with torch.no_grad():
                rows[role] = evaluate(((moved(source), target) for source, target in told(role)), extractor, targets)
        if copies:
            rows["copy"] = evaluate(told("copy"), extractor, targets)
        rows["floor"] = floor(targets)
    return rows


def _merge(rows: dict[str, dict[str, float]], more: Mapping[str, Mapping[str, float]]) -> None:
    for role, row in more.items():
        rows.setdefault(role, {}).update(row)


@torch.no_grad()
def latency(net: Generator, size: tuple[int, int]) -> float:
    """Milliseconds for one picture on the CPU, fp32, all threads: the median of RUNS after a warm-up."""
    net = net.to("cpu")
    x = torch.zeros(net.source_shape(size))
    for _ in range(3):
        net(x)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        net(x)
        times.append(time.perf_counter() - start)
    return round(1000 * statistics.median(times), 3)


@torch.no_grad()
def _samples(folders: Mapping[str, Path], data: TestData, out: Path, seed: int) -> None:
    """`000-source.png 000-target.png 000-original.png 000-student.png` and so on, drawn at random, not picked."""
    count = min(SAMPLES, len(data))
    chosen = sorted(Clock(seed).rng("samples").permutation(len(data))[:count])
    nets = {role: load_net(folder)[0] for role, folder in folders.items()}
    for i, index in enumerate(chosen):
        write_picture(out / f"{i:03d}-source.png", data.sources[index])
        if data.paired:
            write_picture(out / f"{i:03d}-target.png", data.targets[index])
        for role, net in nets.items():
            picture = net(to_unit(data.sources[index:index + 1]))
            write_picture(out / f"{i:03d}-{role}.png", from_unit(picture, data.targets.dtype)[0])
