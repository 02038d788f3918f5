"""`ugc data`: write a data set as a plain folder; check a folder of pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ugc.cli.parser import Parser
from ugc.core.errors import UserError

if TYPE_CHECKING:
    from ugc.data.dataset import Dataset

HELP = "write a data set as a folder, fetch one, or check a folder"


def declare(parser: argparse.ArgumentParser) -> None:
    sets = parser.add_subparsers(dest="set_name", metavar="SET", required=True, parser_class=Parser)
    glyphs = sets.add_parser("sans2serif", allow_abbrev=False, help="the built-in set: Noto Sans SC to Noto Serif SC")
    emoji = sets.add_parser("openmoji", allow_abbrev=False, help="the built-in set: line art to colour, by OpenMoji")
    fonts = sets.add_parser("fonts", allow_abbrev=False, help="any two fonts: characters of one from the other's")
    fonts.add_argument("--source", required=True, metavar="A.otf")
    fonts.add_argument("--target", required=True, metavar="B.otf")
    for side in ("source", "target"):
        fonts.add_argument(f"--weight-{side}", type=float, help="weight of a variable font, such as 400")
        fonts.add_argument(f"--index-{side}", type=int, default=0, help="which font of a collection (.ttc)")
    checked = sets.add_parser("check", allow_abbrev=False, help="what a folder holds, and all that is wrong with it")
    checked.add_argument("folder", metavar="DIR")
    checked.add_argument("--json", action="store_true")
    checked.set_defaults(make=check_folder)
    for one in (glyphs, emoji, fonts):
        one.add_argument("--size", default="256")
        one.add_argument("--out", required=True, metavar="DIR")
    public = sets.add_parser("fetch", allow_abbrev=False, help="a public set of pix2pix: edges2shoes, edges2handbags, "
                             "facades, maps, night2day, cityscapes-pix2pix")
    public.add_argument("name", metavar="NAME")
    public.add_argument("--out", metavar="DIR", help="default: NAME")
    for one in (glyphs, emoji):
        one.set_defaults(make=write_built_in)
    fonts.set_defaults(make=write_fonts)
    drawn = sets.add_parser("streets", allow_abbrev=False, help="rendered streets and label maps, laid out as Cityscapes")
    drawn.add_argument("--size", default="256x512")
    drawn.add_argument("--count", type=int, default=1000, help="of train; val and test get a tenth each, at least one")
    drawn.add_argument("--seed", type=int, default=0, help="other numbers give other streets")
    drawn.add_argument("--out", required=True, metavar="DIR")
    drawn.set_defaults(make=write_streets)
    public.set_defaults(make=fetch_public)


def execute(options: argparse.Namespace) -> None:
    options.make(options)


def write_built_in(options: argparse.Namespace) -> None:
    from ugc.data.dataset import DataConfig, open_dataset

    write(open_dataset(DataConfig.parse({"path": options.set_name, "size": options.size}, "--size"), 0), options)


def write_fonts(options: argparse.Namespace) -> None:
    from ugc.data.fonts import font_dataset

    write(font_dataset(Path(options.source), Path(options.target), weight_source=options.weight_source,
                       weight_target=options.weight_target, index_source=options.index_source,
                       index_target=options.index_target), options)


def write_streets(options: argparse.Namespace) -> None:
    import shlex

    from ugc.core.log import say
    from ugc.data.dataset import DataConfig
    from ugc.data.street_tree import write_tree

    for name, value, least in (("count", options.count, 1), ("seed", options.seed, 0)):
        if value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    tenth = max(1, options.count // 10)
    size = DataConfig.parse({"path": "streets", "size": options.size}, "--size").size
    write_tree(Path(options.out), size, options.seed, {"train": options.count, "val": tenth, "test": tenth})
    where = shlex.quote(_named(options.out))
    say(f"written to {where}: train {options.count:,}, val {tenth:,}, test {tenth:,}; "
        f"next: ugc run {where} --size {_trained_at(size)} --out RUN")


def check_folder(options: argparse.Namespace) -> None:
    """Exit status 2 when a run would end with an error of the data; all that was found is printed before."""
    from ugc.data.check import check

    report = check(options.folder)
    named = _named(options.folder)
    other = [] if named == options.folder or report.error else [f"Name it {named}: {options.folder} alone is built in."]
    print(json.dumps(report.plain()) if options.json else "\n".join([*report.lines(), *other]))
    if report.error:
        raise UserError(report.error)


def write(dataset: Dataset, options: argparse.Namespace) -> None:
    import shlex

    from ugc.core.log import say
    from ugc.data.dataset import DataConfig
    from ugc.data.fonts import write_folder

    size = DataConfig.parse({"path": "fonts", "size": options.size}, "--size").size
    write_folder(dataset, size, Path(options.out))
    for note in dataset.notes:
        say(note)
    upright = "" if dataset.flip_default else " --set data.flip=false"
    where = shlex.quote(_named(options.out))
    say(f"written to {where}; next: ugc run {where} --size {_trained_at(size)}{upright} --out RUN")


def _trained_at(size: tuple[int, int]) -> str:
    """The size of the pictures (H, W) as `ugc run` takes it: the next larger one where the default nets do not take it."""
    from ugc.engine.recipe import Recipe

    tall, wide = (-(-side // 4) * 4 for side in size)
    for least in range(4, 68, 4):
        sides = (max(tall, least), max(wide, least))
        try:
            Recipe.parse({"data": {"path": "fonts", "size": sides}}, "--size").setting((3, 3))
        except UserError:
            continue
        break
    return "x".join(map(str, sides if sides[0] != sides[1] else sides[:1]))


def _named(folder: str) -> str:
    """A folder as `ugc run` takes it, which asks its built-in names first."""
    from ugc.data.dataset import DATASETS
    from ugc.recipes.table import TABLE

    return f"./{folder}" if folder in {*DATASETS, *TABLE} else folder


def fetch_public(options: argparse.Namespace) -> None:
    import shlex

    from ugc.core.log import say
    from ugc.data.fetch import fetch_set

    done = fetch_set(options.name, Path(options.out or options.name))
    source, where = done.source, shlex.quote(_named(str(done.folder)))
    pictures = ", ".join(f"{split} {count:,}" for split, count in done.counts.items())
    test = "test" if done.counts.get("test") else "val" if done.counts.get("val") else "10 % of the pairs"
    say(f"{done.folder}: {pictures} pairs side by side; A (left) is {source.a}, B (right) is {source.b}; "
        f"the test set is {test}")
    for note in done.notes:
        say(note)
    say(f"data: {source.terms}")
    target, origin = (source.b, source.a) if source.direction == "AtoB" else (source.a, source.b)
    say(f"{target} from {origin} is --direction {source.direction}"
        f"{', which the recipe says already' if source.recipe else ''}")
    run = f"{source.recipe} --set data.path={where}" if source.recipe else f"{where} --direction {source.direction}"
    say(f"next: ugc run {run} --dry-run --out runs/{shlex.quote(options.name)}")
