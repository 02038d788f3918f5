"""The generator contract, and the registry of families.

A family is one class. Its config says what the supernet offers; the original is a config (plain body, one width, no
slots), a student is a config whose `arch` pins every choice. `net(x, arch)` runs any member: arch is an argument.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from ugc.core.config import Config
from ugc.core.errors import UserError
from ugc.core.registry import Registry
from ugc.nn.arch import Arch, Choice, SearchSpace
from ugc.nn.shrink import copy_slices
from ugc.nn.spectral import spectral

FAMILIES: Registry[type[Generator]] = Registry("family", "ugc.models")

NormKind = Literal["instance", "batch"]
BlockKind = Literal["plain", "separable"]


RANGES = {"widths": (1, 4096), "depths": (0, 16)}


class GeneratorConfig(Config):
    """What all families share.

    base: the full base width (64 = the papers'); the original has ngf = base.
    widths: base widths on offer (None: base/8 .. base in 8 steps); depths: active inserted blocks a slot.
    arch: text that pins every choice; "" leaves the whole space.
    """

    in_channels: int = Field(default=3, ge=1)
    out_channels: int = Field(default=3, ge=1)
    base: int = Field(default=64, ge=1, le=4096)
    widths: tuple[int, ...] | None = None
    depths: tuple[int, ...] = (0, 1, 2)
    norm: NormKind = "instance"
    inserted_block: BlockKind = "plain"
    arch: str = ""

    @field_validator("widths", "depths")
    @classmethod
    def _rising(cls, values: tuple[int, ...] | None, info: ValidationInfo) -> tuple[int, ...] | None:
        least, most = RANGES[str(info.field_name)]
        rising = values is None or (values and list(values) == sorted(set(values)))
        if not rising or (values and not least <= values[0] <= values[-1] <= most):
            raise ValueError(f"must be a list of distinct numbers from {least} to {most} in rising order")
        return values

    @model_validator(mode="after")
    def _eighths(self) -> Self:
        if self.widths is None and self.base % 8:
            raise ValueError(f"base {self.base} is not a multiple of 8, so base/8 .. base has no 8 steps")
        return self

    @property
    def width_values(self) -> tuple[int, ...]:
        return self.widths or tuple(self.base * i // 8 for i in range(1, 9))

    def width(self, name: str) -> Choice:
        return Choice(name, self.width_values)

    def depth(self, name: str) -> Choice:
        return Choice(f"d.{name}", self.depths)


class Shown(NamedTuple):
    """At what the papers give a family's cost: (H, W), and channels in and out."""

    size: tuple[int, int]
    channels: tuple[int, int]


class Generator(nn.Module):
    """A source image in, a target image of the same size out: [N, C, H, W] in [-1, 1].

    A subclass names its `Config`, `original` (the config of the published net), its search `choices`, its `stride`
    (H and W must be multiples of it) and `forward(x, arch)`. `judge` and `objective` are its own fields of `PatchConfig`
    and `ObjectiveConfig`, for a recipe that leaves them open; what is not in them is as in pix2pix.
    """

    Config: ClassVar[type[GeneratorConfig]] = GeneratorConfig
    default_budget: ClassVar[str] = "40x"
    paper: ClassVar[Shown] = Shown((256, 256), (3, 3))
    judge: ClassVar[Mapping[str, Any]] = {}
    objective: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    @abstractmethod
    def choices(cls, config: Any) -> tuple[Choice, ...]:
        """All that varies, in order of the arch text."""

    @classmethod
    @abstractmethod
    def config_for(cls, size: tuple[int, int], **fields: Any) -> GeneratorConfig:
        """The supernet's config for images of `size` (H, W)."""

    @classmethod
    @abstractmethod
    def original(cls, config: Any) -> GeneratorConfig:
        """The published net beside a supernet: full convolutions, one width, nothing inserted."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """What H and W must be multiples of."""

    @property
    def least(self) -> int:
        """The least H and W, a multiple of the stride from 8 on."""
        return -(-8 // self.stride) * self.stride

    @cached_property
    def space(self) -> SearchSpace:
        space = SearchSpace(self.choices(self.config))
        return space.pinned(space.parse(self.config.arch)) if self.config.arch else space

    @abstractmethod
    def forward(self, x: Tensor, arch: Arch | None = None) -> Tensor:
        """x: [N, in, H, W] in [-1, 1] -> [N, out, H, W] in [-1, 1]. `arch` None: the largest."""

    def at(self, arch: Arch) -> Callable[[Tensor], Tensor]:
        """The sub-network `arch` on the shared weights."""
        return partial(self, arch=arch)

    def baked(self) -> Generator:
        """The same net without what only training needs, such as spectral norm; itself where there is nothing of it."""
        return self

    def source_shape(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        return (1, self.config.in_channels, *size)

    def room(self, height: int, width: int) -> tuple[int, int]:
        """The least sides that the net takes and that hold a source of these. By arithmetic, so that a graph can hold it."""
        s, least = self.stride, self.least // self.stride
        tall, wide = (s * torch.sym_max((side + s - 1) // s, least) for side in (height, width))
        return tall, wide

    def check_size(self, size: tuple[int, int]) -> None:
        """UserError unless the net can run on images of `size` (H, W)."""
        if size[0] % self.stride or size[1] % self.stride or min(size) < self.least:
            raise UserError(f"size {size[0]}x{size[1]}: this net needs height and width that are multiples of "
                            f"{self.stride} and at least {self.least}; choose another --size")

    def init(self, generator: torch.Generator) -> Self:
        """Fill the weights as the papers do: convolutions N(0, 0.02), biases 0, norms N(1, 0.02)."""
        init_weights(self, generator)
        return self


def full_precision(x: Tensor) -> Tensor:
    """Half precisions raised to float32: a picture leaves the net in full precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@torch.no_grad()
def init_weights(net: nn.Module, generator: torch.Generator, std: float = 0.02) -> None:
    """Convolutions N(0, 0.02), biases 0, norm weights N(1, 0.02). pix2pix, and every ancestor since."""
    for name, parameter in net.named_parameters():
        draw = torch.empty(parameter.shape).normal_(0, std, generator=generator)
        if name.endswith("bias"):
            parameter.zero_()
        else:
            parameter.copy_(draw + 1.0 if parameter.dim() == 1 else draw)
    for layer in spectral(net):
        layer.begin(generator)


def shrink(net: Generator, arch: Arch) -> Generator:
    """The static network that `net(x, arch)` already is: same class, config pinned to `arch`, weights copied.

    Law: shrink(net, a)(x) == net(x, a).
    """
    small = type(net)(net.config.model_copy(update={"arch": arch.text}))
    small.to(next(net.parameters()))
    copy_slices(net, small)
    return small.train(net.training)
