"""What an architecture costs: params, macs (true) and macs_paper, analytic, for any family, without a formula in any.

Every multiply-add of an elastic layer is a monomial: constant x (a width) x (a width), if a depth reaches it. So the
cost of a net is a polynomial in its choices. It is read off once: the supernet runs on the meta device (shapes only),
one choice at a time takes another value, and what changes at which layer tells which choice governs which width and
which depth switches the layer on. After that a cost is a few sums (over 10,000 architectures a second; memoised).

    macs(a) = sum_l  k_l * w_i(a) * w_j(a) * [d_s(a) >= t_l]

`macs` counts a transposed convolution on its input grid (the multiply-adds that are done), `macs_paper` on its output
grid (torchprofile, hence all published tables of this field). Norms, activations and biases are not counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ugc.nn.arch import Arch, SearchSpace
from ugc.nn.elastic import Elastic, ElasticBatchNorm, ElasticInstanceNorm

KEYS = ("params", "macs", "macs_paper")


@dataclass(frozen=True)
class Cost:
    """For one image: `params` (count), `macs` and `macs_paper` (multiply-adds)."""

    params: int
    macs: int
    macs_paper: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.params + other.params, self.macs + other.macs, self.macs_paper + other.macs_paper)


@dataclass(frozen=True)
class TimedCost(Cost):
    """The same, and `latency_ms`: milliseconds for one image, as predicted for a runtime."""

    latency_ms: float


@dataclass(frozen=True)
class LayerCost:
    """One call of one elastic layer: input part widths, output width, grids before and after (H * W), and its cost."""

    name: str
    kind: str
    have: tuple[int, ...]
    width: int
    grid_in: int
    grid_out: int
    cost: Cost


@dataclass(frozen=True)
class Governed:
    """A layer of the largest member, and the choices that decide of it; "" stands for none.

    parts, out: which choice governs each part of its input, and its output. gate: the depth choice that switches it on,
    and the least depth that does.
    """

    full: LayerCost
    parts: tuple[str, ...]
    out: str
    gate: tuple[str, int]


class Searchable(Protocol):
    """What the cost model needs of a generator."""

    @property
    def space(self) -> SearchSpace: ...
    def source_shape(self, size: tuple[int, int]) -> tuple[int, int, int, int]: ...


def trace(net: nn.Module, arch: Arch | None, size: tuple[int, int]) -> list[LayerCost]:
    """Every elastic layer of `net(x, arch)` in order of execution, at an input of `size` (H, W).

    `net` is made again on the meta device from its config, so nothing is computed and nothing is allocated.
    """
    return _trace(_on_meta(net), arch, size)


def _on_meta(net: nn.Module) -> nn.Module:
    with torch.device("meta"):
        meta: nn.Module = type(net)(net.config).eval()
    for layer in meta.modules():
        if isinstance(layer, ElasticInstanceNorm | ElasticBatchNorm):  # change no shape, and are slow there
            layer.forward = _same  # type: ignore[method-assign]
    return meta


def _same(x: Tensor) -> Tensor:
    return x


def _trace(meta: nn.Module, arch: Arch | None, size: tuple[int, int]) -> list[LayerCost]:
    found: list[LayerCost] = []
    names = {module: name for name, module in meta.named_modules()}

    def watch(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(layer, Elastic)
        have, width = tuple(a.shape[1] for a in args), out.shape[1]
        grid_in, grid_out = args[0].shape[2] * args[0].shape[3], out.shape[2] * out.shape[3]
        own = dict(layer.named_parameters(recurse=False))  # and no buffers: statistics, vectors of spectral norm
        owned = [t for name, t in layer.cut(have, width).items() if name in own]
        cost = Cost(sum(t.numel() for t in owned), *layer.macs(have, width, grid_in, grid_out))
        found.append(LayerCost(names[layer], type(layer).__name__, have, width, grid_in, grid_out, cost))

    handles = [m.register_forward_hook(watch) for m in meta.modules() if isinstance(m, Elastic)]
    try:
        with torch.no_grad():
            shape = meta.source_shape(size)  # type: ignore[operator]
            meta(torch.empty(shape, device="meta"), arch)
    finally:
        for handle in handles:
            handle.remove()
    return found


def total(layers: list[LayerCost]) -> Cost:
    return sum((layer.cost for layer in layers), Cost(0, 0, 0))


class CostModel:
    """cost(arch) of one supernet at one input size.

    Args:
        net: a generator with a `space`.
        size: (H, W) of the image that is counted.
    """

    def __init__(self, net: nn.Module, size: tuple[int, int]) -> None:
        self.space: SearchSpace = net.space  # type: ignore[assignment]
        self.size = size
        self._memo: dict[Arch, Cost] = {}
        self._latency_ms: Callable[[Arch], float] | None = None
        meta = _on_meta(net)
        self.layers = _governed(meta, self.space, size)
        monomials = _monomials(self.layers, dict(meta.named_modules()), self.space.largest)
        # Rows of the table: choices by position, a constant 1 behind them; terms grouped by gate.
        position = {c.name: i for i, c in enumerate(self.space.choices)} | {"": len(self.space.choices)}
        self._first = np.array([position[m[0]] for m in monomials])
        self._second = np.array([position[m[1]] for m in monomials])
        self._gate = np.array([position[m[2]] for m in monomials])
        self._threshold = np.array([m[3] for m in monomials], dtype=np.float64)
        self._factor = np.array(list(monomials.values()), dtype=np.float64).T  # [3, terms]

    def __call__(self, arch: Arch) -> Cost:
        if arch not in self._memo:
            cost = Cost(*(int(v) for v in self.table([arch])[0]))
            self._memo[arch] = TimedCost(**vars(cost), latency_ms=self._latency_ms(arch)) if self._latency_ms else cost
        return self._memo[arch]

    def timed(self, latency_ms: Callable[[Arch], float]) -> CostModel:
        """The same model with costs that are `TimedCost`s."""
        other = copy(self)
        other._latency_ms, other._memo = latency_ms, {}
        return other

    def table(self, archs: list[Arch]) -> NDArray[np.int64]:
        """[len(archs), 3]: params, macs, macs_paper of many architectures at once."""
        values = np.array([[*arch.values(), 1] for arch in archs], dtype=np.float64)  # [A, choices + 1]
        terms = values[:, self._first] * values[:, self._second] * (values[:, self._gate] >= self._threshold)
        rounded: NDArray[np.int64] = np.rint(terms @ self._factor.T).astype(np.int64)
        return rounded


def _governed(meta: nn.Module, space: SearchSpace, size: tuple[int, int]) -> list[Governed]:
    """The layers of the largest member in order of execution, with what decides of them."""
    full = {layer.name: layer for layer in _trace(meta, space.largest, size)}
    governs: dict[tuple[str, int], str] = {}  # (layer, part or -1 for the output) -> choice
    gates: dict[str, tuple[str, int]] = {}
    for choice in space.choices:
        for value in choice.values[:-1] if choice.is_depth else choice.values[:-1][:1]:
            seen = {layer.name: layer for layer in _trace(meta, space.largest.having({choice.name: value}), size)}
            for name, layer in full.items():
                if name not in seen:
                    least = choice.values[choice.values.index(value) + 1]
                    if gates.setdefault(name, (choice.name, least))[0] != choice.name:
                        raise ValueError(f"layer {name} is switched by two choices; the cost model knows one a layer")
                    gates[name] = (choice.name, least)
                    continue
                widths, before = (*seen[name].have, seen[name].width), (*layer.have, layer.width)
                for part, (now, was) in enumerate(zip(widths, before)):
                    place = (name, part if part < len(layer.have) else -1)
                    if now != was:
                        one = governs.setdefault(place, choice.name) == choice.name
                        if not one or now * choice.values[-1] != was * value:
                            raise ValueError(f"a width of {name} is not a multiple of one choice")
    return [Governed(layer, tuple(governs.get((name, part), "") for part in range(len(layer.have))),
                     governs.get((name, -1), ""), gates.get(name, ("", 0))) for name, layer in full.items()]


def _monomials(layers: list[Governed], modules: Mapping[str, nn.Module], largest: Arch
               ) -> Mapping[tuple[str, str, str, int], NDArray[np.float64]]:
    """(width choice, width choice, depth choice, least depth) -> factors of (params, macs, macs_paper); "" stands for 1."""
    table: dict[tuple[str, str, str, int], NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    for layer in layers:
        module = modules[layer.full.name]
        assert isinstance(module, Elastic)
        _add_layer(table, layer, module, largest)
    return table


def _add_layer(table: dict[tuple[str, str, str, int], NDArray[np.float64]], governed: Governed, module: Elastic,
               largest: Arch) -> None:
    """Split a layer's cost at full width into monomials of the choices that govern its widths."""
    layer, out = governed.full, governed.out

    def put(first: str, second: str, factors: NDArray[np.float64]) -> None:
        names = sorted((first, second))
        scale = np.prod([largest[n] for n in names if n])
        table[(names[0], names[1], *governed.gate)] += factors / scale

    weight = getattr(module, "weight", None)
    one_a_channel = weight is None or isinstance(module, ElasticBatchNorm) or (weight.shape[1] == 1 and layer.width > 1)
    bias = getattr(module, "bias", None)
    cost = np.array([layer.cost.params, layer.cost.macs, layer.cost.macs_paper], dtype=np.float64)
    if one_a_channel and len(layer.have) == 1 and layer.have[0] == layer.width:  # norms and depthwise: linear
        put(out, "", cost)
        return
    if bias is not None:
        put(out, "", np.array([layer.width, 0.0, 0.0]))
        cost[0] -= layer.width
    for choice, width in zip(governed.parts, layer.have, strict=True):  # convolutions: bilinear in each part and the output
        put(choice, out, cost * width / sum(layer.have))
