"""The Inception of FID: TensorFlow's graph of 2015-12-05 as the public file `pt_inception-2015-12-05` holds it.

Architecture: Szegedy et al., "Rethinking the Inception Architecture", 2016. In three ways the graph differs from later
Inceptions: 1,008 classes; averages over 3x3 pixels do not count the padding; the last block pools by maximum. The names of
layers are those of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.core.images import narrowed, to_channels, widened
from ugc.core.weights import PublicFile

PUBLIC = PublicFile(
    title="Inception weights",
    address="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    name="pt_inception-2015-12-05-6726825d.pth", size=95628359,
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2", variable="UGC_INCEPTION",
    others=("weights-inception-2015-12-05-6726825d.pth",))

SIDE = 299  # pixels that the network sees
FEATURES = 2048
CLASSES = 1008

Kernel = int | tuple[int, int]
Layer = tuple[int, Kernel]  # channels out, height and width of the kernel
WIDE, TALL = (1, 7), (7, 1)


class Conv(nn.Module):
    """Convolution without bias, batch norm (epsilon 1e-3), ReLU. Stride 1 keeps the size, stride 2 does not pad."""

    def __init__(self, inside: int, outside: int, kernel: Kernel = 1, *, stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if pad and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(inside, outside, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches side by side, their channels joined in order; the last branch begins with a pool.

    Args:
        inside: channels in.
        branches: name -> layers; one layer has the branch's name, more are numbered from 1.
        pool: average or maximum over 3x3 pixels.
        forks: branches that end in a 1x3 and a 3x1 side by side, joined, with as many channels as the layer before.
        halve: the size is halved: the last layers of branches, and the pool, which no layer follows, have stride 2.
    """

    def __init__(self, inside: int, branches: dict[str, list[Layer]], pool: str, *, forks: tuple[str, ...] = (),
                 halve: bool = False) -> None:
        super().__init__()
        self.pool, self.halve, self.width = pool, halve, inside if halve else 0
        self.paths: list[list[tuple[str, ...]]] = []
        for branch, layers in branches.items():
            path: list[tuple[str, ...]] = []
            have = inside
            for number, (outside, kernel) in enumerate(layers, 1):
                name = branch if len(layers) == 1 and branch not in forks else f"{branch}_{number}"
                stride = 2 if halve and number == len(layers) else 1
                self.add_module(name, Conv(have, outside, kernel, stride=stride))
                path.append((name,))
                have = outside
            if branch in forks:
                ends = (f"{branch}_{len(layers) + 1}a", f"{branch}_{len(layers) + 1}b")
                for name, kernel in zip(ends, ((1, 3), (3, 1))):
                    self.add_module(name, Conv(have, have, kernel))
                path.append(ends)
            self.paths.append(path)
            self.width += have * (2 if branch in forks else 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for at, path in enumerate(self.paths):
            y = self._pooled(x) if at == len(self.paths) - 1 and not self.halve else x
            for names in path:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            found.append(y)
        return torch.cat([*found, F.max_pool2d(x, 3, 2)] if self.halve else found, 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "max":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def _a(inside: int, pool: int) -> Mixed:
    return Mixed(inside, {"branch1x1": [(64, 1)], "branch5x5": [(48, 1), (64, 5)],
                          "branch3x3dbl": [(64, 1), (96, 3), (96, 3)], "branch_pool": [(pool, 1)]}, "average")


def _b(inside: int) -> Mixed:
    return Mixed(inside, {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)]}, "max", halve=True)


def _c(c: int) -> Mixed:
    return Mixed(768, {"branch1x1": [(192, 1)], "branch7x7": [(c, 1), (c, WIDE), (192, TALL)],
                       "branch7x7dbl": [(c, 1), (c, TALL), (c, WIDE), (c, TALL), (192, WIDE)],
                       "branch_pool": [(192, 1)]}, "average")


def _d(inside: int) -> Mixed:
    return Mixed(inside, {"branch3x3": [(192, 1), (320, 3)], "branch7x7x3": [(192, 1), (192, WIDE), (192, TALL), (192, 3)]},
                 "max", halve=True)


def _e(inside: int, pool: str) -> Mixed:
    return Mixed(inside, {"branch1x1": [(320, 1)], "branch3x3": [(384, 1)], "branch3x3dbl": [(448, 1), (384, 3)],
                          "branch_pool": [(192, 1)]}, pool, forks=("branch3x3", "branch3x3dbl"))


class Inception(nn.Module):
    """Images -> pool3: the mean over pixels before the classifier, which is kept so that the file fits whole."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _a(192, 32), _a(256, 64), _a(288, 64)
        self.Mixed_6a = _b(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = _c(128), _c(160), _c(160), _c(192)
        self.Mixed_7a = _d(768)
        self.Mixed_7b, self.Mixed_7c = _e(1280, "average"), _e(2048, "max")
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """[N, 1 or 3, H, W] in [-1, 1] -> [N, 2048]. One channel is repeated to three."""
        return self.pool3(prepare(images))

    def pool3(self, x: Tensor) -> Tensor:
        """Prepared images [N, 3, 299, 299] -> [N, 2048]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean((2, 3))

    @staticmethod
    def cached() -> Path | None:
        """The weights file, if it lies on this machine."""
        return PUBLIC.cached()

    @classmethod
    def load(cls, download: bool = False) -> Self:
        """With the public weights, frozen, in eval mode. Raises UserError where they are absent or another file."""
        net = cls()
        weights = PUBLIC.tensors(download)
        wanted = (key for key in net.state_dict() if not key.endswith("num_batches_tracked"))
        net.load_state_dict({key: weights[key] for key in wanted}, strict=False)
        return net.requires_grad_(False).eval()


def prepare(images: Tensor) -> Tensor:
    """[-1, 1] -> what the network sees: 8 bits, x in [0, 1], bilinear to 299x299 (no antialias), 2x - 1.

    The literature's images come from 8-bit files, so whatever is finer is rounded: a net's float answer and the file that it
    is written to give the same features.
    """
    x = (narrowed(to_channels(images, 3)) * 255).round().clamp(0, 255) / 255
    return widened(F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False))
