"""Compress the model that you have: a saved net teaches every sub-network, then the student. Ours, not the paper's.

    G_o  the original, frozen      G_l, G_r, G_s  largest, random, smallest sub-network      G*  the student

    stage 1   L = L_OD(G_o(x), G_l(x)) + L_OD(G_o(x), G_r(x)) + L_OD(G_o(x), G_s(x))
    stage 2   L = L_OD(G_o(x), G*(x))

x: sources, [N, C, H, W] in [-1, 1]. No target is read and there is no discriminator. The stages are those of
`methods/ugc.py` with the original in the place of everything that learns from pairs there. The search compares
candidates with the original, too, and looks for no teachers: nothing beats the net that is to be imitated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.config import Config
from ugc.data.stream import Batch
from ugc.losses.distillation import Look
from ugc.methods.method import METHODS, Losses, Method, Phase, Selection, Setting
from ugc.models.generator import Generator, shrink
from ugc.nn.arch import Arch
from ugc.search.region import spread


class FromTeacherConfig(Config):
    """Nothing of its own."""


class Imitation(Phase):
    """What both stages share: the frozen original, and what it makes of a batch's sources."""

    def __init__(self, setting: Setting, original: Generator) -> None:
        self.G_o, self.device, self.L_OD = original.eval(), setting.device, setting.l_od()

    @torch.no_grad()
    def lesson(self, batch: Batch) -> tuple[Tensor, Look]:
        """All sources of the batch, and the original's pictures of them, computed and looked at once."""
        x = torch.cat([batch.source, batch.unlabelled])
        with self.device.autocast():
            t: Tensor = self.G_o(self.device.laid_out(x))
        return x, self.L_OD.look(t)

    def about(self) -> dict[str, dict[str, Any]]:
        return {"distillation": self.L_OD.about}


class Supernet(Imitation):
    """Stage 1: the largest, a random and the smallest sub-network learn from the original."""

    def __init__(self, setting: Setting, original: Generator) -> None:
        super().__init__(setting, original)
        net, self.began = setting.supernet(original)
        self.G = setting.player(net)
        self.players = {"G": self.G}
        self.space, self.cost = net.space, setting.cost_model(setting.config)

    def step(self, batch: Batch, clock: Clock) -> Losses:
        """One update of the shared weights by all three. G_r is drawn as in `ugc`: a cost first, then a net near it."""
        x, taught = self.lesson(batch)
        losses, space = Losses(), self.space
        r = self.draw(clock)

        def sandwich() -> Iterator[Tensor]:  # one graph alive at a time
            for name, k in (("l", space.largest), ("r", r), ("s", space.smallest)):
                parts = self.L_OD(taught, self.L_OD.look(self.G(x, k)))
                yield losses.add("G", {f"{name}.{part}": value for part, value in parts.items()})

        self.G.learn(sandwich())
        return losses

    def draw(self, clock: Clock) -> Arch:
        """The architecture of G_r at this step."""
        return spread(self.space, lambda a: float(self.cost(a).macs_paper), clock.rng("arch"))

    def effort(self, clock: Clock) -> float:
        return float(self.cost(self.draw(clock)).macs_paper)

    def about(self) -> dict[str, dict[str, Any]]:
        return {**super().about(), **self.began}

    def nets(self) -> dict[str, Generator]:
        """The supernet; its largest and smallest members are static copies."""
        G = self.G.net
        return {"supernet": G, "largest": shrink(G, self.space.largest), "smallest": shrink(G, self.space.smallest)}


class Distill(Imitation):
    """Stage 2: the student alone goes on learning from the original."""

    def __init__(self, setting: Setting, original: Generator, student: Generator) -> None:
        super().__init__(setting, original)
        self.student = setting.player(student, "student")
        self.players = {"student": self.student}

    def step(self, batch: Batch, clock: Clock) -> Losses:
        """One update of the student."""
        x, taught = self.lesson(batch)
        losses = Losses()
        self.student.learn([losses.add("student", self.L_OD(taught, self.L_OD.look(self.student(x))))])
        return losses

    def nets(self) -> dict[str, Generator]:
        return {"student": self.student.net}


@METHODS.register("from-teacher")
class FromTeacher(Method):
    """Supernet, search, distillation, all against one saved net."""

    Config = FromTeacherConfig
    name = "from-teacher"
    imitates = True
    teachers = False

    @classmethod
    def stages(cls, config: Any) -> tuple[str, ...]:
        return ("supernet", "search", "distill")

    @classmethod
    def result(cls) -> str:
        return "student"

    def phase(self, stage: str, inherited: Mapping[str, Any]) -> Phase:
        """Stage 2 inherits the student's weights from the supernet."""
        original: Generator = inherited["original"]
        if stage == "supernet":
            return Supernet(self.setting, original)
        chosen: Selection = inherited["selection"]
        return Distill(self.setting, original, shrink(inherited["supernet"], chosen.student))
