"""LPIPS, version 0.1 with VGG-16 and linear weights (Zhang et al., "The Unreasonable Effectiveness of Deep Features", 2018).

    d(x, y) = sum over l of the mean over pixels of  w_l . (f_l(x) / |f_l(x)| - f_l(y) / |f_l(y)|)^2

f_l are the maps after relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3; the norms are over channels, w_l >= 0 are published.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ugc.core.device import exact
from ugc.core.images import to_channels
from ugc.core.weights import PublicFile
from ugc.metrics.protocols import METRICS, Metric
from ugc.nn.vgg16 import GROUPS, PUBLIC, VGG16

LINEAR = PublicFile(
    title="LPIPS linear weights",
    address="https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",
    name="lpips-v0.1-vgg.pth", size=7289, sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    variable="UGC_LPIPS",
    packages=(("lpips", "weights/v0.1/vgg.pth"), ("torchmetrics", "functional/image/lpips_models/vgg.pth")))

MEAN, DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in [-1, 1]: ImageNet's
LEAST = 16  # pixels of a short side: the last maps are a sixteenth
BATCH = 16


class Lpips:
    """The metric with its weights.

    Args:
        download: fetch what is absent of the two public files (553 MB and 7 kB); else UserError.
    """

    def __init__(self, device: torch.device | str = "cpu", download: bool = False) -> None:
        self.device = torch.device(device)
        self.trunk = VGG16.load(download, (*GROUPS, (512, 512, 512))).to(self.device)
        linear = LINEAR.tensors(download)
        self.linear = [linear[f"lin{i}.model.1.weight"].to(self.device) for i in range(5)]  # [1, C_l, 1, 1]

    @staticmethod
    def at_hand() -> bool:
        """Whether both files lie on this machine."""
        return bool(PUBLIC.cached() and LINEAR.cached())

    @property
    def provenance(self) -> dict[str, Any]:
        """What a reader of the numbers must know."""
        return {"extractor": "vgg16", "weights_sha256": PUBLIC.sha256, "linear_sha256": LINEAR.sha256, "version": "0.1",
                "resize": "none"}

    @torch.no_grad()
    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """[N, C, H, W] in [-1, 1], twice -> [N]; H and W at least 16."""
        with exact(self.device):
            return torch.cat([self._some(x, y) for x, y in zip(prediction.split(BATCH), target.split(BATCH))])

    def _some(self, x: Tensor, y: Tensor) -> Tensor:
        ours, theirs = (self.trunk.maps(self._prepared(images)) for images in (x, y))
        parts = [((_unit(a) - _unit(b)).square() * w).sum(1).mean((1, 2)) for a, b, w in zip(ours, theirs, self.linear)]
        return torch.stack(parts).sum(0)

    def _prepared(self, images: Tensor) -> Tensor:
        x = to_channels(images.to(self.device, torch.float32), 3)
        mean, deviation = (x.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        return (x - mean) / deviation


def _unit(maps: Tensor) -> Tensor:
    """Of length 1 over channels."""
    return maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-10)


METRICS.register("lpips")(Metric(
    "lpips", "lower", "", "LPIPS 0.1, VGG-16 with linear weights, mean over images", judge=True, least=LEAST))
