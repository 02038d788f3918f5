"""Candidates scored a second: `SupernetScore` and the cost model against the way of the lineage, on random weights.

The lineage's evolution [GAN Compression, 2020] asks of one candidate after another, in fp32: its MACs, by two traced
passes of one picture; pictures of all validation sources, by the sub-network inside the supernet, 32 at a time (where
there is batch norm the calibration images go through it first); the Inception's features of them, at 299x299; and the
Frechet distance to stored statistics, by numpy and scipy (one matrix root, never repeated). `lineage, Lite0` is the same
with the small judge that we measure with: what is left of the difference with a judge that costs little.

Both ways score the same candidates on as many pictures: nets for the student, the deep and the wide teacher in turns, as
a search asks for them. What a part takes is kept, so the ratio is also given at 256 pictures each (our default), and at
each one's own count (2,048 in the lineage's run of edges2shoes, 256 here): by arithmetic, all but MACs, shrinking,
calibration and the distance grows with the number of pictures. Weights are random, of the judges, too: what comes out means
nothing.

    python benchmarks/search.py --out search.json
    python benchmarks/search.py --only resnet-64 --pictures 48 --count 4
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import measure
import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ugc.core.clock import Clock
from ugc.core.device import Device, choose, prepare_cpu
from ugc.engine.recipe import Recipe
from ugc.losses.distillation import OutputDistillation
from ugc.methods.method import Setting
from ugc.methods.selection import SelectionConfig, SupernetScore
from ugc.metrics.features import BODY, Lite0Extractor
from ugc.models.generator import Generator
from ugc.nn.arch import Arch
from ugc.nn.cost import CostModel
from ugc.nn.elastic import ElasticBatchNorm
from ugc.nn.inception import Inception
from ugc.recipes.table import SANS2SERIF
from ugc.search.budget import Budget
from ugc.search.region import just_below
from ugc.search.teachers import teacher_regions

BATCH = 32  # the lineage's, of evolution
OURS, THEIRS = SelectionConfig().validation, 2048  # pictures by default
MANY = 20_000  # architectures that the cost model is timed on
LITE0 = {"backbone": "lite0"}
DEMO = {**SANS2SERIF, "data": {"path": "sans2serif", "size": 64}}


def at_256(family: str, base: int, budget: str = "") -> dict[str, Any]:
    return {"data": {"path": "sans2serif", "size": 256}, "family": family, "base": base, "budget": budget,
            "distillation": LITE0}


CASES: dict[str, tuple[dict[str, Any], int, int]] = {  # recipe, channels in and out, pictures
    "resnet-64": (DEMO, 1, 48),
    "unet-64": ({**DEMO, "family": "pix2pix-unet", "generator": {}, "budget": ""}, 1, 48),
    "resnet-256-base16": (at_256("pix2pix-resnet", 16, "12x"), 3, 32),
    "unet-256-base16": (at_256("pix2pix-unet", 16, "8x"), 3, 32),
    "resnet-256-base64": (at_256("pix2pix-resnet", 64), 3, 32),
    "unet-256-base64": (at_256("pix2pix-unet", 64), 3, 32),
}


class Lineage:
    """One candidate, as the lineage's evolution scores it.

    Args:
        v, calibration: [n, C, H, W] in [-1, 1].
        judge: pictures -> features [n, d].
    """

    FIXED = ("macs", "calibrate", "distance")  # parts that take no longer for more pictures

    def __init__(self, supernet: Generator, v: Tensor, calibration: Tensor, judge: Callable[[Tensor], Tensor]) -> None:
        self.supernet, self.v, self.calibration, self.judge = supernet, v, calibration, judge
        self.norm = any(isinstance(m, ElasticBatchNorm) for m in supernet.modules())
        self.real = moments_of(self.features(self.pictures(supernet.space.largest)))
        self.parts = {self: ("macs", "calibrate", "pictures", "features", "distance")}

    @torch.no_grad()
    def __call__(self, arch: Arch) -> float:
        with measure.stock_layers():
            self.macs(arch)
            self.macs(arch)
            self.calibrate(arch)
            return self.distance(self.features(self.pictures(arch)))

    def macs(self, arch: Arch) -> int:
        return traced_macs(self.supernet.eval(), self.v[:1], arch)

    @torch.no_grad()
    def calibrate(self, arch: Arch) -> None:
        """Passes of the calibration images; what they give is not kept, as a supernet has no place for it."""
        if self.norm:
            self.supernet.train()
            for chunk in self.calibration.split(16):
                self.supernet(chunk, arch)

    @torch.no_grad()
    def pictures(self, arch: Arch) -> list[Tensor]:
        """Of all of V; batch norm on the batch's statistics."""
        self.supernet.train(self.norm)
        return [self.supernet(chunk, arch) for chunk in self.v.split(BATCH)]

    @torch.no_grad()
    def features(self, pictures: list[Tensor]) -> np.ndarray:
        return torch.cat([self.judge(chunk) for chunk in pictures]).double().cpu().numpy()

    def distance(self, features: np.ndarray) -> float:
        """Frechet distance: |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)."""
        (mu, sigma), (real_mu, real_sigma) = moments_of(features), self.real
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer pictures than features: singular
            root = scipy.linalg.sqrtm(sigma @ real_sigma)
        return float(((mu - real_mu) ** 2).sum() + np.trace(sigma) + np.trace(real_sigma) - 2 * np.trace(root.real))


@torch.no_grad()
def traced_macs(net: Generator, x: Tensor, arch: Arch) -> int:
    """Multiply-adds of one picture x [1, C, H, W], by making it."""
    with measure.stock_layers(), FlopCounterMode(display=False) as flops:
        net(x, arch)
    return int(flops.get_total_flops()) // 2


def moments_of(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(0), np.cov(features, rowvar=False)


class Ours:
    """One candidate, as a search here scores it."""

    FIXED = ("macs", "member")

    def __init__(self, cost: CostModel, score: SupernetScore) -> None:
        self.cost, self.score = cost, score
        self.parts: dict[Any, tuple[str, ...]] = {self: ("macs",), score: ("member", "run", "look")}

    def __call__(self, arch: Arch) -> float:
        self.macs(arch)
        return self.score(arch)

    def macs(self, arch: Arch) -> int:
        return int(self.cost.table([arch])[0, 1])  # not remembered


def clocked(owner: Any, names: Sequence[str], device: torch.device) -> dict[str, float]:
    """Seconds spent in these methods of an object, from now on."""
    spent = dict.fromkeys(names, 0.0)

    def wrap(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any) -> Any:
            measure.ready(device)
            start = time.perf_counter()
            found = call(*args)
            measure.ready(device)
            spent[name] += time.perf_counter() - start
            return found

        return measured

    for name in names:
        setattr(owner, name, wrap(name, getattr(owner, name)))
    return spent


def candidates(cost: CostModel, budget: Budget, count: int, clock: Clock) -> list[Arch]:
    """`count` nets each for the student and for the deep and the wide teacher of one student, in turns."""
    rng, space = clock.rng("candidates"), cost.space
    students = just_below(space, lambda a: budget.of(cost(a)), budget.limit, rng)
    student = students.draw(rng) or space.smallest
    teachers = teacher_regions(space, lambda a: float(cost(a).macs_paper), student)
    regions = (students, teachers.deep.widened(rng), teachers.wide.widened(rng))
    return [arch for _ in range(count) for region in regions if (arch := region.draw(rng))]


Judges = Mapping[str, Callable[[Tensor], Tensor]]


def judges(device: torch.device) -> Judges:
    """The Inception, with random weights that keep the scale of what goes through, and Lite0."""
    lite0, inception = Lite0Extractor(device), Inception().eval().to(device)
    for layer in inception.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return {"Inception": inception, "Lite0": lambda images: lite0.vectors(images)[BODY]}


def compare(name: str, setting: Setting, budget: str, sizes: tuple[int, int, int], eyes: Judges
            ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the ways, and rows of their parts.

    Args:
        sizes: pictures, calibration images, candidates of each of the three kinds.
    """
    pictures, calibration, count = sizes
    device, generator, clock = setting.device.device, Clock(0).torch("pictures"), Clock(0)
    shape = (setting.config.in_channels, *setting.size)
    v, plain = ((torch.rand(n, *shape, generator=generator) * 2 - 1).to(device) for n in (pictures, calibration))
    supernet, cost = setting.generator(setting.config, "supernet").eval(), setting.cost_model(setting.config)
    original = setting.cost_model(setting.family.original(setting.config))
    archs = candidates(cost, Budget.parse(budget, original(original.space.largest)), count, clock)
    ways: dict[str, Any] = {f"lineage, {eye}": Lineage(supernet, v, plain, judge) for eye, judge in eyes.items()}
    l_od: OutputDistillation = setting.l_od()
    for precision in dict.fromkeys(("fp32", setting.device.precision)):
        scored = SupernetScore(supernet, v, plain, l_od, "l_od", Device(device, precision))
        ways[f"ours, {precision}"] = Ours(cost, scored)
    for way in ways.values():
        way(archs[0])  # the first is slow
    spent = {name: [clocked(owner, names, device) for owner, names in way.parts.items()] for name, way in ways.items()}
    turns = {name: cycle(archs) for name in ways}
    times = measure.in_turns({name: (lambda name=name: ways[name](next(turns[name]))) for name in ways}, device,
                             rounds=len(archs), warm=0)
    mean = {name: sum(seconds) / len(seconds) for name, seconds in times.items()}
    parts = {name: {part: seconds / len(archs) for each in spent[name] for part, seconds in each.items()} for name in ways}

    def at(name: str, many: int) -> float:
        """Seconds of a candidate on `many` pictures."""
        fixed = sum(parts[name][part] for part in ways[name].FIXED)
        return fixed + (mean[name] - fixed) * many / pictures

    ours = f"ours, {setting.device.precision}"
    rows = [{"case": name, "way": way, "pictures": pictures, "s": mean[way], "a second": 1 / mean[way],
             "times ours": mean[way] / mean[ours], f"at {OURS} each": at(way, OURS) / at(ours, OURS),
             f"at {THEIRS} and {OURS}": at(way, THEIRS if isinstance(ways[way], Lineage) else OURS) / at(ours, OURS)}
            for way in ways]
    details = [{"case": name, "way": way, "part": part, "ms": 1000 * seconds, "share": seconds / mean[way]}
               for way in ways for part, seconds in parts[way].items()]
    return rows, details


def cost_speed(name: str, setting: Setting, many: int = MANY) -> dict[str, Any]:
    """Architectures a second of the cost model: many at once, one after another, and again; and of two traced passes."""
    cpu, real = torch.device("cpu"), setting.generator(setting.config, "supernet").eval()
    space, x = real.space, torch.zeros(real.source_shape(setting.size), device=setting.device.device)
    with torch.device("meta"):
        net = setting.family(setting.config)
    made: list[CostModel] = []
    ready = measure.timed(lambda: made.append(CostModel(net, setting.size)), cpu)
    rng, model = Clock(0).rng("archs"), made[0]
    archs = [space.sample(rng) for _ in range(many)]
    few = archs[: max(many // 10, 1)]
    return {"case": name, "ready after, s": ready, "table": many / measure.timed(lambda: model.table(archs), cpu),
            "new": len(few) / measure.timed(lambda: [model(a) for a in few], cpu),
            "known": len(few) / measure.timed(lambda: [model(a) for a in few], cpu),
            "two traced passes": 3 / measure.timed(lambda: [traced_macs(real, x, a) for a in archs[:3] for _ in "12"], cpu)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--pictures", type=int, help="of V, for both ways (default: each case's)")
    parser.add_argument("--calibration", type=int, default=64, help="images for batch norm")
    parser.add_argument("--count", type=int, default=3, help="candidates of each of the three kinds")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    prepare_cpu()  # as a run does
    rows, details, speeds = [], [], []
    eyes = judges(choose().device)
    for name in options.only:
        plain, channels, pictures = CASES[name]
        recipe = Recipe.parse(plain, name).resolved()
        setting = recipe.setting((channels, channels))
        sizes = (options.pictures or pictures, options.calibration, options.count)
        found, parts = compare(name, setting, recipe.budget, sizes, eyes)
        rows, details = rows + found, details + parts
        speeds.append(cost_speed(name, setting))
        print(measure.table(found), flush=True)
    print(measure.table(details))
    print("The cost model, architectures a second:")
    print(measure.table(speeds))
    measure.write(options.out, "search", choose(), rows, parts=details, cost=speeds)


if __name__ == "__main__":
    main()
