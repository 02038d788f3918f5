"""What a step of each training stage costs, on noise at a recipe's sizes: seconds, multiply-adds, and the bytes of
gradients that several processes exchange; and the minutes that the recipe's steps take. Run it on an idle machine.

    python benchmarks/stages.py sans2serif-demo --set base=16
    python benchmarks/stages.py streets-gaugan-hour --channels 36:3
    torchrun --nproc-per-node 2 benchmarks/stages.py sans2serif-demo
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable

import torch
from fresh import method_of
from measure import stock_layers
from torch.utils.flop_counter import FlopCounterMode

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import prepare_cpu
from ugc.core.encoding import Encoding
from ugc.data.stream import Batch, Stream
from ugc.engine.invented import FEW, fresh_phase, invented_data
from ugc.engine.pace import Stopwatch, pace_of
from ugc.engine.recipe import Recipe
from ugc.methods.method import Phase, Setting
from ugc.recipes.table import parsed


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
        with stock_layers(), FlopCounterMode(display=False) as flops:
            phase.step(batch, Clock(0, 0))
    finally:
        processes.mean_ = plain
    return flops.get_total_flops() / 2, exchanged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--channels", default="1:1", help="of source and target")
    parser.add_argument("--steps", type=int, default=20, help="that are timed, of each kind; 0: none")
    options = parser.parse_args()
    recipe = parsed(options.recipe).with_settings(options.set).resolved()
    source, target = map(int, options.channels.split(":"))
    setting = recipe.setting((source, target))
    prepare_cpu()  # as a run does
    with processes.group(setting.device.device):
        measure(recipe, setting, options)


def measure(recipe: Recipe, setting: Setting, options: argparse.Namespace) -> None:
    load, encoding = recipe.data.load or recipe.data.size, Encoding(channels=setting.config.in_channels)
    data = invented_data(encoding, setting.config.out_channels, load, recipe.data.size, (FEW, FEW, FEW))
    stream, watch = Stream(data, recipe.batch, setting.device.device), Stopwatch(setting.device.device)
    method, selection = method_of(recipe, setting)
    if processes.lead():
        print(f"{setting.device.text}; {processes.size()} process(es), batch {recipe.batch} in all")
    for name in dict.fromkeys(("original", *method.stages(method.config))):
        if name == "search":
            continue
        phase = fresh_phase(method, name, selection)
        macs, exchanged = counted(phase, stream.batch(Clock(0)))
        took = pace_of(phase, stream, watch, recipe.seed, math.inf, options.steps).mean if options.steps else math.nan
        if processes.lead():
            print(f"{name:10} {1000 * took:8.1f} ms a step   {macs / 1e9:10.3f} GMACs a process   "
                  f"{exchanged / 1e6:8.1f} MB of gradients   "
                  f"{took * method.steps(name, recipe.steps.model_dump()) / 60:8.1f} min for the recipe's steps", flush=True)


if __name__ == "__main__":
    main()
