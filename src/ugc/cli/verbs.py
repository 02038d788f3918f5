"""What each verb does: turns options into calls, prints results."""

from __future__ import annotations

import argparse
import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ugc.core.errors import UserError, near
from ugc.core.log import say
from ugc.data.dataset import DATASETS, DataConfig
from ugc.engine.inherit import settings_of
from ugc.engine.pipeline import Run
from ugc.engine.plan import plan
from ugc.engine.recipe import Recipe
from ugc.models.generator import FAMILIES, Generator
from ugc.nn.arch import Arch
from ugc.nn.cost import total, trace
from ugc.recipes.table import TABLE, YOURS, parsed, recipe
from ugc.search.budget import short

IN_DATA = ("size", "labels", "direction")
IN_RECIPE = ("family", "base", "budget", "method", "original", "seed", "device", "precision")


def run(options: argparse.Namespace) -> None:
    """`ugc run`: build the recipe, then run or describe it."""
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    resolved = recipe_of(options)
    job = Run(resolved, Path(options.out), Path(options.source) if options.source else None)
    if options.dry_run:
        print("\n".join(plan(job)))
        return
    job.go(options.until)


def _interrupt() -> None:
    raise KeyboardInterrupt


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Recipe or data set by name, then the flags, then --set: later wins."""
    source = Path(options.source) if options.source else None
    if options.what in TABLE:
        data: dict[str, Any] = recipe(options.what)
    elif source:
        data = settings_of(source)
        if options.what:
            data["data"]["path"] = options.what
    elif options.what:
        if options.what not in DATASETS and not Path(options.what).expanduser().exists():
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
    chosen = Recipe.parse(data, "ugc run").with_settings(options.set)
    if chosen.data.path == YOURS:
        raise UserError(f"recipe {options.what} runs on your copy of the data: add --set data.path=FOLDER")
    return chosen.resolved()


def show(options: argparse.Namespace) -> None:
    """`ugc show`: sizes of one member of a family."""
    family = FAMILIES[options.family]
    size = DataConfig.parse({"path": ".", "size": options.size}, "--size").size
    match = re.fullmatch(r"(\d+):(\d+)", options.channels)
    if not match or "0" in match.groups():
        raise UserError(f"--channels {options.channels!r}: expected IN:OUT, such as 3:3")
    fields = {"in_channels": int(match[1]), "out_channels": int(match[2]), "base": options.base}
    config = family.config_for(size, **fields).with_settings(options.set)
    if options.arch == "original":
        config = family.original(config)
    with torch.device("meta"):
        net = family(config)
    net.check_size(size)
    arch = arch_of(net, options.arch)
    layers = trace(net, arch, size)
    cost = total(layers)
    if options.json:
        print(json.dumps({"family": options.family, "size": list(size), "arch": arch.text, **vars(cost),
                          "layers": [{"name": x.name, "kind": x.kind, "in": list(x.have), "out": x.width, **vars(x.cost)}
                                     for x in layers]}))
        return
    print(f"{options.family} {options.arch} at {size[0]}x{size[1]}, {options.channels}, base {options.base}\n{arch.text}\n")
    print(f"{'layer':34} {'in':>10} {'out':>5} {'params':>12} {'macs':>16} {'macs_paper':>16}")
    for x in (layer for layer in layers if layer.cost.params):
        have = "+".join(map(str, x.have))
        print(f"{x.name:34} {have:>10} {x.width:>5} {x.cost.params:>12,} {x.cost.macs:>16,} {x.cost.macs_paper:>16,}")
    print(f"{'in all':34} {'':>10} {'':>5} {cost.params:>12,} {cost.macs:>16,} {cost.macs_paper:>16,}")
    print(f"\n{short(cost.params)} parameters, {short(cost.macs)} multiply-adds, {short(cost.macs_paper)} as papers count")


def arch_of(net: Generator, text: str) -> Arch:
    """original, largest, smallest, random:SEED or an arch's text."""
    if text in ("original", "largest"):
        return net.space.largest
    if text == "smallest":
        return net.space.smallest
    if match := re.fullmatch(r"random:(\d+)", text):
        return net.space.sample(np.random.default_rng(int(match[1])))
    return net.space.parse(text)


def data(options: argparse.Namespace) -> None:
    """`ugc data`: write a set of glyphs as a plain folder."""
    from ugc.data.fonts import font_dataset, write_folder

    config = DataConfig.parse({"path": "sans2serif", "size": options.size}, "--size")
    if options.set_name == "fonts":
        dataset = font_dataset(Path(options.source), Path(options.target), weight_source=options.weight_source,
                               weight_target=options.weight_target, index_source=options.index_source,
                               index_target=options.index_target)
    else:
        from ugc.data.dataset import open_dataset

        dataset = open_dataset(config, 0)  # type: ignore[assignment]
    write_folder(dataset, config.size, Path(options.out))
    for note in dataset.notes:
        say(note)
    say(f"written to {options.out}; next: ugc run {options.out} --size {options.size} --set data.flip=false --out RUN")


def translate(options: argparse.Namespace) -> None:
    """`ugc translate`: pictures through a saved net."""
    from ugc.export.translator import translate as run_translation

    count = run_translation(Path(options.student), options.input, Path(options.output), options.device)
    say(f"{count} picture{'s' if count != 1 else ''} written to {options.output}")


def recipes(options: argparse.Namespace) -> None:
    """`ugc recipes`: one line each."""
    for name in TABLE:
        r = parsed(name)
        steps = "+".join(str(n) for n in r.steps.model_dump().values())
        print(f"{name:24} {r.family:15} base {r.base:<3} {r.data.path:11} labels {r.data.labels:<5} "
              f"budget {r.budget:16} steps {steps}")


__all__ = ["data", "recipes", "run", "show", "translate"]
