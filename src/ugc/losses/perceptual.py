"""The perceptual term [Johnson 2016] of pix2pixHD and SPADE: alike to a frozen classifier.

    L_P = sum_t w_t mean | f_t(y) - f_t(G(x)) |

f_t: the backbone's taps, w_t: its `perceptual` weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def perceptual(fake: Sequence[Tensor], target: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Taps [N, c, h, w] of G(x) and of y -> [N]. No gradient flows to `target`."""
    apart = [w * (a.float() - b.detach().float()).abs().mean((1, 2, 3))
             for a, b, w in zip(fake, target, weights, strict=True)]
    return torch.stack(apart).sum(0)
