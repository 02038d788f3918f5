"""`ugc import`: a generator that another repository trained, as a saved net."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "save another repository's generator (latest_net_G.pth) as a net of this one"


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a pix2pix ResNet or UNet generator: .pth or .safetensors")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the saved net goes")
    parser.add_argument("--size", metavar="HxW", help="that it was trained at (default 256x256; a UNet of 7 levels 128x128)")


def execute(options: argparse.Namespace) -> None:
    from ugc.core.log import say
    from ugc.data.dataset import DataConfig
    from ugc.export.lineage import import_generator

    size = DataConfig.parse({"path": ".", "size": options.size}, "--size").size if options.size else None
    for line in import_generator(Path(options.file), Path(options.out), size):
        say(line)
