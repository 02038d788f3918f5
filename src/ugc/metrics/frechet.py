"""Frechet distance between two sets of features, each taken as a Gaussian (FID; Heusel et al., 2017).

    FD = |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)

The last trace is the sum of the square roots of the eigenvalues of S_a^(1/2) S_b S_a^(1/2), which is symmetric and has
the eigenvalues of S_a S_b: two real eigendecompositions in float64, no matrix square root, no complex numbers. The
estimate is biased upwards, the more the fewer the images: compare only equal counts, and print the floor.

Its interval is the estimate and 1.96 standard deviations of resampled distances on either side. Their mean is of no use: a
resample holds 63 % of the images, so it has the bias of a smaller set. Their spread is that of the estimate where the two
sets differ, and about twice it at the floor (`tests/metrics/test_statistics.py`).

Statistics files are those of the lineage: `.npz` with `mu` [d] and `sigma` [d, d]. They do not say of how many images.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from ugc.core.errors import UserError, of_system
from ugc.core.files import atomic
from ugc.metrics.bootstrap import LEVEL, counts

RESAMPLES = 40


@dataclass(frozen=True)
class Moments:
    """Mean [d] and covariance [d, d] as a statistics file holds them, float64."""

    mean: Tensor
    covariance: Tensor


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


def frechet_distance(a: Gaussian | Moments, b: Gaussian | Moments) -> float:
    """FD of two Gaussians, at least 0; in squared units of the features."""
    s_a, s_b = a.covariance, b.covariance
    values, vectors = torch.linalg.eigh(s_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ s_b @ root).clamp(min=0).sqrt().sum()
    distance = (a.mean - b.mean).square().sum() + s_a.trace() + s_b.trace() - 2 * cross
    return max(float(distance), 0.0)


def frechet_interval(x: Tensor, y: Tensor, paired: bool, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Where `frechet_distance` of x [N, d] and y [M, d], float64, lies for 95 % of draws of the images (a fixed draw).

    Args:
        paired: x_i and y_i are answer and target of one test image, and are drawn together (then N is M).
    """
    draws = [_resampled(x, y, w, v) for w, v in zip(*counts(len(x), len(y), resamples, paired))]
    estimate = frechet_distance(Gaussian.of(x), Gaussian.of(y))
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * float(torch.tensor(draws).std())
    return max(estimate - reach, 0.0), estimate + reach


def _resampled(x: Tensor, y: Tensor, w: Tensor, v: Tensor) -> float:
    """FD where x_i counts w_i times and y_i v_i times.

    With centred rows A and B, S_a = A^T A and S_b = B^T B, tr (S_a S_b)^(1/2) is the sum of the singular values of A B^T:
    no matrix larger than the images that were drawn, or, by A = QR, than the dimensions.
    """
    (mean_a, a), (mean_b, b) = _centred(x, w), _centred(y, v)
    cross = a @ b.T
    singular = torch.linalg.eigvalsh(cross @ cross.T).clamp(min=0).sqrt().sum()
    return float((mean_a - mean_b).square().sum() + a.square().sum() + b.square().sum() - 2 * singular)


def _centred(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """The mean [d], and rows [at most d, d] whose squares sum up to the covariance."""
    there = w > 0
    x, w = x[there], w[there]
    mean = w @ x / w.sum()
    rows = (x - mean) * (w / (w.sum() - 1)).sqrt()[:, None]
    return mean, torch.linalg.qr(rows, mode="r").R if len(rows) > x.shape[1] else rows


def save_statistics(path: Path, statistics: Gaussian | Moments) -> None:
    """Write `mu` and `sigma`, float64, whole or not at all; what the lineage's tools read."""
    with atomic(path) as file:
        np.savez(file, mu=statistics.mean.numpy(), sigma=statistics.covariance.numpy())


def load_statistics(path: Path) -> Moments:
    """Read `mu` and `sigma`; other arrays in the file are not looked at.

    Raises:
        UserError: no such file, another format, or arrays that are no mean and covariance.
    """
    expected = "expected a statistics file, .npz with mu and sigma, as ugc eval --save-stats writes"
    if not path.is_file():
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'not there'}; {expected}")
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise UserError(f"{path} is no .npz file, or is cut short; {expected}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in ("mu", "sigma") if key in archive}
    except OSError as error:
        raise UserError(of_system(error) or f"{path} is damaged; {expected}") from None
    except (ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error):
        raise UserError(f"{path} is damaged, or its mu and sigma are no arrays of numbers; {expected}") from None
    found = {key: array for key, array in arrays.items() if isinstance(array, np.ndarray)}  # else bytes: not of numpy
    if len(found) < 2:
        missing = " and ".join(key for key in ("mu", "sigma") if key not in found)
        raise UserError(f"{path} has no {missing}; expected .npz with mu [d] and sigma [d, d]")
    mu, sigma = found["mu"], found["sigma"]
    if mu.dtype.kind != "f" or sigma.dtype.kind != "f" or mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise UserError(f"{path} has mu {mu.dtype} {list(mu.shape)} and sigma {sigma.dtype} {list(sigma.shape)}; "
                        "expected floating point [d] and [d, d]")
    moments = Moments(torch.from_numpy(mu.astype(np.float64)), torch.from_numpy(sigma.astype(np.float64)))
    finite = all(t.isfinite().all() for t in (moments.mean, moments.covariance))
    if not finite or not torch.allclose(moments.covariance, moments.covariance.T, rtol=1e-6, atol=1e-10):
        raise UserError(f"{path}: sigma is no covariance (not finite or not symmetric)")
    return moments
