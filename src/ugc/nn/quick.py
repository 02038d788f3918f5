"""The same convolutions in another order, for layers of one to three channels out, which a CPU's kernels are slow at.

Such a kernel makes 8 or 16 channels out side by side; where there is one, as in a head, the rest of its work is thrown
away. Here every tap has a channel of its own instead, and what they give is shifted and added:

    convolution     y[o, i, j] = sum_a z[(a, o), i + a, j],   z = x * (row a of the k x k filter), a 1 x k convolution
    transposed      y = fold(W^T x),   W: [C, o k k], fold: every pixel's k x k patch is added where it belongs

Equal but for rounding. For static nets that are asked and no longer trained: a search's candidates.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.nn.elastic import ElasticConv, ElasticConvTranspose

FEW = 3  # channels out
LARGE = 5  # the least kernel for which rows pay

N = TypeVar("N", bound=nn.Module)


@torch.no_grad()
def quicken(net: N) -> N:
    """Make a static net on the CPU run its layers of few channels out in the quicker order; returns the net.

    The reordered weights are copies: train the net no more.
    """
    for layer in net.modules():
        if isinstance(layer, ElasticConv) and layer.width <= FEW and layer.kernel >= LARGE and layer.stride == 1:
            layer.forward = partial(_by_rows, layer, rows_of(layer.weight))  # type: ignore[method-assign]
        elif isinstance(layer, ElasticConvTranspose) and layer.width <= FEW:
            layer.forward = partial(_by_product, layer)  # type: ignore[method-assign]
    return net


def rows_of(weight: Tensor) -> Tensor:
    """[o, C, k, k] -> [k o, C, 1, k]: row a of the filter of channel o gives channel (a, o)."""
    o, c, tall, wide = weight.shape
    return weight.permute(2, 0, 1, 3).reshape(tall * o, c, 1, wide).contiguous()


def conv_by_rows(x: Tensor, rows: Tensor, tall: int) -> Tensor:
    """The convolution, without padding and bias, whose filters' `rows` these are: [N, C, H, W] -> [N, o, H - k + 1, ..]."""
    z = F.conv2d(x, rows)  # [N, k o, H, W - k + 1]
    few, height = z.shape[1] // tall, z.shape[2] - tall + 1
    parts = [z[:, a * few:(a + 1) * few, a:a + height] for a in range(tall)]
    y = parts[0].to(torch.promote_types(z.dtype, torch.float32)) + parts[1]  # halves are added up in float32
    for part in parts[2:]:
        y += part
    return y.to(z.dtype)


def _by_rows(layer: ElasticConv, rows: Tensor, *xs: Tensor, width: int | None = None) -> Tensor:
    """`layer(*xs)` at its full width."""
    assert width in (None, layer.width)
    p, x = layer.padding, xs[0] if len(xs) == 1 else torch.cat(xs, 1)
    y = conv_by_rows(F.pad(x, (p, p, p, p), mode="reflect" if layer.reflect else "constant"), rows, layer.kernel)
    return y if layer.bias is None else y + layer.bias.to(y.dtype).view(1, -1, 1, 1)


def _by_product(layer: ElasticConvTranspose, *xs: Tensor, width: int | None = None) -> Tensor:
    """`layer(*xs)` at its full width."""
    assert width in (None, layer.width)
    x = xs[0] if len(xs) == 1 else torch.cat(xs, 1)
    patches = layer.weight.flatten(1).T @ x.flatten(2)  # [N, o k k, H W]
    more = layer.kernel + layer.output_padding - 2 * layer.padding
    tall, wide = ((side - 1) * layer.stride + more for side in x.shape[2:])
    y = F.fold(patches, (tall, wide), layer.kernel, padding=layer.padding, stride=layer.stride)  # [N, o, 2 H, 2 W]
    return y if layer.bias is None else y + layer.bias.to(y.dtype).view(1, -1, 1, 1)
