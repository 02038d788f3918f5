"""Nets by rule: as even as the budget lets them be, and with nothing of it left over that one more layer could take."""

import pytest

from ugc.methods.uniform import even, uniform_selection
from ugc.search.budget import Budget


@pytest.mark.parametrize("family", ["pix2pix-resnet", "pix2pix-unet"])
@pytest.mark.parametrize("times", [3, 9, 12])
def test_the_even_net_uses_the_budget_up(method_of, family, times):
    setting = method_of("ugc", family=family, widths=(1, 4, 8), depths=(0, 1)).setting
    cost = setting.cost_model(setting.config)
    space = cost.space
    budget = Budget.parse(f"{times}x", cost(space.largest))
    net = even(cost, budget)
    assert budget.holds(cost(net)) and net.depth == 0
    widths = [c for c in space.choices if not c.is_depth]
    places = [c.values.index(net[c.name]) for c in widths]
    assert max(places) - min(places) <= 1 and max(places) > 0
    for choice in widths:  # nothing more fits; or it would be wider than its neighbours' next
        wider = [value for value in choice.values if value > net[choice.name]]
        if wider and choice.values.index(net[choice.name]) == min(places):
            assert not budget.holds(cost(net.having({choice.name: wider[0]})))
    assert uniform_selection(cost, budget).student == net


def test_below_the_smallest_it_is_the_smallest(method_of):
    setting = method_of("ugc", widths=(1, 4, 8), depths=(0, 1)).setting
    cost = setting.cost_model(setting.config)
    assert even(cost, Budget.parse("1x", cost(cost.space.smallest))) == cost.space.smallest
