"""One supernet, many budgets: `--from RUN` takes over another run's original and supernet where all agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ugc.core.errors import UserError
from ugc.core.files import copy_folder
from ugc.data.dataset import Dataset
from ugc.data.labels import Split, changed
from ugc.engine.recipe import Recipe, flat, read_recipe

# All of the recipe that decides the original and the supernet; what only search and stage 2 read may differ.
FREE = ("name", "budget", "search", "distillation", "steps.distill", "options.filter", "options.decay", "options.teachers",
        "options.discriminators", "options.order", "options.every", "options.finetune_ssl", "options.student",
        "options.supervised", "options.average", "optimiser.student", "log_every", "grids", "device")
KEPT = ("search.validation",)
STAGES = ("original", "supernet")
NETS = ("original", "supernet", "largest", "smallest")


def take_over(source: Path, folder: Path) -> None:
    """Copy nets and stages of `source` into `folder`, the supernet's stage last; `check_source` has said that they fit."""
    for net in NETS:
        if (source / net / "config.json").exists():
            copy_folder(source / net, folder / net)
    for stage in STAGES:
        if (source / "stages" / stage / "done.json").exists():
            copy_folder(source / "stages" / stage, folder / "stages" / stage)


def check_source(source: Path, recipe: Recipe, split: Split, dataset: Dataset) -> None:
    """Whether the original and the supernet of `source` fit a run of `recipe`.

    Raises:
        UserError: `source` has no finished supernet, or differs in something that made it.
    """
    if not (source / "stages" / "supernet" / "done.json").exists():
        raise UserError(f"--from {source}: no finished supernet there; expected a run folder that got past stage supernet")
    theirs, ours = flat(read_recipe(source)), flat(recipe.model_dump(mode="json"))
    differ = [key for key in sorted(theirs.keys() | ours.keys()) if not _free(key) and theirs.get(key) != ours.get(key)]
    if differ:
        first = ", ".join(f"{key} ({theirs.get(key)!r} there, {ours.get(key)!r} here)" for key in differ[:4])
        raise UserError(f"--from {source}: that run differs in {first}; its supernet does not fit this one")
    if name := changed(source, split, dataset):
        raise UserError(f"--from {source}: {name} there lists other pictures; the data set has changed since")


def other_loss(source: Path, recipe: Recipe) -> list[str]:
    """A sentence where the supernet of `source` learnt by another L_OD than the search and stage 2 of `recipe` have."""
    theirs, ours = read_recipe(source)["distillation"], recipe.distillation.model_dump(mode="json")
    differ = [f"{key} {theirs.get(key)} there, {value} here" for key, value in ours.items() if theirs.get(key) != value]
    return [f"The supernet learnt by the L_OD of the run that it comes from ({', '.join(differ)})."] if differ else []


def _free(key: str) -> bool:
    """Whether a recipe field may differ between the two runs."""
    return key not in KEPT and any(key == name or key.startswith(f"{name}.") for name in FREE)


def settings_of(source: Path) -> dict[str, Any]:
    """The recipe of the run that is taken over, as the new run's starting point."""
    if not (source / "recipe.json").exists():
        raise UserError(f"--from {source}: holds no recipe.json; expected a run folder")
    return read_recipe(source)
