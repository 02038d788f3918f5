"""How files of the lineage name a generator's tensors, and where these lie in ours.

CycleGAN-and-pix2pix, pix2pixHD, GAN Compression and OMGD number the modules of one `nn.Sequential`, so a norm or a
dropout moves the names behind it. b blocks; n downs, 2 in a ResNet (else it is pix2pixHD's); "conv + norm" are neighbours:

    ResNet   model.1 stem, .4 down1, .7 down2, .., .(4+3n) = f to .(f+b-1) blocks, .(f+b) up1, .., .(f+b+3n+1) head
             a block: conv_block.1 + .2, then .5 + .6, or .6 + .7 behind a dropout; GAN Compression has one even at rate 0
             a separable convolution: conv.0 depthwise, conv.1 a norm without tensors, conv.2 pointwise
    UNet     level 1: model.model.0 down, .3 up; level 2 lies in model.model.1.model, level 3 in .3.model of that, ..
             inner levels: .1 down + .2, .5 up + .6; the last: .1 down, .3 up + .4
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
        size: (H, W) that it was most likely trained at.
        unsaid: what no file says, by the option that does, and what is taken: `edges` (yes or no: the last of one-hot
            input channels is the edge map of the instances), or a field of the config. Nets of pictures have no `edges`.
    """

    family: str
    text: str
    parts: tuple[Part, ...]
    fields: Callable[[Tensors, str], dict[str, Any]]
    size: tuple[int, int] = (256, 256)
    unsaid: Mapping[str, str] = field(default_factory=dict)

    def answered(self, said: Mapping[str, str], where: str) -> Published:
        """With `unsaid` as the user says; UserError for an option that this file leaves no room for."""
        for option in said.keys() - self.unsaid.keys():
            raise UserError(f"--{option} {said[option]} means nothing for {where}; leave it out")
        return replace(self, unsaid={**self.unsaid, **said})


def published(tensors: Tensors) -> Published | None:
    """The net whose names these are; None where no family of ours has such names."""
    if any(name.startswith("model.model.1.model.") for name in tensors):
        return None if any("conv_block" in name for name in tensors) else _unet(tensors)
    blocks = sorted({int(match[1]) for name in tensors if (match := BLOCK.match(name))})
    local = any(name.startswith("model1_1.") for name in tensors)
    if not blocks or local or any(re.search(r"conv_block\.([89]|\d\d)\.", name) for name in tensors):
        return None
    downs, odd = divmod(blocks[0] - 4, 3)
    return _residual(tensors, downs, blocks[-1] - blocks[0] + 1) if not odd and downs > 0 else None


def _residual(tensors: Tensors, downs: int, blocks: int) -> Published:
    separable = any(re.search(r"conv_block\.\d\.conv\.", name) for name in tensors)
    leaf = ".conv.0.weight" if separable else ".weight"
    early = any(name.endswith(f"conv_block.5{leaf}") for name in tensors)  # no dropout; norms lie at .2, .6 or .7 only
    first = 4 + 3 * downs
    behind = first + blocks
    # Name, place, axis of the width, what a base width is multiplied by.
    stages = [("stem", 1, 0, 1), *((f"down{i + 1}", 4 + 3 * i, 0, 2 << i) for i in range(downs)),
              *((f"up{i + 1}", behind + 3 * i, 1, 1 << downs - 1 - i) for i in range(downs))]
    parts = [Part(f"model.{at}", name, f"model.{at + 1}", f"norms.{name}") for name, at, _, _ in stages]
    insides = []  # of each block, the convolution that sets its width inside
    for i in range(blocks):
        for j, at in ((1, 1), (2, 5 if early else 6)):
            conv, ours = f"model.{first + i}.conv_block.{at}", f"body.{i}.conv{j}"
            norm = f"model.{first + i}.conv_block.{at + 1}", f"body.{i}.norm{j}"
            if separable:
                parts += [Part(f"{conv}.conv.0", f"{ours}.depthwise"), Part(f"{conv}.conv.2", f"{ours}.pointwise", *norm)]
            else:
                parts.append(Part(conv, ours, *norm))
            if j == 1:
                insides.append(parts[-1].conv)
    parts.append(Part(f"model.{behind + 3 * downs + 1}", "head"))

    def fields(t: Tensors, where: str) -> dict[str, Any]:
        own: dict[str, Any] = {"downs": downs}
        widths = [(name, f"model.{at}", axis, times) for name, at, axis, times in stages]
        if downs == 2:
            groups = _groups([t[f"{conv}.weight"].shape[0] for conv in insides])
            own = {"groups": groups}
            widths[3:3] = [(f"mid{group_of(i, blocks, groups)}", conv, 0, 4) for i, conv in enumerate(insides)]
        return {"in_channels": t["model.1.weight"].shape[1], "out_channels": t[parts[-1].weight].shape[0], "blocks": blocks,
                "body_block": "separable" if separable else "plain", **own, **_pinned(t, where, widths)}

    body = f"{blocks} {'separable' if separable else 'full'} blocks"
    if downs == 2:
        return Published("pix2pix-resnet", f"ResNet of {body}", tuple(parts), fields)
    stem = tensors.get("model.1.weight")
    labels = stem is not None and stem.dim() == 4 and stem.shape[1] > 3
    text = f"pix2pixHD GlobalGenerator of {downs} down-samplings and {body}"
    return Published("pix2pixhd", text, tuple(parts), fields, (256, 512), {"edges": "yes"} if labels else {})


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

    return Published("pix2pix-unet", f"UNet of {top} levels", parts, fields, (1 << top, 1 << top))


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
