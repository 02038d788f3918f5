"""The student's architecture without a teacher: its net, its D, its steps."""

import pytest
import torch

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.methods.uniform import even
from ugc.search.budget import Budget

SMALL = {"widths": (1, 4, 8), "depths": (0, 1)}


def test_it_trains_the_net_that_is_named_and_sees_pairs_only(method_of, batch_of):
    space = method_of("alone", **SMALL).setting.cost_model(method_of("alone", **SMALL).setting.config).space
    arch = space.smallest.having({space.choices[0].name: 4})
    method = method_of("alone", {"arch": arch.text}, **SMALL)
    cost = method.setting.cost_model(method.setting.config)
    chosen = method.select_by_rule(Budget.parse("9x", cost(space.largest)), cost)
    assert list(chosen.archs) == ["student"] and chosen.student == arch
    phase = method.phase("alone", {"selection": chosen})
    net = phase.nets()["student"]
    assert net.config.arch == arch.text and cost(arch).params == sum(p.numel() for p in net.parameters())
    batch = batch_of(0)
    batch.unlabelled.fill_(torch.nan)
    assert all(value.isfinite() for value in phase.step(batch, Clock(0)).values())
    assert set(phase.players) == {"G", "D"}


def test_without_a_name_it_is_the_even_net_of_the_budget(method_of):
    method = method_of("alone", **SMALL)
    cost = method.setting.cost_model(method.setting.config)
    budget = Budget.parse("3x", cost(cost.space.largest))
    chosen = method.select_by_rule(budget, cost).student
    assert chosen == even(cost, budget)
    with pytest.raises(UserError, match="w9"):
        method_of("alone", {"arch": "w9=4"}, **SMALL).select_by_rule(budget, cost)
    with pytest.raises(UserError, match=r"options.arch: that net has .* above the budget 3x .*; raise --budget"):
        method_of("alone", {"arch": cost.space.largest.text}, **SMALL).select_by_rule(budget, cost)


def test_it_takes_the_steps_of_both_stages_and_its_original_its_own(method_of):
    steps = {"original": 100, "supernet": 20, "distill": 3}
    assert {stage: method_of("alone", **SMALL).steps(stage, steps) for stage in ("original", "alone")} == {
        "original": 100, "alone": 23}
