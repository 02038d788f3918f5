"""SSIM: equal to an independent implementation, and it means what it says."""

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.image import structural_similarity_index_measure

from ugc.nn.ssim import moments, ssim, ssim_lineage, ssim_of


def pair(*shape, noise=0.4, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=g, dtype=dtype) * 2 - 1
    return x, (x + noise * torch.randn(shape, generator=g, dtype=dtype)).clamp(-1, 1)


@pytest.mark.parametrize("shape", [(3, 1, 64, 64), (2, 3, 40, 57), (2, 2, 11, 30)])
@pytest.mark.parametrize("data_range", [2.0, 1.0])
def test_equals_torchmetrics_on_whole_windows(shape, data_range):
    x, y = pair(*shape, dtype=torch.float64)
    # torchmetrics reflects the border; inside of it its windows are ours
    _, map_ = structural_similarity_index_measure(
        x, y, gaussian_kernel=True, sigma=1.5, data_range=data_range, reduction="none", return_full_image=True
    )
    want = map_[..., 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(ssim(x, y, data_range), want, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ssim(x.float(), y.float(), data_range), want.float(), rtol=1e-4, atol=1e-5)


def test_lineage_is_range_one_with_zero_padding():
    x, y = pair(2, 3, 20, 24, dtype=torch.float64)
    g = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / 4.5)
    g = g / g.sum()
    kernel = (g[:, None] * g).expand(3, 1, 11, 11)

    def mean(z):
        return F.conv2d(z, kernel, padding=5, groups=3)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    torch.testing.assert_close(ssim_lineage(x, y), value.mean((1, 2, 3)))


@pytest.mark.parametrize("padding", [False, True])
def test_identical_is_one_and_arguments_swap(padding):
    x, y = pair(2, 3, 32, 32)
    torch.testing.assert_close(ssim(x, x, padding=padding), torch.ones(2))
    torch.testing.assert_close(ssim(x, y, padding=padding), ssim(y, x, padding=padding))
    white = torch.ones(1, 1, 16, 16)
    torch.testing.assert_close(ssim(white, white), torch.ones(1))


def test_falls_with_noise_and_collapses_for_a_flat_answer():
    x, _ = pair(1, 1, 64, 64)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    values = [ssim(x, x + s * noise).item() for s in (0.0, 0.05, 0.2, 0.5, 1.0)]
    assert values == sorted(values, reverse=True)
    assert ssim(x, torch.zeros_like(x)).item() < 0.05


def test_one_image_is_blind_to_its_neighbours():
    x, y = pair(4, 1, 32, 32)
    torch.testing.assert_close(ssim(x, y)[2:3], ssim(x[2:3], y[2:3]))


@pytest.mark.parametrize("size", [(8, 8), (5, 40), (1, 1), (10, 12)])
def test_images_below_the_window_use_the_largest_odd_window(size):
    x, y = pair(2, 1, *size)
    value = ssim(x, y)
    assert value.isfinite().all()
    torch.testing.assert_close(ssim(x, x), torch.ones(2))
    assert ssim(x, y, padding=True).isfinite().all()


def test_gradient():
    x, y = pair(1, 2, 13, 14, dtype=torch.float64)
    for padding in (False, True):
        assert torch.autograd.gradcheck(lambda a, p=padding: ssim(x, a, padding=p), (y.requires_grad_(),))


def test_half_precision_is_raised_also_under_autocast():
    x, y = pair(2, 1, 32, 32)
    x, y = x.bfloat16(), y.bfloat16()
    want = ssim(x.float(), y.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = ssim(x, y)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want)


def test_moments_once():
    x, y = pair(2, 1, 32, 32)
    known = moments(x)
    torch.testing.assert_close(ssim_of(known, moments(y)), ssim(x, y))
    with pytest.raises(ValueError, match="padded"):
        ssim_of(known, moments(y, padding=True))
