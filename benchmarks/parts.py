"""Where a step's time goes: a timer around a phase's own calls, each second counted once, in the innermost part.

    G_l forward        a net's forward; of a supernet by member: largest, random, smallest
    D forward          of every D, for its own update, a generator's and the filter's
    L_OD look, taught  SSIM's moments, backbone and Gram matrices without gradient; `learning`: with it
    L_OD compare       the terms
    D of a fake, L_OD backward   gradient of a loss at a picture, back through D or backbone; from there on `G_l backward`
    update             gradients added up, optimiser
    rest               all else: randomness, draws of the filter, joining of batches
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from measure import ready

from ugc.losses.distillation import OutputDistillation
from ugc.methods.method import Phase


class Parts:
    """Seconds by part. Parts nest: an outer one stands still while an inner one runs."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, dict[str, float]()
        self.open: list[str] = []
        self.since = 0.0

    def mark(self) -> None:
        """What has passed belongs to the part that is open."""
        ready(self.device)
        now = time.perf_counter()
        if self.open:
            self.seconds[self.open[-1]] = self.seconds.get(self.open[-1], 0.0) + now - self.since
        self.since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self.mark()
        self.open.append(name)
        try:
            yield
        finally:
            self.mark()
            self.open.pop()

    def become(self, name: str) -> None:
        """From here on the open part is another."""
        self.mark()
        self.open[-1] = name


@contextmanager
def watched(phase: Phase, device: torch.device) -> Iterator[Parts]:
    """While it is open, the phase's steps are timed by part."""
    parts, last = Parts(device), dict[str, str]()  # last: what each player ran last
    through: list[str] = []  # between a picture and the loss that comes next
    learner: list[str] = []
    with ExitStack() as undo:

        def wrap(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
            plain, own = getattr(owner, name), name in vars(owner)
            setattr(owner, name, made(plain))
            undo.callback(setattr, owner, name, plain) if own else undo.callback(delattr, owner, name)

        def under(label: str) -> Callable[[Any], Any]:
            def made(plain: Any) -> Any:
                def call(*args: Any, **kwargs: Any) -> Any:
                    with parts.part(label):
                        return plain(*args, **kwargs)
                return call
            return made

        def whose() -> str:
            return last.get(learner[-1], learner[-1])

        def seen(picture: torch.Tensor, by: str) -> None:
            """A loss is about to be made of a picture that learns: its gradient comes back through `by`."""
            if torch.is_grad_enabled() and picture.requires_grad:
                through[:] = [by]
                picture.register_hook(lambda _: parts.become(f"{whose()} backward"))

        def run(name: str) -> Callable[[Any], Any]:
            space = getattr(phase, "space", None)  # of a supernet

            def made(plain: Any) -> Any:
                def call(x: torch.Tensor, *arch: Any) -> Any:
                    known = {space.largest: "_l", space.smallest: "_s"} if space is not None else {}
                    member = known.get(arch[0], "_r") if known and arch else ""
                    last[name] = name + member
                    with parts.part(f"{last[name]} forward"):
                        return plain(x, *arch)
                return call
            return made

        def learn(name: str) -> Callable[[Any], Any]:
            def made(plain: Any) -> Any:
                def call(losses: Any) -> Any:
                    learner.append(name)
                    with parts.part("update"):
                        plain(losses)
                    learner.pop()
                return call
            return made

        def judge(plain: Any) -> Any:
            def call(source: torch.Tensor, *images: torch.Tensor) -> Any:
                for image in images:
                    seen(image, "D of a fake, backward")
                with parts.part("D forward"):
                    return plain(source, *images)
            return call

        def look(plain: Any) -> Any:
            def call(image: torch.Tensor) -> Any:
                seen(image, "L_OD backward")
                with parts.part(f"L_OD look, {'learning' if torch.is_grad_enabled() else 'taught'}"):
                    return plain(image)
            return call

        def grad(plain: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                label = through.pop() if through else f"{learner[-1]} backward"
                with parts.part(label):
                    return plain(*args, **kwargs)
            return call

        for name, player in phase.players.items():
            wrap(player, "learn", learn(name))
            if name.startswith("D"):
                wrap(player.net, "judge", judge)
            else:
                wrap(player, "forward", run(name))
        wrap(phase.L_OD, "look", look)  # type: ignore[attr-defined]
        wrap(OutputDistillation, "__call__", under("L_OD compare"))
        wrap(torch.autograd, "grad", grad)
        wrap(phase, "step", under("rest"))
        yield parts
