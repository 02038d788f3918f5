"""SPADE [Park 2019] out of elastic layers: a label map says, pixel by pixel, how normalised maps are scaled and shifted.

    x^ = norm(x), without parameters        h = relu(conv3x3(labels))
    SPADE(x, labels) = x^ (1 + gamma(h)) + beta(h)

gamma and beta are 3x3 convolutions: full ones in the published net, separable ones in the supernet [Li 2020]. All pad
by zeros. x: [N, C, H, W]; labels: [N, L, H, W], resized to x's grid by the caller, once for all blocks of a scale.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.nn.blocks import SeparableConv
from ugc.nn.elastic import Elastic, ElasticConv, norm
from ugc.nn.spectral import SpectralConv


def conv3(kind: str, width_in: int, width_out: int) -> nn.Module:
    """A 3x3 convolution by zeros: `plain`, `spectral` or `separable`."""
    if kind == "separable":
        return SeparableConv(width_in, width_out, reflect=False)
    return (SpectralConv if kind == "spectral" else ElasticConv)((width_in,), width_out, 3, padding=1)


class Modulation(nn.Module):
    """Scale and shift by a label map: (x^, labels) -> x^ (1 + gamma) + beta.

    Args:
        labels: channels of the label map.
        hidden: full width of h.
        width: full width of x.
        kind: of gamma and beta, `plain` or `separable`.
    """

    def __init__(self, labels: int, hidden: int, width: int, kind: str) -> None:
        super().__init__()
        self.shared = ElasticConv((labels,), hidden, 3, padding=1)
        self.gamma, self.beta = conv3(kind, hidden, width), conv3(kind, hidden, width)

    def forward(self, x: Tensor, labels: Tensor, hidden: int) -> Tensor:
        """x is normalised; `hidden` channels inside."""
        h = F.relu(self.shared(labels, width=hidden))
        gamma, beta = (conv(h, width=x.shape[1]) for conv in (self.gamma, self.beta))
        return torch.addcmul(x + beta, x, gamma)


class SpadeBlock(nn.Module):
    """shortcut(x) + conv1(lrelu(SPADE(conv0(lrelu(SPADE(x)))))); the shortcut is x, or conv 1x1(SPADE(x)) to other widths.

    SPADE before conv0 and in the shortcut normalise the same x alike, so that is done once.

    Args:
        widths: full widths before, inside and behind the block.
        hidden: full width of the hidden layers of its modulations.
        kind: of conv0 and conv1: `plain`, `spectral` (the shortcut's, too) or `separable`.
        shortcut: whether it has a convolution; without, the widths before and behind are the same.
        labels, modulation: see `Modulation`.
        norm_kind: `batch` or `instance`, without parameters.
    """

    def __init__(self, widths: tuple[int, int, int], hidden: int, kind: str, shortcut: bool, labels: int, modulation: str,
                 norm_kind: str) -> None:
        super().__init__()
        before, inside, behind = widths
        self.norm0, self.norm1 = (norm(norm_kind, width, affine=False) for width in (before, inside))
        self.spade0, self.spade1 = (Modulation(labels, hidden, width, modulation) for width in (before, inside))
        self.conv0, self.conv1 = conv3(kind, before, inside), conv3(kind, inside, behind)
        if shortcut:
            self.spade_s = Modulation(labels, hidden, before, modulation)
            one: type[ElasticConv] = SpectralConv if kind == "spectral" else ElasticConv
            self.conv_s: Elastic | None = one((before,), behind, 1, bias=False)
        else:
            self.conv_s = None

    def forward(self, x: Tensor, labels: Tensor, inside: int, hidden: int, width: int) -> Tensor:
        """`inside` channels inside, `hidden` in the modulations, `width` behind the block."""
        normed = self.norm0(x)
        y = self.conv0(F.leaky_relu(self.spade0(normed, labels, hidden), 0.2), width=inside)
        y = self.conv1(F.leaky_relu(self.spade1(self.norm1(y), labels, hidden), 0.2), width=width)
        if self.conv_s is not None:
            x = self.conv_s(self.spade_s(normed, labels, hidden), width=width)
        out: Tensor = x + y
        return out
