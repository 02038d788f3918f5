"""A set of answers, scored in one pass: means over images, distances of sets, their intervals, and the floor.

The floor is real against real: one half of the targets against the other. A Frechet distance is biased upwards, the more
the fewer the images, so every distance is given at the floor's count, too: the answers of one half against the targets of
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ugc.metrics.bootstrap import LEAST
from ugc.metrics.features import Features
from ugc.metrics.protocols import METRICS, Metric, ordered
from ugc.metrics.tools import Tools

FEW = 2048  # images; below it a loud word is said


@dataclass(frozen=True)
class Score:
    """What a set of answers is worth.

    Attributes:
        row: name -> mean over images, or distance of the two sets; `NAME_stats` -> distance to given statistics.
        intervals: name -> where 95 % of resampled distances lie.
        half: name -> distance of the answers of one half and the targets of the other, the floor's count.
        each: name -> [N], the metrics of each image, whose means are in `row`; NaN where it has nothing to judge.
    """

    row: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    half: dict[str, float] = field(default_factory=dict)
    each: dict[str, Tensor] = field(default_factory=dict, compare=False)

    def beside(self, other: Score, ending: str) -> Score:
        """With another score of the same answers, whose names get an ending."""
        row, half = ({f"{name}{ending}": value for name, value in part.items()} for part in (other.row, other.half))
        ends = {f"{name}{ending}": value for name, value in other.intervals.items()}
        each = {f"{name}{ending}": values for name, values in other.each.items()}
        return Score(self.row | row, self.intervals | ends, self.half | half, self.each | each)


def score(pairs: Iterable[tuple[Tensor, Tensor]], tools: Tools | None = None, targets: Features | None = None,
          given: Mapping[str, Any] | None = None, data: str = "") -> Score:
    """Score answers; images are not kept. The batches' sizes do not matter.

    Args:
        pairs: batches (prediction, target), [N, C, H, W] in [-1, 1], on one device. Sizes may differ between batches.
        tools: what makes features; without any there are no distances.
        targets: `tools.collect` of the same targets, where it is known: then they are not computed again.
        given: metric -> statistics of other real images, such as those of a file.
        data: the name of the data set that the targets are of, for metrics that are made for one.

    Returns:
        means over the images that have something to judge;
        only what makes sense (ink for 1 channel, distances for two images and more), all finite for finite images.
    """
    tools = tools or Tools()
    values: dict[str, list[Tensor]] = {}
    answers, truths, finite = [], [], []
    with torch.no_grad():
        for prediction, target in pairs:
            for name, of_each in _each(prediction.float(), target.float(), tools, data):
                values.setdefault(name, []).append(of_each.double().cpu())
            finite.append(prediction.isfinite().flatten(1).all(1).cpu())
            if tools.extractors:
                answers.append(tools.features(prediction))
                if targets is None:
                    truths.append(tools.features(target))
    each = {name: torch.cat(parts) for name, parts in values.items()}
    row = {name: float(judged.mean()) for name, of_all in each.items()
           if len(judged := of_all[~(of_all.isnan() & torch.cat(finite))])}  # a broken answer stays NaN
    a, b = Features.join(answers), Features.join(truths) if targets is None else targets
    sets = compared(a, b, given)
    return Score(row | sets.row, sets.intervals, sets.half, each)


def compared(a: Features, b: Features, given: Mapping[str, Any] | None = None) -> Score:
    """What the features of answers say beside those of their targets, in the same order."""
    one, other = halves(len(a))
    return Score(distances(a, b) | to_given(a, given or {}), intervals(a, b, paired=True), distances(a[one], b[other]))


def _each(prediction: Tensor, target: Tensor, tools: Tools, data: str) -> Iterable[tuple[str, Tensor]]:
    """Metrics of each image, [N], that make sense for these."""
    for metric in ordered():
        of_images = metric.per_image or (tools.judges.get(metric.name) if metric.judge else None)
        fits = metric.channels in (None, prediction.shape[1]) and metric.data in ("", data)
        if of_images and fits and min(prediction.shape[2:]) >= metric.least:
            yield metric.name, of_images(prediction, target)


def of_sets(features: Features) -> list[Metric]:
    """The metrics between sets that these features allow."""
    return [metric for metric in ordered() if metric.number and metric.space in features.spaces]


def distances(a: Features, b: Features) -> dict[str, float]:
    """Every metric between two sets; empty where one has fewer than two images."""
    if min(len(a), len(b)) < 2:
        return {}
    return {m.name: m.number(statistics(m, a), statistics(m, b)) for m in of_sets(a) if m.number}


def statistics(metric: Metric, features: Features) -> Any:
    """The second step of features -> statistics -> number."""
    assert metric.statistics is not None
    return metric.statistics(features.spaces[metric.space])


def to_given(a: Features, given: Mapping[str, Any]) -> dict[str, float]:
    """`NAME_stats`: the distance of a set to statistics that are given."""
    if len(a) < 2:
        return {}
    metrics = [METRICS[name] for name in given]
    return {f"{m.name}_stats": m.number(statistics(m, a), given[m.name]) for m in metrics if m.number}


def intervals(a: Features, b: Features, paired: bool) -> dict[str, tuple[float, float]]:
    """The bootstrap interval of every distance; empty for fewer than 16 images."""
    if min(len(a), len(b)) < LEAST:
        return {}
    return {m.name: m.interval(a.spaces[m.space], b.spaces[m.space], paired) for m in of_sets(a) if m.interval}


def halves(count: int) -> tuple[Tensor, Tensor]:
    """Two halves of a test set, drawn at random (a fixed draw); of an odd count one image is in neither."""
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    half = count // 2
    return shuffled[:half], shuffled[half : 2 * half]


def floor(targets: Features, given: Mapping[str, Any] | None = None) -> Score:
    """What distances say of a perfect answer: one half of the targets against the other.

    To given statistics it is that of all targets, the count of the answers.
    """
    one, other = (targets[half] for half in halves(len(targets)))
    row = distances(one, other)
    return Score(row | to_given(targets, given or {}), intervals(one, other, paired=False), row)


def warnings(count: int) -> list[str]:
    """What must be said aloud of numbers from so few images."""
    if count >= FEW:
        return []
    return [f"WARNING: {count:,} test images, fewer than {FEW:,}: distances of sets (fid, kid, fd, kd) are uncertain, and "
            "Frechet distances are mostly too large by an amount that depends on the count; compare them with the floor "
            "and at equal counts only, and with no published number"]
