"""What a method is: training phases by stage, and which nets each stage leaves behind.

A phase owns players and has one step. The engine runs it, saves it, and knows no mathematics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.config import Config
from ugc.core.device import Device
from ugc.core.registry import Registry
from ugc.data.stream import Batch
from ugc.losses.distillation import DistillationConfig, OutputDistillation
from ugc.methods.objective import ObjectiveConfig, Supervised
from ugc.models.discriminators import Discriminator, PatchConfig
from ugc.models.generator import Generator, GeneratorConfig
from ugc.nn.arch import Arch
from ugc.nn.cost import CostModel
from ugc.nn.transfer import take_over
from ugc.search.budget import Budget
from ugc.training.player import OptimiserConfig, Player, Role

N = TypeVar("N", bound=torch.nn.Module)

METHODS: Registry[type[Method]] = Registry("method", "ugc.methods")


class Losses(dict[str, Tensor]):
    """What was differentiated, part by part: `player/part` -> scalar. The parts of a player add up to its loss."""

    def add(self, player: str, parts: Mapping[str, Tensor]) -> Tensor:
        """Note the parts (scalars, or [N], whose mean counts) of a player's loss; returns their sum."""
        means = {name: part.mean() for name, part in parts.items()}
        for name, value in means.items():
            key = f"{player}/{name}"
            self[key] = self[key] + value.detach() if key in self else value.detach()
        return torch.stack(list(means.values())).sum()


class Phase(ABC):
    """A training stage: players, and the step that moves them.

    every: one step in so many, the first among them, is of another kind than the rest.
    unlabelled: whose sources it takes for the batch's unlabelled ones; A's in a control only.
    """

    players: dict[str, Player[Any]]
    every: int = 1
    unlabelled: Literal["U", "A"] = "U"

    @abstractmethod
    def step(self, batch: Batch, clock: Clock) -> Losses:
        """One step. Everything random comes from the clock."""

    def effort(self, clock: Clock) -> float:
        """How much work the draws of this step make, in any unit, so that a few steps can be chosen that stand for all."""
        return 0.0

    @abstractmethod
    def nets(self) -> dict[str, Generator]:
        """The networks that the stage trains, by role, each with its own copy of the weights where it shares them."""

    def about(self) -> dict[str, dict[str, Any]]:
        """What people should know of this phase, by topic (`distillation`): plain data with a line of `text`."""
        return {}

    def left(self) -> dict[str, Mapping[str, Tensor]]:
        """Weights beside the nets that later stages inherit, by name (`D`)."""
        return {}

    def extra(self) -> dict[str, Tensor]:
        """State beside the players', for checkpoints."""
        return {}

    def restore_extra(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `extra` gave."""
        assert not state, "a phase with extra state takes it back"

    def state(self) -> dict[str, Any]:
        """All that a checkpoint holds: every player (weights, optimiser, scaler) and the extra state."""
        return {"players": {name: p.state() for name, p in self.players.items()}, "extra": self.extra()}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, player in self.players.items():
            player.restore(state["players"][name])
        self.restore_extra(state["extra"])


@dataclass(frozen=True)
class Setting:
    """What a method is handed: the resolved family, loss and optimiser settings, and where to compute.

    config: the supernet's config; patch and objective: every field filled in.
    """

    family: type[Generator]
    config: GeneratorConfig
    patch: PatchConfig
    size: tuple[int, int]
    seed: int
    device: Device
    objective: ObjectiveConfig
    optimiser: OptimiserConfig
    distillation: DistillationConfig

    def generator(self, config: GeneratorConfig, purpose: str) -> Generator:
        """A net of the family with fresh weights, on the device. `purpose` keeps the draws of several nets apart."""
        net = self.family(config).init(Clock(self.seed).torch(f"init/{purpose}"))
        return net.to(self.device.device)

    def discriminator(self, purpose: str) -> Discriminator:
        """A discriminator with fresh weights, on the device."""
        net = Discriminator(self.judged_channels, self.patch).init(Clock(self.seed).torch(f"init/{purpose}"))
        return net.to(self.device.device)

    @property
    def judged_channels(self) -> int:
        """What a discriminator sees: source and image side by side."""
        return self.config.in_channels + self.config.out_channels

    def supernet(self, original: Generator | None) -> tuple[Generator, dict[str, dict[str, Any]]]:
        """The supernet that stage 1 begins with, and what to tell of it.

        Fresh weights; where there is a saved net to begin with, every layer of it that fits the largest sub-network.
        """
        net = self.generator(self.config, "supernet")
        if original is None:
            return net, {}
        taken = take_over(net, original, self.size)
        text, ours, theirs = taken.text, net.config.base, original.config.base
        if not taken.layers and ours != theirs:
            text += f" (the original's base is {theirs}, the supernet's {ours})"
        return net, {"warm_start": {"text": text, **asdict(taken)}}

    def player(self, net: N, role: Role = "pupil") -> Player[N]:
        """`net` as a player: a `generator` against a discriminator, a `discriminator`, or who sees none."""
        return Player(net.train(), self.optimiser.of(role), self.device)

    def supervised(self) -> Supervised:
        return Supervised(self.objective, self.device.device)

    def l_od(self) -> OutputDistillation:
        return OutputDistillation(self.distillation, self.device.device)

    def cost_model(self, config: GeneratorConfig) -> CostModel:
        """Cost of members of the family at the run's size; made once for each config."""
        return _cost_model(self.family, config, self.size)  # type: ignore[arg-type]  # mypy doubts that classes have a hash


@cache
def _cost_model(family: type[Generator], config: GeneratorConfig, size: tuple[int, int]) -> CostModel:
    with torch.device("meta"):  # nothing is allocated
        return CostModel(family(config), size)


@dataclass(frozen=True)
class Selection:
    """What a search leaves: the student, and its two teachers where the method searches them."""

    student: Arch
    deep: Arch | None = None
    wide: Arch | None = None

    @property
    def archs(self) -> dict[str, Arch]:
        """role -> architecture, of those that there are."""
        found = {"student": self.student, "deep": self.deep, "wide": self.wide}
        return {role: arch for role, arch in found.items() if arch is not None}


class Method(ABC):
    """A way from data to a net within a budget.

    stages: in order, of `original supernet search distill`. train stages have a phase; `search` has none.
    imitates: it learns from the pictures of a given original, needs no target and is handed none, and is scored and
    tested against these pictures.
    teachers: whether the search looks for a deep and a wide teacher, too.
    """

    Config: ClassVar[type[Config]]
    name: ClassVar[str]
    imitates: ClassVar[bool] = False
    teachers: ClassVar[bool] = True

    def __init__(self, config: Any, setting: Setting) -> None:
        self.config, self.setting = config, setting

    @property
    def taught_by(self) -> tuple[str, ...]:
        """The roles of the teachers that learn beside the student in the last stage."""
        return ()

    def sees_unlabelled(self, stage: str) -> bool:
        """Whether a stage (`search`: its trials and batch norm) sees sources of U; the baseline `original` sees A alone."""
        return stage != "original" or self.imitates

    def judges(self, stage: str) -> tuple[str, ...]:
        """The discriminators that learn in a training stage, by name."""
        return () if self.imitates else ("D",)

    @classmethod
    @abstractmethod
    def stages(cls, config: Any) -> tuple[str, ...]:
        """The stages that this method needs under `config`, without the baseline `original`."""

    @classmethod
    @abstractmethod
    def result(cls) -> str:
        """The role of the net that the method delivers."""

    @abstractmethod
    def phase(self, stage: str, inherited: Mapping[str, Any]) -> Phase:
        """The phase of a training stage, with what earlier stages left (`supernet`, `D`, `selection`) and the given
        `original`, where there is one: a net in eval mode on the device."""

    def select_by_rule(self, budget: Budget, cost: CostModel) -> Selection | None:
        """Architectures that this method fixes without a search; None where it searches. cost: what `budget` limits."""
        return None

    def steps(self, stage: str, steps: Mapping[str, int]) -> int:
        """How many steps a stage takes, from the recipe's."""
        return steps[stage]
