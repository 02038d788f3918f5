"""What torch's own products allow a training step: its convolutions and matrix products alone, each in its best way.

    python benchmarks/ceiling.py --out benchmarks/results/ceiling.json

One step of each case of step.py is taken as we run it, and every call of a convolution, of its backward pass and of a matrix
product is noted. Then each is timed by itself: on warm memory, in NCHW and in channels_last, the gradients of the input and
of the weights together and apart; the quickest way counts. Nothing that arranges these calls otherwise is faster than their
sum, even if norms, activations, padding, copies, losses and optimisers took no time.

    of peak      useful multiply-adds over the median seconds of the step, of the convolution peak of the same process
    ceiling      the same over the sum of the products alone
    in products  the share of the step's time that these calls take where they stand
    of it alone  the sum of the products alone, of what they take where they stand
    below plain  that sum, of a step of the straightforward version: no step is a smaller share of it

The calls are those of one step; their number and kinds are the same in every step of stage 2, and those of a random member's
mean cost in stage 1.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measure import convolution_peak, in_turns, median, timed, write
from step import (
    FAMILIES,
    PLAIN,
    PRECISIONS,
    STEPS,
    TYPES,
    Case,
    apart,
    arithmetic,
    cases,
    clock_of,
    convolutions,
    first,
    noise,
    phase_of,
    stepping,
)
from straightforward import Straightforward
from torch.utils._python_dispatch import TorchDispatchMode

from ugc.core.device import choose, prepare_cpu, ready

aten = torch.ops.aten
PRODUCTS = (aten.convolution.default, aten.convolution_backward.default, aten.mm.default, aten.addmm.default,
            aten.bmm.default, aten.baddbmm.default)
LAYOUTS = (torch.preserve_format, torch.contiguous_format, torch.channels_last)
LEAST, SECONDS = 3, 0.02  # calls of each way, and for how long at least


class Laid(NamedTuple):
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Called(NamedTuple):
    """A call without its numbers: what must be the same for two calls to take the same time."""

    operator: Any
    args: tuple[Any, ...]


class Products(TorchDispatchMode):
    """While it is open: the products that are called, how often, and the seconds that they take where they stand."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device, self.calls, self.seconds = device, Counter[Called](), 0.0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator not in PRODUCTS:
            return operator(*args, **(kwargs or {}))
        ready(self.device)
        start = time.perf_counter()
        result = operator(*args, **(kwargs or {}))
        ready(self.device)
        self.seconds += time.perf_counter() - start
        self.calls[Called(operator, tuple(map(_without_numbers, args)))] += 1
        return result


def _without_numbers(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return Laid(tuple(x.shape), tuple(x.stride()), x.dtype)
    return tuple(x) if isinstance(x, list) else x


def _with_numbers(x: Any, layout: torch.memory_format, device: torch.device) -> Any:
    if not isinstance(x, Laid):
        return list(x) if isinstance(x, tuple) else x
    if layout is torch.preserve_format and 0 not in x.stride:
        return torch.empty_strided(x.shape, x.stride, dtype=x.dtype, device=device).normal_()
    image = layout is torch.channels_last and len(x.shape) == 4
    return torch.randn(x.shape, dtype=x.dtype, device=device).contiguous(
        memory_format=torch.channels_last if image else torch.contiguous_format)


def alone(call: Called, device: torch.device) -> float:
    """Seconds of one such call by itself, in its quickest way."""
    if call.operator is not aten.convolution_backward.default:
        return _quickest(call, device)
    *rest, wanted = call.args  # gradients of: input, weight, bias
    halves = [tuple(bool(w and i in own) for i, w in enumerate(wanted)) for own in ((0,), (1, 2))]
    parts = [_quickest(call._replace(args=(*rest, half)), device) for half in halves if any(half)]
    return min(sum(parts), _quickest(call, device)) if len(parts) > 1 else parts[0]


def _quickest(call: Called, device: torch.device) -> float:
    best, seen = float("inf"), set[tuple[Any, ...]]()
    for layout in LAYOUTS:
        args = [_with_numbers(x, layout, device) for x in call.args]
        strides = tuple(x.stride() for x in args if isinstance(x, torch.Tensor))
        if strides in seen:
            continue
        seen.add(strides)
        run = partial(call.operator, *args)
        timed(run, device)  # the first makes its kernel
        stop, calls = time.perf_counter() + SECONDS, 0
        while calls < LEAST or time.perf_counter() < stop:
            best, calls = min(best, timed(run, device)), calls + 1
    return best


def bound(step: Callable[[], Any], device: torch.device) -> tuple[float, float]:
    """Seconds of a step's products where they stand, and alone."""
    step()
    with Products(device) as products:
        step()
    with torch.no_grad():
        return products.seconds, sum(n * alone(call, device) for call, n in products.calls.items())


def row_of(case: Case, precision: str, rounds: int) -> dict[str, Any]:
    """What a case takes, and what its products alone would."""
    prepare_cpu()
    kind = TYPES.get(precision, precision)
    phase, device = phase_of(case, precision), choose(case.device, kind)
    batch, clock = noise(case, device.device), clock_of(phase, case.step)
    macs = case.recipe.batch * convolutions(lambda: phase.step(first(batch), clock))
    with arithmetic(precision):
        peak = convolution_peak(device, least=0.4)
    calls = {precision: stepping(phase, batch, clock, precision),
             PLAIN: stepping(Straightforward(phase_of(case, "fp32")), batch, clock, "fp32")}
    times = {name: median(taken) for name, taken in in_turns(calls, device.device, rounds, warm=1).items()}
    placed, least = bound(calls[precision], device.device)
    return {"case": case.text, "version": precision, "median s": times[precision], "products s": least,
            "of peak": f"{100 * macs / times[precision] / peak:.0f} %", "ceiling": f"{100 * macs / least / peak:.0f} %",
            "in products": placed / times[precision], "of it alone": least / placed,
            "of plain": times[precision] / times[PLAIN], "below plain": least / times[PLAIN]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--size", nargs="+", type=int, default=(256, 64))
    parser.add_argument("--batch", nargs="+", type=int, help="default: 1 and 4 from 128 px on, else 8")
    parser.add_argument("--step", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=("fp32", "bf16"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.backbone = None
    rows = []
    try:
        for case, precision in product(cases(options), options.precision):
            if case.step in options.step:
                rows.append(apart(row_of, case, precision, options.rounds))
                print(rows[-1], flush=True)
    finally:  # what is done is kept
        if rows:
            write(options.out, "ceiling", choose(options.device, "fp32"), rows)


if __name__ == "__main__":
    main()
