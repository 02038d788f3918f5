"""L_OD, the output distillation loss of OMGD that UGC uses in Eq. (5), (7) and (9).

    L_OD(T, S) = lambda_SSIM (1 - SSIM(T, S)) + lambda_feature |f(T) - f(S)|_1
               + lambda_style sum_t |Gram(f_t(T)) - Gram(f_t(S))|_1 + lambda_TV TV(S)  [+ lambda_l1 |T - S|_1, ours]

f_t are a frozen backbone's taps. An image is *looked at* once (its SSIM moments, taps and Gram matrices), however many
teachers or students it is then compared with.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, field_validator
from torch import Tensor

from ugc.core.config import Config
from ugc.core.device import exact
from ugc.core.errors import UserError, near
from ugc.losses.structure import gram, total_variation
from ugc.nn.backbones import BACKBONES, Backbone, load_backbone, output_backbones, resolved
from ugc.nn.ssim import Moments, moments, ssim_of

PARTS = ("ssim", "feature", "style", "tv", "l1")


Weight = Annotated[float, Field(ge=0)]


class DistillationConfig(Config):
    """L_OD. A weight of None is the backbone's own constant (`Backbone.lambdas`); 0 leaves the term out.

    backbone: auto (VGG-16 where its file is cached, else Lite0), vgg16, lite0, hed_vgg or none.
    order: `lineage` (style 1e4, feature 1e1) or `text` (the paper's sentence, the other way round); VGG-16 only.
    ssim_form: `standard` (data range 2) or `lineage` (range 1 on [-1, 1] images, zero padding).
    """

    backbone: str = "auto"
    order: Literal["lineage", "text"] = "lineage"
    ssim_form: Literal["standard", "lineage"] = "standard"
    ssim: Weight | None = None
    feature: Weight | None = None
    style: Weight | None = None
    tv: Weight | None = None
    l1: Weight = 0.0

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (known := ["auto", "none", *output_backbones()]):
            raise ValueError(f"unknown backbone: {near(name, known)}")
        return name

    @property
    def wants_backbone(self) -> bool:
        return self.backbone != "none" and (self.feature != 0 or self.style != 0)

    def resolved(self) -> DistillationConfig:
        """`auto` spelled out, so that all stages of a run use one backbone.

        Raises:
            UserError: nothing to learn from, or what the backbone has not.
        """
        if not self.wants_backbone:
            if self.feature or self.style:
                raise UserError("distillation: feature and style need a backbone; set distillation.backbone=auto, or leave "
                                "them out")
            if self.ssim == self.tv == self.l1 == 0:
                raise UserError("distillation: all its weights are 0, so that nothing is learnt from a teacher; set one of "
                                f"{', '.join(PARTS)}")
        name = resolved(self.backbone) if self.wants_backbone else "none"
        if self.order != "lineage" and (name == "none" or self.order not in BACKBONES[name].orders):
            raise UserError(f"distillation.order={self.order}: {name} has no such weights; leave it out, or take "
                            f"distillation.backbone=vgg16")
        return self.model_copy(update={"backbone": name})


class Look(NamedTuple):
    """What L_OD needs of a batch of images, each computed once."""

    image: Tensor  # [N, C, H, W]
    moments: Moments
    feature: Tensor | None  # [N, c, h, w]
    grams: list[Tensor]  # [N, c, c] a tap

    def rows(self, start: int, stop: int) -> Look:
        """The looks at images start .. stop - 1."""
        m = self.moments
        rows = Moments(m.image[start:stop], m.mu[start:stop], m.second[start:stop], m.padding)
        feature = None if self.feature is None else self.feature[start:stop]
        return Look(self.image[start:stop], rows, feature, [g[start:stop] for g in self.grams])

    def detached(self) -> Look:
        """The same without gradient: a teacher's."""
        m = self.moments
        fixed = Moments(m.image.detach(), m.mu.detach(), m.second.detach(), m.padding)
        feature = None if self.feature is None else self.feature.detach()
        return Look(self.image.detach(), fixed, feature, [g.detach() for g in self.grams])


NO_BACKBONE = {"ssim": 10.0, "feature": 0.0, "style": 0.0, "tv": 1e-5}


class OutputDistillation:
    """L_OD with its backbone and weights.

    Args:
        config: which terms, and how much.
        device: where the backbone goes.
    """

    def __init__(self, config: DistillationConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.backbone: Backbone | None = load_backbone(config.backbone, device) if config.wants_backbone else None
        base = self.backbone.lambdas if self.backbone else NO_BACKBONE
        if self.backbone and config.order != "lineage":
            base = dict(self.backbone.orders[config.order])
        given = {part: getattr(config, part) for part in PARTS}
        self.weights = {part: base.get(part, 0.0) if given[part] is None else given[part] for part in PARTS}

    def only_ssim(self) -> OutputDistillation:
        """Its first term alone, with its weight (1 where it has none)."""
        config = self.config.model_copy(update={**dict.fromkeys(PARTS, 0.0), "ssim": self.weights["ssim"] or 1.0})
        return OutputDistillation(config, self.device)

    @property
    def text(self) -> str:
        """One line for the log: backbone, what must be known of it, and weights."""
        name = self.backbone.name if self.backbone else "no backbone"
        note = f" ({self.backbone.note})" if self.backbone and self.backbone.note else ""
        return f"L_OD on {name}{note}: " + ", ".join(f"{k} {v:g}" for k, v in self.weights.items() if v)

    @property
    def about(self) -> dict[str, object]:
        """Backbone, digest of its weights, and the weights of the terms, as plain data with a line of text."""
        digest = self.backbone.weights_digest if self.backbone else None
        return {"text": self.text, "backbone": self.backbone.name if self.backbone else "none", "weights_sha256": digest,
                "lambdas": self.weights, "ssim_form": self.config.ssim_form}

    def look(self, image: Tensor) -> Look:
        """image [N, C, H, W] in [-1, 1] -> what is compared. Call it under no_grad for a teacher."""
        with exact(self.device):
            x = image.float()
            taps = self.backbone(x) if self.backbone else []
            style = self.backbone is not None and self.weights["style"] != 0
            grams = [gram(taps[i]) for i in self.backbone.style_taps] if self.backbone and style else []
            feature = taps[self.backbone.feature_tap] if self.backbone else None
            return Look(x, moments(x, padding=self.config.ssim_form == "lineage"), feature, grams)

    def __call__(self, teacher: Look, student: Look) -> dict[str, Tensor]:
        """L_OD(T, S), weighted, part by part: each [N]. Gradient flows to the student only. UGC Sec. 3.1; OMGD Sec. 3."""
        w, parts, teacher = self.weights, {}, teacher.detached()
        T, S = teacher.image, student.image
        with exact(self.device):
            if w["ssim"]:
                data_range = 1.0 if self.config.ssim_form == "lineage" else 2.0
                likeness = ssim_of(teacher.moments, student.moments, data_range)
                parts["ssim"] = w["ssim"] * (1.0 - likeness)
            if w["feature"] and teacher.feature is not None and student.feature is not None:
                parts["feature"] = w["feature"] * (teacher.feature - student.feature).abs().mean((1, 2, 3))
            if w["style"] and student.grams:
                apart = [(t - s).abs().mean((1, 2)) for t, s in zip(teacher.grams, student.grams)]
                parts["style"] = w["style"] * torch.stack(apart).sum(0)
            if w["tv"]:
                parts["tv"] = w["tv"] * total_variation(S)
            if w["l1"]:
                parts["l1"] = w["l1"] * (T - S).abs().mean((1, 2, 3))
        return parts


def summed(parts: dict[str, Tensor]) -> Tensor:
    """The parts of an L_OD as one number an image, [N]."""
    return torch.stack(list(parts.values())).sum(0)
