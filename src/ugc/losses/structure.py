"""What an image is like apart from its pixels: Gram matrices (style) and total variation. fp32 throughout."""

from __future__ import annotations

import torch
from torch import Tensor


def gram(features: Tensor) -> Tensor:
    """Gram = F F^T / (C H W), with F the features as [C, H W]: [N, C, H, W] -> [N, C, C]. Johnson 2016, Eq. (3)."""
    n, c, h, w = features.shape
    flat = features.float().reshape(n, c, h * w)
    return torch.bmm(flat, flat.transpose(1, 2)) / (c * h * w)


def total_variation(images: Tensor) -> Tensor:
    """TV = sum |I(i+1, j) - I(i, j)| + |I(i, j+1) - I(i, j)|: [N, C, H, W] -> [N]. A *sum*, hence its weight of 1e-5."""
    x = images.float()
    return (x[:, :, 1:] - x[:, :, :-1]).abs().sum((1, 2, 3)) + (x[:, :, :, 1:] - x[:, :, :, :-1]).abs().sum((1, 2, 3))
