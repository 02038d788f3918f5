"""Spectral normalisation [Miyato 2018]: a convolution divided by its greatest singular value.

    W_used = W / sigma,   sigma = u^T W v,   one power iteration: v <- W^T u / |W^T u|,  u <- W v / |W v|

W is [out, in * k * k]. u and v are constants to the gradient. A forward never moves them: `iterate` does, and is called
where the weights themselves move, in their owner's update (`training.player`). So a forward for another player's loss
leaves the net as it was, and the next forward of its owner finds them iterated once, as in the usual order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ugc.core.device import exact
from ugc.nn.elastic import Elastic, ElasticConv

WARM = 30  # iterations at the start: sigma is right within a few per cent before the first step


class SpectralConv(ElasticConv):
    """A convolution of one width under spectral norm; `weight` is the raw one. Arguments are those of ElasticConv."""

    u: Tensor
    v: Tensor

    def __init__(self, parts: tuple[int, ...], width: int, kernel: int, stride: int = 1, padding: int = 0,
                 reflect: bool = False, bias: bool = True) -> None:
        super().__init__(parts, width, kernel, stride, padding, reflect, bias)
        inside = sum(parts) * kernel**2
        self.register_buffer("u", torch.full((width,), width**-0.5))
        self.register_buffer("v", torch.full((inside,), inside**-0.5))

    @property
    def sigma(self) -> Tensor:
        """u^T W v, in float32 at least, also under autocast."""
        with exact(self.weight.device):
            w = _matrix(self.weight)
            return torch.dot(self.u.to(w.dtype), torch.mv(w, self.v.to(w.dtype)))

    def cut(self, have: tuple[int, ...], width: int) -> dict[str, Tensor]:
        """The weight that is used, W / sigma, and the bias: what a plain convolution takes over from this one."""
        if have != self.parts or width != self.width:
            raise ValueError("a convolution under spectral norm has one width")
        with exact(self.weight.device):
            tensors = {"weight": (self.weight / self.sigma).to(self.weight.dtype)}
        return tensors if self.bias is None else {**tensors, "bias": self.bias}

    @torch.no_grad()
    def take(self, big: Elastic) -> None:
        """Become `big`, raw weight, u and v: it has this one width, too."""
        assert isinstance(big, SpectralConv)
        self.load_state_dict(big.state_dict())

    @torch.no_grad()
    def iterate(self) -> None:
        """One power iteration."""
        with exact(self.weight.device):
            w = _matrix(self.weight)
            v = F.normalize(torch.mv(w.T, self.u.to(w.dtype)), dim=0, eps=1e-12)
            self.v.copy_(v)
            self.u.copy_(F.normalize(torch.mv(w, v), dim=0, eps=1e-12))

    @torch.no_grad()
    def begin(self, generator: torch.Generator) -> None:
        """u at random, then so many iterations that sigma is right from the first step on."""
        self.u.copy_(F.normalize(torch.empty(self.u.shape).normal_(generator=generator), dim=0))
        for _ in range(WARM):
            self.iterate()


def _matrix(weight: Tensor) -> Tensor:
    """[out, in * k * k], of float32 at least."""
    return (weight if weight.dtype == torch.float64 else weight.float()).flatten(1)


def spectral(net: nn.Module) -> list[SpectralConv]:
    """The layers of a net that are under spectral norm."""
    return [layer for layer in net.modules() if isinstance(layer, SpectralConv)]
