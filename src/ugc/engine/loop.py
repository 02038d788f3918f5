"""The one training loop, in time order. Stopped anywhere, it goes on from its last checkpoint to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.core.log import JsonLog, progress, say
from ugc.data.stream import Stream
from ugc.engine.checkpoint import Checkpoints
from ugc.engine.stop import stoppable
from ugc.methods.method import Losses, Phase

SAVE_SECONDS = 120.0
DEAD = 0.01  # D's hinge loss (halved): below it D tells everything apart
DEAD_STEPS = 200
COLLAPSED = 0.02  # how far a net's answers differ, in the sources' own differences
COLLAPSED_STEPS = 200  # before these a net has hardly learnt
HALVINGS = 3  # of the learning rate, before a loss that is not finite ends the run


def train(phase: Phase, stream: Stream, folder: Path, title: str, *, steps: int, seed: int,
          rate: Callable[[int, int], float], log_every: int, grids: int, grid: Callable[[Phase, Path], dict[str, float]]
          ) -> dict[str, Any]:
    """Run a phase for `steps` steps, writing `log.jsonl`, `grid-*.png` and checkpoints. rate: `OptimiserConfig.rate`.

    A loss or a weight that is not finite takes the phase back to its last checkpoint, with half the learning rate. Of
    several processes the first one writes; all see the same losses, so all go back, save and stop at the same step.

    Returns:
        What `done.json` keeps, once the stage's nets are saved: steps, seconds, warnings, the rows of the grids.

    Raises:
        UserError: not finite for the fourth time; says which loss, and since when.
        KeyboardInterrupt: somebody asked to stop; the step under way was ended and saved.
    """
    checkpoints, step, spent, halvings = Checkpoints(folder), 0, 0.0, 0
    watch, rows, saved = Watch(title), list[str](), checkpoints.latest()
    processes.wait()  # all have read it
    if saved:
        phase.restore(saved["phase"])
        step, spent, rows, halvings = saved["step"], saved["seconds"], saved["rows"], saved["halvings"]
        watch.warnings, watch.low, watch.first = saved["warnings"], saved["low"], saved["first"]
        watch.flat = saved["flat"]
        say(f"{title}: goes on at step {step} of {steps}")
    log, began, saved_at = JsonLog(folder / "log.jsonl", step), time.monotonic(), time.monotonic()
    show = shown(steps, grids)

    def save(step: int) -> None:
        if processes.lead():
            checkpoints.save(step, {"phase": phase.state(), "step": step, "seconds": spent + time.monotonic() - began,
                                    "rows": rows, "halvings": halvings, "warnings": watch.warnings, "low": watch.low,
                                    "flat": watch.flat, "first": watch.first})
        processes.wait()

    if not saved:
        save(0)  # what a loss that is not finite goes back to
    with progress(title, steps, step) as bar, stoppable() as stop:
        try:
            while step < steps:
                clock = Clock(seed, step)
                factor = rate(step, steps) * 0.5**halvings
                for player in phase.players.values():
                    player.set_lr(factor)
                losses, asked, late = agreed(phase.step(stream.batch(clock, phase.unlabelled), clock), stop.asked,
                                             time.monotonic() - saved_at > SAVE_SECONDS)
                due = asked or late or step + 1 == steps
                if spoilt := watch.spoilt(step, losses) or (due and watch.spoilt_weights(phase)):
                    step, halvings = watch.back(step, spoilt, checkpoints, phase, halvings), halvings + 1
                    log = JsonLog(folder / "log.jsonl", step)
                    bar.back(step)
                    save(step)
                    continue
                if step % log_every == 0 or step == steps - 1:
                    log.write(step, {**losses, "lr": factor})
                bar.advance(note=brief(losses) if step % log_every == 0 else "")
                step += 1
                if step in show and processes.lead():
                    spreads = grid(phase, folder / f"grid-{step:08d}.png")
                    rows = list(spreads)
                    watch.collapsed(step, spreads)
                if due:
                    save(step)
                    saved_at = time.monotonic()
                if asked:
                    say(f"{title}: saved after {step} of {steps} steps; run the same command again to go on")
                    raise Stopped
            if any(processes.gather(stop.asked)):  # since the last step was looked at, which is saved
                say(f"{title}: saved after its last step; run the same command again to go on")
                raise Stopped
        except Stopped:
            raise
        except KeyboardInterrupt:
            say(f"{title}: stopped in step {step}; the last checkpoint is kept: run the same command again to go on")
            raise Stopped from None
    seconds = spent + time.monotonic() - began
    return {"steps": steps, "seconds": round(seconds, 1), "warnings": watch.warnings, "rows": rows}


def shown(steps: int, grids: int) -> set[int]:
    """After which steps a sample grid is made."""
    return {math.ceil(steps * (i + 1) / grids) for i in range(grids)}


class Stopped(KeyboardInterrupt):
    """Stopped, and the person has been told how to go on."""


def agreed(losses: Losses, asked: bool, late: bool) -> tuple[dict[str, float], bool, bool]:
    """The losses of the whole batch as numbers, whether any process was asked to stop, whether it is late for any.

    One message between processes, one transfer from the device.
    """
    mine = torch.stack([value.float() for value in losses.values()])
    both = mine.new_tensor([asked, late])
    *values, any_asked, any_late = processes.mean(torch.cat([mine, both])).tolist()
    return dict(zip(losses, values)), any_asked > 0, any_late > 0


def brief(losses: Mapping[str, float]) -> str:
    """The sum by player: `D 0.71 G 23.1`."""
    sums: dict[str, float] = {}
    for name, value in losses.items():
        player = name.split("/")[0]
        sums[player] = sums.get(player, 0.0) + value
    return " ".join(f"{name} {value:.3g}" for name, value in sums.items())


class Watch:
    """Notices what is not finite, a discriminator that has died, at its step, and a net that gives one answer to all."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.warnings: list[str] = []
        self.low: dict[str, int] = {}
        self.flat: list[str] = []
        self.first = ""  # what was not finite first, and when

    def spoilt(self, step: int, losses: Mapping[str, float]) -> str:
        """What is not finite among the losses, as words; looks at the discriminators, too."""
        for name, value in losses.items():
            if not math.isfinite(value):
                return f"the loss {name} is {value}"
            if name.split("/")[0].startswith("D"):
                self.low[name] = self.low.get(name, 0) + 1 if value < DEAD else 0
                if self.low[name] == DEAD_STEPS:
                    self.warn(f"{self.title}, step {step}: {name} has been below {DEAD} for {DEAD_STEPS} steps: this "
                              f"discriminator tells real from fake without fail and teaches little; the run goes on; a "
                              f"smaller one (--set patch.ndf=..) or more labels help")
        return ""

    @staticmethod
    def spoilt_weights(phase: Phase) -> str:
        """The player whose weights are not finite, as words: its next checkpoint would be none to go back to."""
        for name, player in phase.players.items():
            if not all(bool(p.isfinite().all()) for p in player.own):
                return f"the weights of {name} are not finite"
        return ""

    def collapsed(self, step: int, spreads: Mapping[str, float]) -> None:
        """Warn once of each net whose answers differ far less than the sources that they answer."""
        for role, spread in spreads.items():
            if spread < COLLAPSED and step >= COLLAPSED_STEPS and role not in self.flat:
                self.flat.append(role)
                self.warn(f"{self.title}, step {step}: the {role} net answers all sources alike (its pictures differ by "
                          f"{100 * spread:.2g} % of what the sources do): it has collapsed; look at the newest grid; the "
                          f"run goes on; a lower rate (--set optimiser.lr=1e-4), a larger --budget or more labels help")

    def back(self, step: int, spoilt: str, checkpoints: Checkpoints, phase: Phase, halvings: int) -> int:
        """Take the phase to its last checkpoint; returns the step of that."""
        self.first = self.first or f"step {step} ({spoilt})"
        saved = checkpoints.latest()
        if halvings == HALVINGS or saved is None:
            raise UserError(f"{self.title}, step {step}: {spoilt}, after the learning rate was halved {halvings} times; it "
                            f"began at {self.first}; try --precision fp32 or a lower rate (--set optimiser.lr=1e-5) in a "
                            f"new folder")
        phase.restore(saved["phase"])
        processes.wait()  # all have read it
        self.low = {}
        self.warn(f"{self.title}, step {step}: {spoilt}; it goes on from step {saved['step']} with half the learning rate")
        return int(saved["step"])

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        say(text)
