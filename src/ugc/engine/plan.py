"""What a run will do, before it does it: stages, sizes, budget, and a reckoning of memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ugc.core import rank
from ugc.models.discriminators import Discriminator
from ugc.models.generator import GeneratorConfig
from ugc.nn.arch import Arch
from ugc.nn.backbones import BACKBONES
from ugc.nn.cost import Cost, TimedCost
from ugc.search.budget import short

if TYPE_CHECKING:
    from ugc.engine.job import Job

ADAM = 16  # bytes a parameter that learns: fp32 weight, gradient and Adam's two moments
BESIDE = 1.25  # gradients and workspace beside what a forward pass keeps; measured on four families: 1.2 to 1.3
PROCESS = 340 << 20  # Python and torch themselves


def plan(run: Job) -> list[str]:
    """Lines for `ugc run --dry-run`."""
    recipe, s, cost = run.recipe, run.setting, run.cost
    space, trained = cost.space, [name for name in run.stages if name not in ("search", "test")]
    original = run.original_cost
    counts = run.about()["counts"]
    pairs = "" if run.method.imitates else f"{counts['labelled']} pairs, "
    lines = [
        f"data     {run.dataset.name}: {pairs}{counts['unlabelled']} unlabelled, "
        f"{counts['validation']} held out, {counts['test']} test; {s.config.in_channels} -> {s.config.out_channels} "
        f"channels at {s.size[0]}x{s.size[1]}",
        *(f"         {note}" for note in run.about()["notes"]),
        f"family   {recipe.family}, base {recipe.base}: {space.count:.3g} sub-networks",
        f"original {line(original)}",
        f"largest  {line(cost(space.largest))}",
        f"smallest {line(cost(space.smallest))}",
        f"budget   {run.budget.text}: at most {run.budget.most}",
        *([f"         {run.timing.text}"] if run.timing else []),
        f"device   {s.device.text}",
        "stages   " + ", ".join(f"{n} ({run.steps(n):,} steps)" if n in trained else n for n in run.stages),
    ]
    memory = {name: reckoned(run, name) for name in trained}
    lines += [f"memory   {name}: about {size / 2**30:.2f} GiB" for name, size in memory.items()]
    return lines


def line(cost: Cost) -> str:
    timed = f", {cost.latency_ms:.4g} ms" if isinstance(cost, TimedCost) else ""
    return f"{short(cost.params)} parameters, {short(cost.macs)} macs, {short(cost.macs_paper)} macs_paper{timed}"


def reckoned(run: Job, stage: str) -> float:
    """Bytes at the peak of a stage, about, in each process: weights with Adam's state, and what is kept for gradients."""
    s, space, batch = run.setting, run.cost.space, run.recipe.batch // rank.size()
    width = 0.5 if s.device.precision in ("bf16", "fp16") else 1.0
    with torch.device("meta"):
        judge = Discriminator(s.judged_channels, s.patch)
        x, y = (torch.empty(batch, channels, *s.size) for channels in (s.config.in_channels, s.config.out_channels))

    def generator(config: GeneratorConfig) -> tuple[float, float]:
        """Bytes of weights, and kept."""
        with torch.device("meta"):
            net = s.family(config)
        return _weights(net), width * kept_bytes(net, x)

    def member(arch: Arch) -> tuple[float, float]:
        return generator(s.config.model_copy(update={"arch": arch.text}))

    look = _seen(s.distillation.backbone, y)
    judges = run.method.judges(stage)
    learn = len(judges) * _weights(judge)
    judged = 2 * width * kept_bytes(judge, x, y) + _seen(s.objective.backbone, y) if judges else 0.0
    if stage == "supernet":
        weights, kept = member(space.largest)
        return PROCESS + weights + learn + BESIDE * (kept + max(judged, look))
    if stage != "distill":  # a net against its D
        weights, kept = generator(s.family.original(s.config)) if stage == "original" else member(run.expected.student)
        return PROCESS + weights + learn + BESIDE * (kept + judged)
    archs, taught_by = run.expected.archs, run.method.taught_by
    weights, kept = member(archs["student"])
    pupil = 2 * (kept + look)  # on A's sources and on U's
    if "D_student" in judges:
        pupil += judged
    teachers = [member(archs[role]) for role in taught_by]
    weights += sum(own for own, _ in teachers)
    return PROCESS + weights + learn + BESIDE * max(sum(more for _, more in teachers) + judged, pupil)


def kept_bytes(net: torch.nn.Module, *given: Tensor) -> float:
    """What a forward pass of a net on the meta device keeps for its gradient, in fp32: every storage once, no parameter."""
    own = {p.untyped_storage()._cdata for p in net.parameters()}
    kept = dict[int, Tensor]()  # alive, so that no two storages have one number

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        net(*given[:-1], given[-1].clone().requires_grad_())
    return float(sum(tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in own))


def _weights(net: torch.nn.Module) -> float:
    return float(ADAM * sum(p.numel() for p in net.parameters()))


def _seen(backbone: str, pictures: Tensor) -> float:
    """What a backbone keeps of pictures for the gradient."""
    if backbone == "none":
        return 0.0
    with torch.device("meta"):
        return kept_bytes(BACKBONES[backbone](), pictures)
