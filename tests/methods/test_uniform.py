"""Nets by rule: as even as the budget lets them be, and with nothing of it left over that one more layer could take."""

import pytest

from ugc.engine.recipe import Recipe
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
    more = [net.having({c.name: c.values[at + 1]}) for c, at in zip(widths, places, strict=True) if at + 1 < len(c.values)]
    used = budget.of(cost(net)) / budget.limit
    assert used >= 0.9 or not any(budget.holds(cost(one)) for one in more)
    assert max(places) > 0 and max(places) - min(places) <= 2
    if max(places) - min(places) == 2:  # a second round, which only what the first left over may bring
        top = {c.name: c.values[at - 1] for c, at in zip(widths, places, strict=True) if at == max(places)}
        assert budget.of(cost(net.having(top))) < 0.9 * budget.limit
    for choice in widths:  # nothing more fits; or it would be wider than its neighbours' next
        wider = [value for value in choice.values if value > net[choice.name]]
        if wider and choice.values.index(net[choice.name]) == min(places):
            assert not budget.holds(cost(net.having({choice.name: wider[0]})))
    assert uniform_selection(cost, budget).student == net


@pytest.mark.parametrize(("budget", "least"), [("15x", 0.92), ("macs_paper=0.9G", 0.99), ("22x", 0.83)])
def test_the_unet_of_the_paper_uses_as_much_of_the_budget_as_a_searched_student(budget, least):
    """Table 4's "similar MACs"; a layer takes a second step where all have had their first and less than 0.9 is used."""
    recipe = Recipe.parse({"family": "pix2pix-unet", "data": {"path": "FOLDER", "size": 256}}, "x")
    setting = recipe.resolved().setting((3, 3))
    cost = setting.cost_model(setting.config)
    original = setting.cost_model(setting.family.original(setting.config))
    given = Budget.parse(budget, original(original.space.largest))
    net = even(cost, given)
    assert least <= given.of(cost(net)) / given.limit <= 1
    if least < 0.9:
        wider = [net.having({c.name: min(v for v in c.values if v > net[c.name])}) for c in cost.space.choices
                 if not c.is_depth and net[c.name] < max(c.values)]
        assert wider and not any(given.holds(cost(one)) for one in wider)


def test_below_the_smallest_it_is_the_smallest(method_of):
    setting = method_of("ugc", widths=(1, 4, 8), depths=(0, 1)).setting
    cost = setting.cost_model(setting.config)
    assert even(cost, Budget.parse("1x", cost(cost.space.smallest))) == cost.space.smallest
