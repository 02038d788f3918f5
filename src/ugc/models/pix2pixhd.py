"""The global generator of pix2pixHD [Wang 2018] and its supernet.

Supernet: 4 down-samplings, so 9 base widths (times 1, 2, 4, 8, 16 going down, 8, 4, 2, 1 going up) and 8 slots of plain
residual blocks; the body's 9 blocks are separable and as wide inside as their trunk.
"""

from __future__ import annotations

from pydantic import Field

from ugc.models.generator import FAMILIES, Shown
from ugc.models.residual import ResidualConfig, ResidualGenerator


class Pix2pixHDConfig(ResidualConfig):
    """downs: how often the picture is halved before the body."""

    downs: int = Field(default=4, ge=1, le=6)


@FAMILIES.register("pix2pixhd")
class Pix2pixHD(ResidualGenerator):
    """x: [N, C, H, W], one-hot classes and edges in {0, 1}, or a picture in [-1, 1]; out: [N, C, H, W] in [-1, 1].

    H and W multiples of 2**downs, and at least twice that.
    """

    Config = Pix2pixHDConfig
    default_budget = "17x"
    paper = Shown((256, 512), (36, 3))
    judge = {"scales": 2, "padding": 2}
    objective = {"gan": "lsgan", "scales": "sum", "d_factor": 0.5, "lambda_recon": 0.0, "lambda_features": 10.0,
                 "lambda_perceptual": 10.0}

    @classmethod
    def levels(cls, config: Pix2pixHDConfig) -> int:
        return config.downs
