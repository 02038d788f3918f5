"""Unified GAN Compression [Ren 2023], both training stages side by side. This is the file to read.

    A = {(x, y)} labelled pairs       U = {u} unlabelled sources        D discriminator
    G_l, G_r, G_s  largest, random and smallest sub-network of one supernet (stage 1)
    G*             the student        T^D, T^W  deep and wide teacher (stage 2)
    L_OD           output distillation loss       Phi  adaptive filter       D_EMA  its threshold

All images are [N, C, H, W] in [-1, 1]. Where the paper is silent see docs/paper-map.md, "our reading".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.config import Config
from ugc.data.stream import Batch
from ugc.losses.augment import Twist
from ugc.losses.distillation import Look
from ugc.methods.aids import Average, OwnLesson
from ugc.methods.method import METHODS, Losses, Method, Phase, Selection, Setting
from ugc.methods.objective import Pairs, judge
from ugc.methods.uniform import uniform_selection
from ugc.models.discriminators import Discriminator, score
from ugc.models.generator import Generator, shrink
from ugc.nn.arch import Arch
from ugc.nn.cost import CostModel
from ugc.search.budget import Budget
from ugc.search.region import spread
from ugc.training.player import Player

TEACHERS = ("deep", "wide")


class UgcConfig(Config):
    """The options of UGC; the defaults are our reading of the paper (docs/paper-map.md).

    sample: how G_r is drawn. filter: direction of Eq. (8), with its EMA's decay. teachers: both, or one alone.
    discriminators: one per teacher, or one for both. order: the student distils from the teachers' outputs `before` their
    update, or recomputed (`paper`). every: n of Algorithm 1. nas_ssl, finetune_ssl, nas: False gives the ablations of
    Tables 3 and 4. finetune_ssl: `A` is a control that the paper lacks, Eq. (9) on a batch of A's sources, so that its work
    is done without unlabelled ones. Not the paper's (methods/aids.py): student: its weights are the supernet's, or fresh;
    supervised: the weight of L_sup^A(G*) beside its distillation; average: decay of the mean of its weights.
    """

    sample: Literal["spread", "uniform"] = "spread"
    filter: Literal["paper", "quality", "off"] = "paper"
    decay: float = Field(default=0.99, ge=0, le=1)
    teachers: Literal["both", "deep", "wide"] = "both"
    discriminators: Literal["own", "shared"] = "own"
    order: Literal["before", "paper"] = "before"
    every: int = Field(default=1, ge=1)
    nas_ssl: bool = True
    finetune_ssl: bool | Literal["A"] = True
    nas: bool = True
    student: Literal["inherited", "fresh"] = "inherited"
    supervised: float = Field(default=0.0, ge=0)
    average: float = Field(default=0.0, ge=0, lt=1)

    @property
    def taught_by(self) -> tuple[str, ...]:
        """The teachers of stage 2."""
        return TEACHERS if self.teachers == "both" else (self.teachers,)


class Supernet(Phase):
    """Stage 1, semi-supervised architecture search: the largest net learns from pairs, the others from it."""

    def __init__(self, config: UgcConfig, setting: Setting, original: Generator | None = None) -> None:
        net, self.began = setting.supernet(original)
        self.G = setting.player(net, "generator")
        self.D = setting.player(setting.discriminator("supernet/D"), "discriminator")
        self.players = {"G": self.G, "D": self.D}
        self.config, self.space = config, net.space
        self.cost = setting.cost_model(setting.config)
        self.objective, self.L_OD = setting.supervised(), setting.l_od()

    def step(self, batch: Batch, clock: Clock) -> Losses:
        """Fig. 3, step 1. UGC Eq. (1): L_stage1 = L_sup^A(G_l) + L_dist^U(G_r, G_s), one update of the shared weights."""
        x, y = batch.source, batch.target
        u = batch.unlabelled if self.config.nas_ssl and len(batch.unlabelled) else x  # no U: distil on A's sources
        l, r, s = self.space.largest, self.draw(clock), self.space.smallest
        pairs, losses = self.objective.pairs(x, y, clock), Losses()

        fake = self.G(x, l)
        with torch.no_grad():  # what the smaller nets are taught
            taught = self.L_OD.look(fake.detach() if u is x else self.G(u, l))

        d_parts, _ = self.objective.d_parts(self.D, pairs, fake.detach())
        self.D.learn([losses.add("D", d_parts)])

        def sandwich() -> Iterator[Tensor]:  # one graph alive at a time
            yield losses.add("G", self.objective.g_parts(self.D, pairs, fake))  # Eq. (4)
            for name, k in (("r", r), ("s", s)):
                parts = self.L_OD(taught, self.L_OD.look(self.G(u, k)))  # Eq. (5)
                yield losses.add("G", {f"{name}.{part}": value for part, value in parts.items()})

        self.G.learn(sandwich())
        return losses

    def about(self) -> dict[str, dict[str, Any]]:
        return {"objective": self.objective.about, "distillation": self.L_OD.about, **self.began}

    def left(self) -> dict[str, Mapping[str, Tensor]]:
        return {"D": self.D.net.state_dict()}

    def draw(self, clock: Clock) -> Arch:
        """The architecture of G_r at this step."""
        rng = clock.rng("arch")
        if self.config.sample == "uniform":
            return self.space.sample(rng)
        return spread(self.space, lambda a: float(self.cost(a).macs_paper), rng)

    def effort(self, clock: Clock) -> float:
        return float(self.cost(self.draw(clock)).macs_paper)

    def nets(self) -> dict[str, Generator]:
        """The supernet; its largest and smallest members are static copies."""
        G = self.G.net
        return {"supernet": G, "largest": shrink(G, self.space.largest), "smallest": shrink(G, self.space.smallest)}


def pictures(player: Player[Generator], *sources: Tensor) -> list[Tensor]:
    """What a net makes of batches of sources [N_i, C, H, W], of which some may be empty.

    One pass where pictures do not touch each other (instance norm): small nets wait for their layers to begin.
    """
    held = [batch for batch in sources if len(batch)]
    if len(held) > 1 and player.net.config.norm == "instance":
        made: Tensor = player(torch.cat(held))
        return list(made.split([len(batch) for batch in held]))
    with player.device.autocast():  # one for all, so that weights are cast once
        return [player(batch) for batch in held]


class Lesson(NamedTuple):
    """What one teacher tells the student in a step."""

    looks: Look  # at T(x) and T(u), one behind the other
    phi: Tensor | None  # [M] Phi of each unlabelled image, 0 or 1


class Distill(Phase):
    """Stage 2, adaptive online semi-supervised distillation: two teachers learn from pairs, the student from them."""

    def __init__(self, config: UgcConfig, setting: Setting, student: Generator, teachers: Mapping[str, Generator],
                 discriminators: Mapping[str, Discriminator]) -> None:
        self.config, self.every = config, config.every
        self.unlabelled = "A" if config.finetune_ssl == "A" else "U"
        self.student = setting.player(student, "generator" if config.supervised else "student")
        self.T = {k: setting.player(teachers[k], "generator") for k in config.taught_by}
        self.D = {name: setting.player(net, "discriminator") for name, net in discriminators.items()}
        self.players = {"student": self.student, **self.T, **self.D}
        self.D_EMA = {k: torch.tensor(float("nan"), device=setting.device.device) for k in self.T}
        self.objective, self.L_OD = setting.supervised(), setting.l_od()
        self.mean = Average(student, config.average) if config.average else None
        self.lesson = OwnLesson(config.supervised, self.objective, self.D["D_student"]) if config.supervised else None

    def judge(self, k: str) -> Player[Discriminator]:
        """The discriminator of teacher k."""
        return self.D["D"] if self.config.discriminators == "shared" else self.D[f"D_{k}"]

    def step(self, batch: Batch, clock: Clock) -> Losses:
        """Fig. 3, step 3. UGC Eq. (6): the teachers and their D learn from A, the student from its teachers on A and U."""
        x, y = batch.source, batch.target
        u = batch.unlabelled if self.config.finetune_ssl else batch.unlabelled[:0]
        losses, teach = Losses(), clock.step % self.config.every == 0
        pairs = self.objective.pairs(x, y, clock) if teach or self.config.supervised else None

        fakes = {k: T(x) for k, T in self.T.items()} if teach else {}
        if self.config.order == "before":
            said = self.said(x, u, fakes, clock)
        if teach and pairs:
            self.teach(pairs, fakes, losses)
        if self.config.order == "paper":  # Eq. (7) with the teachers that have just learnt
            said = self.said(x, u, {}, clock)
        with torch.no_grad():
            lessons = {k: Lesson(self.L_OD.look(image), self.phi(k, scores, clock)) for k, (image, scores) in said.items()}
        looks = self.L_OD.look(torch.cat(pictures(self.student, x, u)))
        loss = self.distil(looks, len(x), lessons, losses)
        if self.lesson and pairs:
            loss = loss + self.lesson(pairs, looks.image[:len(x)], losses)
        self.student.learn([loss])
        if self.mean:
            self.mean.follow(self.student.net)
        return losses

    @torch.no_grad()
    def said(self, x: Tensor, u: Tensor, fakes: Mapping[str, Tensor], clock: Clock) -> dict[str, tuple[Tensor, Tensor]]:
        """By teacher: T(x) and T(u), one behind the other, and D[T(u)]. fakes: T(x) where it is known."""
        found, twist = {}, self.objective.twist(u, clock, "U")
        for k, T in self.T.items():
            images = [fakes[k].detach(), *pictures(T, u)] if k in fakes else pictures(T, x, u)
            image = torch.cat(images)
            found[k] = image, self.score(k, u, image[len(x):], twist)
        return found

    def teach(self, pairs: Pairs, fakes: Mapping[str, Tensor], losses: Losses) -> None:
        """L_sup^A(T^D) + L_sup^A(T^W): each D, then its teachers. UGC Eq. (4) and (6)."""
        for name, D in self.D.items():
            if not (own := [k for k in self.T if self.judge(k) is D]):  # the student's
                continue
            d_parts, judgements = self.objective.d_parts(D, pairs, *(fakes[k].detach() for k in own))
            D.learn([losses.add(name, d_parts)])
            for k, judged in zip(own, judgements):
                mean = processes.mean(score(judged).mean())
                ema = self.D_EMA[k]
                ema.copy_(torch.where(ema.isnan(), mean, self.config.decay * ema + (1 - self.config.decay) * mean))
        for k, T in self.T.items():
            T.learn([losses.add(k, self.objective.g_parts(self.judge(k), pairs, fakes[k]))])

    @torch.no_grad()
    def score(self, k: str, u: Tensor, image: Tensor, twist: Twist | None = None) -> Tensor:
        """D[T(u)] of Eq. (8), [M]: D's score of each image, averaged over its patches, then over scales. Unfiltered: 0."""
        if self.config.filter == "off" or not len(u):
            return u.new_zeros(len(u))
        return score(judge(self.judge(k), u, image, twist=twist)[0])

    def phi(self, k: str, scores: Tensor, clock: Clock) -> Tensor:
        """The adaptive filter: 1, or one coin an image, by D[T(u)] against D_EMA. UGC Eq. (8).

        `paper`: above D_EMA a coin, else 1 (equal counts as below). `quality`: the other way round. `off`: always 1.
        """
        if self.config.filter == "off":
            return torch.ones_like(scores)
        coins = torch.randint(2, (processes.whole(len(scores)),), generator=clock.torch(f"filter/{k}"))
        coin = coins[processes.share(len(coins))].to(scores)
        above = scores > self.D_EMA[k]
        tossed = above if self.config.filter == "paper" else ~above
        return torch.where(tossed, coin, torch.ones_like(coin))

    def distil(self, looks: Look, n: int, lessons: Mapping[str, Lesson], losses: Losses) -> Tensor:
        """L_dist^A(G*) + L_dist^U(G*). UGC Eq. (7) and (9). looks: at G*(x), n of them, and at G*(u)."""
        m, total = len(looks.image), []
        for k, lesson in lessons.items():
            parts = self.L_OD(lesson.looks.rows(0, n), looks.rows(0, n))  # Eq. (7)
            total.append(losses.add("student", {f"A.{k}.{p}": value for p, value in parts.items()}))
            if m > n and lesson.phi is not None:
                parts = self.L_OD(lesson.looks.rows(n, m), looks.rows(n, m))  # Eq. (9)
                total.append(losses.add("student", {f"U.{k}.{p}": lesson.phi * value for p, value in parts.items()}))
        return torch.stack(total).sum()

    def nets(self) -> dict[str, Generator]:
        student = self.mean.net if self.mean else self.student.net
        return {"student": student, **{f"{k}_teacher": T.net for k, T in self.T.items()}}

    def about(self) -> dict[str, dict[str, Any]]:
        return {"objective": self.objective.about, "distillation": self.L_OD.about}

    def extra(self) -> dict[str, Tensor]:
        return {**self.D_EMA, **(self.mean.state() if self.mean else {})}

    def restore_extra(self, state: Mapping[str, Tensor]) -> None:
        for k, value in self.D_EMA.items():
            value.copy_(state[k])
        if self.mean:
            self.mean.restore(state)


@METHODS.register("ugc")
class Ugc(Method):
    """Supernet, search, distillation; with `nas=False` a uniform net and uniform teachers from fresh weights."""

    Config = UgcConfig
    name = "ugc"

    @property
    def taught_by(self) -> tuple[str, ...]:
        taught_by: tuple[str, ...] = self.config.taught_by
        return taught_by

    def sees_unlabelled(self, stage: str) -> bool:
        """Not the search without NAS-SSL, for one: no net is chosen by what it learns from unlabelled sources."""
        if stage == "distill":
            return self.config.finetune_ssl is True
        return bool(self.config.nas_ssl) and super().sees_unlabelled(stage)

    def judges(self, stage: str) -> tuple[str, ...]:
        """Stage 2: the teachers', and the student's where it learns from pairs itself."""
        if stage != "distill":
            return ("D",)
        teachers = ("D",) if self.config.discriminators == "shared" else tuple(f"D_{k}" for k in self.taught_by)
        return (*teachers, "D_student") if self.config.supervised else teachers

    @classmethod
    def stages(cls, config: UgcConfig) -> tuple[str, ...]:
        return ("supernet", "search", "distill") if config.nas else ("distill",)

    @classmethod
    def result(cls) -> str:
        return "student"

    def phase(self, stage: str, inherited: Mapping[str, Any]) -> Phase:
        """Algorithm 1. Stage 2 inherits all three nets from the supernet and every D from stage 1's.

        A given original is where the supernet begins; the paper trains its own.
        """
        if stage == "supernet":
            return Supernet(self.config, self.setting, inherited.get("original"))
        chosen: Selection = inherited["selection"]
        nets = {role: self.net(role, arch, inherited) for role, arch in chosen.archs.items()}
        judges = {name: self.setting.discriminator("distill/D") for name in self.judges("distill")}
        if self.config.nas:
            for judge in judges.values():
                judge.load_state_dict(inherited["D"])
        return Distill(self.config, self.setting, nets["student"], nets, judges)

    def net(self, role: str, arch: Arch, inherited: Mapping[str, Any]) -> Generator:
        """One of stage 2's nets as it begins: with the supernet's weights, or with fresh ones."""
        if self.config.nas and not (role == "student" and self.config.student == "fresh"):
            return shrink(inherited["supernet"], arch)
        return self.setting.generator(self.setting.config.model_copy(update={"arch": arch.text}), f"distill/{role}")

    def select_by_rule(self, budget: Budget, cost: CostModel) -> Selection | None:
        """Table 4's "w/o NAS": the uniform net of the budget, and uniform teachers."""
        return None if self.config.nas else uniform_selection(cost, budget)

    def steps(self, stage: str, steps: Mapping[str, int]) -> int:
        """Without NAS the distillation gets both stages' steps, so that as many are taken in all."""
        return steps[stage] + (steps["supernet"] if stage == "distill" and not self.config.nas else 0)
