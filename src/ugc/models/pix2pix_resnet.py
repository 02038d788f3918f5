"""The ResNet generator of pix2pix / CycleGAN [Johnson 2016; Isola 2017; Zhu 2017] and its supernet.

Supernet (definition A): 2 down-samplings; the body's 9 blocks are separable, and groups of 3 have a width inside of their
own; plain residual blocks in the 4 slots.
"""

from __future__ import annotations

from pydantic import Field

from ugc.models.generator import FAMILIES
from ugc.models.residual import ResidualConfig, ResidualGenerator


class ResNetConfig(ResidualConfig):
    """groups: of blocks that are as wide inside as one another; `blocks` of them give each block a width of its own."""

    groups: int = Field(default=3, ge=1, le=64)


def group_of(block: int, blocks: int, groups: int) -> int:
    """The group, from 1 on, of body block `block`, from 0 on."""
    return block * groups // blocks + 1


@FAMILIES.register("pix2pix-resnet")
class Pix2pixResNet(ResidualGenerator):
    """x, out: [N, C, H, W] in [-1, 1]; H and W multiples of 4, from 8 on."""

    Config = ResNetConfig
    default_budget = "40x"

    @classmethod
    def levels(cls, config: ResNetConfig) -> int:
        return 2

    @classmethod
    def mids(cls, config: ResNetConfig) -> tuple[str, ...]:
        return tuple(f"mid{i + 1}" for i in range(config.groups))

    @classmethod
    def inside(cls, config: ResNetConfig, block: int) -> str:
        return f"mid{group_of(block, config.blocks, config.groups)}"
