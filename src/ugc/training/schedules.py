"""Learning rates as functions of the step."""

from __future__ import annotations

from collections.abc import Callable


def linear(step: int, steps: int) -> float:
    """1 at step 0, falling linearly to 0 at the end. UGC Sec. 4.1."""
    return 1.0 - step / steps


def lineage(step: int, steps: int) -> float:
    """Constant for the first half, then linear to zero, as the ancestors do by epochs."""
    return min(1.0, 2.0 * (1.0 - step / steps))


SCHEDULES: dict[str, Callable[[int, int], float]] = {"linear": linear, "lineage": lineage}


def warmed(step: int, warmup: int) -> float:
    """Rising linearly to 1 over the first `warmup` steps, the first of them included; 1 from then on."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0
