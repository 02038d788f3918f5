"""What a training step of each stage costs beside a straightforward version of itself, and beside this machine.

    python benchmarks/step.py --out step.json
    python benchmarks/step.py --family pix2pix-resnet --size 256 --batch 4 --precision fp32 bf16 --rounds 5

From 128 px on the sizes are OMGD's: base 64, the student 16 wide, the wide teacher 64 with nothing inserted, the deep one 16
with every slot full, D 128 wide. Below they are those of the recipe sans2serif-demo. Nets are fresh, pictures are noise.

    stage 1           Supernet.step; G_r costs what it costs in the mean
    stage 2 teaching  Distill.step with an update of the teachers and their Ds; `alone`: the student's update only
    GMACs             of the step's convolutions, forward and backward: the useful work, also of the straightforward version
    of peak           these over median seconds, of the rate of the best 3x3 convolution, measured in the same process
    of plain          median seconds, of those of the straightforward version in fp32 (straightforward.py), timed in turns
    GB                most memory, of a process of its own that takes one whole step: resident, on CUDA what tensors took

Every process keeps the memory that it frees, as a run does, the straightforward version's too.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import convolution_peak, in_turns, median, stock_layers, table, timed, write
from parts import watched
from straightforward import Straightforward
from torch.utils.flop_counter import FlopCounterMode

from ugc.core.clock import Clock
from ugc.core.device import choose, prepare_cpu
from ugc.data.stream import Batch
from ugc.engine.recipe import Recipe
from ugc.methods.method import Phase, Selection
from ugc.methods.ugc import Supernet, Ugc, UgcConfig
from ugc.methods.uniform import uniform_selection
from ugc.nn.backbones import BACKBONES
from ugc.recipes.table import SANS2SERIF
from ugc.search.budget import Budget

FAMILIES = ("pix2pix-resnet", "pix2pix-unet")
STEPS = ("stage 1", "stage 2 teaching", "stage 2 alone")
PLAIN = "straightforward"
PRECISIONS = ("fp32", "tf32", "bf16")
TYPES = {"tf32": "fp32"}
GOALS = {"fp32": "0.85 of plain, 60 % of peak", "bf16": "0.5 of plain"}  # at 256x256, issue 6
PATIENCE = 25.0  # seconds that the rounds of a step may take, unless --rounds says how many
LEAST, MOST = 2, 15  # rounds


class Case(NamedTuple):
    """A step of a phase at some sizes, on a device."""

    recipe: Recipe
    channels: tuple[int, int]
    step: str  # of STEPS
    device: str = "auto"

    @property
    def text(self) -> str:
        data, batch = self.recipe.data, self.recipe.batch
        return f"{self.recipe.family} {data.size[0]} b{batch}, {self.step}"


def recipe_of(family: str, size: int, batch: int, backbone: str | None) -> tuple[Recipe, tuple[int, int]]:
    """The sizes of a case, and its channels: the papers' from 128 px on, else the demo's."""
    if size >= 128:
        fields: dict[str, Any] = {"base": 64, "distillation": {"backbone": backbone or "lite0"}}
    else:
        fields = {**SANS2SERIF, "generator": SANS2SERIF["generator"] if family == "pix2pix-resnet" else {}}
        if backbone:
            fields["distillation"] = {"backbone": backbone}
    fields |= {"family": family, "batch": batch, "data": {"path": "noise", "size": size}}
    return Recipe.parse(fields, "benchmark"), (3, 3) if size >= 128 else (1, 1)


def phase_of(case: Case, precision: str) -> Phase:
    """The phase of a case with fresh weights."""
    recipe = case.recipe.model_copy(update={"device": case.device, "precision": TYPES.get(precision, precision)})
    setting = recipe.setting(case.channels)
    method = Ugc(UgcConfig(every=2), setting)
    if case.step == "stage 1":
        return method.phase("supernet", {})
    cost = setting.cost_model(setting.config)
    if recipe.budget:
        original = setting.cost_model(setting.family.original(setting.config))
        chosen = uniform_selection(cost, Budget.parse(recipe.budget, original(original.space.largest)))
    else:  # OMGD's
        narrow, space = recipe.base // 4, cost.space
        chosen = Selection(space.uniform(narrow, 0), space.uniform(narrow, 2), space.uniform(recipe.base, 0))
    left = {"selection": chosen, "supernet": setting.generator(setting.config, "supernet"),
            "D": setting.discriminator("supernet/D").state_dict()}
    return method.phase("distill", left)


def clock_of(phase: Phase, step: str) -> Clock:
    """Stage 1: of 64 steps the one whose G_r is nearest to their mean cost. Stage 2: even steps teach, odd ones do not."""
    if not isinstance(phase, Supernet):
        return Clock(0, STEPS.index(step) - 1)
    clocks = [Clock(0, i) for i in range(64)]
    costs = [float(phase.cost(phase.draw(clock)).macs) for clock in clocks]
    mean = sum(costs) / len(costs)
    return min(zip(clocks, costs), key=lambda pair: abs(pair[1] - mean))[0]


def noise(case: Case, device: torch.device) -> Batch:
    """As many pairs as sources without a target."""
    generator, (source, target) = Clock(0).torch("pictures"), case.channels
    shapes = [(case.recipe.batch, channels, *case.recipe.data.size) for channels in (source, target, source)]
    return Batch(*((torch.rand(shape, generator=generator) * 2 - 1).to(device) for shape in shapes))


def first(batch: Batch) -> Batch:
    return Batch(batch.source[:1], batch.target[:1], batch.unlabelled[:1])


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """On CUDA: whether fp32 is computed as TF32."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        for backend, value in zip(backends, before):
            backend.allow_tf32 = value


def stepping(who: Phase | Straightforward, batch: Batch, clock: Clock, precision: str) -> Callable[[], None]:
    def call() -> None:
        with arithmetic(precision):
            who.step(batch, clock)
    return call


# ---- work ----

def _forward(x: list[int], w: list[int], *rest: Any, out_shape: list[int] | None = None, **_: Any) -> int:
    """2 x multiply-adds of aten.convolution: each weight meets each place of the smaller grid. Groups are in w's shape."""
    transposed, shape = rest[4], out_shape or [0]
    return 2 * x[0] * math.prod(w) * math.prod((x if transposed else shape)[2:])


def _backward(gradient: list[int], x: list[int], w: list[int], *rest: Any, **_: Any) -> int:
    """As many again for the input's gradient and for the weight's (torch's own count takes grouped ones for full ones)."""
    transposed, wanted = rest[4], rest[7]
    return 2 * x[0] * math.prod(w) * math.prod((x if transposed else gradient)[2:]) * (wanted[0] + wanted[1])


def convolutions(call: Callable[[], Any]) -> float:
    """Multiply-adds of all convolutions of a call."""
    aten = torch.ops.aten
    mapping = {aten.convolution: _forward, aten.convolution_backward: _backward}
    with stock_layers(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        call()
    found = counter.get_flop_counts().get("Global", {})
    return sum(flops for operator, flops in found.items() if "convolution" in str(operator)) / 2


# ---- what runs in processes of its own ----

def time_of(case: Case, precisions: tuple[str, ...], rounds: int | None) -> dict[str, Any]:
    """Times of the versions in turns, the useful work, the peaks and the parts of a case."""
    prepare_cpu()
    phases = {name: phase_of(case, name) for name in precisions}
    plain = Straightforward(phase_of(case, "fp32"))
    one, device = phases[precisions[0]], choose(case.device, "fp32").device
    batch, clock = noise(case, device), clock_of(one, case.step)
    macs = case.recipe.batch * convolutions(lambda: one.step(first(batch), clock))
    peaks = {}
    for name in precisions:
        with arithmetic(name):
            peaks[name] = convolution_peak(choose(case.device, TYPES.get(name, name)), least=0.4)
    calls = {PLAIN: stepping(plain, batch, clock, "fp32"),
             **{name: stepping(phase, batch, clock, name) for name, phase in phases.items()}}
    warm = sum(timed(call, device) for call in calls.values())
    times = in_turns(calls, device, rounds or max(LEAST, min(MOST, int(PATIENCE / warm))), warm=0)
    parts = {name: where(calls[name], phase, device) for name, phase in phases.items()}
    return {"macs": macs, "peaks": peaks, "times": times, "parts": parts}


def where(step: Callable[[], None], phase: Phase, device: torch.device) -> dict[str, float]:
    """Seconds by part, in one more step."""
    with watched(phase, device) as parts:
        step()
    return parts.seconds


def memory_of(case: Case, version: str) -> float:
    """Most bytes of this process while it builds the case and takes one whole step, after one with a single picture.

    The first makes the optimisers' state. Resident memory; on CUDA what tensors took in that step.
    """
    prepare_cpu()
    phase, device = phase_of(case, "fp32" if version == PLAIN else version), choose(case.device, "fp32").device
    batch, clock, step = noise(case, device), clock_of(phase, case.step), phase.step
    if version == PLAIN:
        step = Straightforward(phase).step
        del phase
    with arithmetic(version):
        step(first(batch), clock)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        step(batch, clock)
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    for line in Path("/proc/self/status").read_text().splitlines():  # getrusage would tell of who started this process, too
        if line.startswith("VmHWM:"):
            return 1024.0 * int(line.split()[1])
    return math.nan


def apart(function: Callable[..., Any], *words: Any) -> Any:
    """function(*words) in a fresh process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ugc.methods.ugc"])  # imports take seconds; nothing is computed there
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *words).result()


# ---- what people read ----

def rows_of(case: Case, precisions: tuple[str, ...], found: Mapping[str, Any], memory: Mapping[str, float]
            ) -> list[dict[str, Any]]:
    """A row for each version."""
    base, rows = median(found["times"][PLAIN]), []
    for name, times in found["times"].items():
        rate, kind = found["macs"] / median(times), "fp32" if name == PLAIN else name
        share = f"{100 * rate / found['peaks'][kind]:.0f} %" if kind in precisions else "-"
        rows.append({"case": case.text, "version": name, "median s": median(times), "least s": min(times),
                     "GMACs": found["macs"] / 1e9, "of peak": share, "of plain": median(times) / base,
                     "GB": memory[name] / 1e9, "rounds": len(times),
                     "goal": GOALS.get(name, "") if case.recipe.data.size == (256, 256) else ""})
    return rows


def parts_table(parts: Mapping[str, Mapping[str, float]]) -> str:
    """Milliseconds and shares by part, a column for each precision."""
    names = list(dict.fromkeys(name for seconds in parts.values() for name in seconds))
    return table([{"part": name, **{f"{kind}, ms": f"{1000 * seconds.get(name, 0):.1f} "
                                    f"({100 * seconds.get(name, 0) / sum(seconds.values()):.0f} %)"
                                    for kind, seconds in parts.items()}} for name in names])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--size", nargs="+", type=int, default=(256, 64))
    parser.add_argument("--batch", nargs="+", type=int, help="default: 1 and 4 from 128 px on, else 8")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="default: fp32 and bf16, on CUDA tf32, too")
    parser.add_argument("--backbone", choices=("lite0", "vgg16"), help="of L_OD; default: lite0 from 128 px on, else none")
    parser.add_argument("--rounds", type=int, help=f"default: as many as fit in {PATIENCE:.0f} s, {LEAST} to {MOST}")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.backbone and not BACKBONES[options.backbone].cached():
        parser.error(f"--backbone {options.backbone}: its weights are not on this machine")
    device = choose(options.device, "fp32")
    cuda = device.device.type == "cuda"
    precisions = tuple(options.precision or (PRECISIONS if cuda else ("fp32", "bf16")))
    if "tf32" in precisions and not cuda:
        parser.error("--precision tf32 needs CUDA")
    rows: list[dict[str, Any]] = []
    also: dict[str, dict[str, Any]] = {"peaks": {}, "times": {}, "parts": {}}
    try:
        for case in cases(options):
            found = apart(time_of, case, precisions, options.rounds)
            memory = {version: apart(memory_of, case, version) for version in (PLAIN, *precisions)}
            new = rows_of(case, precisions, found, memory)
            peaks = ", ".join(f"{name} {peak / 1e9:.0f}" for name, peak in found["peaks"].items())
            print(f"\n{case.text}: peak {peaks} GMAC/s\n{table(new)}\n{parts_table(found['parts'])}\n", flush=True)
            rows += new
            for key, kept in also.items():
                kept[case.text] = found[key]
    finally:  # what is done is kept
        if rows:
            write(options.out, "step", device, rows, **also)


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Those that were asked for."""
    for size, family in product(options.size, options.family):
        for batch, step in product(options.batch or ((1, 4) if size >= 128 else (8,)), STEPS):
            yield Case(*recipe_of(family, size, batch, options.backbone), step, options.device)


if __name__ == "__main__":
    main()
