"""A generator as a file of another runtime holds it: sources of any size in, pictures of that size in [0, 1] out.

Pictures come in as [0, 1], label maps as ids or one-hot. Sides are padded at their end, by reflection, to what the net
takes, and the answer is cropped back. A map's edges are made before it is padded, so the padding adds none.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ugc.core.encoding import UNKNOWN, Encoding, LabelEncoding, edges_of, instances_of
from ugc.core.errors import UserError
from ugc.core.images import Array, narrowed, widened
from ugc.models.generator import Generator

LABELS = ("ids", "onehot")


def at_any_size(net: Generator, x: Tensor) -> Tensor:
    """net(x), where H and W may be any. [N, C, H, W] -> [N, C', H, W] in [-1, 1]."""
    size = (x.shape[2], x.shape[3])
    return net(x) if net.room(*size) == size else padded(net, x)


def padded(net: Generator, x: Tensor) -> Tensor:
    """The same with no question asked of the size, as a graph needs it: x padded, and the answer cropped back."""
    height, width = x.shape[2:]
    tall, wide = net.room(height, width)
    x = x.index_select(2, _reflected(height, tall, x.device))  # [N, C, tall, W]
    x = x.index_select(3, _reflected(width, wide, x.device))  # [N, C, tall, wide]
    return net(x)[:, :, :height, :width]  # type: ignore[no-any-return]


def _reflected(side: int, length: int, device: torch.device) -> Tensor:
    """The indices 0 1 .. n-1 n-2 .. 1 0 1 .. of n = `side`, `length` of them.

    By arithmetic on the side, so that a graph holds it for every side, one of 1 and pads beyond the side too.
    """
    period = torch.full((1,), torch.sym_max(2 * (side - 1), 1), dtype=torch.int64, device=device)
    i = torch.arange(length, device=device) % period
    return torch.minimum(i, 2 * (side - 1) - i)


@dataclass(frozen=True)
class Input:
    """One input of a file. channels: of [N, C, H, W]; None for [N, H, W]. text: for people."""

    name: str
    text: str
    channels: int | None = None

    @property
    def axes(self) -> dict[int, str]:
        """What is free."""
        first = 1 if self.channels is None else 2
        return {0: "batch", first: "height", first + 1: "width"}


class WrappedNet(nn.Module):
    """`forward` takes the `inputs` in order, and gives [N, C', H, W] in [0, 1] of their H and W, which are free."""

    inputs: tuple[Input, ...]
    labels: str = ""  # how label maps come in

    def __init__(self, net: Generator) -> None:
        super().__init__()
        self.net = net

    @abstractmethod
    def noise(self, count: int, height: int, width: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs to try it with, [N, .., H, W]."""


class PictureNet(WrappedNet):
    """[N, C, H, W] in [0, 1] -> [N, C', H, W] in [0, 1]. It is what `Translator.array` does between two roundings."""

    def __init__(self, net: Generator) -> None:
        super().__init__(net)
        self.inputs = (Input("image", "float32 [N, C, H, W] in [0, 1]", net.config.in_channels),)

    def forward(self, image: Tensor) -> Tensor:
        return narrowed(padded(self.net, widened(image)))

    def noise(self, count: int, height: int, width: int, seed: int) -> tuple[Tensor, ...]:
        shape = (count, self.net.config.in_channels, height, width)
        return (torch.from_numpy(np.random.default_rng(seed).random(shape, dtype=np.float32)),)


class LabelNet(WrappedNet):
    """Class ids [N, H, W] and, where the net takes edges, instance ids [N, H, W] -> pictures.

    An id that is no class counts as unknown where the net knows that, and has no class at all where it does not: a graph
    can't refuse.
    """

    labels = "ids"

    def __init__(self, net: Generator, encoding: LabelEncoding) -> None:
        super().__init__(net)
        self.encoding = encoding
        known = f"0 to {encoding.classes - 1}{f'; {UNKNOWN}, or any other, is unknown' if encoding.unknown else ''}"
        self.inputs = (Input("label", f"int32 [N, H, W], class ids {known}"),
                       *([Input("instance", "int32 [N, H, W], any number for each instance")] if encoding.edges else []))

    def forward(self, label: Tensor, instance: Tensor | None = None) -> Tensor:
        classes = torch.arange(self.encoding.classes, dtype=label.dtype, device=label.device)
        parts = [(label[:, None] == classes[:, None, None]).float()]  # [N, classes, H, W]
        if self.encoding.unknown:
            parts.append(((label < 0) | (label >= self.encoding.classes))[:, None].float())
        if instance is not None:
            parts.append(edges_of(instance)[:, None].float())
        return narrowed(padded(self.net, torch.cat(parts, 1)))

    def noise(self, count: int, height: int, width: int, seed: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(seed)
        ids = blocks(rng, count, height, width, self.encoding.ids)
        if self.encoding.unknown:
            ids[ids == self.encoding.classes] = UNKNOWN
        return (ids, *([1000 * blocks(rng, count, height, width, 40)] if self.encoding.edges else []))


class OneHotNet(WrappedNet):
    """What the net takes, [N, C, H, W] in {0, 1}: classes, unknown and edges, as `encoding` has them -> pictures."""

    labels = "onehot"

    def __init__(self, net: Generator, encoding: LabelEncoding) -> None:
        super().__init__(net)
        self.encoding = encoding
        last = f"{', then unknown' if encoding.unknown else ''}{', then edges' if encoding.edges else ''}"
        text = f"float32 [N, C, H, W] in {{0, 1}}: {encoding.classes} classes{last}"
        self.inputs = (Input("onehot", text, encoding.channels),)

    def forward(self, onehot: Tensor) -> Tensor:
        return narrowed(padded(self.net, onehot))

    def noise(self, count: int, height: int, width: int, seed: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(seed)
        stored = [blocks(rng, count, height, width, most) for most in (self.encoding.ids, 2)[: self.encoding.stored]]
        return (self.encoding.encode(torch.stack(stored, -1).to(torch.uint8)),)


def blocks(rng: np.random.Generator, count: int, height: int, width: int, most: int) -> Tensor:
    """Random numbers 0 .. most - 1 in squares of 3 pixels, int32 [N, H, W]."""
    coarse = rng.integers(0, most, (count, -(-height // 3), -(-width // 3)), dtype=np.int32)
    return torch.from_numpy(coarse.repeat(3, 1).repeat(3, 2)[:, :height, :width].copy())


def wrapped(net: Generator, encoding: Encoding, labels: str | None = None) -> WrappedNet:
    """The net with the front that its sources need.

    Args:
        labels: `ids` or `onehot`, how label maps come in; None for ids, and for pictures.

    Raises:
        UserError: another word, or one where sources are pictures.
    """
    if not isinstance(encoding, LabelEncoding):
        if labels is not None:
            raise UserError(f"--labels {labels}: this net takes {encoding.text}, no label maps; leave --labels out")
        return PictureNet(net).eval()
    if labels not in (None, *LABELS):
        raise UserError(f"--labels {labels!r}: expected ids (class ids and instance ids) or onehot (one channel a class)")
    return (OneHotNet if labels == "onehot" else LabelNet)(net, encoding).eval()


def inputs_of(source: Tensor, encoding: Encoding, labels: str | None = None) -> tuple[Array, ...]:
    """What to feed a file of `wrapped(net, encoding, labels)` for encoded sources [N, C, H, W]."""
    if not isinstance(encoding, LabelEncoding):
        return (narrowed(source).numpy(),)
    if labels == "onehot":
        return (source.numpy(),)
    ids = source[:, : encoding.ids].argmax(1).to(torch.int32).numpy()
    return (ids, *([np.stack([instances_of(edges) for edges in source[:, -1].bool().numpy()])] if encoding.edges else []))
