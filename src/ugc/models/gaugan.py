"""The GauGAN generator [SPADE, Park 2019] and its supernet: a label map in, and nothing else.

    fc 3x3 on the smallest label map -> head -> x2 -> middle0 -> [slot] -> x2 -> middle1 -> [slot]
       -> x2 -> up0 -> [slot] -> x2 -> up1 -> [slot] -> x2 -> up2 -> [slot] -> x2 -> up3 -> [slot] -> last 3x3

All but fc and last are SPADE blocks, x2 repeats pixels, and every block sees the label map at its own scale. `normal`
has no x2 before middle1. Supernet: 8 widths (fc: of the trunk of head and middles; head, middles: inside the block; ups:
inside and behind), times 16, 16, 16, 16, 8, 4, 2, 1; 0, 1 or 2 SPADE blocks inserted after both middles and the ups, as
wide inside as where they stand; gamma and beta separable [Li 2020], their hidden layers 2 x the number of the block or, if
inserted, of the block that they follow. The original has full gamma and beta, one width, no slots, and spectral norm.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from ugc.core.errors import UserError
from ugc.models.generator import FAMILIES, BlockKind, Generator, GeneratorConfig, NormKind, Shown, full_precision
from ugc.nn.arch import Arch, Choice
from ugc.nn.elastic import ElasticConv
from ugc.nn.shrink import copy_slices
from ugc.nn.spade import SpadeBlock

TIMES = {"fc": 16, "head": 16, "middle0": 16, "middle1": 16, "up0": 8, "up1": 4, "up2": 2, "up3": 1}
BLOCKS = tuple(TIMES)[1:]
SLOTS = BLOCKS[1:]


class GauGANConfig(GeneratorConfig):
    """in_channels: of the label map, one-hot and edges (36 for Cityscapes).

    upsampling: `more` doubles 6 times (256x512), `normal` 5 times (256x256).
    modulation: gamma and beta, full or separable. hidden: width of their hidden layer; None: 2 x the block's width.
    inserted_block: the main convolutions of inserted blocks. spectral: norm of conv0, conv1 and the shortcuts.
    """

    norm: NormKind = "batch"
    upsampling: Literal["more", "normal"] = "more"
    modulation: BlockKind = "separable"
    hidden: int | None = Field(default=None, ge=1, le=4096)
    spectral: bool = False

    @model_validator(mode="after")
    def _one_width(self) -> Self:
        if self.spectral and not self.arch and (len(self.width_values) > 1 or self.depths != (0,)):
            raise ValueError("spectral norm is for a net of one width with nothing inserted")
        return self


@FAMILIES.register("gaugan")
class GauGAN(Generator):
    """x: label maps [N, L, H, W] in {0, 1} -> out: [N, C, H, W] in [-1, 1]; H and W multiples of 64, or 32 (`normal`)."""

    Config = GauGANConfig
    default_budget = "31x"
    paper = Shown((256, 512), (36, 3))
    judge = {"scales": 2, "padding": 2, "spectral": True}
    objective = {"gan": "hinge", "scales": "mean", "d_factor": 1.0, "lambda_recon": 0.0, "lambda_features": 10.0,
                 "lambda_perceptual": 10.0}
    config: GauGANConfig

    @classmethod
    def config_for(cls, size: tuple[int, int], **fields: Any) -> GauGANConfig:
        return cls.Config.parse(fields, "family gaugan")

    @classmethod
    def original(cls, config: GauGANConfig) -> GauGANConfig:
        fields = {"widths": (config.base,), "depths": (0,), "modulation": "plain", "spectral": True, "arch": ""}
        return config.model_copy(update=fields)

    @classmethod
    def choices(cls, config: GauGANConfig) -> tuple[Choice, ...]:
        return (*(config.width(n) for n in TIMES), *(config.depth(n) for n in SLOTS))

    def __init__(self, config: GauGANConfig) -> None:
        super().__init__(config)
        a, labels = self.space.largest, config.in_channels
        self.fc = ElasticConv((labels,), 16 * a["fc"], 3, padding=1)
        self.blocks, self.slots = nn.ModuleDict(), nn.ModuleDict()
        before = 16 * a["fc"]
        kind, rest = "spectral" if config.spectral else "plain", (labels, config.modulation, config.norm)
        for name in BLOCKS:
            inside, hidden, behind = self._widths(a, name)
            self.blocks[name] = SpadeBlock((before, inside, behind), hidden, kind, name.startswith("up"), *rest)
            before = behind
            if name in SLOTS:
                self.slots[name] = nn.ModuleList(SpadeBlock((behind,) * 3, hidden, config.inserted_block, False, *rest)
                                                 for _ in range(a[f"d.{name}"]))
        self.last = ElasticConv((before,), config.out_channels, 3, padding=1)

    def _widths(self, a: Arch, name: str) -> tuple[int, int, int]:
        """Channels inside a block, in its hidden layers and behind it, under an architecture."""
        inside = TIMES[name] * a[name]
        behind = inside if name.startswith("up") else 16 * a["fc"]
        return inside, self.config.hidden or 2 * a[name], behind

    @property
    def stride(self) -> int:
        return 64 if self.config.upsampling == "more" else 32

    def check_size(self, size: tuple[int, int]) -> None:
        super().check_size(size)
        if size == (self.stride, self.stride):
            raise UserError(f"size {size[0]}x{size[1]}: this net begins with 1 pixel in {self.stride}x{self.stride}, and "
                            f"its norms need more than one; choose a --size such as {size[0]}x{2 * size[1]}")

    def room(self, height: int, width: int) -> tuple[int, int]:
        tall, wide = super().room(height, width)
        return tall, torch.sym_max(wide, 3 * self.stride - tall)  # two pixels to begin with

    def forward(self, x: Tensor, arch: Arch | None = None) -> Tensor:
        a = arch or self.space.largest
        scale = self.stride
        labels = _every(x, scale)
        y = self.fc(labels, width=16 * a["fc"])  # [N, 16c, H/64, W/64]
        for name in BLOCKS:
            if name != "head" and not (name == "middle1" and self.config.upsampling == "normal"):
                scale //= 2
                labels = _every(x, scale)
                y = F.interpolate(y, scale_factor=2.0, mode="nearest")
            inside, hidden, behind = self._widths(a, name)
            y = self.blocks[name](y, labels, inside, hidden, behind)
            inserted = [*self.slots[name].children()][: a[f"d.{name}"]] if name in SLOTS else []
            for block in inserted:
                y = block(y, labels, behind, hidden, behind)
        return torch.tanh(full_precision(self.last(F.leaky_relu(y, 0.2))))

    def baked(self) -> GauGAN:
        """The same net without spectral norm: its convolutions take the weights that were used."""
        if not self.config.spectral:
            return self
        plain = GauGAN(self.config.model_copy(update={"spectral": False})).to(next(self.parameters()))
        copy_slices(self, plain)
        return plain.train(self.training)


def _every(x: Tensor, scale: int) -> Tensor:
    """A map at 1 / scale of its sides, nearest: of every `scale` x `scale` pixels the first."""
    if scale == 1:
        return x
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return x[:, :, ::scale, ::scale].contiguous(memory_format=layout)
