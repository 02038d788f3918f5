"""Whether a segmenter finds in a picture what its label map says: IoU of classes, out of confusion matrices.

With n_tp pixels of class t taken for class p, summed over all images, t_k = sum_p n_kp and p_k = sum_t n_tk:

    mIoU = mean_k n_kk / (t_k + p_k - n_kk)        over classes that are there: in the label maps or in what was found
    pixel accuracy = sum_k n_kk / sum_k t_k
    frequency-weighted IoU = sum_k t_k IoU_k / sum_k t_k

all x 100. Pixels whose label has no class (255) count nowhere. A segmenter is one file of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.core.device import exact
from ugc.core.palettes import IGNORED
from ugc.core.registry import Registry
from ugc.metrics.bootstrap import LEAST, LEVEL, counts
from ugc.metrics.protocols import METRICS, Metric

RESAMPLES = 400
KINDS = {"miou": "mean intersection over union of classes", "pixel_accuracy": "pixels whose class is found",
         "fwiou": "intersection over union, classes weighted by their pixels"}


def confusion(truth: Tensor, found: Tensor, classes: int) -> Tensor:
    """Counts of pixels, int64 [N, K, K]: row the class in `truth`, column the class in `found`.

    Args:
        truth, found: classes [N, H, W], integers; where `truth` is 255 the pixel is left out.
    """
    n = len(truth)
    valid = truth.flatten() != IGNORED
    image = torch.arange(n, device=truth.device).repeat_interleave(truth[0].numel() if n else 0)
    cells = (image * classes + truth.flatten().long()) * classes + found.flatten().long()
    return torch.bincount(cells[valid], minlength=n * classes**2).view(n, classes, classes)


@dataclass(frozen=True)
class Hits:
    """What IoU needs of confusion matrices, float64 [.., K]: pixels found right, pixels of the truth, pixels found."""

    right: Tensor
    truth: Tensor
    found: Tensor

    @classmethod
    def of(cls, confusions: Tensor) -> Hits:
        """Of matrices [.., K, K]."""
        table = confusions.double()
        return cls(table.diagonal(dim1=-2, dim2=-1), table.sum(-1), table.sum(-2))

    def weighted(self, weights: Tensor) -> Hits:
        """Sums over N images, [R, K], by how often each is drawn, [R, N]."""
        return Hits(*(weights @ part for part in (self.right, self.truth, self.found)))

    @property
    def iou(self) -> Tensor:
        """[.., K]; NaN for a class that is neither in the truth nor found."""
        return self.right / (self.truth + self.found - self.right)

    def numbers(self) -> dict[str, Tensor]:
        """Kind -> x 100, [..]."""
        iou = self.iou
        share = self.truth / self.truth.sum(-1, keepdim=True)
        return {"miou": 100 * iou.nanmean(-1), "pixel_accuracy": 100 * self.right.sum(-1) / self.truth.sum(-1),
                "fwiou": 100 * (share * iou.nan_to_num()).sum(-1)}


def numbers(confusions: Tensor) -> dict[str, float]:
    """Kind -> x 100, of the pooled matrices [N, K, K]; empty where no pixel has a class."""
    pooled = confusions.sum(0)
    return {kind: float(value) for kind, value in Hits.of(pooled).numbers().items()} if pooled.any() else {}


def intervals(confusions: Tensor) -> dict[str, tuple[float, float]]:
    """The middle 95 % over resampled images (a fixed draw) of the same; empty for fewer than 16 images."""
    n = len(confusions)
    if n < LEAST or not confusions.any():
        return {}
    drawn = Hits.of(confusions).weighted(counts(n, n, RESAMPLES, paired=True)[0]).numbers()
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    found = {kind: torch.nanquantile(draws, ends).tolist() for kind, draws in drawn.items()}
    return {kind: (low, high) for kind, (low, high) in found.items()}


@dataclass(frozen=True)
class Segmenter:
    """A network that says what is where in a picture.

    Attributes:
        name: of its numbers, `miou_NAME`.
        net: pictures [N, 3, H, W] in [-1, 1] -> scores of K classes [N, K, h, w]; used in fp32, in eval mode.
        classes: K.
        ids: label id -> class, 0 to K - 1; other ids are ignored.
        provenance: what a reader of the numbers must know: `weights_sha256` and more.
        full: truth is the label map at its own size, not at the picture's.
    """

    name: str
    net: nn.Module
    classes: int
    ids: Mapping[int, int]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    full: bool = False

    def truth(self, labels: Tensor) -> Tensor:
        """Label ids of uint8 -> classes, uint8; 255 where there is none."""
        table = torch.full((256,), IGNORED, dtype=torch.uint8, device=labels.device)
        for label, number in self.ids.items():
            table[label] = number
        return table[labels.long()]

    @torch.no_grad()
    def found(self, pictures: Tensor, size: tuple[int, int]) -> Tensor:
        """Pictures [N, 1 or 3, H, W] in [-1, 1] -> classes [N, *size]: scores resized bilinearly, then the largest.

        Half-pixel bilinear; where scores shrink, antialiased: as PIL resizes each channel.
        """
        with exact(pictures.device):
            scores: Tensor = self.net.eval()(pictures.float())
            if scores.shape[2:] != size:
                scores = F.interpolate(scores, size, mode="bilinear", align_corners=False, antialias=True)
        return scores.argmax(1)


@dataclass(frozen=True)
class Offer:
    """A segmenter that may be had.

    Attributes:
        name: of the segmenter.
        data: what it judges: `streets`, `cityscapes`, or the name of a user's data set.
        text: its protocol in a few words.
        load: whether a file may be downloaded for it -> the segmenter; UserError where a file is absent or another.
        at_hand: whether `load` needs no download.
    """

    name: str
    data: str
    text: str
    load: Callable[[bool], Segmenter]
    at_hand: Callable[[], bool] = lambda: True


SEGMENTERS: Registry[Offer] = Registry("segmenter", "ugc.metrics")


def offer(one: Offer) -> Offer:
    """Put a segmenter into the registry, and its three numbers among the metrics."""
    for kind, words in KINDS.items():
        text = f"{words} x 100, {one.text}"
        METRICS.register(f"{kind}_{one.name}")(Metric(f"{kind}_{one.name}", "higher", "%", text))
    return SEGMENTERS.register(one.name)(one)
