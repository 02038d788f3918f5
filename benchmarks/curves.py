"""Whether bf16 learns as fp32 does: losses of every step of both stages in fp32, in bf16, and in fp32 with other seeds.

    python benchmarks/curves.py --out benchmarks/results/curves.json
    python benchmarks/curves.py --family pix2pix-unet --set device=cuda --out benchmarks/results/curves-cuda.json

Recipe sans2serif-demo, its data and sizes, the rate falling over --steps as in a run. Of the first seed, fp32 and bf16 begin
with the same weights and see the same batches, crops, sub-networks and coins. A seed is all that chance decides but the
split of the data. Stage 2 begins with the supernet and the D that stage 1 in fp32 with its seed has left, bf16 with the
same; student and teachers are the uniform ones.

    d(b) = (mean b - mean a) / mean |a|,   a: fp32 with the first seed; means over the last third of the steps

`seed to seed` is the greatest distance of two seeds in fp32, in the same unit; `of that` is |d(bf16)| as a share of it. When
both stages of a seed are done, all their losses are added to a JSONL file beside --out, a stage's run a line; the same
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, write
from step import FAMILIES, arithmetic

from ugc.core.clock import Clock
from ugc.core.device import choose, prepare_cpu
from ugc.core.errors import UserError
from ugc.core.files import digest
from ugc.core.log import add_rows, keep_rows, read_log, say
from ugc.data.stream import Stream
from ugc.engine.job import Job
from ugc.engine.loop import agreed
from ugc.engine.recipe import Recipe
from ugc.methods.method import Phase
from ugc.methods.ugc import Ugc, UgcConfig
from ugc.methods.uniform import uniform_selection
from ugc.recipes.table import parsed

Curves = Mapping[str, Sequence[float]]  # loss -> its value at every step
Row = dict[str, Any]  # a stage's run: family, stage, precision, seed, .., losses: Curves
STAGES = {"supernet": "stage 1", "distill": "stage 2"}
PRECISIONS = ("fp32", "bf16")
TERMS = {  # stage -> what people read -> the parts that it adds up, by the beginnings of their names
    "supernet": {"D": ("D/",), "G.gan": ("G/gan",), "G.recon": ("G/recon",), "L_OD of G_r": ("G/r.",),
                 "L_OD of G_s": ("G/s.",)},
    "distill": {"D": ("D_", "D/"), "teachers' gan": ("deep/gan", "wide/gan"),
                "teachers' recon": ("deep/recon", "wide/recon"), "L_OD of the student": ("student/",)}}
DRAWN = {"supernet": tuple(TERMS["supernet"]), "distill": ("L_OD of the student",)}
WINDOWS = 60  # of steps, whose means are drawn
DIGITS = 6  # that are kept of a loss


# ---- training ----


def trained(phase: Phase, stream: Stream, seed: int, steps: int, rate: Callable[[int, int], float]
            ) -> dict[str, list[float]]:
    """Every part of every loss at every step; the phase moves as in a run."""
    found: dict[str, list[float]] = {}
    for step in range(steps):
        clock = Clock(seed, step)
        for player in phase.players.values():
            player.set_lr(rate(step, steps))
        for name, value in agreed(phase.step(stream.batch(clock), clock), False, False)[0].items():
            found.setdefault(name, []).append(value)
    return found


def recipe_of(family: str, settings: Sequence[str]) -> Recipe:
    """The demo's, in fp32, of a family; `generator` is the recipe's own family's."""
    recipe = parsed("sans2serif-demo")
    other = [] if family == recipe.family else [f"family={family}", "generator={}"]
    return recipe.with_settings([*other, "precision=fp32", *settings]).resolved()


class Family:
    """A recipe's data, and its phases in any precision, with any seed.

    Args:
        folder: where a run would be; nothing is written.
    """

    def __init__(self, recipe: Recipe, steps: int, folder: Path) -> None:
        self.recipe, self.steps, self.job = recipe, steps, Job(recipe, folder)
        config = self.job.setting.config
        self.channels = config.in_channels, config.out_channels
        self.selection = uniform_selection(self.job.cost, self.job.budget)

    def method(self, precision: str, seed: int) -> Ugc:
        recipe = self.recipe.model_copy(update={"precision": precision, "seed": seed})
        return Ugc(UgcConfig.parse(recipe.options, "options"), recipe.setting(self.channels))

    def runs(self, seed: int, precisions: Sequence[str]) -> Iterator[Row]:
        """Both stages in each precision, fp32 first."""
        left: dict[str, Any] = {"selection": self.selection}
        for stage, words in STAGES.items():
            phases = {precision: self.method(precision, seed).phase(stage, left) for precision in precisions}
            for precision, phase in phases.items():
                began = time.monotonic()
                with arithmetic(precision):
                    losses = trained(phase, self.job.stream, seed, self.steps, self.recipe.optimiser.rate)
                say(f"{self.recipe.family}, {words}, {precision}, seed {seed}: {time.monotonic() - began:.0f} s")
                yield {"family": self.recipe.family, "stage": stage, "precision": precision, "seed": seed, "losses": losses}
            if stage == "supernet":
                left |= {"supernet": phases["fp32"].nets()["supernet"], **phases["fp32"].left()}


def precisions_of(seed: int, seeds: Sequence[int]) -> tuple[str, ...]:
    return PRECISIONS if seed == seeds[0] else PRECISIONS[:1]


def known(path: Path, about: Mapping[str, Row]) -> list[Row]:
    """The rows of a file, without a half-written line.

    Args:
        about: family -> what its rows must say.

    Raises:
        UserError: they are of other settings, steps or another machine.
    """
    rows = read_log(path)
    for row in rows:
        for key, value in about.get(row["family"], {}).items():
            if row.get(key) != value:
                raise UserError(f"{path} holds losses of another {key} ({row.get(key)}, now {value}); give another --out")
    if rows:
        keep_rows(path, rows)
    return rows


# ---- what people read ----


def term(losses: Curves, parts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[steps]: the sum of all parts whose names begin so."""
    return np.sum([values for name, values in losses.items() if name.startswith(tuple(parts))], axis=0, dtype=np.float64)


def last_third(curve: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return curve[-max(1, len(curve) // 3):]


def versions(rows: Sequence[Row], family: str, stage: str) -> dict[str, Row]:
    """`fp32`, `bf16`, then `fp32, seed N` -> its row; the first seed is the one that bf16 has."""
    own = [row for row in rows if (row["family"], row["stage"]) == (family, stage)]
    first = next(row["seed"] for row in own if row["precision"] == "bf16")
    found = {row["precision"] + ("" if row["seed"] == first else f", seed {row['seed']}"): row for row in own}
    return dict(sorted(found.items(), key=lambda pair: (pair[1]["seed"] != first, pair[1]["precision"] != "fp32")))


def compared(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each family, stage and loss."""
    found = []
    for family in dict.fromkeys(row["family"] for row in rows):
        for stage, terms in TERMS.items():
            own = versions(rows, family, stage)
            commits = ", ".join(dict.fromkeys(row["commit"] for row in own.values()))
            for name, parts in terms.items():
                thirds = {version: last_third(term(row["losses"], parts)) for version, row in own.items()}
                mean = {version: float(third.mean()) for version, third in thirds.items()}
                unit = float(np.abs(thirds["fp32"]).mean()) or 1.0
                seeds = [value for version, value in mean.items() if version != "bf16"]
                spread = max(abs(a - b) for a, b in combinations(seeds, 2)) / unit
                moved = (mean["bf16"] - mean["fp32"]) / unit
                found.append({"case": f"{family}, {STAGES[stage]}", "loss": name, "fp32": mean["fp32"], "bf16": mean["bf16"],
                              "bf16 to fp32": f"{100 * moved:+.2f} %", "seed to seed": f"{100 * spread:.2f} %",
                              "of that": abs(moved) / spread if spread else float("nan"), "commit": commits})
    return found


def windows(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """family -> `stage, loss` -> version -> means over windows of steps, of what is drawn."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for family in dict.fromkeys(row["family"] for row in rows):
        for stage, names in DRAWN.items():
            for name in names:
                for version, row in versions(rows, family, stage).items():
                    curve = term(row["losses"], TERMS[stage][name])
                    means = [short(part.mean()) for part in np.array_split(curve, min(WINDOWS, len(curve)))]
                    found.setdefault(family, {}).setdefault(f"{STAGES[stage]}, {name}", {})[version] = means
    return found


def short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


# ---- the command ----


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--steps", type=int, default=300, help="of each stage")
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2), help="the first in bf16, too; two at least")
    parser.add_argument("--set", action="append", default=[], help="of the recipe, such as device=cuda")
    parser.add_argument("--out", type=Path, required=True, help="tables and curves; every loss comes beside it as JSONL")
    options = parser.parse_args()
    if len(set(options.seeds)) < 2 or options.steps < 1:
        parser.error("--seeds needs two different ones, to know what chance alone makes, and --steps one")
    prepare_cpu()  # as a run does
    recipes = {family: recipe_of(family, options.set) for family in options.family}
    device = choose(recipes[options.family[0]].device, "fp32")
    about = {family: {"steps": options.steps, "recipe": digest(recipe.model_dump(mode="json")), "device": device.text}
             for family, recipe in recipes.items()}
    path = options.out.with_suffix(".jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, commit = known(path, about), machine(device)["commit"]
    for name, recipe in recipes.items():
        missing = [seed for seed in options.seeds if not has(rows, name, seed, precisions_of(seed, options.seeds))]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            family = Family(recipe, options.steps, Path(folder) / "run")
            for seed in missing:
                new = [{**row, **about[name], "commit": commit, "losses": {
                    part: [short(value) for value in values] for part, values in row["losses"].items()}}
                    for row in family.runs(seed, precisions_of(seed, options.seeds))]
                add_rows(path, new)
                rows += new
    asked = [row for row in rows if row["family"] in recipes and row["seed"] in options.seeds
             and row["precision"] in precisions_of(row["seed"], options.seeds)]
    write(options.out, "curves", device, compared(asked), steps=options.steps, curves=windows(asked))


def has(rows: Sequence[Row], family: str, seed: int, precisions: Sequence[str]) -> bool:
    """Whether both stages of a seed are known."""
    those = {(row["stage"], row["precision"]) for row in rows if (row["family"], row["seed"]) == (family, seed)}
    return all((stage, precision) in those for stage in STAGES for precision in precisions)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
