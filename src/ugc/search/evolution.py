"""Evolution over architectures, as GAN Compression's: the best quarter are parents; half mutants, half crossovers.

Lower scores are better. Everything is a function of the seed and the scores, so a search that was killed goes on by
running again with the scores that it had: the same path is walked without computing anything twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from pydantic import Field

from ugc.core.clock import Clock
from ugc.core.config import Config
from ugc.core.errors import UserError
from ugc.nn.arch import Arch, SearchSpace
from ugc.search.region import Region

TRIES = 50  # bounded: a region may hold fewer nets than a generation wants


class SearchConfig(Config):
    """GAN Compression's: a quarter parents, half mutants at rate 0.2. Its 100 nets and 500 generations, up to 37,600 new
    nets a search, are in the paper's recipes; by default a search sees about a thousand.
    """

    population: int = Field(default=50, ge=1)
    generations: int = Field(default=25, ge=0)
    parents: float = Field(default=0.25, gt=0, le=1)
    mutants: float = Field(default=0.5, ge=0, le=1)
    mutation: float = Field(default=0.2, ge=0, le=1)

    @property
    def survivors(self) -> int:
        """How many nets of a generation are parents of the next."""
        return max(2, round(self.parents * self.population))


def evolve(region: Region, score: Callable[[Sequence[Arch]], Sequence[float]], config: SearchConfig, clock: Clock,
           purpose: str, told: Callable[[int, Mapping[Arch, float]], None] = lambda generation, scores: None,
           first: Sequence[Arch] = ()) -> Arch:
    """The best architecture of `region` found.

    Args:
        region: where to look.
        score: of several nets; lower is better. Memoise it, since it is asked again for survivors.
        config: sizes of the search.
        clock: its seed makes all draws.
        purpose: keeps the draws of several searches apart.
        told: called after each generation with the scores of its population.
        first: nets that the first generation begins with.

    Raises:
        UserError: no architecture of the region was met, or none has a score that is a number.
    """
    population: list[Arch] = []
    for generation in range(config.generations + 1):
        rng = clock.at(generation).rng(purpose)
        if generation == 0:
            given = list(dict.fromkeys(first))
            children = [*given, *_distinct(partial(region.draw, rng), set(given), config.population - len(given))]
        else:
            children = _children(region, population, config, rng)
        if not population and not children:
            raise UserError(f"the search for the {purpose} met no architecture with a cost from {region.low:.4g} to "
                            f"{region.high:.4g}; choose another budget")
        asked = (*population, *children)
        scores = dict(zip(asked, score(asked)))
        population = sorted(scores, key=lambda a: (math.isnan(scores[a]), scores[a], a.text))[: config.survivors]
        told(generation, scores)
    if math.isnan(scores[population[0]]):
        raise UserError(f"the search for the {purpose} found no net whose pictures can be scored: they are not finite; "
                        f"train the supernet again, with --precision fp32 or a lower rate (--set optimiser.lr=..)")
    return population[0]


def _children(region: Region, parents: list[Arch], config: SearchConfig, rng: np.random.Generator) -> list[Arch]:
    """population - parents new nets: crossovers as far as parents differ enough, mutants for the rest."""
    wanted = config.population - len(parents)

    def one_of_parents() -> Arch:
        return parents[int(rng.integers(len(parents)))]

    def crossover() -> Arch | None:
        return region.moved(cross(one_of_parents(), one_of_parents(), rng), rng)

    def mutant() -> Arch | None:
        return region.moved(mutate(region.space, one_of_parents(), config.mutation, rng), rng)

    crossed = _distinct(crossover, set(parents), wanted - round(wanted * config.mutants))
    return crossed + _distinct(mutant, {*parents, *crossed}, wanted - len(crossed))


def mutate(space: SearchSpace, arch: Arch, rate: float, rng: np.random.Generator) -> Arch:
    """Each choice is drawn anew with probability `rate`."""
    fresh = space.sample(rng)
    return arch.having({name: fresh[name] for name in arch if rng.random() < rate})


def cross(first: Arch, second: Arch, rng: np.random.Generator) -> Arch:
    """Each choice from either of two parents."""
    return first.having({name: second[name] for name in first if rng.random() < 0.5})


def _distinct(draw: Callable[[], Arch | None], seen: set[Arch], count: int) -> list[Arch]:
    """Up to `count` nets that were not seen, in at most TRIES * count draws."""
    found: dict[Arch, None] = {}
    for _ in range(TRIES * count):
        if len(found) == count:
            break
        arch = draw()
        if arch is not None and arch not in seen:
            found[arch] = None
    return list(found)
