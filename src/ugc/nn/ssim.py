"""Structural similarity: how alike two images are in local mean, contrast and structure.

    SSIM(x, y) = (2 mu_x mu_y + C1)(2 cov_xy + C2) / ((mu_x^2 + mu_y^2 + C1)(var_x + var_y + C2))

with C1 = (0.01 L)^2, C2 = (0.03 L)^2, L the data range, and every moment taken under a Gaussian window of
11 x 11 pixels and sigma 1.5 (Wang et al., "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 2004, eq. 13). Losses and metrics both use this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ugc.core.device import exact

WINDOW = 11
SIGMA = 1.5


@dataclass(frozen=True)
class Moments:
    """An image and its local moments, so that a teacher's are computed once for many students.

    Attributes:
        image: [N, C, H, W] in [-1, 1], float32 or float64.
        mu: local mean E[x], [N, C, H', W'].
        second: local second moment E[x^2], same shape.
        padding: whether the windows reach over the border (zeros there) or stay inside.
    """

    image: Tensor
    mu: Tensor
    second: Tensor
    padding: bool = False


def moments(images: Tensor, padding: bool = False) -> Moments:
    """Local mean and second moment of images [N, C, H, W]; half precisions are raised to float32.

    Windows stay inside the image: H' = H - 10, or with `padding` the image is framed by 5 zeros: H' = H.
    An image smaller than the window gets the largest odd window that fits its short side.
    """
    images = images if images.dtype == torch.float64 else images.float()
    mu, second = _blur(torch.stack([images, images.square()]), padding).unbind()
    return Moments(images, mu, second, padding)


def ssim_of(x: Moments, y: Moments, data_range: float = 2.0) -> Tensor:
    """SSIM [N] of two batches whose moments are known: mean over channels and windows, in [-1, 1], 1 = identical.

    Args:
        x, y: moments of images of one shape, with the same `padding`.
        data_range: L of the equation; 2 for images in [-1, 1].
    """
    if x.padding != y.padding:
        raise ValueError("one side's moments are padded, the other's are not")
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    cross = _blur(x.image * y.image, x.padding)
    product, squares = x.mu * y.mu, x.mu.square() + y.mu.square()
    above = (2 * product + c1) * (2 * (cross - product) + c2)
    below = (squares + c1) * (x.second + y.second - squares + c2)
    return (above / below).mean((1, 2, 3))


def ssim(x: Tensor, y: Tensor, data_range: float = 2.0, padding: bool = False) -> Tensor:
    """SSIM [N] of images x, y [N, C, H, W] in [-1, 1], one number an image (see `ssim_of`)."""
    return ssim_of(moments(x, padding), moments(y, padding), data_range)


def ssim_lineage(x: Tensor, y: Tensor) -> Tensor:
    """SSIM [N] as OMGD's code has it: data range 1 although the images are in [-1, 1], and zero padding."""
    return ssim(x, y, data_range=1.0, padding=True)


# The window is separable, and each of its passes is a product with a banded matrix: B_h x B_w^T. Forward and
# backward of SSIM on 2 CPU cores, torch 2.13: [8,1,64,64] 0.9 ms (depthwise 11x11 convolution 14, two 1-D
# convolutions 8), [8,3,256,256] 122 ms (147, 1710). A matrix product is also exact fp32 on CUDA by default, where
# convolutions are TF32, which the difference E[x^2] - mu^2 would not survive.


def _blur(images: Tensor, padding: bool) -> Tensor:
    """Gaussian mean over windows of [..., H, W] -> [..., H', W']."""
    h, w = images.shape[-2:]
    window = min(WINDOW, h - 1 + h % 2, w - 1 + w % 2)
    with exact(images.device):
        rows = _band(h, window, padding, images.device, images.dtype)
        columns = _band(w, window, padding, images.device, images.dtype)
        return rows @ (images @ columns.T)


@lru_cache(maxsize=64)
def _band(size: int, window: int, padding: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    """[H', H] matrix whose row i holds the normalised Gaussian around pixel i."""
    reach = window // 2
    centre = torch.arange(0 if padding else reach, size if padding else size - reach, dtype=torch.float64)
    offset = torch.arange(size, dtype=torch.float64) - centre[:, None]
    gauss = torch.exp(-offset.square() / (2 * SIGMA**2)) * (offset.abs() <= reach)
    norm = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float64).square() / (2 * SIGMA**2)).sum()
    return (gauss / norm).to(device=device, dtype=dtype)
