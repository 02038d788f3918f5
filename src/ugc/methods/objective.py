"""L_sup^A, the supervised objective: each family's own. UGC Eq. (2) to (4).

    L_sup = lambda_gan L_GAN(G, D) + lambda_recon || y - G(x) ||_1
            + lambda_features L_FM(G, D) + lambda_perceptual L_P(G)

The paper prints the first line, which is pix2pix's; pix2pixHD and GauGAN have no pixel term and bring the second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.config import Config
from ugc.core.device import exact
from ugc.core.errors import UserError, near
from ugc.losses.adversarial import GAN_LOSSES, over_scales
from ugc.losses.augment import Twist, draw
from ugc.losses.matching import feature_matching
from ugc.losses.perceptual import perceptual
from ugc.losses.reconstruction import l1
from ugc.models.discriminators import Discriminator, Judgement
from ugc.nn.backbones import PERCEPTUAL, load_backbone, perceptual_backbones, resolved
from ugc.training.player import Player

PIX2PIX: Mapping[str, Any] = {"gan": "hinge", "lambda_recon": 100.0, "lambda_features": 0.0, "lambda_perceptual": 0.0,
                              "d_factor": 0.5, "scales": "mean"}


class ObjectiveConfig(Config):
    """L_sup. What is None is the family's own (`Generator.objective`), else pix2pix's. A weight of 0 leaves its term out.

    gan: hinge (the lineage's code), vanilla (UGC Eq. 2) or lsgan. d_factor: times D's loss, real and fake added up.
    scales: whether the adversarial losses of D's scales are added up or averaged. augment: D sees pictures that are shifted,
    cut and in another light (losses/augment.py), so that it cannot learn few pairs by heart.
    backbone: of the perceptual term: auto (VGG-19 where its file is cached, else Lite0), vgg19, lite0 or none.
    """

    gan: Literal["hinge", "vanilla", "lsgan"] | None = None
    lambda_gan: float = 1.0
    lambda_recon: float | None = None
    lambda_features: float | None = None
    lambda_perceptual: float | None = None
    d_factor: float | None = Field(default=None, gt=0)
    scales: Literal["sum", "mean"] | None = None
    augment: bool = False
    backbone: str = "auto"

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (known := ["auto", "none", *perceptual_backbones()]):
            raise ValueError(f"no backbone of the perceptual term: {near(name, known)}")
        return name

    def spelled(self, family: Mapping[str, Any]) -> ObjectiveConfig:
        """The same with the family's own choices filled in."""
        return self.model_copy(update={k: v for k, v in {**PIX2PIX, **family}.items() if getattr(self, k) is None})

    def resolved(self, family: Mapping[str, Any] | None = None) -> ObjectiveConfig:
        """Spelled out, `auto` too: all stages of a run use one backbone.

        Raises:
            UserError: nothing to learn from, or no backbone for a perceptual term.
        """
        config = self.spelled(family or {})
        if not (config.lambda_gan or config.lambda_recon or config.lambda_features or config.lambda_perceptual):
            raise UserError("objective: all its weights are 0, so that nothing is learnt from pairs; set one of lambda_gan, "
                            "lambda_recon, lambda_features, lambda_perceptual")
        if not config.lambda_perceptual:
            return config.model_copy(update={"backbone": "none"})
        if config.backbone == "none":
            raise UserError("objective: lambda_perceptual needs a backbone; set objective.backbone=auto, or "
                            "objective.lambda_perceptual=0")
        return config.model_copy(update={"backbone": resolved(config.backbone, PERCEPTUAL)})


class Pairs(NamedTuple):
    """The pairs of a step, and what the backbone sees in their targets: computed once, without gradient."""

    x: Tensor  # [N, C, H, W] in [-1, 1], or as the sources are encoded
    y: Tensor  # [N, C, H, W] in [-1, 1]
    taps: list[Tensor]  # [N, c, h, w] each; empty where there is no perceptual term
    twist: Twist | None = None  # how D sees them, and what is made of x


class Supervised:
    """UGC Eq. (4): what a generator that sees targets, and its discriminator, minimise.

    Args:
        config: resolved.
        device: where the backbone goes.
    """

    def __init__(self, config: ObjectiveConfig, device: torch.device) -> None:
        assert config.gan and config.scales and config.d_factor, "resolve the config first"
        self.w, self.device = config, device
        self.gan, self.scales, self.d_factor = GAN_LOSSES[config.gan], config.scales, config.d_factor
        self.backbone = load_backbone(config.backbone, device) if config.lambda_perceptual else None

    @property
    def about(self) -> dict[str, Any]:
        """Terms, weights and backbone, as plain data with a line of text."""
        w, backbone = self.w, self.backbone
        weights = {"gan": w.lambda_gan, "recon": w.lambda_recon, "features": w.lambda_features,
                   "perceptual": w.lambda_perceptual}
        terms = ", ".join(f"{name} {value:g}" for name, value in weights.items() if value)
        seen = f"; perceptual term on {backbone.name}, taps x {_numbers(backbone.perceptual)}" if backbone else ""
        return {"text": f"L_sup: {w.gan}, {w.scales} over scales, D x {self.d_factor:g}: {terms}{seen}",
                "backbone": w.backbone, "weights_sha256": backbone.weights_digest if backbone else None}

    def pairs(self, x: Tensor, y: Tensor, clock: Clock) -> Pairs:
        with torch.no_grad():
            return Pairs(x, y, self.taps(y), self.twist(x, clock, "A"))

    def twist(self, x: Tensor, clock: Clock, whose: Literal["A", "U"]) -> Twist | None:
        """How D sees the pictures of the sources x [N, C, H, W] in this step; None: as they are."""
        if not self.w.augment or not len(x):
            return None
        height, width = x.shape[2:]
        n = processes.whole(len(x))
        return draw(clock.torch(f"augment/{whose}"), n, (height, width)).rows(processes.share(n))

    def taps(self, images: Tensor) -> list[Tensor]:
        """What the backbone sees in images [N, C, H, W]."""
        with exact(self.device):
            return self.backbone(images.float()) if self.backbone else []

    def d_parts(self, D: Player[Discriminator], pairs: Pairs, *fakes: Tensor) -> tuple[dict[str, Tensor], list[Judgement]]:
        """D's loss against one or more fakes of the same sources, and its judgement of them. D(x, y) is computed once.

        fakes: [N, C, H, W] in [-1, 1], without gradient.
        """
        real, *judged = judge(D, pairs.x, pairs.y, *fakes, twist=pairs.twist)
        losses = [self.d_factor * over_scales(map(self.gan.d, real.scores, fake.scores), self.scales) for fake in judged]
        return {f"gan{i or ''}": loss for i, loss in enumerate(losses)}, [fake.detached() for fake in judged]

    def g_parts(self, D: Player[Discriminator], pairs: Pairs, fake: Tensor) -> dict[str, Tensor]:
        """The generator's loss on pairs. UGC Eq. (4). Its D is the one that has just learnt."""
        w, parts = self.w, dict[str, Tensor]()
        if w.lambda_recon:
            parts["recon"] = w.lambda_recon * l1(fake, pairs.y).mean()
        if w.lambda_gan or w.lambda_features:
            (judged,) = judge(D, pairs.x, fake, twist=pairs.twist)
            if w.lambda_gan:
                parts["gan"] = w.lambda_gan * over_scales(map(self.gan.g, judged.scores), self.scales)
            if w.lambda_features:
                with torch.no_grad():
                    (real,) = judge(D, pairs.x, pairs.y, twist=pairs.twist)
                parts["features"] = w.lambda_features * feature_matching(judged.maps, real.maps)
        if self.backbone and w.lambda_perceptual:
            seen = perceptual(self.taps(fake), pairs.taps, self.backbone.perceptual)
            parts["perceptual"] = w.lambda_perceptual * seen
        return parts


def judge(D: Player[Discriminator], x: Tensor, *images: Tensor, twist: Twist | None = None) -> list[Judgement]:
    """D's judgement of images of the sources x, in its player's precision."""
    if twist:
        x, *images = twist.source(x), *map(twist.image, images)  # type: ignore[assignment]  # a list for a tuple
    with D.device.autocast():
        return D.net.judge(*(D.device.laid_out(picture) for picture in (x, *images)))


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
