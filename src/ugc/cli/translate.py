"""`ugc translate`: pictures through a saved net."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "run a saved net on pictures"


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("student", metavar="STUDENT", help="a saved net, such as RUN/student")
    parser.add_argument("input", metavar="INPUT", help="a picture, a folder or a glob")
    parser.add_argument("output", metavar="OUTPUT", help="a picture or a folder")
    parser.add_argument("--device", default="auto")


def execute(options: argparse.Namespace) -> None:
    from ugc.core.log import say
    from ugc.export.translator import translate

    count = translate(options.student, options.input, Path(options.output), options.device)
    say(f"{count} picture{'s' if count != 1 else ''} written to {options.output}")
