"""`ugc export`: a saved net as one file for other runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write a saved net as one file for other runtimes"


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("student", metavar="STUDENT", help="a saved net, such as RUN/student")
    parser.add_argument("--format", default="onnx", help="onnx (default)")
    parser.add_argument("--labels", metavar="ids|onehot",
                        help="how label maps come in: class ids (default) or one channel a class")
    parser.add_argument("--out", metavar="FILE", help="default: STUDENT/model.onnx")


def execute(options: argparse.Namespace) -> None:
    from ugc.core.log import say
    from ugc.export.formats import export

    out = Path(options.out) if options.out else None
    for line in export(Path(options.student), options.format, out, options.labels):
        say(line)
