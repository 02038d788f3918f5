"""The ResNet generator of pix2pix / CycleGAN [Johnson 2016; Isola 2017; Zhu 2017] and its supernet.

    stem 7x7 -> down1 -> [slot] -> down2 -> [slot] -> 9 residual blocks -> up1 -> [slot] -> up2 -> [slot] -> head 7x7

Supernet (definition A): the body's 9 blocks are separable and always on; base widths of stem, 2 downs, 2 ups and the
inside of the body's 3 groups of 3; 0, 1 or 2 plain residual blocks after each down- and up-sampling. The original has
full convolutions in the body, one width and no slots.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ugc.models.generator import FAMILIES, BlockKind, Generator, GeneratorConfig, full_precision
from ugc.nn.arch import Arch, Choice
from ugc.nn.blocks import ResidualBlock, Slot
from ugc.nn.elastic import ElasticConv, ElasticConvTranspose, norm

SLOTS = ("down1", "down2", "up1", "up2")


class ResNetConfig(GeneratorConfig):
    """blocks: residual blocks of the body (9 at 256 px, 6 in smaller nets of the lineage).

    groups: of blocks that are as wide inside as one another; `blocks` of them give each block a width of its own.
    """

    blocks: int = Field(default=9, ge=0, le=64)
    groups: int = Field(default=3, ge=1, le=64)
    body_block: BlockKind = "separable"


def group_of(block: int, blocks: int, groups: int) -> int:
    """The group, from 1 on, of body block `block`, from 0 on."""
    return block * groups // blocks + 1


@FAMILIES.register("pix2pix-resnet")
class Pix2pixResNet(Generator):
    """x, out: [N, C, H, W] in [-1, 1]; H and W multiples of 4."""

    Config = ResNetConfig
    default_budget = "40x"
    config: ResNetConfig

    @classmethod
    def config_for(cls, size: tuple[int, int], **fields: Any) -> ResNetConfig:
        return cls.Config.parse(fields, "family pix2pix-resnet")

    @classmethod
    def original(cls, config: ResNetConfig) -> ResNetConfig:
        return config.model_copy(update={"widths": (config.base,), "depths": (0,), "body_block": "plain", "arch": ""})

    @classmethod
    def choices(cls, config: ResNetConfig) -> tuple[Choice, ...]:
        widths = ("stem", "down1", "down2", *(f"mid{i + 1}" for i in range(config.groups)), "up1", "up2")
        return (*(config.width(n) for n in widths), *(config.depth(n) for n in SLOTS))

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        a, kind, bias = self.space.largest, config.norm, config.norm == "instance"
        c0, c1, c2 = a["stem"], 2 * a["down1"], 4 * a["down2"]
        u1, u2 = 2 * a["up1"], a["up2"]
        self.stem = ElasticConv((config.in_channels,), c0, 7, padding=3, reflect=True, bias=bias)
        self.down1 = ElasticConv((c0,), c1, 3, stride=2, padding=1, bias=bias)
        self.down2 = ElasticConv((c1,), c2, 3, stride=2, padding=1, bias=bias)
        self.body = nn.ModuleList(
            ResidualBlock(c2, 4 * a[self._group(i)], config.body_block, kind) for i in range(config.blocks))
        self.up1 = ElasticConvTranspose((c2,), u1, 3, stride=2, padding=1, output_padding=1, bias=bias)
        self.up2 = ElasticConvTranspose((u1,), u2, 3, stride=2, padding=1, output_padding=1, bias=bias)
        self.head = ElasticConv((u2,), config.out_channels, 7, padding=3, reflect=True)
        widths = {"stem": c0, "down1": c1, "down2": c2, "up1": u1, "up2": u2}
        self.norms = nn.ModuleDict({name: norm(kind, width) for name, width in widths.items()})
        self.slots = nn.ModuleDict(
            {name: Slot(widths[name], a[f"d.{name}"], config.inserted_block, kind) for name in SLOTS})

    @property
    def stride(self) -> int:
        return 4

    def _group(self, block: int) -> str:
        """Which choice sets the inside of body block `block`: mid1, mid2, .."""
        return f"mid{group_of(block, self.config.blocks, self.config.groups)}"

    def forward(self, x: Tensor, arch: Arch | None = None) -> Tensor:
        a = arch or self.space.largest

        def stage(name: str, x: Tensor, width: int) -> Tensor:
            x = F.relu(self.norms[name](getattr(self, name)(x, width=width)))
            out: Tensor = self.slots[name](x, a[f"d.{name}"]) if name in self.slots else x
            return out

        x = stage("stem", x, a["stem"])  # [N, c, H, W]
        x = stage("down1", x, 2 * a["down1"])  # [N, 2c, H/2, W/2]
        x = stage("down2", x, 4 * a["down2"])  # [N, 4c, H/4, W/4]
        for i, block in enumerate(self.body):
            x = block(x, mid=4 * a[self._group(i)])
        x = stage("up1", x, 2 * a["up1"])
        x = stage("up2", x, a["up2"])
        return torch.tanh(full_precision(self.head(x)))
