"""A saved net as the beginning of another: every layer of one name, kind and shape is taken over, whole or not at all.

A norm has learnt with the convolution that runs before it, and is taken over with that one only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ugc.nn.cost import trace
from ugc.nn.elastic import ElasticBatchNorm, ElasticInstanceNorm


@dataclass(frozen=True)
class Taken:
    """What was taken over: names of convolutions, of how many in the net that takes."""

    layers: tuple[str, ...]
    of: int

    @property
    def text(self) -> str:
        """One line for the log."""
        if not self.layers:
            return f"warm start: none of the {self.of} convolutions fits the original; all begin at random"
        return f"warm start: {len(self.layers)} of {self.of} convolutions begin as the original's: {', '.join(self.layers)}"


@torch.no_grad()
def take_over(net: nn.Module, other: nn.Module, size: tuple[int, int]) -> Taken:
    """Copy into `net` the layers of `other` that fit its full width; returns which. Nets of two families share none.

    Args:
        size: (H, W) at which both are traced for the order of their layers.
    """
    there = dict(other.named_modules()) if type(net) is type(other) else {}
    mine, found, of, fits = dict(net.named_modules()), list[str](), 0, False
    for name in dict.fromkeys(layer.name for layer in trace(net, None, size)):
        layer, theirs = mine[name], there.get(name)
        is_norm = isinstance(layer, ElasticInstanceNorm | ElasticBatchNorm)
        if not is_norm:
            fits, of = _alike(layer, theirs), of + 1
        if fits and theirs is not None and _alike(layer, theirs):
            layer.load_state_dict(theirs.state_dict())
            if not is_norm:
                found.append(name)
    return Taken(tuple(found), of)


def _alike(layer: nn.Module, other: nn.Module | None) -> bool:
    """Whether two layers are of one kind, with the same parts of the input, settings and shapes."""
    return other is not None and type(layer) is type(other) and _form(layer) == _form(other)


def _form(layer: nn.Module) -> dict[str, object]:
    settings = {key: value for key, value in vars(layer).items() if not key.startswith("_") and key != "training"}
    shapes: dict[str, Tensor] = layer.state_dict()
    return {**settings, **{f"{name} shape": tuple(tensor.shape) for name, tensor in shapes.items()}}
