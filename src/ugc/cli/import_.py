"""`ugc import`: a generator that another repository trained, as a saved net."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "save another repository's generator (latest_net_G.pth) as a net of this one"

UNSAID = ("edges",)  # options for what no file says


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a pix2pix ResNet, UNet or pix2pixHD generator: .pth, .safetensors")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the saved net goes")
    parser.add_argument("--size", metavar="HxW",
                        help="that it was trained at (default 256x256; pix2pixHD 256x512; a UNet of 7 levels 128x128)")
    parser.add_argument("--edges", choices=["yes", "no"],
                        help="whether the last channel of label maps is the edge map of instances (default yes)")


def execute(options: argparse.Namespace) -> None:
    from ugc.core.log import say
    from ugc.data.dataset import DataConfig
    from ugc.export.lineage import import_generator

    size = DataConfig.parse({"path": ".", "size": options.size}, "--size").size if options.size else None
    said = {key: value for key in UNSAID if (value := getattr(options, key)) is not None}
    for line in import_generator(Path(options.file), Path(options.out), size, said):
        say(line)
