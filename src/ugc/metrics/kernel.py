"""Kernel distance between two sets of features (KID; Binkowski et al., "Demystifying MMD GANs", 2018).

    k(a, b) = (a.b / d + 1)^3
    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

The estimator is unbiased: its expectation is 0 for two samples of one distribution, whatever their size, and it may
be negative. Of the whole sets, not of random subsets: nothing is drawn, and the arguments may be swapped.
"""

from __future__ import annotations

from torch import Tensor

SCALE = 1e3
ROWS = 1024  # rows of the kernel matrix that are in memory at a time


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """1,000 x unbiased MMD^2 of features x [N, d] and y [M, d], float64, N and M at least 2."""
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError("a kernel distance needs two images on each side")
    within_x = (_total(x, x) - float(_kernel_of_self(x).sum())) / (n * (n - 1))
    within_y = (_total(y, y) - float(_kernel_of_self(y).sum())) / (m * (m - 1))
    return SCALE * (within_x + within_y - 2 * _total(x, y) / (n * m))


def _total(x: Tensor, y: Tensor) -> float:
    """sum_{i, j} k(x_i, y_j)."""
    blocks = (x[start : start + ROWS] for start in range(0, len(x), ROWS))
    return sum((float((rows @ y.T / x.shape[1] + 1).pow(3).sum()) for rows in blocks), 0.0)


def _kernel_of_self(x: Tensor) -> Tensor:
    """k(x_i, x_i)."""
    return (x.square().mean(1) + 1).pow(3)
