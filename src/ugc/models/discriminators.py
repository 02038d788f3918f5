"""PatchGAN [Isola 2017] on one or more scales [Wang 2018]: judges overlapping patches of (source, image).

    D_0 sees source and image as they are, D_i a 3x3 average of stride 2 of what D_(i-1) sees.

Static: it is never searched. Under spectral norm a forward leaves D as it was; u and v move in D's own update.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ugc.core.config import Config
from ugc.core.errors import UserError
from ugc.models.generator import init_weights
from ugc.nn.elastic import norm
from ugc.nn.spectral import SpectralConv

PLAIN: Mapping[str, Any] = {"scales": 1, "padding": 1, "spectral": False, "norm": "instance"}  # pix2pix's


class PatchConfig(Config):
    """The discriminator. What is None is the family's own (`Generator.judge`), else pix2pix's.

    ndf: None = 2 x base with one scale (128 at base 64), base with more. strided: 3 gives 70x70 patches; None = 3 from
    128 px on, else 2. scales: how many PatchGANs, each on half the size. padding: of every convolution. spectral: norm
    of the convolutions that have a norm behind them, which then have no bias.
    """

    ndf: int | None = Field(default=None, ge=1, le=4096)
    strided: int | None = Field(default=None, ge=1, le=12)
    scales: int | None = Field(default=None, ge=1, le=6)
    padding: int | None = Field(default=None, ge=1, le=2)
    spectral: bool | None = None
    norm: Literal["instance", "batch"] | None = None

    def spelled(self, family: Mapping[str, Any]) -> PatchConfig:
        """The same with the family's own choices filled in."""
        return self.model_copy(update={k: v for k, v in {**PLAIN, **family}.items() if getattr(self, k) is None})

    def resolved(self, base: int, size: tuple[int, int], family: Mapping[str, Any] | None = None) -> PatchConfig:
        """The same with every number filled in for a generator's base width and a crop size (H, W)."""
        config = self.spelled(family or {})
        strided = config.strided or (3 if min(size) >= 128 else 2)
        ndf = config.ndf or (2 * base if config.scales == 1 else base)
        return config.model_copy(update={"ndf": ndf, "strided": strided})

    def check_size(self, size: tuple[int, int]) -> None:
        """UserError unless the discriminator, resolved, can judge pictures of `size` (H, W)."""
        assert self.scales and self.strided
        if (least := 6 << (self.strided + self.scales - 2)) > min(size):
            on = f" on {self.scales} scales" if self.scales > 1 else ""
            raise UserError(f"size {size[0]}x{size[1]}: a discriminator with {self.strided} strided layers{on} needs "
                            f"{least} pixels a side; choose another --size, or --set patch.strided=N")


class Judgement(NamedTuple):
    """What D says of a batch of images, scale by scale, the finest first."""

    maps: list[list[Tensor]]  # behind every layer but the last: [N, c, h, w]
    scores: list[Tensor]  # [N, 1, h, w]; greater = more real

    def detached(self) -> Judgement:
        return Judgement([[m.detach() for m in maps] for maps in self.maps], [s.detach() for s in self.scores])


class PatchGAN(nn.Module):
    """One scale. (source, image) -> the maps behind each layer and the scores of the patches. No sigmoid.

    Args:
        channels: of source and image together.
    """

    def __init__(self, channels: int, config: PatchConfig) -> None:
        super().__init__()
        assert config.ndf and config.strided and config.padding, "resolve the config first"
        widths = [channels, *(config.ndf * min(2**i, 8) for i in range(config.strided + 1))]
        padding, bias = config.padding, config.norm == "instance" and not config.spectral
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, (a, b) in enumerate(pairwise(widths)):
            stride = 2 if i < config.strided else 1
            if i and config.spectral:
                self.convs.append(SpectralConv((a,), b, 4, stride, padding, bias=False))
            else:
                self.convs.append(nn.Conv2d(a, b, 4, stride, padding, bias=bias or i == 0))
            self.norms.append(norm(str(config.norm), b) if i else nn.Identity())
        self.last = nn.Conv2d(widths[-1], 1, 4, 1, padding)

    def patches(self, seen: Tensor) -> tuple[list[Tensor], Tensor]:
        """seen: source and image side by side, [N, channels, H, W]."""
        maps = [seen]
        for conv, layer_norm in zip(self.convs, self.norms):
            maps.append(F.leaky_relu(layer_norm(conv(maps[-1])), 0.2))
        return maps[1:], self.last(maps[-1])


class Discriminator(PatchGAN):
    """D(source, image): a PatchGAN, and `coarser` ones on averaged pictures."""

    def __init__(self, channels: int, config: PatchConfig) -> None:
        super().__init__(channels, config)
        self.config = config
        self.coarser = nn.ModuleList(PatchGAN(channels, config) for _ in range((config.scales or 1) - 1))

    def forward(self, source: Tensor, image: Tensor) -> Judgement:
        return self.judge(source, image)[0]

    def judge(self, source: Tensor, *images: Tensor) -> list[Judgement]:
        """What D says of each of several images of the same sources, all [N, C, H, W].

        One pass where images do not touch each other (instance norm). Sources are averaged once.
        """
        together = self.config.norm == "instance"
        groups = [torch.cat(images)] if together else list(images)
        said = [Judgement([], []) for _ in images]
        for i, one in enumerate((self, *self.coarser)):
            if i:
                source, *groups = (halved(x) for x in (source, *groups))
            found = []
            for group in groups:
                sources = source.repeat(len(group) // len(source), 1, 1, 1) if len(group) > len(source) else source
                maps, scores = one.patches(torch.cat([sources, group], 1))
                apart = len(images) if together else 1
                found += list(zip(*(t.chunk(apart) for t in (*maps, scores))))
            for judgement, (*maps, scores) in zip(said, found):
                judgement.maps.append(maps)
                judgement.scores.append(scores)
        return said

    def init(self, generator: torch.Generator) -> Discriminator:
        init_weights(self, generator)
        return self


def halved(x: Tensor) -> Tensor:
    """3x3 means of stride 2: [N, C, H, W] -> [N, C, ceil(H/2), ceil(W/2)]; what lies outside the picture does not count."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


def score(judgement: Judgement) -> Tensor:
    """One number an image, [N]: the mean over its patches, then over scales. What UGC Eq. (8) compares."""
    return torch.stack([scores.float().mean((1, 2, 3)) for scores in judgement.scores]).mean(0)
