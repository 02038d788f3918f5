"""Metrics of one image against its target: they see place and shape, and forgive blur. Report feature metrics beside.

Images are [N, C, H, W] in [-1, 1]; the result is [N], one number an image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ugc.metrics.protocols import METRICS, Metric
from ugc.nn.ssim import WINDOW, ssim

GREY = 0.8  # between 10 and 90 % of the way from black to white
PSNR_CAP = 100.0  # dB, of identical images: JSON has no infinity (one 8-bit level off everywhere is 48 dB)


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference, mean |x - y| over channels and pixels, 0 to 2."""
    return (prediction - target).abs().mean((1, 2, 3))


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(peak^2 / mean (x - y)^2) with peak 2; at most 100."""
    squared = (prediction.double() - target.double()).square().mean((1, 2, 3))
    return (10 * torch.log10(4 / squared)).clamp(max=PSNR_CAP)


def ssim_metric(prediction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of the images in [0, 1], -1 to 1: Gaussian window 11, sigma 1.5, windows inside the image.

    In [0, 1] as everybody quotes it, not in [-1, 1] as the loss has it: SSIM's first factor compares means and takes
    them for light, black = 0, so a shift of the range changes it (copying the source of sans2serif: .55 against .37).
    """
    return ssim((prediction + 1) / 2, (target + 1) / 2, data_range=1.0)


def ink_iou(prediction: Tensor, target: Tensor) -> Tensor:
    """Ink (pixels darker than mid-grey) of 1-channel drawings: intersection over union, 0 to 1; 1 if both are blank."""
    if prediction.shape[1] != 1:
        raise ValueError(f"ink IoU is for 1-channel drawings, got {prediction.shape[1]} channels")
    a, b = prediction < 0, target < 0
    both, either = (a & b).sum((1, 2, 3)), (a | b).sum((1, 2, 3))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def ink_grey(prediction: Tensor, target: Tensor) -> Tensor:
    """Crispness of 1-channel drawings: pixels between black and white (|x| < 0.8), relative to the target's.

    1: as crisp as the target; above it blurred, below it harder than drawn; NaN where the target has no such pixel. Blind to
    place.
    """
    if prediction.shape[1] != 1:
        raise ValueError(f"the share of grey is for 1-channel drawings, got {prediction.shape[1]} channels")
    ours, theirs = ((image.abs() < GREY).sum((1, 2, 3)) for image in (prediction, target))
    return ours / theirs.float().where(theirs > 0, torch.nan)


for metric in (
    Metric("psnr", "higher", "dB", "peak signal-to-noise ratio, peak 2, mean over images", per_image=psnr),
    Metric("ssim", "higher", "", "structural similarity of images in [0, 1], window 11, sigma 1.5", per_image=ssim_metric,
           least=WINDOW),
    Metric("l1", "lower", "of 2", "mean absolute difference of images in [-1, 1]", per_image=l1),
    Metric("ink_iou", "higher", "", "intersection over union of dark pixels", per_image=ink_iou, channels=1),
    Metric("ink_grey", "one", "", "crispness: pixels between black and white, |x| < 0.8, relative to the target's",
           per_image=ink_grey, channels=1),
):
    METRICS.register(metric.name)(metric)
