"""Feature matching [Wang 2018]: the picture is to look to D, layer by layer, as the target does.

    L_FM = 4 / S sum_s 1 / L_s sum_l mean | D_sl(x, y) - D_sl(x, G(x)) |

D_sl: the map behind layer l of scale s, of S scales with L_s maps each; scores are left out. pix2pixHD weighs a map by
4 / L_s / S, so that the sum does not grow with D's depth; SPADE by 1 / S. At the published depth L_s is 4 and both agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

PUBLISHED = 4  # maps a scale, of pix2pixHD's D and SPADE's


def feature_matching(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Maps [N, c, h, w] of D by scale and layer, of G(x) and of y -> [N]. No gradient flows to `real`."""
    scales = []
    for ours, theirs in zip(fake, real, strict=True):
        apart = [(a.float() - b.detach().float()).abs().mean((1, 2, 3)) for a, b in zip(ours, theirs, strict=True)]
        scales.append(torch.stack(apart).mean(0))
    return PUBLISHED * torch.stack(scales).mean(0)
