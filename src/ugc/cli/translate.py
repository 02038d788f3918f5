"""`ugc translate`: pictures, or label maps, through a saved net."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "run a saved net on pictures or label maps"


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("student", metavar="STUDENT", help="a saved net, such as RUN/student")
    parser.add_argument("input", metavar="INPUT", help="a picture or label map, a folder or a glob")
    parser.add_argument("output", metavar="OUTPUT", help="a picture or a folder")
    parser.add_argument("--instances", metavar="DIR", help="instance maps of the same stems; default: beside the label "
                        "maps, where the tree is that of Cityscapes or pix2pixHD")
    parser.add_argument("--device", default="auto")


def execute(options: argparse.Namespace) -> None:
    from ugc.core.log import say
    from ugc.export.translator import translate

    instances = Path(options.instances) if options.instances else None
    count = translate(options.student, options.input, options.output, options.device, instances)
    say(f"{count} picture{'s' if count != 1 else ''} written to {options.output}")
