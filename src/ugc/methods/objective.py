"""L_sup^A, the supervised objective of pix2pix. UGC Eq. (2) to (4).

    L_sup = lambda_gan L_GAN(G, D) + lambda_recon || y - G(x) ||_1
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ugc.core.config import Config
from ugc.losses.adversarial import GAN_LOSSES
from ugc.losses.reconstruction import l1
from ugc.models.discriminators import PatchGAN
from ugc.training.player import Player


class ObjectiveConfig(Config):
    """gan: hinge (the lineage's code), vanilla (UGC Eq. 2) or lsgan. Weights as pix2pix; D's loss is halved, as there."""

    gan: Literal["hinge", "vanilla", "lsgan"] = "hinge"
    lambda_gan: float = 1.0
    lambda_recon: float = 100.0


class Supervised:
    """UGC Eq. (4): what a generator that sees targets, and its discriminator, minimise."""

    def __init__(self, config: ObjectiveConfig) -> None:
        self.w = config
        self.gan = GAN_LOSSES[config.gan]

    def d_parts(self, D: Player[PatchGAN], x: Tensor, y: Tensor, *fakes: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """D's loss against one or more fakes of the same sources, and D's maps of the fakes. D(x, y) is computed once.

        x, y, fakes: [N, C, H, W] in [-1, 1]; the fakes without gradient.
        """
        with D.device.autocast():
            real, *judged = D.net.judge(x, y, *fakes)
        losses = [0.5 * self.gan.d(real, fake) for fake in judged]
        return {f"gan{i or ''}": loss for i, loss in enumerate(losses)}, [fake.detach() for fake in judged]

    def g_parts(self, D: Player[PatchGAN], x: Tensor, fake: Tensor, y: Tensor) -> dict[str, Tensor]:
        """The generator's loss on pairs. UGC Eq. (4)."""
        parts = {"recon": self.w.lambda_recon * l1(fake, y).mean()}
        if self.w.lambda_gan:
            parts["gan"] = self.w.lambda_gan * self.gan.g(D(x, fake))
        return parts
