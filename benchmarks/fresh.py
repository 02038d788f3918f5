"""A method with the nets that its search would choose, a stage with fresh weights, and a batch of noise: all that the time
and the memory of a step depend on.
"""

from __future__ import annotations

import torch

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.data.stream import Batch
from ugc.engine.invented import fresh_phase
from ugc.engine.recipe import Recipe
from ugc.methods.method import Phase, Selection, Setting
from ugc.methods.selection import expected
from ugc.methods.ugc import Ugc, UgcConfig
from ugc.search.budget import Budget

STAGES = ("original", "supernet", "distill")


def method_of(recipe: Recipe, setting: Setting) -> tuple[Ugc, Selection]:
    """UGC as the recipe says, and a student and teachers drawn from where its search looks."""
    method, cost = Ugc(UgcConfig.parse(recipe.options, "options"), setting), setting.cost_model(setting.config)
    original = setting.cost_model(setting.family.original(setting.config))
    budget = Budget.parse(recipe.budget, original(original.space.largest))
    return method, method.select_by_rule(budget, cost) or expected(cost, budget, recipe.search, Clock(recipe.seed))


def phase_of(stage: str, recipe: Recipe, setting: Setting) -> Phase:
    """One of STAGES."""
    method, selection = method_of(recipe, setting)
    return fresh_phase(method, stage, selection)


def noise(recipe: Recipe, setting: Setting) -> Batch:
    """This process's share of a batch of noise in [-1, 1]."""
    generator, mine = Clock(0).torch("pictures"), processes.share(recipe.batch)
    source, target = setting.config.in_channels, setting.config.out_channels
    drawn = [torch.rand(recipe.batch, n, *recipe.data.size, generator=generator) * 2 - 1 for n in (source, target, source)]
    return Batch(*(part[mine].to(setting.device.device) for part in drawn))
