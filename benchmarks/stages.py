"""Seconds a step of each training stage, on random pictures at a recipe's sizes. Medians; run it on an idle machine.

    python benchmarks/stages.py sans2serif-demo --set base=16
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from ugc.core.clock import Clock
from ugc.data.stream import Batch
from ugc.methods.method import Phase, Selection
from ugc.methods.original import Gan
from ugc.methods.ugc import Ugc, UgcConfig
from ugc.methods.uniform import uniform_selection
from ugc.recipes.table import parsed
from ugc.search.budget import Budget


def seconds(phase: Phase, batch: Batch, steps: int) -> float:
    times = []
    for step in range(steps + 5):
        start = time.perf_counter()
        phase.step(batch, Clock(0, step))
        times.append(time.perf_counter() - start)
    return statistics.median(times[5:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    recipe = parsed(options.recipe).with_settings(options.set).resolved()
    setting = recipe.setting((options.channels, options.channels))
    pictures = torch.rand(3, recipe.batch, options.channels, *recipe.data.size) * 2 - 1
    batch = Batch(*pictures.to(setting.device.device))
    method = Ugc(UgcConfig.parse(recipe.options, "options"), setting)
    cost = setting.cost_model(setting.config)
    original = setting.cost_model(setting.family.original(setting.config))
    selection: Selection = uniform_selection(cost, Budget.parse(recipe.budget, original(original.space.largest)))
    supernet = method.phase("supernet", {})
    left = {"selection": selection, "supernet": supernet.players["G"].net, "D": supernet.players["D"].net.state_dict()}
    phases = {"original": Gan(setting), "supernet": supernet, "distill": method.phase("distill", left)}
    print(setting.device.text)
    for name, phase in phases.items():
        print(f"{name:10} {1000 * seconds(phase, batch, options.steps):8.1f} ms a step")


if __name__ == "__main__":
    main()
