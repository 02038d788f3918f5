"""Reconstruction. UGC Eq. (3): L_Recon = E[ || y - G(x) ||_1 ], as a mean over channels and pixels."""

from __future__ import annotations

from torch import Tensor


def l1(fake: Tensor, target: Tensor) -> Tensor:
    """fake, target: [N, C, H, W] in [-1, 1] -> [N], the mean absolute difference of each image (0 .. 2). UGC Eq. (3)."""
    return (fake.float() - target.float()).abs().mean((1, 2, 3))
