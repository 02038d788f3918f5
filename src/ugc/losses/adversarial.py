"""Adversarial losses. real, fake: patch scores [N, 1, h, w] of D, greater = more real. Each returns a scalar.

UGC Eq. (2) prints the log loss (`vanilla`); the code of the whole lineage runs the hinge, which is our default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class GanLoss(NamedTuple):
    """d(real, fake) is what D minimises (before its factor), g(fake) what G minimises."""

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[[Tensor], Tensor]


# hinge:   L_D = E[max(0, 1 - D(x, y))] + E[max(0, 1 + D(x, G(x)))],   L_G = -E[D(x, G(x))]
HINGE = GanLoss(lambda real, fake: F.relu(1.0 - real.float()).mean() + F.relu(1.0 + fake.float()).mean(),
                lambda fake: -fake.float().mean())

# vanilla, UGC Eq. (2):   L_D = -E[log s(D(x, y))] - E[log(1 - s(D(x, G(x))))],   L_G = -E[log s(D(x, G(x)))]
VANILLA = GanLoss(lambda real, fake: F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean(),
                  lambda fake: F.softplus(-fake.float()).mean())

# lsgan:   L_D = E[(D(x, y) - 1)^2] + E[D(x, G(x))^2],   L_G = E[(D(x, G(x)) - 1)^2]
LSGAN = GanLoss(lambda real, fake: (real.float() - 1.0).square().mean() + fake.float().square().mean(),
                lambda fake: (fake.float() - 1.0).square().mean())

GAN_LOSSES = {"hinge": HINGE, "vanilla": VANILLA, "lsgan": LSGAN}


def over_scales(losses: Iterable[Tensor], how: Literal["sum", "mean"]) -> Tensor:
    """The losses of a discriminator's scales as one: pix2pixHD adds them up, SPADE averages them."""
    each = torch.stack(list(losses))
    return each.sum() if how == "sum" else each.mean()
