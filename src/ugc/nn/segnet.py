"""A small segmenter: an encoder that halves three times, dilated convolutions at an eighth, a decoder with skips.

Fully convolutional. Pixels of 2x2 blocks become channels at the entrance and come back at the exit, so that all work is done
at half the size and below:

    1/2   24 -------------------------------- + -> 24 -> classes x 4 -> full size
    1/4      40 --------------------- + -> 40
    1/8         56 -> 56, dilated 1 2 4
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.core.images import to_channels

WIDTHS = (24, 40, 56)
STRIDE = 8


def _unit(inside: int, outside: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    pad = dilation * (kernel // 2)
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, pad, dilation, bias=False), nn.BatchNorm2d(outside),
                         nn.ReLU())


class Residual(nn.Module):
    """x + two 3x3 convolutions."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = _unit(width, width, dilation=dilation)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class SegNet(nn.Module):
    """Pictures [N, 1 or 3, H, W] in [-1, 1] -> scores of classes [N, classes, H, W]; any H and W."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.fine = nn.Sequential(_unit(12, a), _unit(a, a))
        self.middle = nn.Sequential(_unit(a, b, stride=2), Residual(b))
        self.coarse = nn.Sequential(_unit(b, c, stride=2), Residual(c), Residual(c, 2), Residual(c, 4))
        self.to_quarter = _unit(c, b, 1)
        self.at_quarter = _unit(b, b)
        self.to_half = _unit(b, a, 1)
        self.at_half = _unit(a, a)
        self.head = nn.Conv2d(a, 4 * classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[2:]
        x = to_channels(pictures, 3)
        x = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        half = self.fine(F.pixel_unshuffle(x, 2))
        quarter = self.middle(half)
        eighth = self.coarse(quarter)
        quarter = self.at_quarter(quarter + _doubled(self.to_quarter(eighth)))
        half = self.at_half(half + _doubled(self.to_half(quarter)))
        return F.pixel_shuffle(self.head(half), 2)[:, :, :height, :width]


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def parameters(classes: int) -> int:
    """Weights and biases."""
    with torch.device("meta"):
        return sum(p.numel() for p in SegNet(classes).parameters())
