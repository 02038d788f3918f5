"""What each place of a k x k filter covers, side by side, and the way back; with gradient, for any stride.

    cover   [N, H, W, C] -> [N, H', W', k k C],  H' = (H - k) / stride + 1
    put     its transpose: every k x k at its place, what lies over each other added up

A convolution is a product with what is covered, a transposed one what is put of a product. Not `unfold` and `fold`: these
want the channels apart, and read and write memory number by number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def cover(x: Tensor, k: int, stride: int) -> Tensor:
    """[N, H, W, C] -> [N, H', W', k k C], the filter's places row by row."""
    covered: Tensor = _Covered.apply(x, k, stride)  # type: ignore[no-untyped-call]
    return covered


def put(z: Tensor, size: tuple[int, int], k: int, stride: int) -> Tensor:
    """[N, H', W', k k C] -> [N, *size, C], added up in float32 at least."""
    y: Tensor = _Put.apply(z, size, k, stride)  # type: ignore[no-untyped-call]
    return y


def _cover(x: Tensor, k: int, stride: int) -> Tensor:
    return torch.cat([x[:, down, right] for down, right in _shifts(x.shape[1], x.shape[2], k, stride)], -1)


def _put(z: Tensor, size: tuple[int, int], k: int, stride: int) -> Tensor:
    sums = torch.promote_types(z.dtype, torch.float32)
    y = torch.zeros(len(z), *size, z.shape[3] // k**2, dtype=sums, device=z.device)
    for (down, right), part in zip(_shifts(*size, k, stride), z.split(y.shape[3], -1)):
        y[:, down, right] += part
    return y.to(z.dtype)


def _shifts(tall: int, wide: int, k: int, stride: int) -> list[tuple[slice, slice]]:
    """For each tap of a filter, row by row, the pixels that it meets."""
    downs, rights = ([slice(a, side - k + a + 1, stride) for a in range(k)] for side in (tall, wide))
    return [(down, right) for down in downs for right in rights]


class _Covered(torch.autograd.Function):
    """`cover`, whose gradient is put."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, stride: int) -> Tensor:
        ctx.like = tuple(x.shape[1:3]), k, stride
        return _cover(x, k, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _put(gradients[0], *ctx.like), None, None


class _Put(torch.autograd.Function):
    """`put`, whose gradient is covered."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, size: tuple[int, int], k: int, stride: int) -> Tensor:
        ctx.like = k, stride
        return _put(z, size, k, stride)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return _cover(gradients[0], *ctx.like), None, None, None
