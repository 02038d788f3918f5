"""Kernel and Frechet distance: closed forms, and meaning before tolerance."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from ugc.metrics.frechet import Gaussian, frechet_distance
from ugc.metrics.kernel import kernel_distance


def sample(n, d, seed, scale=1.0, shift=0.0):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64) / d**0.5
    return torch.randn(n, d, generator=g, dtype=torch.float64) @ mix * scale + shift


def frechet(x, y):
    return frechet_distance(Gaussian.of(x), Gaussian.of(y))


@pytest.mark.parametrize("n", [500, 12])  # 12: fewer than dimensions, singular covariances
def test_frechet_equals_the_matrix_square_root(n):
    x, y = sample(n, 20, 1), sample(n + 3, 20, 2, scale=1.3, shift=0.2)
    a, b = np.cov(x.T.numpy()), np.cov(y.T.numpy())
    regular = np.eye(20) * (1e-12 if n < 20 else 0)
    root = sqrtm((a + regular) @ (b + regular)).real
    want = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(a + b - 2 * root)
    assert frechet(x, y) == pytest.approx(want, rel=1e-6 if n > 20 else 1e-3)


def test_frechet_closed_forms():
    x = sample(400, 10, 1)
    assert frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert frechet(x, x + 2.0) == pytest.approx(40.0)  # 10 dimensions x 2^2
    assert frechet(x - x.mean(0), 3 * (x - x.mean(0))) == pytest.approx(4 * Gaussian.of(x).covariance.trace().item())
    y = sample(300, 10, 2, scale=2.0)
    assert frechet(x, y) == pytest.approx(frechet(y, x))


def test_moments_do_not_depend_on_batches():
    x = sample(101, 8, 3, shift=1e3)
    whole, parts = Gaussian.of(x), Gaussian(8)
    for batch in x.split(7):
        parts.add(batch)
    parts.add(x[:0])
    assert parts.count == 101
    torch.testing.assert_close(parts.covariance, torch.cov(x.T), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(whole.mean, parts.mean)
    with pytest.raises(ValueError, match="two images"):
        _ = Gaussian.of(x[:1]).covariance


def test_kernel_equals_its_definition_in_blocks(monkeypatch):
    x, y = sample(9, 4, 1), sample(7, 4, 2, shift=0.5)

    def k(a, b):
        return float((a @ b / 4 + 1) ** 3)

    xx = np.mean([k(x[i], x[j]) for i in range(9) for j in range(9) if i != j])
    yy = np.mean([k(y[i], y[j]) for i in range(7) for j in range(7) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert kernel_distance(x, y) == pytest.approx(1e3 * (xx + yy - 2 * xy))
    monkeypatch.setattr("ugc.metrics.kernel.ROWS", 2)
    assert kernel_distance(y, x) == pytest.approx(1e3 * (xx + yy - 2 * xy))
    with pytest.raises(ValueError, match="two images"):
        kernel_distance(x[:1], y)


def test_kernel_is_unbiased():
    draws = np.array([kernel_distance(sample(40, 16, 2 * s), sample(25, 16, 2 * s + 1)) for s in range(300)])
    assert abs(draws.mean()) < 3 * draws.std() / 300**0.5
    assert (draws < 0).any() and (draws > 0).any()


@pytest.mark.parametrize("distance", [kernel_distance, frechet])
def test_a_collapsed_generator_is_far_and_distance_grows(distance):
    x, y = sample(300, 16, 1), sample(300, 16, 2)
    near, far, collapsed = distance(x, y), distance(x, y + 0.5), distance(x, y[:1].expand(300, -1))
    assert near < far / 3
    assert collapsed > 5 * abs(near)
