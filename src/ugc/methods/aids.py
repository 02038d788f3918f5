"""What may help the student of stage 2 beside the paper's loss. All of it is off by default (docs/results.md).

    L = L_dist^A(G*) + L_dist^U(G*) + w L_sup^A(G*)      w  how much the student learns from pairs, against a D of its own
    mean <- c mean + (1 - c) G*                          c  decay; the mean is delivered in the place of G*
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from ugc.methods.method import Losses
from ugc.methods.objective import Pairs, Supervised
from ugc.models.discriminators import Discriminator
from ugc.models.generator import Generator
from ugc.training.player import Player


class OwnLesson:
    """w L_sup^A(G*), UGC Eq. (4) for the student, as GAN Compression's learn beside their distillation.

    Args:
        weight: w.
        D: the student's own; no teacher meets it.
    """

    def __init__(self, weight: float, objective: Supervised, D: Player[Discriminator]) -> None:
        self.weight, self.objective, self.D = weight, objective, D

    def __call__(self, pairs: Pairs, fake: Tensor, losses: Losses) -> Tensor:
        """D learns to tell G*(x) from y; then what the student is asked. fake: G*(x), [N, C, H, W] in [-1, 1]."""
        d_parts, _ = self.objective.d_parts(self.D, pairs, fake.detach())
        self.D.learn([losses.add("D_student", d_parts)])
        parts = self.objective.g_parts(self.D, pairs, fake)
        return losses.add("student", {f"sup.{part}": self.weight * value for part, value in parts.items()})


class Average:
    """A mean of a net's weights over its steps; buffers are the newest.

    The decay grows with the steps, (1 + t) / (10 + t), up to `decay`, so that the start is soon forgotten.
    """

    def __init__(self, net: Generator, decay: float) -> None:
        self.net, self.decay = deepcopy(net), decay
        self.steps = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def follow(self, net: Generator) -> None:
        """Take one step's weights in."""
        t = int(self.steps.add_(1))
        decay = min(self.decay, (1 + t) / (10 + t))
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), 1 - decay)
        for mine, theirs in zip(self.net.buffers(), net.buffers()):
            mine.copy_(theirs)

    def state(self) -> dict[str, Tensor]:
        return {"mean.steps": self.steps, **{f"mean.net.{key}": value for key, value in self.net.state_dict().items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave, out of a larger table."""
        self.steps.copy_(state["mean.steps"])
        own = "mean.net."
        self.net.load_state_dict({key.removeprefix(own): value for key, value in state.items() if key.startswith(own)})
