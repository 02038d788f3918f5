"""How files of the lineage name a generator's tensors, and where these lie in ours.

CycleGAN-and-pix2pix, GAN Compression and OMGD number the modules of one `nn.Sequential`, so a norm or a dropout moves
the names behind it. b blocks; "conv + norm" are neighbours:

    ResNet   model.1 stem, .4 down1, .7 down2, .10 to .(9+b) blocks, .(10+b) up1, .(13+b) up2, .(17+b) head
             a block: conv_block.1 + .2, then .5 + .6, or .6 + .7 behind a dropout; GAN Compression has one even at rate 0
             a separable convolution: conv.0 depthwise, conv.1 a norm without tensors, conv.2 pointwise
    UNet     level 1: model.model.0 down, .3 up; level 2 lies in model.model.1.model, level 3 in .3.model of that, ..
             inner levels: .1 down + .2, .5 up + .6; the last: .1 down, .3 up + .4
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ugc.core.errors import UserError
from ugc.models.pix2pix_resnet import group_of

Tensors = Mapping[str, Tensor]
BLOCK = re.compile(r"model\.(\d{1,3})\.conv_block\.")


@dataclass(frozen=True)
class Part:
    """A convolution and, where one follows, its norm: their names in the file and, as `our_..`, in our net."""

    conv: str
    our_conv: str
    norm: str = ""
    our_norm: str = ""

    @property
    def weight(self) -> str:
        return f"{self.conv}.weight"

    def names(self) -> Iterator[tuple[str, str]]:
        """(our name, the file's) of every tensor that may be here."""
        for leaf in ("weight", "bias"):
            yield f"{self.our_conv}.{leaf}", f"{self.conv}.{leaf}"
        for leaf in ("weight", "bias", "running_mean", "running_var") if self.norm else ():
            yield f"{self.our_norm}.{leaf}", f"{self.norm}.{leaf}"


@dataclass(frozen=True)
class Published:
    """A net as its file has it.

    Attributes:
        text: what it is, for people.
        fields: of its config, all but norm, from the shapes of (tensors, where), when every convolution is there; UserError
            for a width that our family cannot have.
    """

    family: str
    text: str
    parts: tuple[Part, ...]
    fields: Callable[[Tensors, str], dict[str, Any]]


def published(tensors: Tensors) -> Published | None:
    """The net whose names these are; None where no family of ours has such names."""
    if any(name.startswith("model.model.1.model.") for name in tensors):
        return None if any("conv_block" in name for name in tensors) else _unet(tensors)
    blocks = sorted({int(match[1]) for name in tensors if (match := BLOCK.match(name))})
    known = blocks and blocks[0] == 10 and not any(re.search(r"conv_block\.([89]|\d\d)\.", name) for name in tensors)
    return _resnet(tensors, blocks[-1] - 9) if known else None


def _resnet(tensors: Tensors, blocks: int) -> Published:
    separable = any(re.search(r"conv_block\.\d\.conv\.", name) for name in tensors)
    leaf = ".conv.0.weight" if separable else ".weight"
    early = any(name.endswith(f"conv_block.5{leaf}") for name in tensors)  # no dropout; norms lie at .2, .6 or .7 only
    up1, up2, head = 10 + blocks, 13 + blocks, f"model.{17 + blocks}"
    parts = [Part(f"model.{at}", name, f"model.{at + 1}", f"norms.{name}") for name, at in
             (("stem", 1), ("down1", 4), ("down2", 7), ("up1", up1), ("up2", up2))]
    insides = []  # of each block, the convolution that sets its width inside
    for i in range(blocks):
        for j, at in ((1, 1), (2, 5 if early else 6)):
            conv, ours = f"model.{10 + i}.conv_block.{at}", f"body.{i}.conv{j}"
            norm = f"model.{10 + i}.conv_block.{at + 1}", f"body.{i}.norm{j}"
            if separable:
                parts += [Part(f"{conv}.conv.0", f"{ours}.depthwise"), Part(f"{conv}.conv.2", f"{ours}.pointwise", *norm)]
            else:
                parts.append(Part(conv, ours, *norm))
            if j == 1:
                insides.append(parts[-1].conv)

    def fields(t: Tensors, where: str) -> dict[str, Any]:
        groups = _groups([t[f"{conv}.weight"].shape[0] for conv in insides])
        mids = [(f"mid{group_of(i, blocks, groups)}", conv, 0, 4) for i, conv in enumerate(insides)]
        return {"in_channels": t["model.1.weight"].shape[1], "out_channels": t[f"{head}.weight"].shape[0],
                "blocks": blocks, "groups": groups, "body_block": "separable" if separable else "plain",
                **_pinned(t, where, [("stem", "model.1", 0, 1), ("down1", "model.4", 0, 2), ("down2", "model.7", 0, 4),
                                     *mids, ("up1", f"model.{up1}", 1, 2), ("up2", f"model.{up2}", 1, 1)])}

    text = f"ResNet of {blocks} {'separable' if separable else 'full'} blocks"
    return Published("pix2pix-resnet", text, (*parts, Part(head, "head")), fields)


def _groups(insides: list[int]) -> int:
    """3 where each third of the body has one width inside, else as many as blocks (GAN Compression's legacy nets)."""
    thirds: dict[int, set[int]] = {}
    for i, width in enumerate(insides):
        thirds.setdefault(group_of(i, len(insides), 3), set()).add(width)
    return 3 if len(thirds) == 3 and all(len(widths) == 1 for widths in thirds.values()) else len(insides)


def _unet(tensors: Tensors) -> Published:
    parts = tuple(_levels(tensors))
    top = len(parts) // 2

    def fields(t: Tensors, where: str) -> dict[str, Any]:
        groups = [(f"w{times}", part.conv, 0, times) for part, times in zip(parts[:top], (1, 2, 4, 8))]
        return {"in_channels": t[parts[0].weight].shape[1], "out_channels": t[parts[top].weight].shape[1],
                "levels": top, **_pinned(t, where, groups)}

    return Published("pix2pix-unet", f"UNet of {top} levels", parts, fields)


def _levels(tensors: Tensors) -> Iterator[Part]:
    """The downs of all levels from 1 on, then the ups."""
    ups = [Part("model.model.3", "up.1")]
    yield Part("model.model.0", "down.1")
    at, level = "model.model.1.model", 2
    while any(name.startswith(f"{at}.3.model.") for name in tensors):
        yield Part(f"{at}.1", f"down.{level}", f"{at}.2", f"norms.down{level}")
        ups.append(Part(f"{at}.5", f"up.{level}", f"{at}.6", f"norms.up{level}"))
        at, level = f"{at}.3.model", level + 1
    yield Part(f"{at}.1", f"down.{level}")
    yield from (*ups, Part(f"{at}.3", f"up.{level}", f"{at}.4", f"norms.up{level}"))


def _pinned(tensors: Tensors, where: str, choices: list[tuple[str, str, int, int]]) -> dict[str, Any]:
    """The fields of a net of the file's widths, with nothing inserted.

    Args:
        choices: (choice, convolution, axis of its channels, what a base width is multiplied by there).

    Raises:
        UserError: channels that are no multiple of that.
    """
    widths = {}
    for choice, conv, axis, times in choices:
        channels = tensors[f"{conv}.weight"].shape[axis]
        if channels % times:
            raise UserError(f"{where}: {conv}.weight gives {channels} channels; this family has a multiple of {times} there")
        widths[choice] = channels // times
    values = sorted(set(widths.values()))
    arch = ",".join(f"{choice}={width}" for choice, width in widths.items()) if len(values) > 1 else ""
    return {"base": values[-1], "widths": values, "depths": [0], "arch": arch}
