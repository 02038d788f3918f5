"""The U-Net generator of pix2pix [Isola 2017] and its supernet.

    level 1      conv -> [slot] ------------------------------- skip ------------------------------+-> relu, up, tanh
    level 2..L-1   lrelu, conv, norm -> [slot] --------- skip -----------+-> relu, up, norm -> [slot]
    level L          lrelu, conv --------------> relu, up, norm -> [slot]

Every convolution is 4x4 with stride 2. Level k has base width w1, w2, w4 or w8 (k = 1, 2, 3, >= 4) times 1, 2, 4, 8.
Supernet (definition I): 4 width groups, the same on both sides; 0, 1 or 2 plain residual blocks in each of 2(L - 1)
slots: after the norm, before the skip is taken (down) or joined (up). A skip is a second part of the next layer's
input, so it is right under any widths.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ugc.models.generator import FAMILIES, Generator, GeneratorConfig, NormKind, full_precision
from ugc.nn.arch import Arch, Choice
from ugc.nn.blocks import Slot
from ugc.nn.elastic import ElasticConv, ElasticConvTranspose, norm


class UNetConfig(GeneratorConfig):
    """levels: halvings, 8 at 256 px: min(8, log2 of the short side)."""

    levels: int = Field(default=8, ge=2, le=15)
    norm: NormKind = "batch"


@FAMILIES.register("pix2pix-unet")
class Pix2pixUNet(Generator):
    """x, out: [N, C, H, W] in [-1, 1]; H and W multiples of 2 ** levels."""

    Config = UNetConfig
    default_budget = "15x"
    config: UNetConfig

    @classmethod
    def config_for(cls, size: tuple[int, int], **fields: Any) -> UNetConfig:
        fields.setdefault("levels", max(2, min(8, min(size).bit_length() - 1)))
        return cls.Config.parse(fields, "family pix2pix-unet")

    @classmethod
    def original(cls, config: UNetConfig) -> UNetConfig:
        return config.model_copy(update={"widths": (config.base,), "depths": (0,), "arch": ""})

    @classmethod
    def choices(cls, config: UNetConfig) -> tuple[Choice, ...]:
        slots = [f"down{k}" for k in range(1, config.levels)] + [f"up{k}" for k in range(config.levels, 1, -1)]
        groups = ("w1", "w2", "w4", "w8")[: config.levels]
        return (*(config.width(n) for n in groups), *(config.depth(n) for n in slots))

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        a, kind, bias, top = self.space.largest, config.norm, config.norm == "instance", config.levels
        w = [0, *(self._width(a, k) for k in range(1, top + 1))]  # w[k]: full channels of level k
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        self.slots = nn.ModuleDict()
        for k in range(1, top + 1):
            before = w[k - 1] if k > 1 else config.in_channels
            self.down[str(k)] = ElasticConv((before,), w[k], 4, stride=2, padding=1, bias=bias)
            parts = (w[k],) if k == top else (w[k], w[k])  # skip, up
            after = w[k - 1] if k > 1 else config.out_channels
            self.up[str(k)] = ElasticConvTranspose(parts, after, 4, stride=2, padding=1, bias=bias or k == 1)
            if 1 < k < top:
                self.norms[f"down{k}"] = norm(kind, w[k])
            if k < top:
                self.slots[f"down{k}"] = Slot(w[k], a[f"d.down{k}"], config.inserted_block, kind)
            if k > 1:
                self.norms[f"up{k}"] = norm(kind, after)
                self.slots[f"up{k}"] = Slot(after, a[f"d.up{k}"], config.inserted_block, kind)

    @property
    def stride(self) -> int:
        return 1 << self.config.levels

    @staticmethod
    def _width(a: Arch, level: int) -> int:
        """Channels of level 1, 2, .. under an architecture."""
        times = min(1 << (level - 1), 8)
        return times * a[f"w{times}"]

    def forward(self, x: Tensor, arch: Arch | None = None) -> Tensor:
        a, top = arch or self.space.largest, self.config.levels
        skips: list[Tensor] = []
        for k in range(1, top + 1):
            x = self.down[str(k)](F.leaky_relu(x, 0.2) if k > 1 else x, width=self._width(a, k))  # [N, w_k, H/2^k, ..]
            if 1 < k < top:
                x = self.norms[f"down{k}"](x)
            if k < top:
                x = self.slots[f"down{k}"](x, a[f"d.down{k}"])
                skips.append(x)
        y = self.up[str(top)](F.relu(x), width=self._width(a, top - 1))
        for k in range(top, 1, -1):
            y = self.slots[f"up{k}"](self.norms[f"up{k}"](y), a[f"d.up{k}"])  # [N, w_(k-1), H/2^(k-1), ..]
            width = self._width(a, k - 2) if k > 2 else None  # level 1 gives the picture
            y = self.up[str(k - 1)](F.relu(skips.pop()), F.relu(y), width=width)
        return torch.tanh(full_precision(y))
