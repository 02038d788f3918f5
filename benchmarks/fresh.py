"""A training stage with fresh weights and a random batch: all that the time and the memory of a step depend on."""

from __future__ import annotations

from typing import Any

import torch

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.data.stream import Batch
from ugc.engine.recipe import Recipe
from ugc.methods.method import Phase, Setting
from ugc.methods.original import Gan
from ugc.methods.ugc import Ugc, UgcConfig
from ugc.methods.uniform import uniform_selection
from ugc.search.budget import Budget

STAGES = ("original", "supernet", "distill")


def phase_of(stage: str, recipe: Recipe, setting: Setting) -> Phase:
    """One of STAGES; the student and the teachers of stage 2 are the uniform nets of the budget."""
    if stage == "original":
        return Gan(setting)
    method, left = Ugc(UgcConfig.parse(recipe.options, "options"), setting), dict[str, Any]()
    if stage == "distill":
        cost, published = setting.cost_model(setting.config), setting.cost_model(setting.family.original(setting.config))
        budget = Budget.parse(recipe.budget, published(published.space.largest))
        left = {"selection": uniform_selection(cost, budget), "supernet": setting.generator(setting.config, "supernet"),
                "D": setting.discriminator("supernet/D").state_dict()}
    return method.phase(stage, left)


def noise(recipe: Recipe, setting: Setting) -> Batch:
    """This process's share of a batch of noise in [-1, 1]."""
    generator, mine = Clock(0).torch("pictures"), processes.share(recipe.batch)
    source, target = setting.config.in_channels, setting.config.out_channels
    drawn = [torch.rand(recipe.batch, n, *recipe.data.size, generator=generator) * 2 - 1 for n in (source, target, source)]
    return Batch(*(part[mine].to(setting.device.device) for part in drawn))
