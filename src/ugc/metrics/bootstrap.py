"""Intervals by resampling images, with a fixed draw: the same features give the same interval.

An interval says how far a number moves with the draw of the test images. It does not say how far it moves with the seed of
training, and it holds no bias: that of a Frechet distance is what the floor shows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ugc.core.clock import Clock

LEVEL = 0.95
LEAST = 16  # images; of fewer no interval is given


def counts(n: int, m: int, resamples: int, paired: bool) -> tuple[Tensor, Tensor]:
    """How often each of n and of m images is drawn, [resamples, n] and [resamples, m], float64.

    Args:
        paired: the i-th of both are answer and target of one test image, and are drawn together (then n is m).
    """
    if min(n, m) < LEAST:
        raise ValueError(f"an interval needs {LEAST} images on each side")
    w = _drawn(n, resamples, "bootstrap")
    return w, w if paired else _drawn(m, resamples, "bootstrap, other side")


def _drawn(n: int, resamples: int, purpose: str) -> Tensor:
    return torch.from_numpy(Clock(0).rng(purpose).multinomial(n, [1 / n] * n, resamples)).double()
