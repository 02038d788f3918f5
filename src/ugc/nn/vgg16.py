"""VGG-16 up to relu4_3, torchvision's public ImageNet weights, as the paper's lineage uses it. No torchvision needed.

Architecture: Simonyan and Zisserman, 2015, configuration D. The input is (x + 1) / 2 without ImageNet's mean and
deviation: that is how OMGD's loss feeds it, and what its weights of the loss were made for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from torch import Tensor, nn

from ugc.core.weights import PublicFile
from ugc.nn.backbones import BACKBONES, Backbone

PUBLIC = PublicFile(
    title="VGG-16 weights", address="https://download.pytorch.org/models/vgg16-397923af.pth", name="vgg16-397923af.pth",
    size=553433881, sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", variable="UGC_VGG16")

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))  # channels; a 2x2 maximum between groups


@BACKBONES.register("vgg16")
class VGG16(Backbone):
    """VGG-16. Taps: relu1_2 (64 channels, full size), relu2_2 (128, 1/2), relu3_3 (256, 1/4), relu4_3 (512, 1/8)."""

    name = "vgg16"
    feature_tap = 1
    orders = {
        "lineage": {"ssim": 10.0, "feature": 10.0, "style": 1e4, "tv": 1e-5},  # OMGD's code
        "text": {"ssim": 10.0, "feature": 1e4, "style": 10.0, "tv": 1e-5},  # UGC's text, section 4.1
    }

    def __init__(self, groups: Sequence[Sequence[int]] = GROUPS) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        inside = 3
        for group in groups:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for outside in group:
                layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
                inside = outside
            self.ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)  # numbered as torchvision's, so its keys fit

    def taps(self, images: Tensor) -> list[Tensor]:
        return self.maps((images + 1) / 2)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What the last ReLU of each group gives, of prepared images [N, 3, H, W]."""
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.ends:
                maps.append(x)
        return maps

    @classmethod
    def cached(cls) -> Path | None:
        return PUBLIC.cached()

    @classmethod
    def load(cls, download: bool = False, groups: Sequence[Sequence[int]] = GROUPS) -> Self:
        net = cls(groups)
        weights = PUBLIC.tensors(download)
        net.load_state_dict({key: weights[key] for key in net.state_dict()})
        return net.freeze(PUBLIC.sha256)
