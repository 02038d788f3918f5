"""Residual blocks out of elastic layers. x, out: [N, C, H, W]; H and W at least 2 where they pad by reflection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ugc.nn.elastic import ElasticConv, ElasticDepthwise, ElasticInstanceNorm, norm
from ugc.nn.quick import apart, beside, side_by_side


class SeparableConv(nn.Module):
    """Depthwise 3x3 -> instance norm -> pointwise 1x1, both with bias (the norm is instance whatever the host's is)."""

    def __init__(self, width_in: int, width_out: int, reflect: bool = True) -> None:
        super().__init__()
        self.depthwise = ElasticDepthwise(width_in, reflect=reflect)
        self.norm = ElasticInstanceNorm(width_in)
        self.pointwise = ElasticConv((width_in,), width_out, 1)

    def forward(self, x: Tensor, width: int, images: int = 1) -> Tensor:
        """x [N, C, H, W], or images side by side, [1, images C, H, W]."""
        out: Tensor = self.pointwise(self.norm(self.depthwise(x, images=images)), width=width, images=images)
        return out


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))): 3x3 convolutions, by reflection, no ReLU after the sum.

    Args:
        width: full width of the trunk.
        mid: full width between the two convolutions.
        kind: `plain` (full convolutions) or `separable`.
        norm_kind: `instance` or `batch`.
    """

    def __init__(self, width: int, mid: int, kind: str, norm_kind: str) -> None:
        super().__init__()
        bias = norm_kind == "instance"

        def conv(a: int, b: int) -> nn.Module:
            if kind == "separable":
                return SeparableConv(a, b)
            return ElasticConv((a,), b, 3, padding=1, reflect=True, bias=bias)

        self.separate = kind == "separable" and norm_kind == "instance"  # no layer but 1x1 sees two channels or two images
        self.conv1, self.norm1 = conv(width, mid), norm(norm_kind, mid)
        self.conv2, self.norm2 = conv(mid, width), norm(norm_kind, width)

    def forward(self, x: Tensor, mid: int | None = None, images: int = 1) -> Tensor:
        """x [N, C, H, W]; `mid` channels inside (default C). A separate one takes images side by side, too."""
        c = x.shape[1] // images
        y = F.relu(self.norm1(self.conv1(x, width=mid or c, images=images)))
        out: Tensor = x + self.norm2(self.conv2(y, width=c, images=images))
        return out


class Trunk(nn.ModuleList):
    """Residual blocks one behind the other; images lie side by side between its ends where that is quicker."""

    def __init__(self, blocks: Iterable[ResidualBlock]) -> None:
        super().__init__(blocks)
        self.separate = all(block.separate for block in self)

    def forward(self, x: Tensor, mids: Sequence[int]) -> Tensor:
        """x [N, C, H, W]; mids: of each block, the channels inside."""
        n = len(x) if self.separate and side_by_side(x) else 1
        x = beside(x) if n > 1 else x
        for block, mid in zip(self, mids, strict=True):
            x = block(x, mid=mid, images=n)
        return apart(x, n) if n > 1 else x


class Slot(nn.ModuleList):
    """A place for inserted blocks: the first `depth` of them are active."""

    def __init__(self, width: int, most: int, kind: str, norm_kind: str) -> None:
        super().__init__(ResidualBlock(width, width, kind, norm_kind) for _ in range(most))

    def forward(self, x: Tensor, depth: int) -> Tensor:
        for index in range(depth):
            x = self[index](x)
        return x
