"""DRN-D-105 for Cityscapes' 19 classes (Yu, Koltun and Funkhouser, "Dilated Residual Networks", CVPR 2017).

A residual network whose last levels keep a resolution of an eighth and dilate their convolutions instead. Variant D begins
with plain convolutions, and ends with two more that have no residual and a dilation that falls again, which takes the grid
out of the maps. The head is a 1x1 convolution, enlarged 8 times bilinearly. Layers have the names of the public file.

    level          0    1    2    3    4    5    6    7    8
    blocks         1    1    1    3    4   23    3    1    1     plain, but bottlenecks from 3 to 6
    channels      16   16   32  256  512 1024 2048  512  512     a bottleneck gives four times its own
    stride         1    1    2    2    2    1    1    1    1
    dilation       1    1    1    1    1    2    4    2    1
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.core.errors import UserError
from ugc.core.images import narrowed, to_channels
from ugc.core.weights import PublicFile

PUBLIC = PublicFile(
    title="DRN-D-105 weights for Cityscapes", address="http://go.yf.io/drn-cityscapes-models",
    name="drn-d-105_ms_cityscapes.pth", size=None, sha256="", variable="UGC_DRN105", by_hand=True)

CLASSES = 19
LAYERS = (1, 1, 3, 4, 23, 3, 1, 1)
CHANNELS = (16, 32, 64, 128, 256, 512, 512, 512)
STRIDES = (1, 2, 2, 2, 1, 1, 1, 1)
DILATIONS = (1, 1, 1, 1, 2, 4, 2, 1)
RESIDUAL = range(2, 6)  # of the eight levels after the first
EXPANSION = 4
STRIDE = 8
MEAN, DEVIATION = (0.2901, 0.3281, 0.2870), (0.1830, 0.1866, 0.1845)  # of Cityscapes in [0, 1]


class Bottleneck(nn.Module):
    """relu(x + 1x1, 3x3, 1x1), each with batch norm; x by a 1x1 convolution where its shape changes."""

    def __init__(self, inside: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outside = EXPANSION * width
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = None if (stride, inside) == (1, outside) else nn.Sequential(
            nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


def _plain(inside: int, outside: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inside, outside, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
    return [conv, nn.BatchNorm2d(outside), nn.ReLU()]


class DRN(nn.Module):
    """Images -> log-probabilities of classes at the images' size.

    Args:
        layers, channels: of the eight levels after the first.
    """

    def __init__(self, layers: Sequence[int] = LAYERS, channels: Sequence[int] = CHANNELS, classes: int = CLASSES) -> None:
        super().__init__()
        have = channels[0]
        levels = [nn.Sequential(*_plain(3, have, 7))]
        for at, (count, width, stride, dilation) in enumerate(zip(layers, channels, STRIDES, DILATIONS)):
            blocks: list[nn.Module] = []
            for number in range(count):
                first = stride if number == 0 else 1
                if at in RESIDUAL:
                    blocks.append(Bottleneck(have, width, first, dilation))
                    have = EXPANSION * width
                else:
                    blocks += _plain(have, width, stride=first, dilation=dilation)
                    have = width
            levels.append(nn.Sequential(*blocks))
        self.base = nn.Sequential(*levels)
        self.seg = nn.Conv2d(have, classes, 1)
        self.up = nn.ConvTranspose2d(classes, classes, 2 * STRIDE, STRIDE, STRIDE // 2, groups=classes, bias=False)
        self.up.weight.data[:] = bilinear_kernel(STRIDE)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] -> [N, classes, H, W], each side rounded up to a multiple of 8."""
        x = narrowed(to_channels(images, 3))
        mean, deviation = (x.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
        return F.log_softmax(self.up(self.seg(self.base((x - mean) / deviation))), 1)

    @staticmethod
    def cached() -> Path | None:
        """The weights file, if it lies on this machine."""
        return PUBLIC.cached()

    @classmethod
    def load(cls, download: bool = False) -> Self:
        """With the public weights, frozen, in eval mode. Raises UserError where they are absent or another file."""
        path = PUBLIC.get(download)
        weights = PUBLIC.tensors(download)
        with torch.device("meta"):
            net = cls()
        wanted = {key: tensor for key, tensor in net.state_dict().items() if not key.endswith("num_batches_tracked")}
        wrong = [key for key, tensor in wanted.items() if key not in weights or weights[key].shape != tensor.shape]
        if wrong:
            raise UserError(f"{path} holds other tensors than DRN-D-105 with {CLASSES} classes has: {len(wrong)} of "
                            f"{len(wanted)} are absent or of another shape, first {wrong[0]}; get {PUBLIC.where}")
        PUBLIC.trust(path)
        net.load_state_dict({key: weights[key] for key in wanted}, strict=False, assign=True)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked = torch.tensor(0)
        return net.requires_grad_(False).eval()


def bilinear_kernel(stride: int) -> Tensor:
    """[2 stride, 2 stride]: a transposed convolution with it and half the stride for padding enlarges bilinearly."""
    line = 1 - ((torch.arange(2 * stride) + 0.5) / stride - 1).abs()
    return line[:, None] * line[None, :]
