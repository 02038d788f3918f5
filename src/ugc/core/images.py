"""The only place where value ranges change: uint8 or uint16 HWC on disk, float32 [-1, 1] NCHW inside, [0, 1] in exports.

Arrays of float32 pass through unchanged: they are taken to be in [-1, 1] already.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

PEAK = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}


def to_unit(array: Array | Tensor) -> Tensor:
    """[N, H, W, C] of uint8, uint16 or float -> float32 [N, C, H, W] in [-1, 1], on the array's device."""
    tensor = torch.from_numpy(np.ascontiguousarray(array)) if isinstance(array, np.ndarray) else array
    peak = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(tensor.dtype)
    images = tensor.to(torch.float32)
    if peak is not None:
        images = images * (2.0 / peak) - 1.0
    return images.permute(0, 3, 1, 2).contiguous()


def from_unit(images: Tensor, dtype: Any = np.uint8) -> Array:
    """float [N, C, H, W] in [-1, 1] -> uint8 or uint16 [N, H, W, C], rounded and clipped."""
    peak = PEAK[np.dtype(dtype)]
    scaled = (images.detach().to("cpu", torch.float32) + 1.0) * (peak / 2.0)
    array: Array = scaled.round_().clamp_(0, peak).permute(0, 2, 3, 1).numpy().astype(dtype)
    return array


def rounded(images: Tensor, dtype: Any = np.uint8) -> Tensor:
    """[-1, 1] -> the same as a file of uint8 or uint16 holds it: `to_unit(from_unit(images))`, on the images' device."""
    peak = PEAK[np.dtype(dtype)]
    return ((images.detach().float() + 1.0) * (peak / 2.0)).round_().clamp_(0, peak) * (2.0 / peak) - 1.0


def widened(images: Tensor) -> Tensor:
    """[0, 1] -> [-1, 1]."""
    return images * 2.0 - 1.0


def narrowed(images: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1]."""
    return (images + 1.0) * 0.5


def to_channels(images: Tensor, channels: int) -> Tensor:
    """[N, c, H, W] -> [N, channels, H, W]: one is repeated, three become luminance (ITU-R 601), more are cut or filled."""
    have = images.shape[1]
    if have == channels:
        return images
    if have == 1:
        return images.expand(-1, channels, -1, -1)
    if channels == 1 and have == 3:
        weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        return (images * weights).sum(1, keepdim=True)
    if have > channels:
        return images[:, :channels]
    return torch.cat([images, images[:, -1:].expand(-1, channels - have, -1, -1)], 1)
