"""From a trained supernet to G*, the deep and the wide teacher: the score, what was scored, and the three searches.

    score(a) = mean over v in V of L_OD(G_l(v), G_a(v))        V: held-out sources that no stage trains on

The paper does not say its score; this one needs no label and never sees the test split. A method that imitates an
original has that net in the place of G_l. The reference's looks at V are computed once. Every candidate is a shrunk copy,
its batch norm recalibrated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import Device
from ugc.core.log import Bar, add_rows, finite, keep_rows, read_log
from ugc.data.stream import Sources
from ugc.losses.distillation import Look, OutputDistillation, summed
from ugc.losses.reconstruction import l1
from ugc.methods.method import Selection
from ugc.methods.uniform import even, uniform_selection
from ugc.models.generator import Generator, shrink
from ugc.nn.arch import Arch
from ugc.nn.cost import CostModel
from ugc.nn.shrink import recalibrate
from ugc.search.budget import Budget
from ugc.search.evolution import SearchConfig, evolve
from ugc.search.region import TRIES, Region, just_below, spread
from ugc.search.teachers import teacher_regions

CHUNK = 16  # images a forward pass
CACHE = 2 << 30  # bytes of looks at V that are kept; beyond it they are made again for every candidate


class SelectionConfig(SearchConfig):
    """validation: images of V (at most 10 % of U). recalibrate: sources for batch norm. random: nets drawn for the front.

    score: `l_od` (default), or `l1` or `ssim`, to the pictures of the largest net (of the original that is imitated).
    student: an arch's text, such as a point of the front: taken as G* instead of a search for it. deep, wide: the same of
    the teachers, such as those of another run that this one is to be compared with.
    trials: about how many nets are distilled for `trial` steps each before G* is chosen among them (`trial.py`); 0 takes the
    best by the supernet's score.
    """

    validation: int = Field(default=256, ge=1)
    recalibrate: int = Field(default=256, ge=1)
    random: int = Field(default=64, ge=0)
    score: Literal["l_od", "l1", "ssim"] = "l_od"
    student: str = ""
    deep: str = ""
    wide: str = ""
    trials: int = Field(default=25, ge=0)
    trial: int = Field(default=200, ge=1)

    @property
    def of_trials(self) -> SearchConfig:
        """The evolution over nets that are tried: three generations, a quarter parents; of few nets one generation."""
        few = self.trials < 8
        return self.model_copy(update={"population": self.trials if few else max(4, round(self.trials / 2.5)),
                                       "generations": 0 if few else 2, "parents": 0.25})

    @property
    def tried(self) -> int:
        """How many nets that evolution tries: 8 for 10, 26 for 25."""
        trials = self.of_trials
        return trials.population + trials.generations * (trials.population - trials.survivors)


class SupernetScore:
    """score(arch) on V: lower is better.

    Args:
        supernet: trained, on the device.
        v: held-out sources; calibration: training sources without augmentation.
        reference: whose pictures a candidate's are compared with; None: the largest member's.
    """

    def __init__(self, supernet: Generator, v: Sources, calibration: Sources, l_od: OutputDistillation,
                 kind: str, device: Device, reference: Generator | None = None) -> None:
        self.supernet, self.kind, self.device = supernet.eval(), kind, device
        self.l_od = l_od if kind == "l_od" else l_od.only_ssim()  # what is not asked for is not looked at
        self.v = v.split(CHUNK)
        self.calibration = calibration.split(CHUNK)
        teacher = reference or self.member(supernet.space.largest)
        self.pictures = [self.run(teacher, chunk) for chunk in self.v]
        first = self.look(self.pictures[0])
        size = sum(t.numel() * 4 for t in (first.image, first.moments.mu, first.moments.second, *first.grams)
                   ) + (first.feature.numel() * 4 if first.feature is not None else 0)
        self.looks = [self.look(p) for p in self.pictures] if size * len(self.v) < CACHE else None

    def member(self, arch: Arch) -> Generator:
        """A static, recalibrated copy of one sub-network."""
        net = shrink(self.supernet, arch)
        self.device.settle(net)
        with self.device.autocast():
            recalibrate(net, (self.device.laid_out(chunk) for chunk in self.calibration))
        return net

    @torch.no_grad()
    def run(self, net: Generator, chunk: Tensor) -> Tensor:
        with self.device.autocast():
            out: Tensor = net(self.device.laid_out(chunk))
        return out

    @torch.no_grad()
    def look(self, pictures: Tensor) -> Look:
        return self.l_od.look(pictures)

    @torch.no_grad()
    def __call__(self, arch: Arch) -> float:
        with self.device.autocast():  # one for all, so that weights are cast once
            return self.of(self.member(arch))

    @torch.no_grad()
    def of(self, net: Generator) -> float:
        """The score of a static net."""
        with self.device.autocast():
            return float(torch.cat([self.distances(i, self.run(net, chunk)) for i, chunk in enumerate(self.v)]).mean())

    def distances(self, i: int, pictures: Tensor) -> Tensor:
        """Of each of a candidate's pictures of chunk `i` of V, [n]."""
        if self.kind == "l1":
            return l1(pictures, self.pictures[i])
        taught = self.looks[i] if self.looks else self.look(self.pictures[i])
        return summed(self.l_od(taught, self.look(pictures)))


class Scoreboard:
    """All scores of a run, kept in `candidates.jsonl` as they come, so that a killed search goes on.

    Several processes score one net each at a time, and all know all scores; the first one writes them. `after` is called
    after each such round.
    """

    def __init__(self, path: Path, cost: CostModel, score: Callable[[Arch], float], bar: Bar | None = None,
                 after: Callable[[], None] = lambda: None) -> None:
        self.path, self.cost, self.score, self.bar, self.after = path, cost, score, bar, after
        self.role, self.generation = "", 0
        self.rows: dict[str, dict[str, Any]] = {r["arch"]: r for r in read_log(path) if {"arch", "score"} <= r.keys()}
        processes.wait()  # all have read it
        keep_rows(path, self.rows.values())

    def __call__(self, archs: Sequence[Arch]) -> list[float]:
        new = [arch for arch in dict.fromkeys(archs) if arch.text not in self.rows]
        self._told(len(archs) - len(new))
        for at in range(0, len(new), processes.size()):
            some = new[at : at + processes.size()]
            mine = some[min(processes.rank(), len(some) - 1)]  # the last round may have fewer nets than processes
            for arch, value in zip(some, processes.gather(self.score(mine))):
                self._keep(arch, value)
            self.after()
            self._told(len(some), f"{self.role} {self._score(some[-1]):.4g}")
        return list(map(self._score, archs))

    def _score(self, arch: Arch) -> float:
        """NaN where its pictures are not finite."""
        known = self.rows[arch.text]["score"]
        return math.nan if known is None else float(known)

    def _keep(self, arch: Arch, score: float) -> None:
        cost = self.cost(arch)
        row = {"arch": arch.text, "role": self.role, "generation": self.generation, "score": finite(score),
               "params": cost.params, "macs": cost.macs, "macs_paper": cost.macs_paper}
        self.rows[arch.text] = row
        add_rows(self.path, [row])

    def _told(self, count: int, note: str = "") -> None:
        if self.bar and count:
            self.bar.advance(count, note)

    def search(self, role: str, region: Region, config: SearchConfig, clock: Clock) -> Arch:
        """One evolution, its rows marked with its role."""
        self.role, self.generation = role, 0

        def told(generation: int, scores: Any) -> None:
            self.generation = generation + 1

        return evolve(region, self, config, clock, role, told)

    def all(self, role: str, archs: Iterable[Arch]) -> None:
        """Score these, too."""
        self.role, self.generation = role, 0
        self(list(archs))


def planned(config: SelectionConfig, ladder: int, teachers: bool = True) -> int:
    """About how many scores `select` asks for."""
    each = config.population * (config.generations + 1)
    return (3 if teachers else 1) * each + ladder + config.random + config.tried


def computed(config: SelectionConfig, ladder: int, teachers: bool = True) -> dict[str, int]:
    """About how many of these are computed, by role: those of a generation's survivors are known."""
    each = config.population + config.generations * max(config.population - config.survivors, 0)
    roles = {role: 1 if getattr(config, role) else each for role in ("student", *(("deep", "wide") if teachers else ()))}
    roles["student"] += config.trials > 0 and not config.student  # the one that was chosen
    return {**roles, "ladder": ladder, "random": config.random}


def expected(cost: CostModel, budget: Budget, config: SelectionConfig, clock: Clock, teachers: bool = True) -> Selection:
    """What `select` may choose, before there is a supernet: nets drawn from where it looks.

    Where none is met, that of `uniform_selection`.
    """
    space, rule = cost.space, uniform_selection(cost, budget)
    student = space.parse(config.student) if config.student else _met(just_below(
        space, lambda a: budget.of(cost(a)), budget.limit, clock.rng("window/student")), clock, "student") or rule.student
    if not teachers:
        return Selection(student)
    regions = teacher_regions(space, lambda a: float(cost(a).macs_paper), student)
    deep = space.parse(config.deep) if config.deep else _met(regions.deep.widened(clock.rng("window/deep")), clock, "deep")
    wide = space.parse(config.wide) if config.wide else _met(regions.wide.widened(clock.rng("window/wide")), clock, "wide")
    return Selection(student, deep or rule.deep, wide or rule.wide)


def _met(region: Region, clock: Clock, role: str) -> Arch | None:
    """The first net that is met in a region, as in a search's first generation."""
    rng = clock.rng(role)
    return next((arch for _ in range(TRIES) if (arch := region.draw(rng)) is not None), None)


def select(board: Scoreboard, budget: Budget, config: SelectionConfig, clock: Clock, teachers: bool = True,
           tried: Callable[[Sequence[Arch]], Sequence[float]] | None = None) -> tuple[Selection, tuple[str, ...]]:
    """Search G*, then its teachers, then score the uniform ladder and random nets for the front. UGC Sec. 3.2.

    Args:
        teachers: False for a method that has none.
        tried: scores of nets after a trial each; given where the config asks for trials.

    Returns:
        The selection, and sentences on what was clipped.
    """
    cost, space = board.cost, board.cost.space

    def macs_paper(arch: Arch) -> float:
        return float(cost(arch).macs_paper)

    def limited(arch: Arch) -> float:
        return budget.of(cost(arch))

    budget.check_reachable(cost(space.smallest), cost(space.largest))
    if config.student:
        student = space.parse(config.student)
        budget.check_named("search.student", cost(student))
        board.all("student", [student])
    else:
        region = just_below(space, limited, budget.limit, clock.rng("window/student"))
        student = board.search("student", region, config, clock)
        if tried and config.trials:
            first = [arch for arch in (student, even(cost, budget)) if budget.holds(cost(arch))][: config.trials]
            student = evolve(region, tried, config.of_trials, clock, "trials", first=first)
            board.all("student", [student])
    found, notes = _teachers(board, student, config, clock) if teachers else ({}, ())
    board.all("ladder", space.ladder())
    rng = clock.rng("random nets of the front")
    board.all("random", [spread(space, macs_paper, rng) for _ in range(config.random)])
    return Selection(student, **found), notes


def _teachers(board: Scoreboard, student: Arch, config: SelectionConfig, clock: Clock
              ) -> tuple[dict[str, Arch], tuple[str, ...]]:
    """The deep and the wide teacher of a student, and what was clipped."""
    regions = teacher_regions(board.cost.space, lambda a: float(board.cost(a).macs_paper), student)
    notes, found = regions.notes, {}
    for role, asked in (("deep", regions.deep), ("wide", regions.wide)):
        if named := getattr(config, role):
            found[role] = board.cost.space.parse(named)
            board.all(role, [found[role]])
            continue
        region = asked.widened(clock.rng(f"window/{role}"))
        if region.low < asked.low:
            notes = (*notes, f"{role} teacher: no net within 5 % of the cost aimed at; the window was widened")
        found[role] = board.search(role, region, config, clock)
    if found["deep"] == found["wide"]:
        notes = (*notes, "the deep and the wide teacher are the same net: the space offers no two of that cost")
    return found, notes
