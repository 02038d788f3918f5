"""Frechet distance between two sets of features, each taken as a Gaussian (FID; Heusel et al., 2017).

    FD = |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)

The last trace is the sum of the square roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which is symmetric and has
the eigenvalues of S_a S_b: two real eigendecompositions in float64, no matrix square root, no complex numbers. The
estimate is biased upwards, the more the fewer the images: compare only equal counts, and print the floor.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Gaussian:
    """Count, mean and scatter of features that come in batches (Chan, Golub and LeVeque, 1979), in float64."""

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dimensions, dtype=torch.float64)
        self.scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64)  # sum (x - mean)(x - mean)^T

    @classmethod
    def of(cls, features: Tensor) -> Gaussian:
        """The statistics of features [N, d]."""
        return cls(features.shape[1]).add(features)

    def add(self, features: Tensor) -> Gaussian:
        """Take in a batch [N, d]."""
        if len(features):
            x = features.double()
            total, mean = self.count + len(x), x.mean(0)
            away, inside = mean - self.mean, x - mean
            self.scatter += inside.T @ inside + torch.outer(away, away) * (self.count * len(x) / total)
            self.mean = self.mean + away * (len(x) / total)
            self.count = total
        return self

    @property
    def covariance(self) -> Tensor:
        """[d, d], with N - 1 below."""
        if self.count < 2:
            raise ValueError("a covariance needs two images")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """FD of two Gaussians, at least 0; in squared units of the features."""
    s_a, s_b = a.covariance, b.covariance
    values, vectors = torch.linalg.eigh(s_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ s_b @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + s_a.trace() + s_b.trace() - 2 * cross
    return max(float(distance), 0.0)
