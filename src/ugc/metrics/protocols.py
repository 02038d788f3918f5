"""What is measured. A name fixes its protocol; a file of this package that registers a metric is found by itself.

    psnr ssim l1 ink_iou ink_grey     of an image and its target, mean over images (`pixel.py`)
    palette_accuracy          the same, of drawings in few flat colours, region by region (`regions.py`)
    lpips                     the same, by VGG-16 (`lpips.py`), where its files are at hand
    kd_efflite0 fd_efflite0   distances of two sets of features (`distances.py`)
    kid fid                   the same formulas on the Inception of the literature, where its file is at hand
    miou_NAME pixel_accuracy_NAME fwiou_NAME      whether a segmenter finds the label map in the picture (`segmentation.py`)

The first kind sees place and shape and forgives blur, the last two see blur and grain and are blind to place: quote both,
beside `copy` (the source as the answer) and `floor` (real images against real ones).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from ugc.core.registry import Registry


@dataclass(frozen=True)
class Metric:
    """One number and its meaning: of each image (`per_image`, or `judge`), of two sets (the other four), or of a picture and
    its label map (none of them: these are made by `Segmenter`).

    Attributes:
        better: which direction is good; `one`: the nearer to 1.
        unit: after the number; "" for none.
        text: the protocol in one line.
        per_image: (prediction, target) [N, C, H, W] in [-1, 1] -> [N]; NaN where an image has nothing to judge.
        judge: the same is done by a network of this name in `tools.py`.
        space: the features that it is of.
        statistics: features [N, d] of a set -> its statistics; two images at least.
        number: (statistics of predictions, statistics of targets) -> the number.
        interval: (features, features, whether they are of the same test images) -> lower and upper end.
        channels: the only channel count that it makes sense for; None for any.
        data: the only data set whose targets it makes sense for, by name; "" for any.
        least: pixels that the short side needs.
    """

    name: str
    better: Literal["higher", "lower", "one"]
    unit: str
    text: str
    per_image: Callable[[Tensor, Tensor], Tensor] | None = None
    judge: bool = False
    space: str = ""
    statistics: Callable[[Tensor], Any] | None = None
    number: Callable[[Any, Any], float] | None = None
    interval: Callable[[Tensor, Tensor, bool], tuple[float, float]] | None = None
    channels: int | None = None
    data: str = ""
    least: int = 1


METRICS: Registry[Metric] = Registry("metric", "ugc.metrics")

TO_ORIGINAL = "_to_original"  # behind a metric's name: the original's picture in the target's place

# of rows and tables: what label maps are judged by, these, then others by name
OF_LABELS = ("miou_", "pixel_accuracy_", "fwiou_")
ORDER = ("psnr", "ssim", "l1", "lpips", "ink_iou", "ink_grey", "palette_accuracy", "kd_efflite0", "fd_efflite0", "kid",
         "fid")


def worse(metric: Metric, value: float, other: float) -> bool:
    """Whether a value is worse than another of the same metric."""
    if metric.better == "one":
        return abs(value - 1) > abs(other - 1)
    return value < other if metric.better == "higher" else value > other


def ordered() -> list[Metric]:
    """All metrics in the order of tables."""
    return sorted((metric for _, metric in METRICS.items()), key=lambda m: (
        *(not m.name.startswith(kind) for kind in OF_LABELS), *(m.name != name for name in ORDER), m.name))


def to_original() -> list[Metric]:
    """The same metrics with the original's picture in the target's place, under names of their own."""
    return [replace(m, name=m.name + TO_ORIGINAL, text=f"{m.text}, the original's picture in the target's place")
            for m in ordered()]
