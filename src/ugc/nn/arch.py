"""What may vary in a supernet, and one choice of all of it: Choice, SearchSpace, Arch.

An `Arch` is a value: named, ordered, hashable, written as text `stem=16,down1=24,d.down1=0`. Widths are *base* widths;
the family multiplies them by level (1, 2, 4, ..) as its original does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ugc.core.errors import UserError, near


@dataclass(frozen=True)
class Choice:
    """One thing that may vary: a width (`stem`) or a depth (`d.down1`), with its values in rising order."""

    name: str
    values: tuple[int, ...]

    @property
    def is_depth(self) -> bool:
        return self.name.startswith("d.")


class Arch(Mapping[str, int]):
    """One value for every choice of a space: what `net(x, arch)` takes. Hashable; equal when the values are."""

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = dict(values)
        self._hash = hash(tuple(self._values.items()))

    def __getitem__(self, name: str) -> int:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Arch) and self._values == other._values

    def __repr__(self) -> str:
        return f"Arch({self.text})"

    @property
    def text(self) -> str:
        """`stem=16,down1=24,..`: read back by `SearchSpace.parse`."""
        return ",".join(f"{name}={value}" for name, value in self.items())

    @property
    def depth(self) -> int:
        """The number of inserted blocks in use."""
        return sum(value for name, value in self.items() if name.startswith("d."))

    def but(self, **changes: int) -> Arch:
        """A copy with some values changed; write `d.down1` as `d_down1`."""
        return self.having({name.replace("d_", "d.", 1) if name.startswith("d_") else name: value
                            for name, value in changes.items()})

    def having(self, changes: Mapping[str, int]) -> Arch:
        """A copy with the values of `changes`."""
        return Arch({**self._values, **changes})


@dataclass(frozen=True)
class SearchSpace:
    """All architectures of a supernet: the product of its choices."""

    choices: tuple[Choice, ...]

    @cached_property
    def by_name(self) -> dict[str, Choice]:
        return {choice.name: choice for choice in self.choices}

    @cached_property
    def largest(self) -> Arch:
        """Every choice at its greatest value: G_l."""
        return Arch({c.name: c.values[-1] for c in self.choices})

    @cached_property
    def smallest(self) -> Arch:
        """Every choice at its least value: G_s."""
        return Arch({c.name: c.values[0] for c in self.choices})

    @property
    def count(self) -> int:
        """How many sub-networks there are; may be beyond what `len` can say."""
        return math.prod(len(c.values) for c in self.choices)

    def __contains__(self, arch: object) -> bool:
        return (isinstance(arch, Arch) and list(arch) == [c.name for c in self.choices]
                and all(arch[c.name] in c.values for c in self.choices))

    def sample(self, rng: np.random.Generator) -> Arch:
        """Every choice drawn uniformly."""
        return Arch({c.name: c.values[int(rng.integers(len(c.values)))] for c in self.choices})

    def uniform(self, width: int, depth: int) -> Arch:
        """One width and one depth everywhere: the ladder by which people shrink nets by hand."""
        return Arch({c.name: depth if c.is_depth else width for c in self.choices})

    def ladder(self) -> list[Arch]:
        """All uniform architectures, narrow to wide, shallow to deep."""
        widths = sorted({v for c in self.choices if not c.is_depth for v in c.values})
        depths = sorted({v for c in self.choices if c.is_depth for v in c.values}) or [0]
        archs = [self.uniform(w, d) for d in depths for w in widths]
        return [a for a in archs if a in self]

    def steps(self, arch: Arch, up: bool) -> list[Arch]:
        """The neighbours of `arch` in which one choice takes its next greater (or lesser) value."""
        found = []
        for c in self.choices:
            at = c.values.index(arch[c.name]) + (1 if up else -1)
            if 0 <= at < len(c.values):
                found.append(arch.having({c.name: c.values[at]}))
        return found

    def parse(self, text: str) -> Arch:
        """Read `stem=16,down1=24,..`. Choices that are not named take their only value, where there is just one.

        Raises:
            UserError: an unknown name, a value that is not offered, or a choice left open.
        """
        given: dict[str, int] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, eq, value = item.partition("=")
            if name not in self.by_name:
                raise UserError(f"arch {item!r}: there is no choice {name!r}: {near(name, self.by_name)}")
            offered = {str(v): v for v in self.by_name[name].values}
            if not eq or value.strip() not in offered:
                raise UserError(f"arch {item!r}: {name} takes one of {', '.join(offered)}")
            given[name] = offered[value.strip()]
        left = [c.name for c in self.choices if c.name not in given and len(c.values) > 1]
        if left:
            raise UserError(f"arch {text!r}: no value for {', '.join(left)}; name every choice, such as "
                            f"{self.smallest.text}")
        return Arch({c.name: given.get(c.name, c.values[0]) for c in self.choices})

    def pinned(self, arch: Arch) -> SearchSpace:
        """The space that holds this one architecture."""
        return SearchSpace(tuple(Choice(name, (value,)) for name, value in arch.items()))
