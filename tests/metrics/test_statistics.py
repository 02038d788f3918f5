"""Kernel and Frechet distance: closed forms, and meaning before tolerance."""

import zipfile

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from ugc.core.errors import UserError
from ugc.metrics import frechet as frechet_module
from ugc.metrics.bootstrap import counts
from ugc.metrics.frechet import Gaussian, Moments, frechet_distance, frechet_interval, load_statistics, save_statistics
from ugc.metrics.kernel import SCALE, kernel_distance, kernel_interval


def sample(n, d, seed, scale=1.0, shift=0.0):
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99), dtype=torch.float64) / d**0.5
    return torch.randn(n, d, generator=g, dtype=torch.float64) @ mix * scale + shift


def frechet(x, y):
    return frechet_distance(Gaussian.of(x), Gaussian.of(y))


def test_frechet_equals_the_matrix_square_root():
    x, y = sample(500, 20, 1), sample(503, 20, 2, scale=1.3, shift=0.2)
    a, b = np.cov(x.T.numpy()), np.cov(y.T.numpy())
    want = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(x, y) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("n", [500, 12])  # 12: fewer than dimensions, singular covariances, where sqrtm is of no use
def test_frechet_equals_the_nuclear_norm(n):
    """S_a = A A^T and S_b = B B^T: tr (S_a S_b)^(1/2) is the sum of the singular values of A^T B."""
    x, y = (t.numpy() for t in (sample(n, 20, 1), sample(n + 3, 20, 2, scale=1.3, shift=0.2)))
    a, b = ((t - t.mean(0)).T / (len(t) - 1) ** 0.5 for t in (x, y))
    want = ((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * np.linalg.norm(a.T @ b, "nuc")
    assert frechet(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(want, rel=1e-6)


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


def test_frechet_of_gaussians_that_commute_is_the_closed_form():
    """N(m, diag a^2) and N(n, diag b^2): |m - n|^2 + sum (a - b)^2."""
    g = torch.Generator().manual_seed(5)
    m, n, a, b = torch.randn(4, 30, generator=g, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(30, 30, generator=g, dtype=torch.float64)).Q
    ours = frechet_distance(*(Moments(turn @ mean, turn @ torch.diag(s**2) @ turn.T) for mean, s in ((m, a), (n, b))))
    want = ((m - n) ** 2).sum() + ((a.abs() - b.abs()) ** 2).sum()
    assert ours == pytest.approx(float(want), rel=1e-9)


def test_distances_equal_torchmetrics_on_the_same_features():
    x, y = sample(200, 64, 1), sample(230, 64, 2, scale=1.2, shift=0.1)
    theirs = _compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))
    assert frechet(x, y) == pytest.approx(float(theirs), rel=1e-6)
    assert kernel_distance(x[:180], y[:180]) == pytest.approx(SCALE * float(poly_mmd(x[:180], y[:180])), rel=1e-9)


def test_neither_depends_on_order():
    x, y = sample(60, 16, 1), sample(60, 16, 2, shift=0.2)
    other = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    assert frechet(x[other], y) == pytest.approx(frechet(x, y), rel=1e-9)
    assert kernel_distance(x[other], y) == pytest.approx(kernel_distance(x, y), rel=1e-9)


@pytest.mark.parametrize("n", [40, 12])  # 12: fewer images than dimensions
def test_a_resample_of_the_interval_is_the_distance_of_drawn_images(n):
    x, y = sample(n, 16, 1), sample(n, 16, 2, scale=1.3)
    w = torch.from_numpy(np.random.default_rng(0).multinomial(n, [1 / n] * n)).double()
    v = w.flip(0)
    drawn = frechet(x.repeat_interleave(w.long(), 0), y.repeat_interleave(v.long(), 0))
    assert frechet_module._resampled(x, y, w, v) == pytest.approx(drawn, rel=1e-6)


INTERVALS = {"frechet": (frechet, frechet_interval), "kernel": (kernel_distance, kernel_interval)}


@pytest.mark.parametrize("name", INTERVALS)
@pytest.mark.parametrize("paired", [True, False])
def test_an_interval_holds_the_mean_of_fresh_draws(name, paired):
    """Nominally 38 of 40; the sets differ, and paired ones are alike image by image."""
    distance, interval = INTERVALS[name]

    def draw(seed):
        x = sample(100, 6, 2 * seed)
        y = 0.9 * x + 0.3 * sample(100, 6, 2 * seed + 1) + 0.4 if paired else sample(100, 6, 2 * seed + 1, shift=0.4)
        return x, y

    mean = np.mean([distance(*draw(seed)) for seed in range(1000, 1200)])
    ends = [interval(*draw(seed), paired, resamples=40) for seed in range(40)]
    assert sum(low <= mean <= high for low, high in ends) >= 34
    estimates = [distance(*draw(seed)) for seed in range(200)]
    widths = [high - low for low, high in ends]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(estimates), rel=0.3)


@pytest.mark.parametrize("name", INTERVALS)
def test_an_interval_is_a_fixed_draw_and_wants_sixteen_images(name):
    interval = INTERVALS[name][1]
    x, y = sample(16, 4, 1), sample(16, 4, 2, shift=1.0)
    assert interval(x, y, True) == interval(x, y, True)
    assert interval(x, y, False) != interval(x, y, True)
    with pytest.raises(ValueError, match="16 images"):
        interval(x[:15], y[:15], True)
    w, v = counts(20, 30, 5, paired=False)
    assert (w.sum(1) == 20).all() and (v.sum(1) == 30).all()


def test_statistics_files_are_those_of_the_lineage(tmp_path):
    x, y = sample(50, 6, 1), sample(40, 6, 2)
    save_statistics(tmp_path / "new" / "s.npz", Gaussian.of(x))
    with np.load(tmp_path / "new" / "s.npz") as file:  # as pytorch-fid reads it
        mu, sigma = file["mu"][:], file["sigma"][:]
    np.testing.assert_allclose(mu, x.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(sigma, np.cov(x.numpy(), rowvar=False), rtol=1e-9)
    read = load_statistics(tmp_path / "new" / "s.npz")
    assert frechet_distance(read, Gaussian.of(y)) == frechet(x, y)
    np.savez(tmp_path / "theirs.npz", mu=mu.astype(np.float32), sigma=sigma, images=np.arange(3))  # others write more
    theirs = load_statistics(tmp_path / "theirs.npz")
    assert frechet_distance(theirs, Gaussian.of(y)) == pytest.approx(frechet(x, y), rel=1e-5)


BROKEN = {
    "missing": (None, "s.npz is not there; expected a statistics file"),
    "empty": (b"", "is no .npz file, or is cut short; expected"),
    "text": (b"mu, sigma", "is no .npz file, or is cut short; expected"),
    "one .npy": (np.zeros(4), "is no .npz file, or is cut short; expected"),
    "no arrays": ({}, "has no mu and sigma"),
    "one array": ({"mu": np.zeros(4)}, "has no sigma"),
    "shapes": ({"mu": np.zeros(4), "sigma": np.eye(5)}, "expected floating point"),
    "whole numbers": ({"mu": np.zeros(4, int), "sigma": np.eye(4)}, "expected floating point"),
    "nan": ({"mu": np.zeros(4), "sigma": np.full((4, 4), np.nan)}, "no covariance"),
    "skew": ({"mu": np.zeros(4), "sigma": np.triu(np.ones((4, 4)))}, "no covariance"),
    "objects": ({"mu": np.array([{}] * 4), "sigma": np.eye(4)}, "is damaged, or its mu and sigma are no arrays of numbers"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_statistics_file_is_one_sentence(name, tmp_path):
    content, match = BROKEN[name]
    path = tmp_path / "s.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, np.ndarray):
        with open(path, "wb") as file:
            np.save(file, content)
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(UserError, match=match) as error:
        load_statistics(path)
    assert not any(word in str(error.value) for word in ("\n", "pickle", "Errno"))


def test_a_statistics_file_with_a_spoilt_byte_or_other_members_is_one_sentence(tmp_path):
    path = tmp_path / "s.npz"
    save_statistics(path, Gaussian.of(sample(50, 6, 1)))
    data = bytearray(path.read_bytes())
    data[200] ^= 255  # in mu: its checksum is wrong
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged, or"):
        load_statistics(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mu", "1 2 3")
        archive.writestr("sigma", "1 2 3")
    with pytest.raises(UserError, match="has no mu and sigma"):
        load_statistics(path)
    with pytest.raises(UserError, match="is a folder; expected a statistics file"):
        load_statistics(tmp_path)
