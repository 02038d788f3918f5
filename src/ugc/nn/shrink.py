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
    """Set the running statistics of every batch norm to their mean over the images of `batches`; returns `net`, eval.

    The network runs on batch statistics meanwhile, as it does in training. A net without batch norm is left alone, and
    `batches` is then not read.

    Args:
        batches: [N, C, H, W] sources in [-1, 1], without augmentation; N * H * W > 1 at every norm.
    """
    norms = [m for m in net.modules() if isinstance(m, ElasticBatchNorm)]
    if not norms:
        return net.eval()
    seen = 0

    def gathering(layer: ElasticBatchNorm, x: Tensor) -> Tensor:
        """The norm of a batch; its statistics move to the mean over the images seen."""
        y = x.float() if x.dtype == torch.float16 else x
        return F.batch_norm(y, layer.running_mean, layer.running_var, layer.weight, layer.bias, True,
                            len(x) / (seen + len(x)), layer.eps).to(x.dtype)

    for layer in norms:
        layer.running_mean.zero_()
        layer.running_var.fill_(1.0)
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
