"""What is measured, and how a set of answers is scored in one pass. A name fixes its protocol.

    psnr ssim l1 ink_iou   of an image and its target, mean over images (`pixel.py`)
    kd_efflite0            kernel distance x 1,000 on EfficientNet-Lite0's 1,280 features (`kernel.py`)
    fd_efflite0            Frechet distance on its 320 features before the head (`frechet.py`)

The first kind sees place and shape and forgives blur, the second sees blur and grain and is blind to place: quote both,
beside `copy` (the source as the answer) and `floor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ugc.core.registry import Registry
from ugc.metrics.features import Extractor, Features
from ugc.metrics.frechet import Gaussian, frechet_distance
from ugc.metrics.kernel import kernel_distance


@dataclass(frozen=True)
class Metric:
    """One number and its meaning: exactly one of `per_image` and `of_sets` computes it.

    Attributes:
        better: which direction is good.
        unit: after the number; "" for none.
        text: the protocol in one line.
        per_image: (prediction, target) [N, C, H, W] in [-1, 1] -> [N].
        of_sets: (features of predictions, features of targets) -> a number; at least two images each.
        channels: the only channel count that it makes sense for; None for any.
    """

    name: str
    better: Literal["higher", "lower"]
    unit: str
    text: str
    per_image: Callable[[Tensor, Tensor], Tensor] | None = None
    of_sets: Callable[[Features, Features], float] | None = None
    channels: int | None = None


METRICS: Registry[Metric] = Registry("metric", "ugc.metrics")

TO_ORIGINAL = "_to_original"  # behind a metric's name: the original's picture in the target's place
ORDER = ("psnr", "ssim", "l1", "ink_iou", "kd_efflite0", "fd_efflite0")  # of rows and tables; others follow by name


def ordered() -> list[Metric]:
    """All metrics in the order of tables."""
    return sorted((metric for _, metric in METRICS.items()), key=lambda m: (*(m.name != o for o in ORDER), m.name))


def to_original() -> list[Metric]:
    """The same metrics with the original's picture in the target's place, under names of their own."""
    return [replace(m, name=m.name + TO_ORIGINAL, text=f"{m.text}, the original's picture in the target's place")
            for m in ordered()]


def kd_efflite0(a: Features, b: Features) -> float:
    return kernel_distance(a.head, b.head)


def fd_efflite0(a: Features, b: Features) -> float:
    return frechet_distance(Gaussian.of(a.body), Gaussian.of(b.body))


for _metric in (
    Metric("kd_efflite0", "lower", "", "kernel distance x 1,000, EfficientNet-Lite0 1,280", of_sets=kd_efflite0),
    Metric("fd_efflite0", "lower", "", "Frechet distance, EfficientNet-Lite0 320", of_sets=fd_efflite0),
):
    METRICS.register(_metric.name)(_metric)


def evaluate(
    pairs: Iterable[tuple[Tensor, Tensor]], extractor: Extractor | None = None, targets: Features | None = None
) -> dict[str, float]:
    """Score answers in one pass; images are not kept. The batches' sizes do not matter.

    Args:
        pairs: batches (prediction, target), [N, C, H, W] in [-1, 1], on one device. Sizes may differ between batches.
        extractor: makes the features for kd and fd; None leaves these out.
        targets: `extractor.collect` of the same targets, where it is known: then they are not computed again.

    Returns:
        name -> mean over images, or distance of the two sets; only what makes sense (ink for 1 channel, distances
        for two images and more), all finite for finite images.
    """
    values: dict[str, list[Tensor]] = {}
    answers, truths = [], []
    with torch.no_grad():
        for prediction, target in pairs:
            for metric in ordered():
                if metric.per_image and metric.channels in (None, prediction.shape[1]):
                    of_each = metric.per_image(prediction.float(), target.float())
                    values.setdefault(metric.name, []).append(of_each.double().cpu())
            if extractor:
                answers.append(extractor(prediction))
                if targets is None:
                    truths.append(extractor(target))
    row = {name: float(torch.cat(parts).mean()) for name, parts in values.items()}
    if extractor:
        row |= distances(Features.join(answers), Features.join(truths) if targets is None else targets)
    return row


def distances(a: Features, b: Features) -> dict[str, float]:
    """Every metric between two sets; empty where one has fewer than two images."""
    if min(len(a), len(b)) < 2:
        return {}
    return {metric.name: metric.of_sets(a, b) for metric in ordered() if metric.of_sets}


def floor(targets: Features) -> dict[str, float]:
    """What kd and fd say of a perfect answer: one random half of the targets against the other (a fixed draw)."""
    shuffled = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    half = len(targets) // 2
    return distances(targets[shuffled[:half]], targets[shuffled[half : 2 * half]])
