"""`ugc`. Importing this file, and declaring every verb, takes no torch, so `--help` answers at once.

A verb is one file beside this one: HELP, `declare(parser)` and `execute(options)`, which imports what is heavy. A verb
that Python keeps for itself has an underscore in its file's name: `import_.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from types import ModuleType

from ugc.cli.parser import ELSEWHERE, Parser
from ugc.core.errors import LostError, UserError
from ugc.core.rank import local_rank
from ugc.version import __version__

VERBS = ("run", "show", "data", "translate", "eval", "export", "push", "import", "recipes")


def file_of(verb: str) -> ModuleType:
    return import_module(f"ugc.cli.{verb}{'_' if iskeyword(verb) else ''}")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="ugc", allow_abbrev=False, description="Unified GAN Compression: from a folder with few pairs and a "
                 "budget to a small image-to-image generator.")
    top.add_argument("--version", action="version", version=f"ugc {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for name in VERBS:
        verb = file_of(name)
        one = verbs.add_parser(name, allow_abbrev=False, help=verb.HELP, description=getattr(verb, "DESCRIPTION", verb.HELP))
        verb.declare(one)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status (2 for what the user can mend, 130 when interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    top = parser()
    for word in words:  # before the parser, which tells of a missing --out first
        if (name := word.partition("=")[0]) in ELSEWHERE:
            top.error(name)
    options = top.parse_args(words)
    try:
        file_of(options.verb).execute(options)
    except UserError as error:
        if local_rank() == 0 or isinstance(error, LostError):
            print(f"ugc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
