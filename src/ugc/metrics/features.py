"""Features of images: the first third of features -> statistics -> number.

An extractor is a frozen classifier; each of its inner vectors is a space of features, known by name.

    lite0.body [N, 320], lite0.head [N, 1280]    EfficientNet-Lite0 before and after its head
    inception.pool3 [N, 2048]                    the Inception of FID (`nn/inception.py`)

One channel is repeated to three. For Lite0 an image whose short side is under 128 pixels is enlarged bilinearly until it is
128 (at 64 pixels the last maps would be 2x2); a larger one is taken as it is. For Inception every image becomes 299x299.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ugc.core.device import exact
from ugc.nn.inception import PUBLIC, SIDE, Inception
from ugc.nn.lite0 import Lite0

SHORT_SIDE = 128
BATCH = 64

BODY, HEAD, POOL3 = "lite0.body", "lite0.head", "inception.pool3"


@dataclass(frozen=True)
class Features:
    """Features of a set of N images: space -> [N, d], float64 on the CPU."""

    spaces: Mapping[str, Tensor]

    def __len__(self) -> int:
        return min((len(features) for features in self.spaces.values()), default=0)

    def __getitem__(self, index: Tensor) -> Features:
        return Features({space: features[index] for space, features in self.spaces.items()})

    @staticmethod
    def join(parts: Iterable[Features]) -> Features:
        """Images one after the other; of the same spaces."""
        parts = list(parts)
        names = parts[0].spaces if parts else ()
        return Features({space: torch.cat([part.spaces[space] for part in parts]) for space in names})


class Extractor(ABC):
    """Images [N, 1 or 3, H, W] in [-1, 1] -> Features. Always in fp32."""

    device: torch.device
    spaces: Mapping[str, int]  # name -> d

    @property
    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """What a reader of the numbers must know: `extractor`, `weights_sha256`, `resize` and more."""

    @abstractmethod
    def vectors(self, images: Tensor) -> dict[str, Tensor]:
        """The spaces of some images that fit into memory at a time."""

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Features:
        parts = [Features({space: torch.empty(0, d).double() for space, d in self.spaces.items()})]
        with exact(self.device):
            for some in images.split(BATCH):
                found = self.vectors(some.to(self.device, torch.float32))
                parts.append(Features({space: features.cpu().double() for space, features in found.items()}))
        return Features.join(parts)


class Lite0Extractor(Extractor):
    """EfficientNet-Lite0 as a measure; its weights come with the installation."""

    spaces = {BODY: 320, HEAD: 1280}

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.net = Lite0.load().to(self.device)

    @property
    def provenance(self) -> dict[str, Any]:
        return {"extractor": "efficientnet-lite0", "weights_sha256": self.net.weights_digest, "short_side": SHORT_SIDE,
                "resize": f"bilinear to a short side of {SHORT_SIDE} where it is less (align_corners=False, no antialias)"}

    def vectors(self, images: Tensor) -> dict[str, Tensor]:
        short = min(images.shape[2:])
        if short < SHORT_SIDE:
            height, width = (round(side * SHORT_SIDE / short) for side in images.shape[2:])
            images = F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
        body, head = self.net.features(images)
        return {BODY: body, HEAD: head}


class InceptionExtractor(Extractor):
    """The Inception of FID as a measure.

    Args:
        download: fetch its public file (96 MB) where it is absent; else UserError.
    """

    spaces = {POOL3: 2048}

    def __init__(self, device: torch.device | str = "cpu", download: bool = False) -> None:
        self.device = torch.device(device)
        self.net = Inception.load(download).to(self.device)

    @property
    def provenance(self) -> dict[str, Any]:
        return {"extractor": "inception-2015-12-05", "weights_sha256": PUBLIC.sha256,
                "resize": f"rounded to 8 bits, bilinear to {SIDE}x{SIDE} (align_corners=False, no antialias), 2x - 1; pool3"}

    def vectors(self, images: Tensor) -> dict[str, Tensor]:
        return {POOL3: self.net(images)}
