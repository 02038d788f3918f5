"""A player: a net and its optimiser. `learn(losses)` moves it and nothing else.

Gradients are taken with respect to the player's own parameters only, so there is no zero_grad, no requires_grad to
switch and no leak from one player into another. Losses come from a generator: each graph is freed before the next is
built, so a sandwich of sub-networks costs the memory of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ugc.core import processes
from ugc.core.config import Config
from ugc.core.device import Device
from ugc.nn.spectral import spectral
from ugc.training.schedules import SCHEDULES, warmed

N = TypeVar("N", bound=nn.Module)


Role = Literal["generator", "discriminator", "pupil", "student"]  # plays against a D; is one; sees none; the same in stage 2
Beta = Annotated[float, Field(ge=0, lt=1)]


TTUR = {"generator": 0.5, "discriminator": 2.0}  # times lr


class OptimiserConfig(Config):
    """Adam, as pix2pix and all its descendants. schedule: `linear` (UGC) or `lineage` (constant, then linear).

    warmup: over how many steps of a stage the rate first rises; none in the paper.
    ttur: two rates [Heusel 2017], as SPADE: discriminators learn at 2 lr, generators that play against one at lr / 2, both
    with betas (0, 0.9). Who sees no discriminator keeps lr and betas.
    student: times lr, of the student of stage 2 that only teachers teach, and in a search's trials; ours. The paper has one
    rate, that of its GANs; learning from fixed answers is no game, and bears a larger one.
    """

    lr: float = Field(default=2e-4, gt=0)
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    schedule: Literal["linear", "lineage"] = "linear"
    warmup: int = Field(default=0, ge=0)
    ttur: bool = False
    student: float = Field(default=1.0, gt=0)

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step of a stage, in its own."""
        return SCHEDULES[self.schedule](step, steps) * warmed(step, self.warmup)

    def of(self, role: Role) -> OptimiserConfig:
        """The settings of a player in that role."""
        if role == "student":
            return self.model_copy(update={"lr": self.student * self.lr})
        if not self.ttur or role == "pupil":
            return self
        return self.model_copy(update={"lr": TTUR[role] * self.lr, "betas": (0.0, 0.9)})


class Player(nn.Module, Generic[N]):
    """A net that learns.

    Args:
        net: the module whose parameters move.
        config: optimiser settings.
        device: its precision holds for the net's forward passes; fp16 brings a loss scaler.
    """

    net: N

    def __init__(self, net: N, config: OptimiserConfig, device: Device) -> None:
        super().__init__()
        self.net = net
        self.device = device
        device.settle(net)
        self.lr = config.lr
        self.own = [p for p in net.parameters() if p.requires_grad]
        self.spectral = spectral(net)
        fused = device.device.type in ("cpu", "cuda")
        flat = [_flat(parameter.detach()) for parameter in self.own]
        self.optimiser = torch.optim.Adam(flat, lr=config.lr, betas=config.betas, fused=fused)
        self.scaler = device.scaler()

    def forward(self, x: Tensor, *args: Any) -> Tensor:
        with self.device.autocast():
            out: Tensor = self.net(self.device.laid_out(x), *args)
        return out

    def set_lr(self, factor: float) -> None:
        """Set the learning rate to factor x the configured one."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * factor

    def learn(self, losses: Iterable[Tensor]) -> None:
        """One update by the gradient of the sum of `losses` (scalars), each differentiated as it comes.

        From the second loss on, gradients of slices of large weights are added in place (`nn/quick.py:narrow`).
        Of several processes each has its share of the batch; all take the step of their mean gradient.
        """
        for parameter in self.own:
            parameter.grad = None
        for loss in losses:
            scaled = self.scaler.scale(loss) if self.scaler else loss
            for parameter, grad in zip(self.own, torch.autograd.grad(scaled, self.own, allow_unused=True)):
                if grad is not None:
                    parameter.grad = _laid_as(parameter, grad) if parameter.grad is None else parameter.grad.add_(grad)
        processes.mean_(parameter.grad for parameter in self.own if parameter.grad is not None)
        flat = self.optimiser.param_groups[0]["params"]
        for parameter, memory in zip(self.own, flat):
            memory.data = _flat(parameter.data)  # a net may have got other memory (`net.double()`)
            memory.grad = None if parameter.grad is None else _flat(parameter.grad)
        if self.scaler:
            self.scaler.step(self.optimiser)
            self.scaler.update()
        else:
            self.optimiser.step()
        for layer in self.spectral:  # u and v move with the weights, and nowhere else
            layer.iterate()
        for parameter in (*self.own, *flat):
            parameter.grad = None

    def state(self) -> dict[str, Any]:
        """All that a checkpoint needs of this player, in shapes that do not tell how weights are laid out here."""
        scaler = self.scaler.state_dict() if self.scaler else {}
        optimiser = self._each_moment(self.optimiser.state_dict(), lambda p, flat: flat.as_strided(p.shape, p.stride()))
        return {"net": self.net.state_dict(), "optimiser": optimiser, "scaler": scaler}

    def restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        optimiser = self._each_moment(state["optimiser"], lambda p, moment: _flat(_laid_as(p, moment)))
        self.optimiser.load_state_dict(optimiser)
        if self.scaler:
            self.scaler.load_state_dict(state["scaler"])

    def _each_moment(self, state: dict[str, Any], change: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
        """The optimiser's state with what it keeps of each weight changed."""
        kept = {i: {name: value if name == "step" else change(self.own[i], value) for name, value in moments.items()}
                for i, moments in state["state"].items()}
        return {**state, "state": kept}


def _laid_as(parameter: Tensor, other: Tensor) -> Tensor:
    """Its gradient or a moment of it, in a parameter's layout."""
    return other if other.stride() == parameter.stride() else torch.empty_like(parameter).copy_(other)


def _flat(tensor: Tensor) -> Tensor:
    """A tensor as it lies in memory, [numel], whatever its layout, and not copied.

    So the optimiser sees it: torch's fused Adam on a CPU reads memory without a look at strides, and copies in vain a
    gradient that is not NCHW.
    """
    return tensor.as_strided((tensor.numel(),), (1,))
