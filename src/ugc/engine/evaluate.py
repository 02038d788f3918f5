"""The test split, read once: rows of numbers for every net, for `copy` and `floor`; a few pictures; latencies."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
from ugc.metrics.protocols import evaluate, floor, ordered
from ugc.models.generator import Generator
from ugc.nn.cost import total, trace

BATCH = 32
SAMPLES = 12
RUNS = 30


def test(folders: Mapping[str, Path], data: TestData, device: torch.device, samples: Path, seed: int) -> dict[str, Any]:
    """Score saved nets on the test pairs.

    Args:
        folders: role -> folder of a saved net.
        samples: where SAMPLES pictures, drawn at random, are written for the report.

    Returns:
        `{"rows": {role: {metric: number}}, "protocol": {..}}`: what `metrics.json` keeps.
    """
    extractor = Extractor(device)
    copies = data.sources.shape[3] == data.targets.shape[3]
    rows: dict[str, dict[str, float]] = {}
    with progress("test", len(data) * (len(folders) + 1 + copies)) as bar:
        def told(batches: Iterator[tuple[Tensor, Tensor]], note: str) -> Iterator[tuple[Tensor, Tensor]]:
            for source, target in batches:
                yield source.to(device), target.to(device)
                bar.advance(len(source), note=note)

        targets = extractor.collect(target for _, target in told(data.batches(BATCH), "targets"))
        for role, folder in folders.items():
            net, _ = load_net(folder)
            net = net.to(device)
            with torch.no_grad():
                answers = ((net(source), target) for source, target in told(data.batches(BATCH), role))
                rows[role] = evaluate(answers, extractor, targets)
            rows[role] |= vars(total(trace(net, None, data.sources.shape[1:3])))
            rows[role]["latency_ms"] = latency(net, data.sources.shape[1:3])
        if copies:
            rows["copy"] = evaluate(told(data.batches(BATCH), "copy"), extractor, targets)
        rows["floor"] = floor(targets)
    _samples({r: folders[r] for r in ("original", "student") if r in folders}, data, samples, seed)
    protocol = {
        "test_images": len(data), "size": list(data.sources.shape[1:3]), "seed": seed, **extractor.provenance,
        "metrics": {m.name: m.text for m in ordered()},
        "copy": "the source as the answer", "floor": "two halves of the test targets against each other",
        "latency_ms": f"median of {RUNS}, batch 1, fp32, torch {torch.__version__}, {cpu_name()}, "
                      f"{torch.get_num_threads()} threads",
    }
    return {"rows": rows, "protocol": protocol}


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
        write_picture(out / f"{i:03d}-target.png", data.targets[index])
        for role, net in nets.items():
            picture = net(to_unit(data.sources[index:index + 1]))
            write_picture(out / f"{i:03d}-{role}.png", from_unit(picture, data.targets.dtype)[0])
