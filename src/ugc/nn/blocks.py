"""Residual blocks out of elastic layers. x, out: [N, C, H, W]; H and W at least 2 where they pad by reflection."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ugc.nn.elastic import ElasticConv, ElasticDepthwise, ElasticInstanceNorm, norm


class SeparableConv(nn.Module):
    """Depthwise 3x3 -> instance norm -> pointwise 1x1, both with bias (the norm is instance whatever the host's is)."""

    def __init__(self, width_in: int, width_out: int, reflect: bool = True) -> None:
        super().__init__()
        self.depthwise = ElasticDepthwise(width_in, reflect=reflect)
        self.norm = ElasticInstanceNorm(width_in)
        self.pointwise = ElasticConv((width_in,), width_out, 1)

    def forward(self, x: Tensor, width: int) -> Tensor:
        out: Tensor = self.pointwise(self.norm(self.depthwise(x)), width=width)
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

        self.conv1, self.norm1 = conv(width, mid), norm(norm_kind, mid)
        self.conv2, self.norm2 = conv(mid, width), norm(norm_kind, width)

    def forward(self, x: Tensor, mid: int | None = None) -> Tensor:
        """x [N, C, H, W]; `mid` channels inside (default C)."""
        c = x.shape[1]
        y = F.relu(self.norm1(self.conv1(x, width=mid or c)))
        out: Tensor = x + self.norm2(self.conv2(y, width=c))
        return out


class Slot(nn.ModuleList):
    """A place for inserted blocks: the first `depth` of them are active."""

    def __init__(self, width: int, most: int, kind: str, norm_kind: str) -> None:
        super().__init__(ResidualBlock(width, width, kind, norm_kind) for _ in range(most))

    def forward(self, x: Tensor, depth: int) -> Tensor:
        for index in range(depth):
            x = self[index](x)
        return x
