"""A trial: a sub-network is distilled for a few steps, and shows what becomes of it. Ours, not the paper's.

A supernet's own scores favour nets near its smallest, which learns in every step of stage 1 while a wider one seldom has a
turn (docs/lab-book.md). After some steps by itself a net is worth what its architecture is worth:

    L = L_OD(G_l(x), G_a(x)),   x: sources of A and U (of A alone without NAS-SSL), G_l frozen

All nets see the same batches, and what G_l makes of them is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.log import Bar, add_rows, finite, keep_rows, read_log
from ugc.data.stream import Batch, Stream
from ugc.losses.distillation import Look
from ugc.methods.from_teacher import Distill
from ugc.methods.method import Losses, Setting
from ugc.models.generator import Generator, shrink
from ugc.nn.arch import Arch
from ugc.nn.shrink import recalibrate

KEPT = 2 << 30  # bytes of pictures of G_l; beyond it they are made again for every net


class Remembering(Distill):
    """Stage 2 of `from-teacher` with G_l for the original; what it makes of a step's batch is kept for the next net."""

    def __init__(self, setting: Setting, teacher: Generator, student: Generator, taught: dict[int, Tensor]) -> None:
        super().__init__(setting, teacher, student)
        self.taught, self.now = taught, 0

    def step(self, batch: Batch, clock: Clock) -> Losses:
        self.now = clock.step
        return super().step(batch, clock)

    @torch.no_grad()
    def lesson(self, batch: Batch) -> tuple[Tensor, Look]:
        if self.now in self.taught:
            return torch.cat([batch.source, batch.unlabelled]), self.L_OD.look(self.taught[self.now])
        x, look = super().lesson(batch)
        if (len(self.taught) + 1) * look.image.nbytes < KEPT:  # all are of one size
            self.taught[self.now] = look.image
        return x, look


class Trials:
    """Distils members of a supernet.

    Args:
        teacher: G_l, or the original that is imitated; in eval mode on the device.
        stream: training data; no target is looked at.
        seed: of the batches.
        unlabelled: whether sources of U are seen; else A's take their place.
    """

    def __init__(self, setting: Setting, supernet: Generator, teacher: Generator, stream: Stream, seed: int,
                 calibration: int = 256, unlabelled: bool = True) -> None:
        self.rate = setting.optimiser.model_copy(update={"warmup": 0}).rate  # which is of a stage, and longer than a trial
        self.unlabelled: Literal["U", "A"] = "U" if unlabelled else "A"
        self.setting, self.supernet, self.teacher, self.stream, self.seed = setting, supernet, teacher, stream, seed
        self.calibration = stream.calibration(calibration, unlabelled).split(16)
        self.taught: dict[int, Tensor] = {}

    def distilled(self, arch: Arch, steps: int) -> Generator:
        """A net that has learnt for so many steps, begun from its supernet weights; recalibrated, in eval mode."""
        phase = Remembering(self.setting, self.teacher, shrink(self.supernet, arch), self.taught)
        for step in range(steps):
            clock = Clock(self.seed, step)
            phase.student.set_lr(self.rate(step, steps))
            phase.step(self.stream.batch(clock, self.unlabelled), clock)
        net = phase.nets()["student"]
        recalibrate(net, self.calibration)
        return net


class TrialBoard:
    """Scores after a trial, kept in `trials.jsonl` as they come, so that a killed search goes on.

    Several processes try the same net at a time, each on its share of the batches.

    Args:
        score: of a static net; lower is better.
        steps: of a trial.
        after: called after each.
    """

    def __init__(self, path: Path, trials: Trials, score: Callable[[Generator], float], steps: int, bar: Bar,
                 after: Callable[[], None] = lambda: None) -> None:
        self.path, self.trials, self.score, self.steps, self.bar = path, trials, score, steps, bar
        self.after = after
        rows = [row for row in read_log(path) if {"arch", "score"} <= row.keys()]
        self.known = {row["arch"]: math.nan if row["score"] is None else float(row["score"]) for row in rows}
        processes.wait()  # all have read it
        keep_rows(path, rows)

    def __call__(self, archs: Sequence[Arch]) -> list[float]:
        for arch in dict.fromkeys(archs):
            if arch.text not in self.known:
                value = finite(processes.gather(self.score(self.trials.distilled(arch, self.steps)))[0])
                self.known[arch.text] = math.nan if value is None else value
                add_rows(self.path, [{"arch": arch.text, "score": value}])
                self.after()
            self.bar.advance(1, f"trial {self.known[arch.text]:.4g}")
        return [self.known[arch.text] for arch in archs]
