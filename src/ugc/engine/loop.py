"""The one training loop, in time order. Stopped anywhere, it goes on from its last checkpoint to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.core.files import atomic
from ugc.core.log import JsonLog, progress, say
from ugc.data.stream import Stream
from ugc.methods.method import Losses, Phase
from ugc.training.schedules import SCHEDULES

SAVE_SECONDS = 120.0
DEAD = 0.01  # D's hinge loss (halved): below it D tells everything apart
DEAD_STEPS = 200


def train(phase: Phase, stream: Stream, folder: Path, title: str, *, steps: int, seed: int, schedule: str,
          log_every: int, grids: int, grid: Callable[[Phase, Path], list[str]]) -> dict[str, Any]:
    """Run a phase for `steps` steps, writing `log.jsonl`, `grid-*.png` and `state.pt`.

    Returns:
        What `done.json` keeps, once the stage's nets are saved: steps, seconds, warnings, the rows of the grids.

    Raises:
        UserError: a loss is not finite; says which, at which step, and what was kept.
    """
    state, spent = folder / "state.pt", 0.0
    start = 0
    if state.exists():
        saved = torch.load(state, map_location="cpu", weights_only=True)
        phase.restore(saved["phase"])
        start, spent = saved["step"], saved["seconds"]
        say(f"{title}: goes on at step {start} of {steps}")
    log, watch, began, saved_at = JsonLog(folder / "log.jsonl", start), Watch(title), time.monotonic(), time.monotonic()
    rows: list[str] = []
    if state.exists():
        watch.warnings, watch.low, rows = saved["warnings"], saved["low"], saved["rows"]
    show = {math.ceil(steps * (i + 1) / grids) for i in range(grids)}

    def save(step: int) -> None:
        content = {"phase": phase.state(), "step": step, "seconds": spent + time.monotonic() - began,
                   "warnings": watch.warnings, "low": watch.low, "rows": rows}
        with atomic(state) as file:
            torch.save(content, file)

    with progress(title, steps, start) as bar:
        step = start
        try:
            for step in range(start, steps):
                clock = Clock(seed, step)
                factor = SCHEDULES[schedule](step, steps)
                for player in phase.players.values():
                    player.set_lr(factor)
                losses = phase.step(stream.batch(clock), clock)
                watch.see(step, losses, state)
                if step % log_every == 0 or step == steps - 1:
                    log.write(step, {**numbers(losses), "lr": factor})
                bar.advance(note=brief(losses) if step % log_every == 0 else "")
                if step + 1 in show:
                    rows = grid(phase, folder / f"grid-{step + 1:08d}.png")
                if time.monotonic() - saved_at > SAVE_SECONDS and step + 1 < steps:
                    save(step + 1)
                    saved_at = time.monotonic()
        except KeyboardInterrupt:
            say(f"{title}: stopped in step {step}; the last checkpoint is kept: run the same command again to go on")
            raise
    seconds = spent + time.monotonic() - began
    if start < steps:
        save(steps)
    return {"steps": steps, "seconds": round(seconds, 1), "warnings": watch.warnings, "rows": rows}


def numbers(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """One transfer for all losses."""
    values = torch.stack([v.float() for v in losses.values()]).tolist()
    return dict(zip(losses, values))


def brief(losses: Losses) -> str:
    """The sum by player: `D 0.71 G 23.1`."""
    sums: dict[str, float] = {}
    for name, value in numbers(losses).items():
        player = name.split("/")[0]
        sums[player] = sums.get(player, 0.0) + value
    return " ".join(f"{name} {value:.3g}" for name, value in sums.items())


class Watch:
    """Notices a loss that is not finite, and a discriminator that has died, at the step where it happens."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.warnings: list[str] = []
        self.low: dict[str, int] = {}

    def see(self, step: int, losses: Losses, state: Path) -> None:
        values = numbers(losses)
        for name, value in values.items():
            if not math.isfinite(value):
                kept = f"the checkpoint {state} is from before" if state.exists() else "no checkpoint was written yet"
                raise UserError(f"{self.title}, step {step}: the loss {name} is {value}; the run stopped and {kept}; try "
                                f"--precision fp32 or a lower rate (--set optimiser.lr=1e-4) in a new folder")
            if name.split("/")[0].startswith("D"):
                self.low[name] = self.low.get(name, 0) + 1 if value < DEAD else 0
                if self.low[name] == DEAD_STEPS:
                    self.warn(f"{self.title}, step {step}: {name} has been below {DEAD} for {DEAD_STEPS} steps: this "
                              f"discriminator tells real from fake without fail and teaches little; the run goes on; a "
                              f"smaller one (--set patch.ndf=..) or more labels help")

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        say(text)
