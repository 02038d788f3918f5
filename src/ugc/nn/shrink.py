"""Shrinking a supernet to the network it already is, and recalibrating batch norm. No family knows about this file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.nn.elastic import Elastic, ElasticBatchNorm


def copy_slices(big: nn.Module, small: nn.Module) -> None:
    """Fill every elastic layer of `small` with the leading slices of the layer of the same name in `big`."""
    for name, layer in small.named_modules():
        if isinstance(layer, Elastic):
            source = big.get_submodule(name)
            assert isinstance(source, Elastic)
            layer.take(source)


@torch.no_grad()
def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Set the running statistics of every batch norm to those of all images of `batches`; returns `net`, eval.

    How the images are batched matters only through the layers before: the network runs on batch statistics meanwhile, as it
    does in training. A net without batch norm is left alone, and `batches` is then not read.

    Args:
        batches: [N, C, H, W] sources in [-1, 1], without augmentation; N * H * W > 1 at every norm.
    """
    norms = [m for m in net.modules() if isinstance(m, ElasticBatchNorm)]
    if not norms:
        return net.eval()
    seen = 0

    def gathering(layer: ElasticBatchNorm, x: Tensor) -> Tensor:
        """The norm of a batch; mean and variance become those of all images seen, it included [Chan 1979]."""
        y = x.float() if x.dtype == torch.float16 else x
        mean, var, each = layer.running_mean.clone(), layer.running_var.clone(), x.shape[2] * x.shape[3]
        out = F.batch_norm(y, mean, var, layer.weight, layer.bias, True, 1.0, layer.eps)  # var: of a sample, unbiased
        share, n, total = len(x) / (seen + len(x)), len(x) * each, (seen + len(x)) * each
        layer.running_var.mul_((seen * each - 1) / (total - 1))  # none at first
        layer.running_var.add_(var, alpha=(n - 1) / (total - 1))
        layer.running_var.add_((mean - layer.running_mean).square(), alpha=share * (total - n) / (total - 1))
        layer.running_mean.lerp_(mean, share)
        return out.to(x.dtype)

    for layer in norms:
        layer.running_mean.zero_()
        layer.running_var.zero_()
        layer.forward = partial(gathering, layer)  # type: ignore[method-assign]
    try:
        net.train()
        for batch in batches:
            net(batch)
            seen += len(batch)
    finally:
        for layer in norms:
            del layer.forward
    return net.eval()
