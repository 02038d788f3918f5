"""PatchGAN [Isola 2017]: judges overlapping patches of (source, image). Static: it is never searched."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ugc.core.config import Config
from ugc.core.errors import UserError
from ugc.models.generator import init_weights
from ugc.nn.elastic import norm


class PatchConfig(Config):
    """ndf: None = 2 x base (128 at base 64). strided: 3 gives 70x70 patches; None = 3 from 128 px on, else 2."""

    ndf: int | None = Field(default=None, ge=1, le=4096)
    strided: int | None = Field(default=None, ge=1, le=12)
    norm: Literal["instance", "batch"] = "instance"

    def resolved(self, base: int, size: tuple[int, int]) -> PatchConfig:
        """The same with every number filled in for a generator's base width and a crop size (H, W)."""
        strided = self.strided or (3 if min(size) >= 128 else 2)
        if (least := 6 << (strided - 1)) > min(size):
            raise UserError(f"size {size[0]}x{size[1]}: a discriminator with {strided} strided layers needs {least} pixels "
                            f"a side; choose another --size, or --set patch.strided=N")
        return self.model_copy(update={"ndf": self.ndf or 2 * base, "strided": strided})


class PatchGAN(nn.Module):
    """D(source, image) -> a map of scores [N, 1, h, w]; greater = more real. No sigmoid.

    Args:
        channels: of source and image together.
    """

    def __init__(self, channels: int, config: PatchConfig) -> None:
        super().__init__()
        self.config = config
        assert config.ndf and config.strided, "resolve the config first"
        widths = [channels, *(config.ndf * min(2**i, 8) for i in range(config.strided + 1))]
        bias = config.norm == "instance"
        self.convs = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, (a, b) in enumerate(pairwise(widths)):
            stride = 2 if i < config.strided else 1
            self.convs.append(nn.Conv2d(a, b, 4, stride, 1, bias=bias or i == 0))
            self.norms.append(norm(config.norm, b) if i else nn.Identity())
        self.last = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, source: Tensor, image: Tensor) -> Tensor:
        h = torch.cat([source, image], 1)  # [N, channels, H, W]
        for conv, layer_norm in zip(self.convs, self.norms):
            h = F.leaky_relu(layer_norm(conv(h)), 0.2)
        out: Tensor = self.last(h)
        return out

    def judge(self, source: Tensor, *images: Tensor) -> list[Tensor]:
        """The maps of several images of the same sources: one pass where images do not touch each other (instance norm)."""
        if self.config.norm != "instance":
            return [self(source, image) for image in images]
        maps = self(source.repeat(len(images), 1, 1, 1), torch.cat(images))
        return list(maps.chunk(len(images)))

    def init(self, generator: torch.Generator) -> PatchGAN:
        init_weights(self, generator)
        return self


def score(patches: Tensor) -> Tensor:
    """One number an image, [N]: the mean over its patches. What UGC Eq. (8) compares."""
    return patches.float().mean((1, 2, 3))
