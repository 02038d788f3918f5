"""An architecture drawn: a bar for each layer, as high as it has channels, over the largest net of its supernet.

Inserted blocks are thin bars behind their layer. Works from the names of the choices alone (`stem down1 .. d.up2`,
`w1 w2 w4 w8 d.down1 ..`, `fc head middle0 ..`); an unknown family gets its choices in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ugc.engine.page import Html, tag

HIGHEST = 150.0  # pixels of the widest layer
SPADE = {"fc": 16, "head": 16, "middle0": 16, "middle1": 16, "up0": 8, "up1": 4, "up2": 2}  # times the base width
PITCH, BAR, BLOCK, THIN, GAP = 50.0, 22.0, 13.0, 7.0, 3.0


@dataclass(frozen=True)
class Layer:
    """One bar: full channels, and the inserted blocks behind it (None where the family has no slot there)."""

    name: str
    channels: int
    inserted: int | None = None
    repeats: int = 1  # blocks of the body that share one choice
    stream: int = 0  # channels that pass by a residual body


def parse(text: str) -> dict[str, int]:
    """`stem=16,d.down1=0` -> numbers; anything else in it is left out."""
    pairs = (item.partition("=") for item in text.split(","))
    return {name.strip(): int(value) for name, _, value in pairs if value.strip().lstrip("-").isdecimal()}


def layers(arch: Mapping[str, int], config: Mapping[str, Any]) -> list[Layer]:
    """The layers in the order in which a picture passes them."""
    if {"stem", "down1", "up1"} <= arch.keys():
        return _residual(arch, int(config.get("blocks", 9)), int(config.get("groups", 3)))
    if "middle0" in arch:
        return [Layer(name, SPADE.get(name, 1) * width, arch.get(f"d.{name}")) for name, width in arch.items()
                if not name.startswith("d.")]
    if "w1" in arch:
        return _unet(arch)
    return [Layer(name, width, arch.get(f"d.{name}")) for name, width in arch.items() if not name.startswith("d.")]


def _residual(arch: Mapping[str, int], blocks: int, groups: int) -> list[Layer]:
    """ResNets with n downs: a body whose inside is of groups (mid1 ..), or as wide as the trunk where there are none."""
    n = sum(re.fullmatch(r"down\d+", name) is not None for name in arch)
    stream = arch[f"down{n}"] << n
    mids = [f"mid{i * groups // blocks + 1}" for i in range(blocks)]
    body = [Layer(name, arch[name] << n, repeats=mids.count(name), stream=stream)
            for name in dict.fromkeys(mids) if name in arch]
    if not body and blocks:
        body = [Layer("body", stream, repeats=blocks, stream=stream)]
    down = [Layer(f"down{i}", arch[f"down{i}"] << i, arch.get(f"d.down{i}")) for i in range(1, n + 1)]
    up = [Layer(f"up{i}", arch[f"up{i}"] << n - i, arch.get(f"d.up{i}")) for i in range(1, n + 1)]
    return [Layer("stem", arch["stem"]), *down, *body, *up]


def _unet(arch: Mapping[str, int]) -> list[Layer]:
    levels = 1 + sum(name.startswith("d.down") for name in arch)

    def channels(level: int) -> int:
        times = min(1 << (level - 1), 8)
        return times * arch.get(f"w{times}", 0)

    down = [Layer(f"down{k}", channels(k), arch.get(f"d.down{k}")) for k in range(1, levels + 1)]
    return down + [Layer(f"up{k}", channels(k - 1), arch.get(f"d.up{k}")) for k in range(levels, 1, -1)]


def architecture_svg(student: Sequence[Layer], largest: Sequence[Layer], label: str) -> Html:
    """The student in the accent colour over the largest net in grey (or alone, where that has other layers)."""
    ghosts = list(largest) if [x.name for x in largest] == [x.name for x in student] else [None] * len(student)
    scale = HIGHEST / max(1, *(layer.channels for layer in (*student, *(g for g in ghosts if g))),
                          *(layer.stream for layer in (*student, *(g for g in ghosts if g))))
    top = 16.0
    middle, parts, x = top + HIGHEST / 2, list[Html](), 4.0

    def bar(left: float, width: float, channels: int, kind: str, title: str = "") -> Html:
        height = max(2.0, channels * scale)
        style = {"layer": ("accent", 1.0), "inserted": ("accent", 0.5), "stream": ("accent", 0.16), "ghost": ("ghost", 1.0),
                 "slot": ("ghost", 0.75), "passing": ("ghost", 0.45)}[kind]
        return tag("rect", tag("title", title) if title else None, x=f"{left:.1f}", y=f"{middle - height / 2:.1f}",
                   width=f"{width:.1f}", height=f"{height:.1f}", rx="1.5", class_=kind,
                   style=f"fill:var(--{style[0]});fill-opacity:{style[1]}")

    for layer, ghost in zip(student, ghosts):
        slots = max(layer.inserted or 0, (ghost.inserted or 0) if ghost else 0)
        own = layer.repeats * (BLOCK + GAP) - GAP if layer.stream else BAR
        width = own + slots * (THIN + GAP)
        pitch = max(PITCH, width + 10)
        left = x + (pitch - width) / 2
        for net, kinds in ((ghost, ("ghost", "slot", "passing")), (layer, ("layer", "inserted", "stream"))):
            if net is None:
                continue
            title = _title(layer, ghost) if net is layer else ""
            if net.stream:
                parts.append(bar(left - GAP, own + 2 * GAP, net.stream, kinds[2], title))
                parts += [bar(left + i * (BLOCK + GAP), BLOCK, net.channels, kinds[0], title) for i in range(net.repeats)]
            else:
                parts.append(bar(left, BAR, net.channels, kinds[0], title))
            parts += [bar(left + own + GAP + i * (THIN + GAP), THIN, net.channels, kinds[1], title)
                      for i in range(net.inserted or 0)]
        name = layer.name if layer.repeats == 1 else f"{layer.name} ×{layer.repeats}"
        parts.append(_text(x + pitch / 2, top + HIGHEST + 20, name, "soft"))
        parts.append(_text(x + pitch / 2, top + HIGHEST + 36, str(layer.channels), "accent", bold=True))
        if ghost:
            parts.append(_text(x + pitch / 2, top + HIGHEST + 51, f"of {ghost.channels}", "soft"))
        x += pitch
    width, height = x + 4, top + HIGHEST + 60
    svg = tag("svg", parts, viewBox=f"0 0 {width:.0f} {height:.0f}", role="img", aria_label=label)
    return tag("div", svg, class_="wide arch", style=f"--least:{width * 0.85:.0f}px;--most:{width * 1.4:.0f}px")


def _title(layer: Layer, ghost: Layer | None) -> str:
    """What the pointer is told."""
    of = f" of {ghost.channels}" if ghost else ""
    text = f"{layer.name}: {layer.channels}{of} channels"
    if layer.stream:
        text += f" inside each of {layer.repeats} residual blocks, {layer.stream} between them"
    if layer.inserted is not None:
        text += f", {layer.inserted}{f' of {ghost.inserted}' if ghost else ''} inserted blocks"
    return text


def _text(x: float, y: float, words: str, colour: str, bold: bool = False) -> Html:
    return tag("text", words, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor="middle",
               style=f"font-size:11px;fill:var(--{colour})" + (";font-weight:650" if bold else ""))
