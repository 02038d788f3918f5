"""Shrinking a supernet to the network it already is, and recalibrating batch norm. No family knows about this file."""

from __future__ import annotations

from collections.abc import Iterable

import torch
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
    """Set the running statistics of every batch norm to their cumulative average over `batches`; returns `net`, eval.

    The network runs on batch statistics meanwhile, as it does in training. A net without batch norm is left alone, and
    `batches` is then not read.

    Args:
        batches: [N, C, H, W] sources in [-1, 1], without augmentation; N * H * W > 1 at every norm.
    """
    norms = [m for m in net.modules() if isinstance(m, ElasticBatchNorm)]
    if not norms:
        return net.eval()
    sums = {m: (torch.zeros_like(m.running_mean), torch.zeros_like(m.running_var)) for m in norms}
    count = 0

    def watch(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, ElasticBatchNorm)
        var, mean = torch.var_mean(args[0].float(), (0, 2, 3))
        sums[layer][0].add_(mean)
        sums[layer][1].add_(var)

    handles = [m.register_forward_pre_hook(watch) for m in norms]
    try:
        net.train()
        for batch in batches:
            net(batch)
            count += 1
    finally:
        for handle in handles:
            handle.remove()
    for layer, (mean, var) in sums.items():
        layer.running_mean.copy_(mean / max(count, 1))
        layer.running_var.copy_(var / max(count, 1))
    return net.eval()
