"""Pixel metrics: equal to an independent implementation, and what they say of simple answers."""

import json

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from ugc.metrics.pixel import ink_grey, ink_iou, l1, psnr, ssim_metric
from ugc.metrics.protocols import METRICS, ordered, worse
from ugc.metrics.scoring import Score, score


def pair(n=5, channels=1, size=32):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(n, channels, size, size, generator=g) * 2 - 1
    return x, (x + 0.3 * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def test_psnr_equals_torchmetrics():
    x, y = pair(channels=3)
    want = peak_signal_noise_ratio(x, y, data_range=2.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(x, y).float(), want)


def test_ssim_equals_torchmetrics_on_whole_windows():
    x, y = pair(channels=3)
    _, full = structural_similarity_index_measure(
        (x + 1) / 2, (y + 1) / 2, sigma=1.5, data_range=1.0, reduction="none", return_full_image=True
    )
    torch.testing.assert_close(ssim_metric(x, y), full[..., 5:-5, 5:-5].mean((1, 2, 3)), rtol=1e-4, atol=1e-5)


def test_closed_forms():
    white = torch.ones(1, 1, 16, 16)
    assert l1(white, -white).item() == 2 and psnr(white, -white).item() == 0
    assert psnr(white, white - 0.2).item() == pytest.approx(20)
    assert psnr(white, white).item() == 100
    left, top = white.clone(), white.clone()
    left[..., :8], top[..., :8, :] = -1, -1
    assert ink_iou(left, top).item() == pytest.approx(1 / 3)
    assert ink_iou(white, white).item() == 1 and ink_iou(white, left).item() == 0
    with pytest.raises(ValueError, match="1-channel"):
        ink_iou(*pair(channels=3))


def test_grey_sees_blur_and_no_place():
    """Closed forms: a hard edge, the same softened over four columns, and over eight; a shift; one harder than drawn."""
    drawn = torch.ones(1, 1, 16, 16)
    drawn[..., :8] = -1
    soft = drawn.clone()
    soft[..., 6:10] = torch.tensor([-0.7, -0.3, 0.3, 0.7])
    softer = drawn.clone()
    softer[..., 4:12] = torch.linspace(-0.75, 0.75, 8)
    assert ink_grey(soft, soft).item() == 1 and ink_grey(softer, soft).item() == 2 and ink_grey(soft, softer).item() == 0.5
    assert ink_grey(soft.roll(3, 2), soft).item() == 1 and ink_grey(drawn, soft).item() == 0
    assert ink_grey(drawn, drawn).isnan().item() and ink_grey(soft, drawn).isnan().item()  # it has no grey to be relative to
    assert worse(METRICS["ink_grey"], 1.3, 1.1) and worse(METRICS["ink_grey"], 0.7, 1.1)
    assert not worse(METRICS["ink_grey"], 0.95, 1.1)
    with pytest.raises(ValueError, match="1-channel"):
        ink_grey(*pair(channels=3))


def test_every_metric_has_a_direction_that_holds():
    x, y = pair()
    near = x + 0.1 * (y - x)
    for metric in ordered():
        if metric.per_image and not metric.data:
            pairs = zip(metric.per_image(near, x).tolist(), metric.per_image(y, x).tolist())
            if metric.better == "one":
                assert (metric.per_image(x, x) == 1).all(), metric.name
                continue
            assert all(worse(metric, far, close) and not worse(metric, close, far) for close, far in pairs), metric.name
    names = [m.name for m in ordered()]  # those of label maps come first
    assert names[names.index("psnr"):][:6] == ["psnr", "ssim", "l1", "lpips", "ink_iou", "ink_grey"]
    assert set(METRICS) >= {"kd_efflite0", "fd_efflite0"}


def test_the_mean_does_not_depend_on_batches_and_is_json():
    x, y = pair(7)
    rows = [score(zip(y.split(n), x.split(n))).row for n in (1, 3, 7)]
    for row in rows[1:]:
        assert row == pytest.approx(rows[0], rel=1e-6)
    assert list(rows[0]) == ["psnr", "ssim", "l1", "ink_iou", "ink_grey"]
    of_each = score([(y, x)]).each
    assert {name: float(values.mean()) for name, values in of_each.items()} == pytest.approx(rows[0])
    assert {len(values) for values in of_each.values()} == {7}
    json.dumps(score([(x, x)]).row, allow_nan=False)
    assert "ink_iou" not in score([pair(channels=3)]).row
    assert "ssim" in score([pair(size=11)]).row and "ssim" not in score([pair(size=10)]).row  # no room for its window
    assert score([]) == Score({})
