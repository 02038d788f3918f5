"""`ugc recipes`: one line each."""

from __future__ import annotations

import argparse

HELP = "list the recipes"


def declare(parser: argparse.ArgumentParser) -> None:
    """Takes no options."""


def execute(options: argparse.Namespace) -> None:
    from ugc.recipes.table import TABLE, parsed

    for name in TABLE:
        r = parsed(name)
        steps = "+".join(str(n) for n in r.steps.model_dump().values())
        print(f"{name:24} {r.family:15} base {r.base:<3} {r.data.path:11} labels {r.data.labels:<5} "
              f"budget {r.budget:16} steps {steps}")
