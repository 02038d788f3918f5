"""How long the steps of a stage take, from a few of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import ready
from ugc.data.stream import Stream
from ugc.engine.loop import agreed
from ugc.methods.method import Phase

SECONDS = 6.0  # for the steps of a stage, where more than one of each kind fits in
WARM, MOST = 3, 40  # steps of each kind: before any counts, and that count
DRAWS = 64  # from which the steps that stand for all are taken


class Stopwatch:
    """Seconds of a call, until the device has done it; of several processes those of the slowest."""

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        self.device, self.now = device, now

    def __call__(self, call: Callable[[], object]) -> float:
        ready(self.device)
        start = self.now()
        call()
        ready(self.device)
        return max(processes.gather(self.now() - start))


@dataclass(frozen=True)
class Pace:
    """Seconds of a step: of the first of every `every` steps, and of the others."""

    first: float
    other: float
    every: int = 1

    def of(self, begin: int, end: int) -> float:
        """Seconds of the steps from `begin` up to `end`, which is none of them."""
        firsts = -(-end // self.every) - -(-begin // self.every)
        return firsts * self.first + (end - begin - firsts) * self.other

    @property
    def mean(self) -> float:
        return self.of(0, self.every) / self.every


def pace_of(phase: Phase, stream: Stream, watch: Stopwatch, seed: int, seconds: float = SECONDS, most: int = MOST) -> Pace:
    """Take some steps of a phase, as the training loop does.

    Args:
        seconds: about how long that may take; it takes longer where two steps of each kind do.
        most: steps of each kind that count.
    """
    def took(step: int) -> float:
        clock = Clock(seed, step)
        return watch(lambda: agreed(phase.step(stream.batch(clock, phase.unlabelled), clock), False, False))

    def mean(steps: Sequence[int], share: float) -> float:
        """Seconds of the mean of these steps, from as many as a share of the time allows."""
        warm = [took(steps[0])]
        while len(warm) < WARM and sum(warm) < share / 4:
            warm.append(took(steps[len(warm)]))
        count = max(1, int(min(most, len(steps), share / max(warm[-1], 1e-9))))
        chosen = typical([phase.effort(Clock(seed, step)) for step in steps], count)
        return sum(took(steps[at]) for at in chosen) / count

    firsts = range(0, DRAWS * phase.every, phase.every)
    if phase.every == 1:
        return Pace(mean(firsts, seconds), 0.0)
    others = [step for step in range(2 * DRAWS) if step % phase.every]
    return Pace(mean(firsts, seconds / 2), mean(others, seconds / 2), phase.every)


def typical(efforts: Sequence[float], count: int) -> list[int]:
    """Places of `count` of these numbers that stand for all: of as many equal parts, from small to large, the one nearest
    to the part's mean."""
    parts = np.array_split(np.argsort(efforts, kind="stable"), count)
    values = np.asarray(efforts)
    return [int(part[np.abs(values[part] - values[part].mean()).argmin()]) for part in parts]
