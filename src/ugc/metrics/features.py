"""Features of images: the first third of features -> statistics -> number.

EfficientNet-Lite0's two vectors an image: 320 before its head (few enough to estimate a covariance from a thousand
images) and 1,280 after it. One channel is repeated to three. An image whose short side is under 128 pixels is enlarged
bilinearly until it is 128 (at 64 pixels the last maps would be 2x2); a larger one is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ugc.core.device import exact
from ugc.nn.lite0 import Lite0

SHORT_SIDE = 128
BATCH = 64


@dataclass(frozen=True)
class Features:
    """Features of a set of images, float64 on the CPU.

    Attributes:
        body: [N, 320], before the head.
        head: [N, 1280], after it.
    """

    body: Tensor
    head: Tensor

    def __len__(self) -> int:
        return len(self.head)

    def __getitem__(self, index: Tensor) -> Features:
        return Features(self.body[index], self.head[index])

    @staticmethod
    def join(parts: Iterable[Features]) -> Features:
        parts = [Features(torch.empty(0, 320).double(), torch.empty(0, 1280).double()), *parts]
        return Features(torch.cat([p.body for p in parts]), torch.cat([p.head for p in parts]))


class Extractor:
    """EfficientNet-Lite0 as a measure: images [N, 1 or 3, H, W] in [-1, 1] -> Features. Always in fp32."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.net = Lite0.load().to(self.device)

    @property
    def provenance(self) -> dict[str, str | int]:
        """What a reader of the numbers must know."""
        return {"extractor": "efficientnet-lite0", "weights_sha256": self.net.weights_digest, "short_side": SHORT_SIDE}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        parts = []
        with exact(self.device):
            for start in range(0, len(images), BATCH):
                x = images[start : start + BATCH].to(self.device, torch.float32)
                short = min(x.shape[2:])
                if short < SHORT_SIDE:
                    height, width = (round(side * SHORT_SIDE / short) for side in x.shape[2:])
                    x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
                body, head = self.net.features(x)
                parts.append(Features(body.cpu().double(), head.cpu().double()))
        return Features.join(parts)

    def collect(self, batches: Iterable[Tensor]) -> Features:
        """The features of a stream of batches; the images are not kept."""
        return Features.join(self(batch) for batch in batches)
