"""How long the test stage will take: some pictures of noise through nets and metrics, and the statistics of all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ugc.core.images import rounded
from ugc.data.stream import TestData
from ugc.engine.answers import BATCH, RUNS, CopyAnswers
from ugc.engine.evaluate import SAMPLES
from ugc.engine.invented import invented_sources, invented_targets, some_of
from ugc.engine.job import Job
from ugc.engine.miou import BATCH as JUDGED
from ugc.engine.miou import jury_for
from ugc.engine.pace import Stopwatch
from ugc.export.wrapped import at_any_size
from ugc.metrics.features import Features
from ugc.metrics.scoring import compared, floor, score
from ugc.metrics.tools import Tools, tools_at_hand
from ugc.models.generator import Generator


def examination(run: Job, nets: Mapping[str, Callable[[], Generator]], watch: Stopwatch) -> tuple[float, str]:
    """Seconds of the test stage, and words for what is in it.

    Args:
        nets: role -> what makes a net of that role, on the CPU, with any weights.
    """
    dataset, s, count = run.dataset, run.setting, len(run.dataset.test)
    device, size, encoding = s.device.device, s.size, run.dataset.encoding
    some = some_of(count, BATCH, size)
    data = TestData(invented_sources(encoding, some, size), invented_targets(s.config.out_channels, some, size),
                    encoding=encoding)

    def each(call: Callable[[], object], pictures: int = some) -> float:
        """Seconds a picture; the first call does not count."""
        call()
        return watch(call) / pictures

    source, target = (side.to(device) for side in next(data.batches(some)))
    found: list[Tools] = []
    begins = watch(lambda: found.append(tools_at_hand(device)))
    tools = found[0]
    read = each(lambda: next(data.batches(some)))
    features = each(lambda: tools.features(target))
    metrics = each(lambda: score([(target, target)], Tools(judges=tools.judges), data=dataset.name))
    one, other = _features(tools, count, 0), _features(tools, count, 1)
    statistics, of_floor = watch(lambda: compared(one, other)), watch(lambda: floor(one))
    answers, alone = dict[str, float](), dict[str, float]()
    for role, make in nets.items():
        net = make().init(torch.Generator().manual_seed(0)).eval()
        blank = torch.zeros(net.source_shape(size))
        alone[role] = each(partial(_answer, net, blank, data.depth), 1)
        answers[role] = each(partial(_answer, net.to(device), source, data.depth))
    copies = CopyAnswers.fits(encoding.view(source), target)

    def scored(roles: Collection[str], truth: float) -> float:
        """All metrics of some nets, and of the copy; `truth`: seconds of a picture that these are compared with."""
        everyone = len(roles) + copies
        picture = (features + read + truth) * (everyone + 1) + metrics * everyone + sum(answers[role] for role in roles)
        return count * picture + statistics * everyone + of_floor

    seconds = begins + (RUNS + 3) * sum(alone.values())  # latency
    seconds += min(SAMPLES, count) * sum(alone.get(role, 0.0) for role in ("original", "student"))
    if all(record.target is not None for record in dataset.test):
        seconds += scored(nets, 0.0)
    if run.method.imitates:
        seconds += scored(nets.keys() - {"original"}, answers["original"])
    stand = copy(dataset)
    stand.test = dataset.train  # whose label maps may be read
    jury, _ = jury_for(stand, data, device)
    if jury:
        few = min(some, JUDGED)
        seconds += count * (len(nets) + copies + 1) * each(partial(jury.judged, target[:few], 0), few)
    return seconds, f"{count:,} pictures, {len(nets)} nets"


@torch.no_grad()
def _answer(net: Generator, source: Tensor, depth: Any) -> Tensor:
    return rounded(at_any_size(net, source), depth)


def _features(tools: Tools, count: int, seed: int) -> Features:
    """As many as there are test images, noise in every space."""
    generator = torch.Generator().manual_seed(seed)
    spaces = {space: d for extract in tools.extractors for space, d in extract.spaces.items()}
    return Features({space: torch.randn(count, d, generator=generator, dtype=torch.float64) for space, d in spaces.items()})
