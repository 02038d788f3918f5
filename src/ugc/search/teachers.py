"""The two teachers of UGC Sec. 3.2: about 20 times the student's cost, one deeper, one wider.

    target = min(20 x cost(G*), 0.6 x cost(G_l)), within 5 %, in macs_paper

Deep: every slot at its greatest depth, widths searched. Wide: the least total depth with which the target can be
reached, widths searched. What had to be clipped is said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ugc.nn.arch import Arch, SearchSpace
from ugc.search.region import Region

TIMES = 20.0
MOST = 0.6
WITHIN = 0.05


@dataclass(frozen=True)
class TeacherRegions:
    """Where the deep and the wide teacher are searched, and sentences on what was clipped."""

    deep: Region
    wide: Region
    target: float
    notes: tuple[str, ...]


def teacher_regions(space: SearchSpace, cost: Callable[[Arch], float], student: Arch) -> TeacherRegions:
    """`cost` is macs_paper of an architecture."""
    notes: list[str] = []
    target, most = TIMES * cost(student), MOST * cost(space.largest)
    if target > most:
        notes.append(f"teachers: {TIMES:g} x the student is above {MOST:g} x the largest net; they aim at "
                     f"{most / cost(student):.1f} x")
        target = most
    deepest = {c.name: c.values[-1] for c in space.choices if c.is_depth}
    deep_space = SearchSpace(tuple(c if not c.is_depth else type(c)(c.name, c.values[-1:]) for c in space.choices))
    low, high = (1 - WITHIN) * target, (1 + WITHIN) * target
    floor = cost(space.smallest.having(deepest))
    if floor > high:
        notes.append(f"deep teacher: with every slot full the narrowest net is {floor / cost(student):.1f} x the student")
    deep = Region(deep_space, cost, max(low, floor), max(high, (1 + WITHIN) * floor)) if floor > high else (
        Region(deep_space, cost, low, high))
    depth = least_depth(space, cost, low)
    if depth > space.smallest.depth:
        notes.append(f"wide teacher: widths alone do not reach the target; it takes {depth} inserted blocks")
    return TeacherRegions(deep, Region(space, cost, low, high, depth), target, tuple(notes))


def least_depth(space: SearchSpace, cost: Callable[[Arch], float], low: float) -> int:
    """The least total depth with which some net costs at least `low`: blocks are added where they cost most."""
    widest = {c.name: c.values[-1] for c in space.choices if not c.is_depth}
    arch = space.smallest.having(widest)
    while cost(arch) < low:
        deeper = [a for a in space.steps(arch, up=True) if a.depth > arch.depth]
        if not deeper:
            break
        arch = max(deeper, key=cost)
    return arch.depth
