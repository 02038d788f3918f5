"""Formats of other runtimes: what an exported file computes, how it is checked, and what it says of itself.

What it computes says `wrapped.py`: sources of any size in, pictures of the same size in [0, 1] out. It is written only after
its own runtime gave what torch gives.
"""

from __future__ import annotations

import importlib
import json
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ugc.core.encoding import LabelEncoding
from ugc.core.errors import UserError, of_system
from ugc.core.files import atomic
from ugc.core.images import Array
from ugc.core.log import say
from ugc.core.registry import Registry
from ugc.export.saved import load_net, source_of
from ugc.export.terms import attribution
from ugc.export.wrapped import WrappedNet, wrapped
from ugc.models.generator import Generator
from ugc.nn.cost import total, trace
from ugc.version import __version__

FORMATS: Registry[type[Format]] = Registry("format", "ugc.export")

TOLERANCE = 1e-4  # of the range [0, 1]: a fortieth of a step of 8 bits
LICENCE = "ugc is Apache-2.0; weights and pictures are under the terms of the data (see attribution)"

Run = Callable[..., Array]  # the inputs of a wrapped net in order -> its answer


class Format(ABC):
    """One kind of file. A subclass registers itself: `@FORMATS.register("name")`.

    Attributes:
        suffix: of its files, such as ".onnx".
        extra: the extra of this package that installs `needs`, the modules that are imported.
    """

    suffix: ClassVar[str]
    extra: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    @abstractmethod
    def convert(self, net: WrappedNet) -> bytes:
        """The file's content."""

    @abstractmethod
    def runtime(self, data: bytes) -> Run:
        """The content in the format's own runtime: float32 [N, C, H, W] -> the same."""

    @abstractmethod
    def stamp(self, data: bytes, about: dict[str, str]) -> bytes:
        """The content with `about` in it."""

    @abstractmethod
    def about(self, data: bytes) -> dict[str, str]:
        """What `stamp` put there."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """What made the file: packages, version of the format."""

    def check_packages(self) -> None:
        """UserError where a package is missing."""
        for name in self.needs:
            try:
                importlib.import_module(name)
            except ImportError as error:
                raise UserError(f"{name} cannot be imported ({error}): pip install 'ugc[{self.extra}]'") from None


def cases(trained: tuple[int, int]) -> tuple[tuple[int, int, int], ...]:
    """(N, H, W) of the check: the training size; two pictures of odd sides; one whose height is shorter than its pad.

    None is tiny: where instance norm has only a few values, rounding grows beyond TOLERANCE in torch, too.
    """
    height, width = trained
    return (1, height, width), (2, height * 3 // 4 | 1, width * 5 // 4 | 1), (1, 3, width | 1)


@torch.no_grad()
def largest_difference(net: WrappedNet, run: Run, sizes: tuple[tuple[int, int, int], ...]) -> float:
    """max |runtime - torch| over noise of `sizes`; infinite where a shape or a number is wrong."""
    worst = 0.0
    for seed, size in enumerate(sizes):
        inputs = net.noise(*size, seed)
        wanted, got = net(*inputs).numpy(), run(*(one.numpy() for one in inputs))
        if got.shape != wanted.shape or not np.isfinite(got).all():
            return float("inf")
        worst = max(worst, float(np.abs(got - wanted).max()))
    return worst


def export(folder: Path, name: str = "onnx", out: Path | None = None, labels: str | None = None) -> list[str]:
    """Write a saved net as one file of another runtime, checked against torch; returns what there is to say.

    Args:
        labels: how label maps come in, see `wrapped`.

    Raises:
        UserError: no such format, a missing package, no saved net, or a file that does not compute what torch does.
            Nothing is written then.
    """
    chosen = FORMATS[name]()
    path = out or folder / f"model{chosen.suffix}"
    if path.suffix != chosen.suffix or path.is_dir():
        raise UserError(f"--out {path}: expected a file whose name ends in {chosen.suffix}")
    chosen.check_packages()
    net, config = load_net(folder)
    whole = wrapped(net, source_of(net, config), labels)
    if not net.config.arch and net.space.count > 1:
        say(f"{folder} is a supernet: it is exported at its full width")
    trained = _size(folder, net, config)
    data = chosen.convert(whole)
    sizes = cases(trained)
    try:
        difference = largest_difference(whole, chosen.runtime(data), sizes)
    except Exception as error:  # runtimes have errors of their own
        raise UserError(f"{name}: its runtime failed on the exported net, so nothing was written: "
                        f"{first_line(error)}") from error
    shown = ", ".join("x".join(map(str, size)) for size in sizes)
    if not difference <= TOLERANCE:
        raise UserError(f"{name}: the exported net differs from torch by up to {difference:.3g} at {shown}, more than "
                        f"{TOLERANCE:g}, so nothing was written")
    about = describe(whole, config, trained) | chosen.versions() | {
        "format": name, "checked_sizes": json.dumps(sizes), "largest_difference": f"{difference:.3g}",
        "tolerance": f"{TOLERANCE:g}"}
    data = chosen.stamp(data, about)
    try:
        with atomic(path) as file:
            file.write(data)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {of_system(error) or first_line(error)}") from None
    made = ", ".join(f"{key} {value}" for key, value in chosen.versions().items())
    return [f"{path}: {len(data):,} bytes; {made}",
            f"largest difference from torch {difference:.3g} (at most {TOLERANCE:g}) at {shown} (N x H x W)",
            f"{about['family']} {about['arch']}: {net.config.in_channels} to {net.config.out_channels} channels, "
            f"{about['params']} params, {about['macs']} macs, {about['macs_paper']} macs_paper at "
            f"{trained[0]}x{trained[1]}",
            f"attribution: {about['attribution']}",
            f"it takes {', '.join(f'{one.name} ({one.text})' for one in whole.inputs)}"]


def describe(whole: WrappedNet, config: dict[str, Any], trained: tuple[int, int]) -> dict[str, str]:
    """What a file says of the net in it, as text; costs are counted anew, at the training size."""
    net, source = whole.net, source_of(whole.net, config)
    cost = total(trace(net, None, trained))
    maps = {"source": source.model_dump_json(), "labels": whole.labels} if isinstance(source, LabelEncoding) else {}
    way = {"direction": config["direction"]} if config.get("direction") else {}
    return maps | way | {
        "ugc": __version__, "family": config["family"], "role": str(config.get("role", "")),
        "arch": net.config.arch or net.space.largest.text, "size": f"{trained[0]}x{trained[1]}",
        "params": str(cost.params), "macs": str(cost.macs), "macs_paper": str(cost.macs_paper),
        "stride": str(net.stride), "in_channels": str(net.config.in_channels), "out_channels": str(net.config.out_channels),
        "value_range": "[0, 1]", "layout": "NCHW", "data": str(config.get("data", "")), "licence": LICENCE,
        "attribution": attribution(config), "python": platform.python_version(),
        "torch": torch.__version__}


def _size(folder: Path, net: Generator, config: dict[str, Any]) -> tuple[int, int]:
    """The training size that `config.json` names."""
    if "size" not in config:
        raise UserError(f"{folder / 'config.json'} names no size (expected \"size\": [H, W])")
    height, width = config["size"]
    net.check_size((height, width))
    return height, width


def first_line(error: Exception) -> str:
    """An error's first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
