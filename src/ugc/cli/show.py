"""`ugc show`: what a net costs, by layer and in all."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ugc.core.errors import UserError

if TYPE_CHECKING:
    from ugc.models.generator import Generator
    from ugc.nn.arch import Arch

HELP = "what a net costs, by layer and in all"


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", metavar="FAMILY")
    parser.add_argument("--base", type=int, default=64)
    parser.add_argument("--size", metavar="HxW", help="default: the papers', 256x256, or 256x512 for label maps")
    parser.add_argument("--channels", metavar="IN:OUT", help="default: the papers', 3:3, or 36:3 for label maps")
    parser.add_argument("--arch", default="original", help="original, largest, smallest, random:SEED or an arch's text")
    parser.add_argument("--set", action="append", default=[], metavar="a=c", help="any field of the family's config")
    parser.add_argument("--json", action="store_true")


def execute(options: argparse.Namespace) -> None:
    """Print the sizes of one member of a family."""
    import torch

    from ugc.data.dataset import DataConfig
    from ugc.export.saved import about_net
    from ugc.models.generator import FAMILIES
    from ugc.nn.cost import total, trace
    from ugc.search.budget import short

    if options.family not in FAMILIES and (saved := about_net(Path(options.family))):
        raise UserError(f"{options.family} is a saved net, of {saved.get('params', 0):,} params and "
                        f"{saved.get('macs', 0):,} macs (its config.json has more); ugc show takes a family, such as "
                        f"{saved['family']}")
    family = FAMILIES[options.family]
    size = DataConfig.parse({"path": ".", "size": options.size or family.paper.size}, "--size").size
    channels = options.channels or ":".join(map(str, family.paper.channels))
    match = re.fullmatch(r"(\d+):(\d+)", channels)
    if not match or "0" in match.groups():
        raise UserError(f"--channels {channels!r}: expected IN:OUT, such as 3:3")
    fields = {"in_channels": int(match[1]), "out_channels": int(match[2]), "base": options.base}
    config = family.config_for(size, **fields).with_settings(options.set)
    if options.arch == "original":
        config = family.original(config)
    with torch.device("meta"):
        net = family(config)
    net.check_size(size)
    arch = arch_of(net, options.arch)
    layers = trace(net, arch, size)
    cost = total(layers)
    if options.json:
        print(json.dumps({"family": options.family, "size": list(size), "arch": arch.text, **vars(cost),
                          "layers": [{"name": x.name, "kind": x.kind, "in": list(x.have), "out": x.width, **vars(x.cost)}
                                     for x in layers]}))
        return
    print(f"{options.family} {options.arch} at {size[0]}x{size[1]}, {channels}, base {options.base}\n{arch.text}\n")
    print(f"{'layer':34} {'in':>10} {'out':>5} {'params':>12} {'macs':>16} {'macs_paper':>16}")
    for x in (layer for layer in layers if layer.cost.params):
        have = "+".join(map(str, x.have))
        print(f"{x.name:34} {have:>10} {x.width:>5} {x.cost.params:>12,} {x.cost.macs:>16,} {x.cost.macs_paper:>16,}")
    print(f"{'in all':34} {'':>10} {'':>5} {cost.params:>12,} {cost.macs:>16,} {cost.macs_paper:>16,}")
    print(f"\n{short(cost.params)} parameters, {short(cost.macs)} multiply-adds, {short(cost.macs_paper)} as papers count")


def arch_of(net: Generator, text: str) -> Arch:
    """original, largest, smallest, random:SEED or an arch's text."""
    import numpy as np

    if text in ("original", "largest"):
        return net.space.largest
    if text == "smallest":
        return net.space.smallest
    if match := re.fullmatch(r"random:(\d{1,18})", text):
        return net.space.sample(np.random.default_rng(int(match[1])))
    return net.space.parse(text)
