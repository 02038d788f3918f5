"""Kernel distance between two sets of features (KID; Binkowski et al., "Demystifying MMD GANs", 2018).

    k(a, b) = (a.b / d + 1)^3
    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

The estimator is unbiased: its expectation is 0 for two samples of one distribution, whatever their size, and it may
be negative. Of the whole sets, not of random subsets: nothing is drawn, and the arguments may be swapped. Answers and their
own targets are no two such samples: near its target an answer makes N of the N^2 cross terms larger, which takes up to
2 / N (E k(x, x) - E k(x, x')) off (x 1,000 on Lite0: about 1 of 2,048 images, 18 of 100), as in every KID of paired data.

Its interval is a bootstrap over images: w counts how often each one is drawn. An image drawn twice is no pair of two
images, so within a set the sum is over different images only, and resamples scatter about the estimate:

    sum_{i != j} w_i w_j k(x_i, x_j) / sum_{i != j} w_i w_j
"""

from __future__ import annotations

import torch
from torch import Tensor

from ugc.metrics.bootstrap import LEVEL, counts

SCALE = 1e3
ROWS = 1024  # rows of the kernel matrix that are in memory at a time
RESAMPLES = 400


def whole(features: Tensor) -> Tensor:
    """The statistics of a kernel distance are the features themselves."""
    return features


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """1,000 x unbiased MMD^2 of features x [N, d] and y [M, d], float64, N and M at least 2."""
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError("a kernel distance needs two images on each side")
    within_x = (_total(x, x) - float(_kernel_of_self(x).sum())) / (n * (n - 1))
    within_y = (_total(y, y) - float(_kernel_of_self(y).sum())) / (m * (m - 1))
    return SCALE * (within_x + within_y - 2 * _total(x, y) / (n * m))


def kernel_interval(x: Tensor, y: Tensor, paired: bool, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The middle 95 % of `kernel_distance` over resampled images (a fixed draw): x [N, d], y [M, d], float64.

    Args:
        paired: x_i and y_i are answer and target of one test image, and are drawn together (then N is M).
    """
    w, v = counts(len(x), len(y), resamples, paired)
    draws = _within(x, w) + _within(y, v) - 2 * (_pairs(x, y, w) if paired else _sum(x, y, w, v) / (len(x) * len(y)))
    low, high = torch.quantile(SCALE * draws, torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=draws.dtype)).tolist()
    return low, high


def _within(x: Tensor, w: Tensor) -> Tensor:
    """The mean over pairs of different images, [resamples]."""
    squares = w.square()
    return (_sum(x, x, w, w) - squares @ _kernel_of_self(x)) / (len(x) ** 2 - squares.sum(1))


def _pairs(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """The mean over all pairs where x_i and y_i belong together: these in the share that they have in the estimate."""
    n, squares, own = len(x), w.square(), ((x * y).mean(1) + 1).pow(3)
    others = (_sum(x, y, w, w) - squares @ own) / (n**2 - squares.sum(1))
    return others * (1 - 1 / n) + w @ own / n**2


def _sum(x: Tensor, y: Tensor, w: Tensor, v: Tensor) -> Tensor:
    """sum_{i, j} w_i v_j k(x_i, y_j) of every resample, [resamples]."""
    total = x.new_zeros(len(w))
    for start in range(0, len(x), ROWS):
        kernel = (x[start : start + ROWS] @ y.T / x.shape[1] + 1).pow(3)
        total += ((kernel @ v.T) * w[:, start : start + ROWS].T).sum(0)
    return total


def _total(x: Tensor, y: Tensor) -> float:
    """sum_{i, j} k(x_i, y_j)."""
    blocks = (x[start : start + ROWS] for start in range(0, len(x), ROWS))
    return sum((float((rows @ y.T / x.shape[1] + 1).pow(3).sum()) for rows in blocks), 0.0)


def _kernel_of_self(x: Tensor) -> Tensor:
    """k(x_i, x_i)."""
    return (x.square().mean(1) + 1).pow(3)
