"""What a run will do, before it does it: stages, sizes, budget, and a reckoning of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ugc.core import rank
from ugc.models.discriminators import Discriminator
from ugc.nn.arch import Arch
from ugc.nn.backbones import BACKBONES
from ugc.nn.cost import Cost, trace
from ugc.search.budget import short
from ugc.search.teachers import teacher_regions

if TYPE_CHECKING:
    from ugc.engine.job import Job

ADAM = 16  # bytes a parameter that learns: fp32 weight, gradient and Adam's two moments
COPIES = 4.0  # saved activations for each layer's output: input of norm, of ReLU, padded copy; measured at about 4


def plan(run: Job) -> list[str]:
    """Lines for `ugc run --dry-run`."""
    recipe, s, cost = run.recipe, run.setting, run.cost
    space, trained = cost.space, recipe.steps.model_dump()
    original = run.original_cost
    counts = run.about()["counts"]
    pairs = "" if run.method.imitates else f"{counts['labelled']} pairs, "
    lines = [
        f"data     {run.dataset.name}: {pairs}{counts['unlabelled']} unlabelled, "
        f"{counts['validation']} held out, {counts['test']} test; {s.config.in_channels} -> {s.config.out_channels} "
        f"channels at {s.size[0]}x{s.size[1]}",
        *(f"         {note}" for note in run.about()["notes"]),
        f"family   {recipe.family}, base {recipe.base}: {len(space):.3g} sub-networks",
        f"original {line(original)}",
        f"largest  {line(cost(space.largest))}",
        f"smallest {line(cost(space.smallest))}",
        f"budget   {run.budget.text}: at most {short(run.budget.limit)} {run.budget.key}",
        f"device   {s.device.text}",
        "stages   " + ", ".join(f"{n} ({run.steps(n):,} steps)" if n in trained else n for n in run.stages),
    ]
    memory = {name: reckoned(run, name) for name in run.stages if name in trained}
    lines += [f"memory   {name}: about {size / 2**30:.2f} GiB" for name, size in memory.items()]
    return lines


def line(cost: Cost) -> str:
    return f"{short(cost.params)} parameters, {short(cost.macs)} macs, {short(cost.macs_paper)} macs_paper"


def reckoned(run: Job, stage: str) -> float:
    """Bytes at the peak of a stage, about, in each process: weights with Adam's state, and activations."""
    s, space, batch = run.setting, run.cost.space, run.recipe.batch // rank.size()
    width = 2 if s.device.precision in ("bf16", "fp16") else 4

    def activations(arch: Arch | None, original: bool = False) -> float:
        with torch.device("meta"):
            net = s.family(s.family.original(s.config) if original else s.config)
        return COPIES * width * batch * sum(x.width * x.grid_out for x in trace(net, arch, s.size))

    with torch.device("meta"):
        judge = sum(p.numel() for p in Discriminator(s.judged_channels, s.patch).parameters())
    grids = sum(0.25**i for i in range(s.patch.scales or 1)) * s.size[0] * s.size[1] / 4
    judge_bytes = ADAM * judge + COPIES * width * 2 * batch * (s.patch.ndf or 0) * grids
    judge_bytes += batch * seen_bytes(s.objective.backbone, s.size)
    if run.method.imitates:
        judge_bytes = 0.0
    if stage == "original":
        return ADAM * run.original_cost.params + activations(None, original=True) + judge_bytes
    if stage == "supernet":
        return ADAM * run.cost(space.largest).params + activations(space.largest) + judge_bytes
    budget = run.budget
    student = max((a for a in space.ladder() if budget.holds(run.cost(a))), key=lambda a: run.cost(a).macs,
                  default=space.smallest)
    if not run.method.teachers:
        return ADAM * run.cost(student).params + activations(student)
    target = teacher_regions(space, lambda a: float(run.cost(a).macs_paper), student).target
    teacher = min(space.ladder(), key=lambda a: abs(run.cost(a).macs_paper - target))
    params = 2 * run.cost(teacher).params + run.cost(student).params
    return ADAM * params + 2 * activations(teacher) + 2 * activations(student) + 2 * judge_bytes


def seen_bytes(backbone: str, size: tuple[int, int]) -> float:
    """What a backbone saves of one picture of `size` for the gradient: each convolution's output, before and after its
    activation, in fp32."""
    if backbone == "none":
        return 0.0
    outputs: list[int] = []
    with torch.device("meta"):
        net = BACKBONES[backbone]()
        for layer in net.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(lambda _module, _given, out: outputs.append(out.numel()))
        net(torch.empty(1, 3, *size))
    return 2 * 4 * float(sum(outputs))
