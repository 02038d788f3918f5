"""Differentiable augmentation of what a discriminator sees [Zhao 2020], so that it cannot learn few pairs by heart.

    D(t(x), t(y)) for D(x, y), D(t(x), t(G(x))) for D(x, G(x)), in D's update and in G's

One t a pair and step, the same for the real and the fake image. Place (a shift of up to 1/8 of the sides, a hole of 1/2 of
them, both filled with 0) is the source's, too, as the two belong together; light (brightness, saturation, contrast) is the
image's alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT, HOLE = 8, 2  # the sides over these: the farthest shift, the hole


@dataclass(frozen=True)
class Twist:
    """t of the images of a batch. shift, hole: rows and columns of each. light: [N, 3, 1, 1, 1], each in [0, 1)."""

    shift: list[list[int]]
    hole: list[list[int]]
    light: Tensor

    def source(self, x: Tensor) -> Tensor:
        """[N, C, H, W]: shifted, with a hole."""
        height, width = x.shape[2:]
        down, right = height // SHIFT, width // SHIFT
        wide = F.pad(x, (right, right, down, down))
        corners = [(down - a, right - b) for a, b in self.shift]
        moved = [image[:, i:i + height, j:j + width] for image, (i, j) in zip(wide, corners)]
        kept = x.new_ones(len(x), 1, height, width)
        for mask, (a, b) in zip(kept, self.hole):
            mask[:, max(0, a - height // HOLE // 2):a + (height // HOLE + 1) // 2,
                 max(0, b - width // HOLE // 2):b + (width // HOLE + 1) // 2] = 0
        return torch.stack(moved) * kept

    def rows(self, rows: slice) -> Twist:
        """t of some of the images."""
        return Twist(self.shift[rows], self.hole[rows], self.light[rows])

    def image(self, y: Tensor) -> Tensor:
        """[N, C, H, W] in [-1, 1]: in another light, then as its source. What comes out may leave [-1, 1]."""
        brightness, saturation, contrast = self.light.to(y).unbind(1)
        y = y + (brightness - 0.5)
        grey = y.mean(1, keepdim=True)
        y = grey + (y - grey) * 2 * saturation if y.shape[1] > 1 else y
        mean = y.mean((1, 2, 3), keepdim=True)
        return self.source(mean + (y - mean) * (contrast + 0.5))


def draw(generator: torch.Generator, n: int, size: tuple[int, int]) -> Twist:
    """t of n images of `size` (H, W)."""
    places = torch.rand(2, n, 2, generator=generator)
    shift = [[int(u * (2 * (side // SHIFT) + 1)) - side // SHIFT for u, side in zip(row, size)]
             for row in places[0].tolist()]
    hole = [[int(u * (side + 1)) for u, side in zip(row, size)] for row in places[1].tolist()]
    return Twist(shift, hole, torch.rand(n, 3, 1, 1, 1, generator=generator))
