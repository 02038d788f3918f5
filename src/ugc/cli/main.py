"""`ugc`. Importing this file, and declaring every verb, takes no torch, so `--help` answers at once.

A verb is one file beside this one: HELP, `declare(parser)` and `execute(options)`, which imports what is heavy. A verb
that Python keeps for itself has an underscore in its file's name: `import_.py`.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from types import ModuleType

from ugc.cli.parser import ELSEWHERE, Parser
from ugc.core.errors import LostError, UserError, near, of_system, out_of_memory
from ugc.core.rank import lead, local_rank
from ugc.version import __version__

VERBS = ("run", "show", "data", "translate", "eval", "export", "push", "import", "recipes")
TOGETHER = ("run",)  # what several processes of torchrun do; of any other verb the first one does all


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


def chosen(top: argparse.ArgumentParser, options: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the verb (and of what is below it) that a command line chose."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction) and getattr(options, action.dest, None) in action.choices:
            return chosen(action.choices[getattr(options, action.dest)], options)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status (2 for what the user can mend, 130 when interrupted)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot write is spelled out, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    top = parser()
    for word in words:  # before the parser, which tells of a missing --out first
        if (name := word.partition("=")[0]) in ELSEWHERE:
            top.error(name)
    options, odd = top.parse_known_args(words)
    if odd:
        verb = chosen(top, options)
        flag, known = odd[0].partition("=")[0], [word for word in verb._option_string_actions if word.startswith("--")]
        verb.error(f"there is no option {flag}: {near(flag, known)}" if flag.startswith("-") else f"what is {flag!r} for?")
    if empty := next((name for name, value in vars(options).items() if value == ""), None):
        verb = chosen(top, options)
        action = next(one for one in verb._actions if one.dest == empty)
        spelled = action.option_strings[-1] if action.option_strings else action.metavar or empty
        verb.error(f"{spelled}: is empty; expected something (an unset variable of the shell gives nothing)")
    if options.verb not in TOGETHER and not lead():
        return 0
    try:
        file_of(options.verb).execute(options)
    except UserError as error:
        if local_rank() == 0 and not isinstance(error, LostError):  # which is said where it is found
            print(f"ugc: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if (sentence := of_system(error)) is None:
            raise
        print(f"ugc: {sentence}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        print("ugc: the memory of this machine is too small for that: choose a smaller --size, --base or --set batch, or "
              "smaller pictures", file=sys.stderr)
        return 2
    return 0


def entry() -> int:
    """`main` as a command: on the way out, which takes torch a while, Ctrl-C has nothing to stop any more."""
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    sys.exit(entry())
