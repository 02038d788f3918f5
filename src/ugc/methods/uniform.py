"""Architectures chosen by rule: one width and one depth everywhere, as people shrink nets by hand."""

from __future__ import annotations

from ugc.methods.method import Selection
from ugc.nn.arch import Arch
from ugc.nn.cost import CostModel
from ugc.search.budget import Budget
from ugc.search.region import NEAR
from ugc.search.teachers import teacher_regions


def uniform_selection(cost: CostModel, budget: Budget) -> Selection:
    """Table 4, "w/o NAS", whose student has "similar MACs": the even net of the budget; as teachers the uniform nets nearest
    to 20 times its cost, one with every slot full, one with as few blocks as reach it.
    """
    space = cost.space
    depths = sorted({v for c in space.choices if c.is_depth for v in c.values}) or [0]
    ladder = space.ladder()

    def macs_paper(arch: Arch) -> float:
        return float(cost(arch).macs_paper)

    student = even(cost, budget)
    target = teacher_regions(space, macs_paper, student).target

    def nearest(archs: list[Arch]) -> Arch:
        return min(archs, key=lambda a: abs(macs_paper(a) - target))

    deep = nearest([a for a in ladder if a.depth == space.largest.depth])
    shallow = [a for d in depths for a in ladder if a.depth == d * sum(c.is_depth for c in space.choices) and a != deep]
    least = next((a.depth for a in shallow if macs_paper(a) >= 0.95 * target), shallow[-1].depth if shallow else 0)
    return Selection(student, deep, nearest([a for a in shallow if a.depth == least] or [deep]))


def even(cost: CostModel, budget: Budget) -> Arch:
    """The dearest uniform net within the budget with nothing inserted (else the smallest net). Where widths are far apart
    that is much less than the budget, so layer by layer, from the source on, takes the next width where it still fits; and
    once more, as long as less than 0.9 of the budget is used, which is what a searched student uses, and a layer fits."""
    space = cost.space
    fitting = [a for a in space.ladder() if budget.holds(cost(a)) and a.depth == space.smallest.depth]
    student = max(fitting, key=lambda a: float(cost(a).macs_paper), default=space.smallest)
    before = None
    while student != before and (before is None or budget.of(cost(student)) < NEAR * budget.limit):
        before = student
        for choice in space.choices:
            wider = [value for value in choice.values if value > student[choice.name]]
            if wider and not choice.is_depth and budget.holds(cost(student.having({choice.name: min(wider)}))):
                student = student.having({choice.name: min(wider)})
    return student
