"""Randomness is a function of (seed, step, purpose) and nothing else: it is never saved, and resume needs no state."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Clock:
    """The time of a step. Two draws for different purposes are independent; the same draw twice is the same."""

    seed: int
    step: int = 0

    def at(self, step: int) -> Clock:
        """The clock of another step."""
        return Clock(self.seed, step)

    def rng(self, purpose: str) -> np.random.Generator:
        """A numpy generator for one purpose at this step."""
        return np.random.default_rng([self.seed, self.step, zlib.crc32(purpose.encode())])

    def torch(self, purpose: str) -> torch.Generator:
        """A torch generator (CPU) for one purpose at this step; move what it draws to the device afterwards."""
        return torch.Generator().manual_seed(int(self.rng(purpose).integers(2**62)))
