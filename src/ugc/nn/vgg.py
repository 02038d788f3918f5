"""VGG [Simonyan 2015] without its classifier, and with torchvision's public ImageNet weights. No torchvision needed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from torch import Tensor, nn

from ugc.core.weights import PublicFile
from ugc.nn.backbones import Backbone


class VGG(Backbone):
    """Groups of 3x3 convolutions, each with a ReLU behind it; a 2x2 maximum between groups.

    Args:
        groups: channels of the convolutions, group by group.
    """

    groups: ClassVar[Sequence[Sequence[int]]]
    at: ClassVar[int] = -1  # which ReLU of each group is a tap

    def __init__(self, groups: Sequence[Sequence[int]] | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        inside = 3
        for group in groups or self.groups:
            if layers:
                layers.append(nn.MaxPool2d(2))
            relus = []
            for outside in group:
                layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
                relus.append(len(layers) - 1)
                inside = outside
            self.ends.append(relus[self.at])
        self.features = nn.Sequential(*layers)  # numbered as torchvision's, so its keys fit

    def maps(self, x: Tensor) -> list[Tensor]:
        """What the tapped ReLU of each group gives, of prepared images [N, 3, H, W]."""
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.ends:  # a maximum or a convolution is next: nothing writes into it
                maps.append(x)
        return maps


class PublicVGG(VGG):
    """VGG with torchvision's public weights."""

    @classmethod
    @abstractmethod
    def public(cls) -> PublicFile:
        """The file of its weights."""

    @classmethod
    def cached(cls) -> Path | None:
        return cls.public().cached()

    @classmethod
    def load(cls, download: bool = False, groups: Sequence[Sequence[int]] | None = None) -> Self:
        net = cls(groups)
        weights = cls.public().tensors(download)
        net.load_state_dict({key: weights[key] for key in net.state_dict()})
        return net.freeze(cls.public().sha256)
