"""What a net runs in, as a clock sees it: one picture, fp32, on this machine's CPU, with the threads of this process.

A runtime opens a net at one size; what is opened runs one picture, and says how long each convolution took (`nn/latency.py`
says what is counted to which).
"""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ugc.core.encoding import Encoding
from ugc.core.registry import Registry
from ugc.models.generator import Generator
from ugc.nn.cost import trace
from ugc.nn.latency import timed_layers

RUNTIMES: Registry[type[Runtime]] = Registry("runtime", "ugc.export")

WARM = 3
LAYERED = 60  # passes with layer times, at most: a profile of more is read slowly


class Opened(ABC):
    """A net in a runtime, with a picture to run it on."""

    @abstractmethod
    def run(self) -> None:
        """One picture, from the runtime's input to its output."""

    @abstractmethod
    def layers(self, whole: float) -> list[float]:
        """Median seconds of each of `timed_layers`, in order. whole: those of a picture, of which these are parts."""

    def seconds(self) -> float:
        """Median of a picture."""
        return statistics.median(times_of(self.run))


class Runtime(ABC):
    """One runtime. A subclass registers itself: `@RUNTIMES.register("name")`."""

    @abstractmethod
    def version(self) -> str:
        """Of the runtime and of what makes its file.

        Raises:
            UserError: a package is missing.
        """

    @abstractmethod
    def open(self, net: Generator, encoding: Encoding, size: tuple[int, int]) -> Opened:
        """`net` for sources of `encoding` and `size` (H, W).

        Raises:
            UserError: the runtime cannot run this net.
        """


def times_of(call: Callable[[], Any], seconds: float = 1.0, least: int = 5, most: int = 300) -> list[float]:
    """Seconds of each call, after WARM calls that do not count: `least` to `most` calls, as many as fit into `seconds`."""
    for _ in range(WARM):
        call()
    found, stop = list[float](), time.perf_counter() + seconds
    while len(found) < least or (len(found) < most and time.perf_counter() < stop):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def medians(passes: Sequence[Sequence[float]]) -> list[float]:
    """Of each column, the passes that only warm up left out."""
    return [statistics.median(column) for column in zip(*passes[WARM:], strict=True)]


@RUNTIMES.register("torch")
class TorchRuntime(Runtime):
    """`ugc.load(folder).net` on the CPU."""

    def version(self) -> str:
        return f"torch {torch.__version__}"

    def open(self, net: Generator, encoding: Encoding, size: tuple[int, int]) -> Opened:
        x = torch.rand(net.source_shape(size), generator=torch.Generator().manual_seed(0)) * 2 - 1
        return _OpenedTorch(net.to("cpu").eval(), x, [layer.name for layer in timed_layers(trace(net, None, size))])


class _OpenedTorch(Opened):
    def __init__(self, net: Generator, x: Tensor, names: list[str]) -> None:
        self.net, self.x, self.names = net, x, names

    @torch.no_grad()
    def run(self) -> None:
        self.net(self.x)

    def layers(self, whole: float) -> list[float]:
        passes, ends = list[list[float]](), list[float]()

        def watch(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            ends.append(time.perf_counter())

        def one() -> None:
            ends[:] = [time.perf_counter()]
            self.run()
            passes.append([end - start for start, end in pairwise(ends)])

        handles = [self.net.get_submodule(name).register_forward_hook(watch) for name in self.names]
        try:
            times_of(one, most=LAYERED)
        finally:
            for handle in handles:
                handle.remove()
        return medians(passes)
