"""`ugc push`: a saved net to the Hugging Face hub."""

from __future__ import annotations

import argparse

HELP = "upload a saved net and its model card to the Hugging Face hub"


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("student", metavar="STUDENT", help="a saved net, such as RUN/student")
    parser.add_argument("name", metavar="ORG/NAME", help="where; made if there is none of that name yet")
    parser.add_argument("--private", action="store_true", help="a new one is seen by its owner only")


def execute(options: argparse.Namespace) -> None:
    from ugc.core.log import say
    from ugc.export.hub import push_to_hub

    say(f"uploaded to {push_to_hub(options.student, options.name, options.private)}")
