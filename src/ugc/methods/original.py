"""The first baseline: the original network, trained plainly on the same labels: pix2pix [Isola 2017] and its heirs.

UGC Eq. (4) alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ugc.core.clock import Clock
from ugc.core.config import Config
from ugc.data.stream import Batch
from ugc.methods.method import METHODS, Losses, Method, Phase, Setting
from ugc.models.generator import Generator, GeneratorConfig


class Gan(Phase):
    """One generator against one discriminator, on pairs: the family's original, or the net of another config.

    role: as which it is saved; its fresh weights are drawn by this name.
    """

    def __init__(self, setting: Setting, config: GeneratorConfig | None = None, role: str = "original") -> None:
        self.role = role
        net = setting.generator(config or setting.family.original(setting.config), role)
        self.G = setting.player(net, "generator")
        self.D = setting.player(setting.discriminator(f"{role}/D"), "discriminator")
        self.players = {"G": self.G, "D": self.D}
        self.objective = setting.supervised()

    def step(self, batch: Batch, clock: Clock) -> Losses:
        """D learns to tell, then G what its family asks of it. UGC Eq. (4)."""
        pairs, losses = self.objective.pairs(batch.source, batch.target, clock), Losses()
        fake = self.G(pairs.x)
        d_parts, _ = self.objective.d_parts(self.D, pairs, fake.detach())
        self.D.learn([losses.add("D", d_parts)])
        self.G.learn([losses.add("G", self.objective.g_parts(self.D, pairs, fake))])
        return losses

    def about(self) -> dict[str, dict[str, Any]]:
        return {"objective": self.objective.about}

    def nets(self) -> dict[str, Generator]:
        return {self.role: self.G.net}


class OriginalConfig(Config):
    """Nothing of its own."""


@METHODS.register("original")
class Original(Method):
    """pix2pix itself, or its heir: what everything else is compared with."""

    Config = OriginalConfig
    name = "original"

    @classmethod
    def stages(cls, config: Any) -> tuple[str, ...]:
        return ("original",)

    @classmethod
    def result(cls) -> str:
        return "original"

    def phase(self, stage: str, inherited: Mapping[str, Any]) -> Phase:
        return Gan(self.setting)
