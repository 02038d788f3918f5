"""Where a search may look: a window of cost, and, for teachers, a rule for the depth. Nets are drawn *towards* it.

Uniform draws practically never meet student-sized nets (0.1 % of ResNet A lies below 1.5 G), so a drawn net is moved
by single steps, one choice at a time, until its cost is inside: never plain rejection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ugc.nn.arch import Arch, SearchSpace

NEAR = 0.9  # of the cost aimed at
TRIES = 50  # draws that must all fail before a window counts as empty


@dataclass(frozen=True)
class Region:
    """Architectures of `space` with low <= cost <= high and, where given, exactly `depth` inserted blocks in all."""

    space: SearchSpace
    cost: Callable[[Arch], float]
    low: float
    high: float
    depth: int | None = None

    def __contains__(self, arch: Arch) -> bool:
        return self.low <= self.cost(arch) <= self.high and (self.depth is None or arch.depth == self.depth)

    def draw(self, rng: np.random.Generator) -> Arch | None:
        """A random net inside: a uniform draw moved to a cost drawn log-uniformly from the window's upper half."""
        low = max(self.low, 0.5 * self.high)
        arch = self.towards(self.space.sample(rng), math.exp(rng.uniform(math.log(low), math.log(self.high))), rng)
        return arch if arch in self else self.moved(arch, rng)

    def moved(self, arch: Arch, rng: np.random.Generator) -> Arch | None:
        """`arch` itself where it is inside, else moved to just below the window's top; None when no steps lead there."""
        if arch not in self:
            arch = self.towards(arch, self.high, rng)
        return arch if arch in self else None

    def widened(self, rng: np.random.Generator) -> Region:
        """Itself where nets can be met, else with a window twice, four and eight times as wide: coarse spaces have gaps."""
        region, middle = self, (self.low + self.high) / 2
        for times in (1, 2, 4, 8):
            half = times * (self.high - self.low) / 2
            if times > 1:
                region = replace(self, low=middle - half, high=middle + half)
            if any(region.draw(rng) is not None for _ in range(TRIES)):
                break
        return region

    def towards(self, arch: Arch, target: float, rng: np.random.Generator) -> Arch:
        """Random single steps: down until the cost is at most `target`, then up as long as it is below 0.9 of it."""
        arch = self._at_depth(arch, rng)
        while self.cost(arch) > target and (steps := self._steps(arch, up=False)):
            arch = steps[int(rng.integers(len(steps)))]
        while self.cost(arch) < NEAR * target and (
                steps := [a for a in self._steps(arch, up=True) if self.cost(a) <= target]):
            arch = steps[int(rng.integers(len(steps)))]
        return arch

    def _steps(self, arch: Arch, up: bool) -> list[Arch]:
        """Neighbours by one step that keep the depth rule."""
        return [a for a in self.space.steps(arch, up) if self.depth is None or a.depth == arch.depth]

    def _at_depth(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Add or drop inserted blocks at random slots until the depth rule holds."""
        while self.depth is not None and arch.depth != self.depth:
            up = arch.depth < self.depth
            steps = [a for a in self.space.steps(arch, up) if a.depth != arch.depth]
            if not steps:
                break
            arch = steps[int(rng.integers(len(steps)))]
        return arch


def just_below(space: SearchSpace, cost: Callable[[Arch], float], limit: float, rng: np.random.Generator) -> Region:
    """The nets that use a budget up: from 0.9 of `limit`, or, where the space is coarse, from as near as nets can be met.

    A supernet's score ranks nets of one cost. Across costs it favours the smallest, which learn in every step of stage 1
    and so are near their best, while a larger one has yet to show what it can do once it is trained by itself.
    """
    region = Region(space, cost, 0.0, limit)
    for share in (NEAR, 0.8, 0.6, 0.4, 0.2):
        window = replace(region, low=share * limit)
        if any(window.draw(rng) is not None for _ in range(TRIES)):
            return window
    return region


def spread(space: SearchSpace, cost: Callable[[Arch], float], rng: np.random.Generator) -> Arch:
    """A random net whose cost is drawn log-uniformly between the smallest and the largest. Our reading of "attentively"."""
    low, high = cost(space.smallest), cost(space.largest)
    target = math.exp(rng.uniform(math.log(low), math.log(high)))
    return Region(space, cost, low, high).towards(space.sample(rng), target, rng)
