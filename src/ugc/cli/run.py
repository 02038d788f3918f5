"""`ugc run`: the main job."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ugc.core.errors import UserError, near
from ugc.core.rank import lead

if TYPE_CHECKING:
    from ugc.engine.recipe import Recipe

HELP = "original, supernet, search, distillation, test, report"
DESCRIPTION = "The main job. The same command again goes on where it stopped."
IN_DATA = ("size", "labels", "direction")
IN_RECIPE = ("family", "base", "budget", "method", "original", "seed", "device", "precision")


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="DATA_OR_RECIPE", nargs="?", help="a folder, a built-in data set or a recipe's name")
    parser.add_argument("--out", required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--family", help="pix2pix-resnet, pix2pix-unet, pix2pixhd or gaugan")
    parser.add_argument("--base", type=int, help="full base width; 64 is the papers'")
    parser.add_argument("--size", help="crop size: 256 or 256x512 (height x width)")
    parser.add_argument("--labels", help="fraction of the targets to use, such as 0.25, or a .meta file")
    parser.add_argument("--budget", help="40x, macs=1.5G, macs_paper=1.5G, params=0.15M, latency=10ms[@torch]")
    parser.add_argument("--method", help="ugc, from-teacher (learn from --original DIR; no targets), original or alone")
    parser.add_argument("--original", help="train (default), none, or the folder of a saved net")
    parser.add_argument("--from", dest="source", metavar="RUN", help="take over another run's original and supernet")
    parser.add_argument("--steps", type=int, help="steps of each training stage")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--direction", choices=("AtoB", "BtoA"))
    parser.add_argument("--device", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="any field of the recipe")
    parser.add_argument("--until", metavar="STAGE", help="stop after original, supernet, search, distill or test")
    parser.add_argument("--dry-run", action="store_true", help="print stages, sizes, budget, memory and time, and stop")


def execute(options: argparse.Namespace) -> None:
    """Build the recipe, then run or describe it. SIGTERM is as Ctrl-C."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        work(options)
    finally:
        signal.signal(signal.SIGTERM, before)


def work(options: argparse.Namespace) -> None:
    from ugc.core.files import place
    from ugc.engine.pipeline import Run
    from ugc.engine.plan import plan
    from ugc.engine.rehearsal import rehearse

    job = Run(recipe_of(options), place(options.out), place(options.source) if options.source else None)
    if options.dry_run:
        job.wanted(options.until)  # a wrong name is told first
        if lead():
            print("\n".join(plan(job)), flush=True)
        for line in rehearse(job, options.until):
            if lead():
                print(line, flush=True)
        return
    job.go(options.until)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Recipe or data set by name, then the flags, then --set: later wins."""
    from ugc.core.files import place
    from ugc.core.log import say
    from ugc.data.dataset import DATASETS
    from ugc.engine.given import held, like_original
    from ugc.engine.inherit import settings_of
    from ugc.engine.recipe import Recipe
    from ugc.methods.method import METHODS
    from ugc.recipes.table import TABLE, YOURS, recipe

    source = place(options.source) if options.source else None
    if options.what and options.what in {*TABLE, *DATASETS} and Path(options.what).is_dir():
        kind = "recipe" if options.what in TABLE else "built-in data set"
        say(f"{options.what} is the {kind} of that name; the folder here is ./{options.what}")
    if options.what in TABLE:
        data: dict[str, Any] = recipe(options.what)
    elif source:
        data = settings_of(source)
        if options.what:
            data["data"]["path"] = options.what
    elif options.what:
        if options.what not in DATASETS and not place(options.what).exists():
            raise UserError(f"{options.what!r} is no folder, no built-in data set and no recipe: "
                            f"{near(options.what, [*DATASETS, *TABLE])}")
        data = {"data": {"path": options.what}}
    else:
        raise UserError("ugc run: which data? give a folder, a built-in data set or a recipe (or --from RUN)")
    given = {key: getattr(options, key) for key in (*IN_DATA, *IN_RECIPE) if getattr(options, key) is not None}
    data = {**data, "data": {**data["data"], **{k: v for k, v in given.items() if k in IN_DATA}},
            **{k: v for k, v in given.items() if k in IN_RECIPE}}
    if options.steps is not None:
        data["steps"] = dict.fromkeys(("original", "supernet", "distill"), options.steps)
    chosen = Recipe.parse(data, "options").with_settings(options.set)
    if METHODS[chosen.method].imitates and (original := held(chosen, place(options.out))):
        asked = "family" in data or any(setting.startswith("family=") for setting in options.set)
        like = like_original(original, chosen.family if asked else None)
        data = {**like, **data, "data": {**like["data"], **data["data"]}}
        chosen = Recipe.parse(data, "options").with_settings(options.set)
    if chosen.data.path == YOURS:
        raise UserError(f"recipe {options.what} runs on your copy of the data: add --set data.path=FOLDER")
    return chosen.resolved()
