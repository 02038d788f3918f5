"""What the study's results say: means over seeds, and differences in pairs.

    difference of a metric     d_s = mean_i (a_si - b_si)     seeds s, test images i; both nets answer the same images
    interval                   95 % of 2,000 resamples of the images of mean_s d_s: test images only, no seed is in it
    spread                     standard deviation of d_s over seeds; beyond it: |mean| > t_{n-1, .975} spread / sqrt(n)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student_t
from study_keep import EACH

from ugc.core.files import read_json
from ugc.core.images import Array

SETS = ("kd_efflite0", "fd_efflite0")  # distances of sets: no image has one
RESAMPLES = 2_000


@dataclass(frozen=True)
class Result:
    """One run. each: metric -> [N] of the test images. pictures: uint8 [12, H, W, C]."""

    about: Mapping[str, Any]
    each: Mapping[str, Array]
    pictures: Array

    @property
    def row(self) -> Mapping[str, float]:
        found: Mapping[str, float] = self.about["rows"][self.about["role"]]
        return found


Arm = Mapping[int, Result]  # seed -> result


def read(results: Path) -> dict[str, Arm]:
    """name without seed -> seed -> result."""
    arms: dict[str, dict[int, Result]] = {}
    for path in sorted(results.glob("*.json")):
        about = read_json(path)
        if "seed" in about:
            arrays = np.load(path.with_suffix(".npz"))
            each = {name: arrays[name].astype(np.float64) for name in EACH if name in arrays}
            shown = arrays["shown"] if arrays["shown"].ndim == 4 else arrays["shown"][..., None]
            arms.setdefault(about["name"].rpartition("-")[0], {})[about["seed"]] = Result(about, each, shown)
    return arms


def mean(arm: Arm, metric: str) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds; None for a single one."""
    values = [result.row[metric] for result in arm.values()]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


@dataclass(frozen=True)
class Difference:
    """a - b of one metric. interval: over test images, None for distances of sets. spread: over seeds, None for one."""

    value: float
    interval: tuple[float, float] | None
    spread: float | None
    seeds: int

    @property
    def beyond(self) -> bool:
        """Whether it is more than seeds and test images explain; never of a single seed."""
        if self.spread is None:
            return False
        sure = abs(self.value) > float(student_t.ppf(0.975, self.seeds - 1)) * self.spread / math.sqrt(self.seeds)
        return sure and (self.interval is None or self.interval[0] * self.interval[1] > 0)


def difference(a: Arm, b: Arm, metric: str) -> Difference | None:
    """a - b over the seeds that both have, but for two of unlike supernets one of which began from the other's, or both from
    a third's; None where there is none."""
    seeds = sorted(seed for seed in a.keys() & b.keys() if not torn(a[seed].about, b[seed].about))
    if not seeds:
        return None
    values = [a[s].row[metric] - b[s].row[metric] for s in seeds]
    spread = float(np.std(values, ddof=1)) if len(seeds) > 1 else None
    if metric in SETS:
        return Difference(float(np.mean(values)), None, spread, len(seeds))
    paired = np.mean([a[s].each[metric] - b[s].each[metric] for s in seeds], axis=0)
    return Difference(float(np.mean(values)), interval(paired), spread, len(seeds))


def torn(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two runs that should share a supernet do not: it was trained again in between, on another machine."""
    kin = {a["source"] or a["name"], b["source"] or b["name"]}
    return len(kin) == 1 and len({a.get("supernet"), b.get("supernet")} - {None}) > 1


def interval(values: Array) -> tuple[float, float]:
    """Of the mean of [N] values, by a fixed draw."""
    rng = np.random.default_rng(0)
    means = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def fewer(arm: Arm, other: Arm) -> float:
    """How many times fewer macs_paper the first has, mean over the seeds of both."""
    return mean(other, "macs_paper")[0] / mean(arm, "macs_paper")[0]


def hours(arms: Iterable[Arm]) -> float:
    """Wall time of all runs, added up."""
    return sum(sum(filter(None, result.about["seconds"].values())) for arm in arms for result in arm.values()) / 3600
