"""A control that the paper lacks: the student's architecture, trained plainly on the labelled pairs against a discriminator
of its own. Nobody teaches it, and no unlabelled source is seen. UGC Eq. (4) alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ugc.core.config import Config
from ugc.methods.method import METHODS, Method, Phase, Selection
from ugc.methods.original import Gan
from ugc.methods.uniform import even
from ugc.nn.cost import CostModel
from ugc.search.budget import Budget


class AloneConfig(Config):
    """arch: the net, as text, such as that of another run's student; "" takes the even net of the budget."""

    arch: str = ""


@METHODS.register("alone")
class Alone(Method):
    """One stage, from fresh weights, of as many steps as `ugc` takes in both of its stages."""

    Config = AloneConfig
    name = "alone"
    teachers = False

    @classmethod
    def stages(cls, config: AloneConfig) -> tuple[str, ...]:
        return ("alone",)

    @classmethod
    def result(cls) -> str:
        return "student"

    def sees_unlabelled(self, stage: str) -> bool:
        return False

    def phase(self, stage: str, inherited: Mapping[str, Any]) -> Phase:
        chosen: Selection = inherited["selection"]
        return Gan(self.setting, self.setting.config.model_copy(update={"arch": chosen.student.text}), "student")

    def select_by_rule(self, budget: Budget, cost: CostModel) -> Selection:
        """The net that was named.

        Raises:
            UserError: it is none of the family, or above the budget.
        """
        if not self.config.arch:
            return Selection(even(cost, budget))
        named = cost.space.parse(self.config.arch)
        budget.check_named("options.arch", cost(named))
        return Selection(named)

    def steps(self, stage: str, steps: Mapping[str, int]) -> int:
        return steps["original"] if stage == "original" else steps["supernet"] + steps["distill"]
