"""Elastic layers: one set of weights, many widths.

A layer knows the *parts* its input is made of (a concatenation has several) and its full width. It reads the widths it
is given from the tensors and is told only the width wanted. `cut` yields the tensors of the narrower layer; `forward`
computes with them and `take` copies them, so a sub-network inside the supernet and the same network shrunk out of it
cannot disagree. At full width `cut` returns the parameters themselves: no slicing is left in an exported graph.

Copying the leading corner of a weight would be wrong behind a concatenation, where a narrower first part shifts the
channels of the second: hence parts.
"""

from __future__ import annotations

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.core.device import in_channels_last, to_channels_last
from ugc.nn.quick import conv2d, conv_transpose2d, instance_norm, narrow, pointwise, reflected

Rule = tuple[int, tuple[int, ...], tuple[int, ...]]  # dim, parts, have


def leading(tensor: Tensor, *rules: Rule) -> Tensor:
    """THE slice rule: along each `dim`, the leading `have[i]` channels of each part of full width `parts[i]`.

    Along one dimension at most there are several parts.
    """
    rules = tuple(rule for rule in rules if rule[1] != rule[2])
    if not rules:
        return tensor
    *others, (dim, parts, have) = sorted(rules, key=lambda rule: len(rule[1]))
    box = tuple((other, 0, widths[0]) for other, _, widths in others)
    starts = [0, *accumulate(parts)]
    slices = [narrow(tensor, (*box, (dim, start, width))) for start, width in zip(starts, have)]
    return slices[0] if len(slices) == 1 else torch.cat(slices, dim)


class Elastic(nn.Module):
    """A layer from which narrower layers are cut.

    Args:
        parts: full widths of the parts of the input.
        width: full width of the output.
    """

    def __init__(self, parts: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.parts = parts
        self.width = width

    def cut(self, have: tuple[int, ...], width: int) -> dict[str, Tensor]:
        """The parameters and buffers, by name, of this layer with input widths `have` and output width `width`."""
        raise NotImplementedError  # each layer's own slices

    def macs(self, have: tuple[int, ...], width: int, grid_in: int, grid_out: int) -> tuple[int, int]:
        """Multiply-adds for one image as (true, as the papers count); grids are H * W before and after."""
        return 0, 0

    @torch.no_grad()
    def take(self, big: Elastic) -> None:
        """Become the leading slices of `big`."""
        own = dict(self.named_parameters(recurse=False)) | dict(self.named_buffers(recurse=False))
        for name, tensor in big.cut(self.parts, self.width).items():
            own[name].copy_(tensor)


def _joined(xs: tuple[Tensor, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The parts side by side, laid out as the first (one pixel wide, as a UNet's innermost, a part has forgotten how)."""
    have = tuple(x.shape[1] for x in xs)
    if len(xs) == 1:
        return xs[0], have
    if in_channels_last(xs[0]):
        xs = tuple(to_channels_last(x) for x in xs)
    return torch.cat(xs, 1), have


class ElasticConv(Elastic):
    """Convolution. Padding by zeros or by reflection (reflection is applied before, as the originals do).

    One of 1x1 also takes images that lie side by side, [1, images C, H, W].
    """

    def __init__(self, parts: tuple[int, ...], width: int, kernel: int, stride: int = 1, padding: int = 0,
                 reflect: bool = False, bias: bool = True) -> None:
        super().__init__(parts, width)
        self.kernel, self.stride, self.padding, self.reflect = kernel, stride, padding, reflect
        self.weight = nn.Parameter(torch.empty(width, sum(parts), kernel, kernel))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None

    def cut(self, have: tuple[int, ...], width: int) -> dict[str, Tensor]:
        out = (0, (self.width,), (width,))
        tensors = {"weight": leading(self.weight, out, (1, self.parts, have))}
        if self.bias is not None:
            tensors["bias"] = leading(self.bias, out)
        return tensors

    def forward(self, *xs: Tensor, width: int | None = None, images: int = 1) -> Tensor:
        x, have = _joined(xs)  # [N, sum(have), H, W]
        t = self.cut(tuple(c // images for c in have), width or self.width)
        p, bias = self.padding, t.get("bias")
        if images > 1:
            return pointwise(x, t["weight"], bias, images)
        if self.reflect:
            x, p = reflected(x, p), 0
        return conv2d(x, t["weight"], bias, self.stride, p)

    def macs(self, have: tuple[int, ...], width: int, grid_in: int, grid_out: int) -> tuple[int, int]:
        macs = self.kernel**2 * sum(have) * width * grid_out
        return macs, macs


class ElasticConvTranspose(Elastic):
    """Transposed convolution. The papers' profiler counts it on its *output* grid: 4 times too many at stride 2."""

    def __init__(self, parts: tuple[int, ...], width: int, kernel: int, stride: int, padding: int,
                 output_padding: int = 0, bias: bool = True) -> None:
        super().__init__(parts, width)
        self.kernel, self.stride, self.padding, self.output_padding = kernel, stride, padding, output_padding
        self.weight = nn.Parameter(torch.empty(sum(parts), width, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None

    def cut(self, have: tuple[int, ...], width: int) -> dict[str, Tensor]:
        tensors = {"weight": leading(self.weight, (1, (self.width,), (width,)), (0, self.parts, have))}
        if self.bias is not None:
            tensors["bias"] = leading(self.bias, (0, (self.width,), (width,)))
        return tensors

    def forward(self, *xs: Tensor, width: int | None = None) -> Tensor:
        x, have = _joined(xs)
        t = self.cut(have, width or self.width)
        return conv_transpose2d(x, t["weight"], t.get("bias"), self.stride, self.padding, self.output_padding)

    def macs(self, have: tuple[int, ...], width: int, grid_in: int, grid_out: int) -> tuple[int, int]:
        each = self.kernel**2 * sum(have) * width
        return each * grid_in, each * grid_out


class ElasticDepthwise(Elastic):
    """Depthwise convolution, by reflection or by zeros: one filter a channel, so as many channels out as in.

    Of images that lie side by side, [1, images C, H, W], each meets the same filters.
    """

    def __init__(self, width: int, kernel: int = 3, reflect: bool = True) -> None:
        super().__init__((width,), width)
        self.kernel, self.reflect = kernel, reflect
        self.weight = nn.Parameter(torch.empty(width, 1, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(width))

    def cut(self, have: tuple[int, ...], width: int) -> dict[str, Tensor]:
        return {name: leading(getattr(self, name), (0, self.parts, have)) for name in ("weight", "bias")}

    def forward(self, x: Tensor, images: int = 1) -> Tensor:
        groups, p = x.shape[1], self.kernel // 2
        t = self.cut((groups // images,), groups // images)
        weight, bias = t["weight"], t["bias"]
        if images > 1:
            weight, bias = weight.repeat(images, 1, 1, 1), bias.repeat(images)
        if self.reflect:
            return F.conv2d(reflected(x, p), weight, bias, groups=groups)
        return F.conv2d(x, weight, bias, padding=p, groups=groups)

    def macs(self, have: tuple[int, ...], width: int, grid_in: int, grid_out: int) -> tuple[int, int]:
        macs = self.kernel**2 * width * grid_out
        return macs, macs


class ElasticInstanceNorm(Elastic):
    """Instance norm without parameters; fp16 would overflow in its sums, so it is computed in fp32 there."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__((width,), width)
        self.eps = eps

    def cut(self, have: tuple[int, ...], width: int) -> dict[str, Tensor]:
        return {}

    def forward(self, x: Tensor) -> Tensor:
        y = x.float() if x.dtype == torch.float16 else x
        return instance_norm(y, self.eps).to(x.dtype)


class ElasticBatchNorm(Elastic):
    """Batch norm with sliced running statistics and, unless `affine` is off, a sliced scale and shift.

    In training it uses the batch's statistics, and a forward without gradient leaves the buffers alone. Sub-networks
    share the buffers, so these mean nothing in a supernet: evaluate shrunk, recalibrated copies (`nn.shrink`).
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__((width,), width)
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def cut(self, have: tuple[int, ...], width: int) -> dict[str, Tensor]:
        names = ("running_mean", "running_var") if self.weight is None else ("weight", "bias", "running_mean", "running_var")
        return {name: leading(getattr(self, name), (0, self.parts, have)) for name in names}

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        t = self.cut((c,), c)
        mean: Tensor | None = t["running_mean"]
        var: Tensor | None = t["running_var"]
        if self.training and not torch.is_grad_enabled():
            mean, var = None, None
        y = x.float() if x.dtype == torch.float16 else x
        return F.batch_norm(y, mean, var, t.get("weight"), t.get("bias"), self.training, self.momentum, self.eps).to(x.dtype)


def norm(kind: str, width: int, affine: bool = True) -> Elastic:
    """A norm by name: `instance`, or `batch` with or without parameters."""
    return {"instance": ElasticInstanceNorm(width), "batch": ElasticBatchNorm(width, affine=affine)}[kind]
