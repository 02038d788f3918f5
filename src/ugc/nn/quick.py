"""Layers that a CPU's kernels are slow at, computed in another order. Equal but for rounding; with gradient.

    instance norm   one group norm with a group a channel; in channels_last one batch norm an image, or one of all images,
                    the batch among the channels: [H, W, N C] for [N, H, W, C]
    by rows         y[o, i, j] = sum_a z[(a, o), i + a, j],   z = x * (row a of the k x k filter), a 1 x k convolution
    by a product    y = W cover(x), transposed y = put(W^T x);   W: [o, k k C], cover: what each filter covers, put: what
                    is laid over each other added up
    side by side    N images as one of N times the channels, [1, N C, H, W], through layers that keep images and channels
                    apart: a depthwise convolution, a norm, a sum; a 1x1 convolution is a product over [H W N, C]

A convolution's kernel makes 8 or 16 channels out side by side; where there are one to three, as in a head, the rest of its
work is thrown away. By rows, every row of a filter has a channel of its own, and what they give is shifted and added.
Of few pixels and many channels, as inside a UNet, moving the weights to the kernel's order and back is most of the work in
bf16; a matrix product takes them as they lie (in channels_last: `Device.settle`). Side by side a norm is one call, and no
layout is changed from the first block to the last.

Figures in docs/lab-book.md. Elsewhere (on GPUs, in graphs that are compiled or exported, and on `meta`, where
work is counted) torch's own layers stay.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ugc.core.device import exact, in_channels_last, to_channels_last
from ugc.nn.patches import cover, put

Box = tuple[tuple[int, int, int], ...]  # what `narrow` leaves: of a dimension from where on how much

FEW = 3  # channels out
LARGE = 5  # the least kernel for which rows pay
HEAVY = 1 << 18  # weights from which on a product pays
HEAVIER = 1 << 13  # and for each pixel of all images
LAID = 1 << 19  # weights from which on zeros for their gradient, and another layout of it, cost more than a call
MANY = 1 << 17  # numbers an image from which on another layout of it costs more than a call an image; in bf16 half of it
SOME = 16  # channels from which on the batch goes among them


def here(x: Tensor) -> bool:
    """Whether x is computed with now, by this CPU."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def instance_norm(x: Tensor, eps: float) -> Tensor:
    """(x - mean) / sqrt(var + eps), each over a channel of an image [N, C, H, W]; of one pixel it is 0."""
    if not here(x):
        return torch.instance_norm(x, None, None, None, None, True, 0.1, eps, torch.backends.cudnn.enabled)
    if not in_channels_last(x):
        return torch.group_norm(x, x.shape[1], None, None, eps)
    if len(x) == 1 or _large(x):
        each = [_of_its_image(image, eps) for image in x.split(1)]
        return each[0] if len(each) == 1 else torch.cat(each)
    if x.dtype != torch.float32 and x.shape[1] >= SOME:  # there a batch norm is the less exact of both
        return apart(_of_its_image(beside(x), eps), len(x))
    return to_channels_last(torch.group_norm(x.contiguous(), x.shape[1], None, None, eps))


def _of_its_image(x: Tensor, eps: float) -> Tensor:
    """The batch norm of x [1, C, H, W]."""
    return torch.batch_norm(x, None, None, None, None, True, 0.1, eps, False)


def side_by_side(x: Tensor) -> bool:
    """Whether the images x [N, C, H, W] are quicker through a norm as one of N C channels."""
    small = x.shape[1] >= SOME and not _large(x)
    return here(x) and x.dtype == torch.bfloat16 and len(x) > 1 and small and in_channels_last(x)


def _large(x: Tensor) -> bool:
    """Whether another layout of an image of x [N, C, H, W] costs more than a call."""
    return x[0].numel() >= (MANY // 2 if x.dtype == torch.bfloat16 else MANY)


def beside(x: Tensor) -> Tensor:
    """Images [N, C, H, W] -> [1, N C, H, W], in channels_last."""
    n, c, height, width = x.shape
    return to_channels_last(x.permute(2, 3, 0, 1).reshape(1, height, width, n * c).permute(0, 3, 1, 2))


def apart(x: Tensor, n: int) -> Tensor:
    """n images that lie side by side, [1, n C, H, W] -> [n, C, H, W], in channels_last."""
    _, channels, height, width = x.shape
    return to_channels_last(x.permute(0, 2, 3, 1).reshape(height, width, n, channels // n).permute(2, 3, 0, 1))


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, n: int) -> Tensor:
    """A 1x1 convolution, weight [o, C, 1, 1], of n images side by side: [1, n C, H, W] -> [1, n o, H, W]."""
    _, channels, height, width = x.shape
    y = F.linear(x.permute(0, 2, 3, 1).reshape(-1, channels // n), weight.flatten(1), bias)  # [H W n, o]
    return y.view(1, height, width, -1).permute(0, 3, 1, 2)


def reflected(x: Tensor, p: int) -> Tensor:
    """x [N, C, H, W] with a frame of p pixels, mirrored at its border; halves stay halves (a CPU's autocast raises them)."""
    if x.dtype in (torch.bfloat16, torch.float16) and here(x):
        with exact(x.device):
            return F.pad(x, (p, p, p, p), mode="reflect")
    return F.pad(x, (p, p, p, p), mode="reflect")


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """The convolution of x [N, C, H, W] with a weight [o, C, k, k], in the order that is quickest here."""
    if here(x):
        out, k = len(weight), weight.shape[2]
        if out <= FEW and k >= LARGE and stride == 1:
            return _biased(by_rows(_framed(x, padding), weight), bias)
        size = [(side + 2 * padding - k) // stride + 1 for side in x.shape[2:]]
        if _heavy(x, weight, size):
            covered = cover(_framed(x, padding).permute(0, 2, 3, 1), k, stride)
            y = covered.flatten(0, 2) @ weight.permute(0, 2, 3, 1).flatten(1).t()  # [N H' W', k k C] [k k C, o]
            return _biased(y.view(len(x), *size, out).permute(0, 3, 1, 2), bias)
    return F.conv2d(x, weight, bias, stride, padding)


def conv_transpose2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, more: int) -> Tensor:
    """The transposed convolution of x [N, C, H, W] with a weight [C, o, k, k]. more: its output padding."""
    n, c, *size = x.shape
    if not here(x) or not _heavy(x, weight, size):
        return F.conv_transpose2d(x, weight, bias, stride, padding, more)
    k = weight.shape[2]
    tall, wide = ((side - 1) * stride + k + more for side in size)
    spread = x.permute(0, 2, 3, 1).reshape(-1, c) @ weight.permute(0, 2, 3, 1).flatten(1)  # [N H W, C] [C, k k o]
    y = put(spread.view(n, *size, -1), (tall, wide), k, stride)
    y = y[:, padding:tall - padding, padding:wide - padding].permute(0, 3, 1, 2)
    return _biased(to_channels_last(y) if in_channels_last(x) else y.contiguous(), bias)


def _heavy(x: Tensor, weight: Tensor, size: list[int]) -> bool:
    """Whether a weight that meets size[0] x size[1] places of each image is quicker in a product."""
    least = max(HEAVY, HEAVIER * len(x) * size[0] * size[1])
    return x.dtype == torch.bfloat16 and weight.numel() >= least


def _framed(x: Tensor, p: int) -> Tensor:
    return F.pad(x, (p, p, p, p)) if p else x  # a pad of 0 is a copy


def _biased(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias.to(y.dtype).view(1, -1, 1, 1)


def narrow(tensor: Tensor, box: Box) -> Tensor:
    """tensor.narrow(dim, start, width) for each of the box.

    Of a large weight the gradient goes where it is added up, into that place of `.grad`, once there is one (`Player.learn`);
    before that it lies among zeros, laid out as it comes, unlike that of torch.
    """
    if tensor.numel() >= LAID and tensor.dim() == 4 and tensor.requires_grad and torch.is_grad_enabled() and here(tensor):
        part: Tensor = _Narrow.apply(tensor, box)  # type: ignore[no-untyped-call]
        return part
    return _at(tensor, box)


def _at(tensor: Tensor, box: Box) -> Tensor:
    for dim, start, width in box:
        tensor = tensor.narrow(dim, start, width)
    return tensor


class _Narrow(torch.autograd.Function):
    """A slice; its gradient is added in place, or lies among zeros."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, box: Box) -> Tensor:
        ctx.whole, ctx.box = tensor, box
        return _at(tensor, box)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (gradient,), sums = gradients, ctx.whole.grad if ctx.whole.is_leaf else None
        if sums is not None:
            _at(sums, ctx.box).add_(gradient)
            return None, None
        layout = torch.channels_last if in_channels_last(gradient) else torch.contiguous_format
        whole = torch.zeros_like(ctx.whole, dtype=gradient.dtype, memory_format=layout)
        _at(whole, ctx.box).copy_(gradient)
        return whole, None


def by_rows(x: Tensor, weight: Tensor) -> Tensor:
    """The convolution without padding and bias: [N, C, H, W], [o, C, k, k] -> [N, o, H - k + 1, W - k + 1]."""
    o, c, tall, wide = weight.shape
    rows = weight.permute(2, 0, 1, 3).reshape(tall * o, c, 1, wide)  # row a of the filter of channel o gives channel (a, o)
    z = F.conv2d(x, rows)  # [N, k o, H, W - k + 1]
    y: Tensor = _Shifted.apply(z, tall)  # type: ignore[no-untyped-call]
    y = y.to(z.dtype)
    return to_channels_last(y) if in_channels_last(x) else y


class _Shifted(torch.autograd.Function):
    """z [N, k o, H, W] -> sum_a z[:, (a, :), a:a + H - k + 1], in float32 at least."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, tall: int) -> Tensor:
        few, height = z.shape[1] // tall, z.shape[2] - tall + 1
        sums = torch.promote_types(z.dtype, torch.float32)  # halves are added up in float32
        y = z[:, :few, :height].to(sums, copy=True, memory_format=torch.contiguous_format)
        for a in range(1, tall):
            y += z[:, a * few:(a + 1) * few, a:a + height]
        layout = torch.channels_last if in_channels_last(z) else torch.contiguous_format
        ctx.tall, ctx.like = tall, (z.shape, z.dtype, layout)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (shape, dtype, layout), (gradient,) = ctx.like, gradients
        few, height = gradient.shape[1], gradient.shape[2]
        back = torch.empty(shape, dtype=dtype, device=gradient.device, memory_format=layout)
        for a in range(ctx.tall):
            part = back[:, a * few:(a + 1) * few]
            part[:, :, :a] = 0
            part[:, :, a:a + height] = gradient
            part[:, :, a + height:] = 0
        return back, None
