"""What a step of each training stage costs, on random pictures at a recipe's sizes: seconds, multiply-adds, and the bytes of
gradients that several processes exchange; and the minutes that the recipe's steps take. Run it on an idle machine.

    python benchmarks/stages.py sans2serif-demo --set base=16
    python benchmarks/stages.py streets-gaugan-hour --channels 36:3
    torchrun --nproc-per-node 2 benchmarks/stages.py sans2serif-demo
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import torch
from torch.utils.flop_counter import FlopCounterMode

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import keep_freed_memory
from ugc.data.stream import Batch
from ugc.engine.recipe import Recipe
from ugc.methods.method import Phase, Selection, Setting
from ugc.methods.original import Gan
from ugc.methods.ugc import Ugc, UgcConfig
from ugc.methods.uniform import uniform_selection
from ugc.recipes.table import parsed
from ugc.search.budget import Budget


def seconds(phase: Phase, batch: Batch, steps: int) -> float:
    """Mean of a step; steps of a stage may differ (`options.every`)."""
    for step in range(4):
        phase.step(batch, Clock(0, step))
    start = time.perf_counter()
    for step in range(4, 4 + steps):
        phase.step(batch, Clock(0, step))
    return (time.perf_counter() - start) / steps


def counted(phase: Phase, batch: Batch) -> tuple[float, int]:
    """Multiply-adds of a step in this process, forward and backward, and the bytes of its gradients."""
    exchanged, plain = 0, processes.mean_

    def mean_(tensors: Iterable[torch.Tensor]) -> None:
        nonlocal exchanged
        kept = list(tensors)
        exchanged += sum(t.nbytes for t in kept)
        plain(kept)

    processes.mean_ = mean_
    try:
        with FlopCounterMode(display=False) as flops:
            phase.step(batch, Clock(0, 0))
    finally:
        processes.mean_ = plain
    return flops.get_total_flops() / 2, exchanged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--channels", default="1:1", help="of source and target")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    recipe = parsed(options.recipe).with_settings(options.set).resolved()
    source, target = map(int, options.channels.split(":"))
    setting = recipe.setting((source, target))
    keep_freed_memory()  # as a run does
    with processes.group(setting.device.device):
        measure(recipe, setting, options)


def measure(recipe: Recipe, setting: Setting, options: argparse.Namespace) -> None:
    generator, mine = Clock(0).torch("pictures"), processes.share(recipe.batch)
    source, target = setting.config.in_channels, setting.config.out_channels
    pictures = [torch.rand(recipe.batch, channels, *recipe.data.size, generator=generator) * 2 - 1
                for channels in (source, target, source)]
    batch = Batch(*(part[mine].to(setting.device.device) for part in pictures))
    method = Ugc(UgcConfig.parse(recipe.options, "options"), setting)
    cost = setting.cost_model(setting.config)
    original = setting.cost_model(setting.family.original(setting.config))
    selection: Selection = uniform_selection(cost, Budget.parse(recipe.budget, original(original.space.largest)))
    supernet = method.phase("supernet", {})
    left = {"selection": selection, "supernet": supernet.players["G"].net, "D": supernet.players["D"].net.state_dict()}
    phases = {"original": Gan(setting), "supernet": supernet, "distill": method.phase("distill", left)}
    if processes.lead():
        print(f"{setting.device.text}; {processes.size()} process(es), batch {recipe.batch} in all")
    for name, phase in phases.items():
        macs, exchanged = counted(phase, batch)
        took = seconds(phase, batch, options.steps) if options.steps else float("nan")
        if processes.lead():
            print(f"{name:10} {1000 * took:8.1f} ms a step   {macs / 1e9:10.3f} GMACs a process   "
                  f"{exchanged / 1e6:8.1f} MB of gradients   "
                  f"{took * method.steps(name, recipe.steps.model_dump()) / 60:8.1f} min for the recipe's steps", flush=True)


if __name__ == "__main__":
    main()
