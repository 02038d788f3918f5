"""The latency of any member of a supernet, from the layer times of a few that were timed.

A layer's time is what passes from the end of the convolution before it to its own end, in a whole net that runs. So norms,
activations, padding, additions and a runtime's own reordering are in it, as they occur, fused or not; single layers timed
alone have other caches, other layouts and no neighbour to be fused with. Layers of one place (a name without the number of
the block) and one grid share one law of the widths w before and v behind, fitted to all of their times:

    t(w, v) = a + b w + c v + d w v + e W + f V + g W V        W, V: widths rounded up to 16, the lanes of a register
    straight(arch) = overhead + share x sum of t + each x n                  n: how many layers it has
    latency(arch) = scale x straight(arch) ^ power

By least squares of relative errors, with no coefficient of t below 0: more channels are never predicted to be faster, which
is what a search that steps towards a cost counts on. The three of the third line are fitted to the same members timed as a
whole, then the two of the fourth, by medians of the slopes and heights of their logarithms (Theil-Sen), which a member that
was disturbed does not move. each may be below 0: looking at a layer takes time itself (in torch; onnxruntime's profile is
freed of it node by node before, see `export/onnx_runtime.py`). It is never so far below that layers which a depth switches
on would take less than nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ugc.nn.arch import Arch, SearchSpace
from ugc.nn.cost import CostModel, Governed, LayerCost

LANES = 16
Place = tuple[str, int, int]  # a layer's name without the number of its block, and its grids


@dataclass(frozen=True)
class LayerTime:
    """Seconds of one convolution of a net, and all since the one before: w channels in (all parts), v out."""

    place: Place
    w: int
    v: int
    seconds: float


@dataclass(frozen=True)
class MemberTimes:
    """One member: seconds of the whole, and of its layers."""

    arch: str
    whole: float
    layers: tuple[LayerTime, ...]

    def lesser(self, other: MemberTimes) -> MemberTimes:
        """Of the same member timed twice, the lesser time of the whole and of each layer."""
        return MemberTimes(self.arch, min(self.whole, other.whole), tuple(
            min(one, two, key=lambda layer: layer.seconds) for one, two in zip(self.layers, other.layers, strict=True)))


def timed_layers(layers: Sequence[LayerCost]) -> list[LayerCost]:
    """Those of a trace whose ends are timed: the convolutions."""
    return [layer for layer in layers if layer.cost.macs]


def place_of(layer: LayerCost) -> Place:
    """`body.3.conv1` -> `body.#.conv1`, with H * W before and behind."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "#", layer.name), layer.grid_in, layer.grid_out


def design(space: SearchSpace, count: int, rng: np.random.Generator) -> list[Arch]:
    """Members to time: the largest, which has every layer, the smallest, and `count` - 2 from small to large.

    Each choice takes all of its values equally often among these, rising with the members but for a shift of each by up to
    half of their number, drawn for each choice. In random order (a Latin hypercube) all would be of a middling size, and
    the smallest, to which budgets lead, would stand alone.
    """
    columns, n = {}, count - 2
    for choice in space.choices:
        values = [choice.values[i * len(choice.values) // max(n, 1)] for i in range(n)]
        order = np.argsort(np.arange(n) + n * rng.uniform(-0.5, 0.5, n))
        columns[choice.name] = dict(zip(order.tolist(), values, strict=True))
    drawn = [Arch({name: column[i] for name, column in columns.items()}) for i in range(n)]
    return list(dict.fromkeys([space.largest, space.smallest, *drawn]))


class LatencyModel:
    """latency_ms(arch) of the members that a cost model knows.

    Args:
        members: at least one of them has every layer of the largest.
    """

    def __init__(self, cost: CostModel, members: Sequence[MemberTimes]) -> None:
        groups: dict[Place, list[LayerTime]] = defaultdict(list)
        for member in members:
            for layer in member.layers:
                groups[layer.place].append(layer)
        laws = {place: _law(times) for place, times in groups.items()}
        self._layers = [_Layer(layer, laws[place_of(layer.full)], cost.space.largest)
                        for layer in cost.layers if layer.full.cost.macs]
        sums, counts = np.array([self.layers_ms(cost.space.parse(member.arch)) for member in members]).T
        whole = np.array([1000 * member.whole for member in members])
        least = self._least_ms(cost.space)
        fitted = nonnegative(np.stack([np.ones_like(sums), sums - least * counts, counts], 1), whole)
        self.overhead, self.share = float(fitted[0]), float(fitted[1])
        self.each = float(fitted[2]) - self.share * least
        layers = np.array([1000 * sum(layer.seconds for layer in member.layers) for member in members])
        straight = self.overhead + self.share * sums + self.each * counts
        self.power, self.scale = _bent(straight, whole)
        errors = np.abs(self.scale * straight**self.power / whole - 1)
        self.far = np.maximum(errors, np.abs(sums / layers - 1))  # of each member, as a whole or by its layers
        self.off = float(np.median(errors)), float(errors.max())  # median and worst relative error on `members` themselves

    def __call__(self, arch: Arch) -> float:
        total, count = self.layers_ms(arch)
        straight = self.overhead + self.share * total + self.each * count
        return float(self.scale * straight**self.power)

    def layers_ms(self, arch: Arch) -> tuple[float, int]:
        """The sum of t, and how many layers are in it."""
        there = [layer.ms(arch) for layer in self._layers if layer.has(arch)]
        return sum(there), len(there)

    def _least_ms(self, space: SearchSpace) -> float:
        """The least mean t of layers that are switched on together, in the narrowest member that has them all."""
        narrow = space.smallest.having({choice.name: choice.values[-1] for choice in space.choices if choice.is_depth})
        together: dict[tuple[str, int], list[float]] = defaultdict(list)
        for layer in self._layers:
            together[layer.governed.gate].append(layer.ms(narrow))
        return min(sum(each) / len(each) for each in together.values())


class _Layer:
    """t of one layer as a function of the architecture."""

    def __init__(self, governed: Governed, law: NDArray[np.float64], largest: Arch) -> None:
        self.governed, self.law, self.largest = governed, law, largest
        self.names = sorted({name for name in (*governed.parts, governed.out) if name})
        self.known: dict[tuple[int, ...], float] = {}

    def has(self, arch: Arch) -> bool:
        gate, least = self.governed.gate
        return not gate or arch[gate] >= least

    def ms(self, arch: Arch) -> float:
        key = tuple(arch[name] for name in self.names)
        if key not in self.known:
            full = self.governed.full
            w = sum(self._width(choice, width, arch) for choice, width in zip(self.governed.parts, full.have, strict=True))
            terms = _terms(np.array([w]), np.array([self._width(self.governed.out, full.width, arch)]))
            self.known[key] = 1000 * float(terms[0] @ self.law)
        return self.known[key]

    def _width(self, choice: str, full: int, arch: Mapping[str, int]) -> int:
        return full * arch[choice] // self.largest[choice] if choice else full


def _terms(w: NDArray[np.int64], v: NDArray[np.int64]) -> NDArray[np.float64]:
    """[n, 7]: what the coefficients of t multiply."""
    up_w, up_v = (-(-x // LANES) * LANES for x in (w, v))
    return np.stack([np.ones_like(w), w, v, w * v, up_w, up_v, up_w * up_v], 1).astype(np.float64)


def _law(times: Sequence[LayerTime]) -> NDArray[np.float64]:
    """a .. g, in seconds."""
    w, v = np.array([t.w for t in times]), np.array([t.v for t in times])
    return nonnegative(_terms(w, v), np.array([t.seconds for t in times]))


def _bent(straight: NDArray[np.float64], whole: NDArray[np.float64]) -> tuple[float, float]:
    """power and scale of whole ~ scale x straight ^ power; 1 and 1 where they cannot be told."""
    if len(straight) < 3 or (straight <= 0).any() or np.ptp(straight) == 0:
        return 1.0, 1.0
    x, y = np.log(straight), np.log(whole)
    first, second = np.array([pair for pair in combinations(range(len(x)), 2) if x[pair[0]] != x[pair[1]]]).T
    power = float(np.median((y[second] - y[first]) / (x[second] - x[first])))
    return (power, float(np.exp(np.median(y - power * x)))) if power > 0 else (1.0, 1.0)


def nonnegative(terms: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """x >= 0 with the least sum of (terms @ x / wanted - 1)^2; `terms` [n, few] >= 0, `wanted` [n] > 0.

    The best x leaves some terms out and is free in the others: every choice of these is tried.
    """
    scaled = terms / wanted[:, None]
    size = np.linalg.norm(scaled, axis=0)
    scaled, count = scaled / np.where(size, size, 1.0), terms.shape[1]
    best, least = np.zeros(count), float(len(wanted))
    for some in range(1, min(count, len(wanted)) + 1):
        for chosen in combinations(range(count), some):
            found = np.linalg.lstsq(scaled[:, chosen], np.ones(len(wanted)), rcond=None)[0]
            error = float(np.sum((scaled[:, chosen] @ found - 1) ** 2))
            if (found >= 0).all() and error < least * (1 - 1e-9):
                best, least = np.zeros(count), error
                best[list(chosen)] = found
    return best / np.where(size, size, 1.0)
