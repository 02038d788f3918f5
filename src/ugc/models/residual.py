"""Generators with a body of residual blocks between down- and up-samplings [Johnson 2016], and their supernets.

    stem 7x7 -> n x (down -> [slot]) -> residual blocks -> n x (up -> [slot]) -> head 7x7

Level i, i halvings down, has 2**i times a base width. The supernet: a body that is always on; base widths of stem, downs
and ups, and of the body's inside where the family says so; inserted residual blocks, 0 to max(depths), in the slots. The
original has full convolutions in the body, one width and no slots.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ugc.models.generator import FAMILIES, BlockKind, Generator, GeneratorConfig, full_precision
from ugc.nn.arch import Arch, Choice
from ugc.nn.blocks import ResidualBlock, Slot, Trunk
from ugc.nn.elastic import ElasticConv, ElasticConvTranspose, norm


class ResidualConfig(GeneratorConfig):
    """blocks: residual blocks of the body (9 at 256 px, 6 in smaller nets of the lineage)."""

    blocks: int = Field(default=9, ge=0, le=64)
    body_block: BlockKind = "separable"


class ResidualGenerator(Generator):
    """x, out: [N, C, H, W] in [-1, 1]; H and W multiples of 2**n, and at least twice that (blocks pad by reflection)."""

    Config = ResidualConfig
    config: ResidualConfig

    @classmethod
    @abstractmethod
    def levels(cls, config: Any) -> int:
        """n, how often the picture is halved."""

    @classmethod
    def mids(cls, config: Any) -> tuple[str, ...]:
        """Choices of the body's inside, beside those of the samplings."""
        return ()

    @classmethod
    def inside(cls, config: Any, block: int) -> str:
        """The choice that sets the inside of body block `block`, from 0 on: the trunk's, unless a family says another."""
        return f"down{cls.levels(config)}"

    @classmethod
    def config_for(cls, size: tuple[int, int], **fields: Any) -> ResidualConfig:
        return cls.Config.parse(fields, f"family {FAMILIES.name_of(cls)}")

    @classmethod
    def original(cls, config: Any) -> ResidualConfig:
        asked = {"widths": (config.base,), "depths": (0,), "body_block": "plain", "arch": ""}
        plain: ResidualConfig = config.model_copy(update=asked)
        return plain

    @classmethod
    def samplings(cls, config: Any) -> tuple[list[str], list[str]]:
        """The names of the down- and of the up-samplings, in order."""
        n = range(1, cls.levels(config) + 1)
        return [f"down{i}" for i in n], [f"up{i}" for i in n]

    @classmethod
    def choices(cls, config: Any) -> tuple[Choice, ...]:
        downs, ups = cls.samplings(config)
        widths = ("stem", *downs, *cls.mids(config), *ups)
        return (*(config.width(name) for name in widths), *(config.depth(name) for name in (*downs, *ups)))

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__(config)
        a, kind, bias = self.space.largest, config.norm, config.norm == "instance"
        self.downs, self.ups = self.samplings(config)
        self.times = self._times()
        full = {name: times * a[name] for name, times in self.times.items()}
        self.stem = ElasticConv((config.in_channels,), full["stem"], 7, padding=3, reflect=True, bias=bias)
        before = full["stem"]
        for name in self.downs:
            setattr(self, name, ElasticConv((before,), full[name], 3, stride=2, padding=1, bias=bias))
            before = full[name]
        self.body = Trunk(
            ResidualBlock(before, full[self.inside(config, i)], config.body_block, kind) for i in range(config.blocks))
        for name in self.ups:
            layer = ElasticConvTranspose((before,), full[name], 3, stride=2, padding=1, output_padding=1, bias=bias)
            setattr(self, name, layer)
            before = full[name]
        self.head = ElasticConv((before,), config.out_channels, 7, padding=3, reflect=True)
        stages = ("stem", *self.downs, *self.ups)
        self.norms = nn.ModuleDict({name: norm(kind, full[name]) for name in stages})
        self.slots = nn.ModuleDict(
            {name: Slot(full[name], a[f"d.{name}"], config.inserted_block, kind) for name in stages[1:]})

    def _times(self) -> dict[str, int]:
        """What each base width is multiplied by: 1, 2, 4, .. going down, 2**n inside the body, .. 2, 1 going up."""
        n = len(self.downs)
        return {"stem": 1, **{name: 2 << i for i, name in enumerate(self.downs)},
                **dict.fromkeys(self.mids(self.config), 1 << n), **{name: 1 << n - 1 - i for i, name in enumerate(self.ups)}}

    @property
    def stride(self) -> int:
        return 1 << len(self.downs)

    @property
    def least(self) -> int:
        return 2 * self.stride

    def forward(self, x: Tensor, arch: Arch | None = None) -> Tensor:
        a = arch or self.space.largest
        for name in ("stem", *self.downs):  # [N, 2**i c, H / 2**i, W / 2**i]
            x = self._stage(name, x, a)
        inside = [self.inside(self.config, i) for i in range(len(self.body))]
        x = self.body(x, [self.times[choice] * a[choice] for choice in inside])
        for name in self.ups:
            x = self._stage(name, x, a)
        return torch.tanh(full_precision(self.head(x)))

    def _stage(self, name: str, x: Tensor, a: Arch) -> Tensor:
        """A convolution, its norm, ReLU, and what is inserted behind it."""
        x = F.relu(self.norms[name](getattr(self, name)(x, width=self.times[name] * a[name])))
        out: Tensor = self.slots[name](x, a[f"d.{name}"]) if name in self.slots else x
        return out
