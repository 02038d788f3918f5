"""Whether the search's cheap scores rank sub-networks as their distilled selves do: Kendall's tau.

Of a run folder with a supernet, architectures are drawn at random: `equal`, inside the student's window of cost, and
`spread`, over all costs. Each is scored as a search scores it (l_od, l1, ssim: on V, with the supernet's weights, against
G_l; lite0: L_OD with its default weights on EfficientNet-Lite0), by its own L_OD after a trial, --trial steps of the same
distillation, and has its true score: the test metrics after --steps
steps of student-only distillation from G_l, begun from its supernet weights. G_l is frozen, its pictures are computed
once, and all nets see the same batches; the rate falls linearly as in a run.

    tau = sum_ij s_ij t_ij / sqrt(sum_ij s_ij^2 sum_ij t_ij^2),   s, t: signs of the differences of two nets (tau-b)

Scores and metrics are turned so that a positive tau means agreement. Across sizes everything goes with cost, so `macs`
(the larger is the better) is the tau to beat there; within `equal` it should be near 0. Brackets: 95 % of 4,000 resamples
of the nets; of 12 nets they are wide.

A net's row is added to --out when it is done, so the same command goes on where it was stopped; with more --nets or
another set it adds to what is there. A table and the same as JSON beside it come at the end.

    ugc run sans2serif-demo --until supernet --out runs/ranks-resnet
    python benchmarks/ranks.py runs/ranks-resnet --out ranks-resnet.jsonl
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.device import prepare_cpu
from ugc.core.errors import UserError
from ugc.core.files import digest
from ugc.core.images import rounded
from ugc.core.log import add_rows, keep_rows, read_log, say
from ugc.data.stream import TestData, test_data
from ugc.engine.pipeline import Run
from ugc.engine.recipe import Recipe, read_recipe
from ugc.losses.distillation import DistillationConfig, OutputDistillation
from ugc.methods.selection import SupernetScore
from ugc.methods.trial import Trials
from ugc.methods.uniform import even
from ugc.metrics.protocols import METRICS
from ugc.metrics.scoring import score
from ugc.metrics.tools import Tools, tools_at_hand
from ugc.nn.arch import Arch
from ugc.search.region import just_below, spread

SETS = ("equal", "spread")
KINDS = ("l_od", "l1", "ssim")
RESAMPLES = 4000
BATCH = 32  # test images at a time
TRIES = 200


class Study:
    """One run folder, what is asked of each net, and the rows that are known.

    Args:
        steps: of distillation of each net; trial: of the short one.
        tools: what measures, beside the metrics of each image (default: those at hand).
    """

    def __init__(self, run: Path, out: Path, steps: int, trial: int, tools: Tools | None = None) -> None:
        if not (run / "supernet" / "config.json").exists():
            raise UserError(f"{run} holds no supernet: ugc run .. --until supernet --out {run}")
        self.job = Run(Recipe.parse(read_recipe(run), str(run / "recipe.json")), run)
        self.out, self.steps, self.trial = out, steps, trial
        self.about = {"run": digest(self.job.recipe.model_dump(mode="json")), "steps": steps, "trial": trial}
        self.rows: list[dict[str, Any]] = read_log(out)
        if any({key: row.get(key) for key in self.about} != self.about for row in self.rows):
            raise UserError(f"{out} holds rows of another run or another number of steps; give another --out")
        if self.rows:
            keep_rows(out, self.rows)
        device = self.job.setting.device.device
        self.tools = tools_at_hand(device) if tools is None else tools
        self.supernet = self.job.net("supernet")
        self.trials = Trials(self.job.setting, self.supernet, self.job.net("largest"), self.job.stream, self.job.recipe.seed)
        self.test: TestData = test_data(self.job.dataset, self.job.recipe.data)
        if not self.test.paired:
            raise UserError(f"{self.job.dataset.name}: the test has no targets, so there is no true score")
        self.targets = self.tools.collect(target.to(device) for _, target in self.test.batches(BATCH))
        self.scores = self.cheap()
        self.scores["trial"] = self.tried

    def cheap(self) -> dict[str, Callable[[Arch], float]]:
        """name -> score of an architecture, lower is better."""
        job, config = self.job, self.job.recipe.search
        v, plain = job.stream.validation()[: config.validation], job.stream.calibration(config.recalibrate)
        device = job.setting.device
        own = {kind: SupernetScore(self.supernet, v, plain, job.setting.l_od(), kind, device) for kind in KINDS}
        lite0 = OutputDistillation(DistillationConfig(backbone="lite0"), device.device)
        return {**own, "lite0": SupernetScore(self.supernet, v, plain, lite0, "l_od", device)}

    def archs(self, kind: str, count: int) -> list[Arch]:
        """`count` distinct nets of a set, the first of which are those of a smaller count.

        The first of `equal` are the even net of the budget and the one that the run's own search found.
        """
        cost, space, rng = self.job.cost, self.job.cost.space, Clock(self.job.recipe.seed).rng(f"ranks/{kind}")
        limit = self.job.budget.limit
        window = just_below(space, lambda a: self.job.budget.of(cost(a)), limit, rng)
        found: dict[Arch, None] = {}
        if kind == "equal":  # by rule, and by the run's own search
            found[even(cost, self.job.budget)] = None
            if self.job.done("search"):
                found[self.job.searched().student] = None
        for _ in range(TRIES * count):
            if len(found) == count:
                break
            arch = window.draw(rng) if kind == "equal" else spread(space, lambda a: float(cost(a).macs_paper), rng)
            if arch is not None:
                found[arch] = None
        return list(found)

    def go(self, sets: Sequence[str], count: int) -> None:
        """Score, distil and test every net that has no row."""
        known = {(row["set"], row["arch"]) for row in self.rows}
        asked = [(kind, arch) for kind in sets for arch in self.archs(kind, count)]
        for number, (kind, arch) in enumerate(asked, 1):
            if (kind, arch.text) in known:
                continue
            began = time.monotonic()
            row = {"set": kind, "arch": arch.text, **self.about, **vars(self.job.cost(arch)),
                   "scores": {name: cheap(arch) for name, cheap in self.scores.items()}, "truth": self.truth(arch)}
            self.rows.append({**row, "seconds": round(time.monotonic() - began, 1)})
            self.out.parent.mkdir(parents=True, exist_ok=True)
            add_rows(self.out, self.rows[-1:])
            say(f"{number} of {len(asked)}, {kind}: {self.rows[-1]['seconds']:.0f} s, "
                + ", ".join(f"{name} {value:.4g}" for name, value in row["truth"].items()))

    def truth(self, arch: Arch) -> dict[str, float]:
        """Metrics of the test split after distillation."""
        return score(self.answers(self.trials.distilled(arch, self.steps)), self.tools, self.targets).row

    def tried(self, arch: Arch) -> float:
        """L_OD to the pictures of G_l on V, after a trial."""
        l_od: SupernetScore = self.scores["l_od"]
        return l_od.of(self.trials.distilled(arch, self.trial))

    @torch.no_grad()
    def answers(self, net: torch.nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """As the test stage scores them: in fp32, rounded to the sources' depth."""
        device = self.job.setting.device.device
        for source, target in self.test.batches(BATCH):
            yield rounded(net(source.to(device)), self.test.depth), target.to(device)


def signs(values: Sequence[float]) -> NDArray[np.float64]:
    """[n, n]: 1 where row i is greater than column j, -1 where it is less."""
    x = np.asarray(values, dtype=np.float64)
    return np.sign(x[:, None] - x[None, :])


def tau_of(first: Sequence[float], second: Sequence[float], rng: np.random.Generator) -> tuple[float, float, float]:
    """Kendall's tau-b, and where 95 % of resamples of the nets lie; NaN where all are equal."""
    n, s, t = len(first), signs(first), signs(second)
    weights = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)  # how often each net is drawn
    agree, mine, theirs = (np.einsum("bi,ij,bj->b", weights, m, weights, optimize=True) for m in (s * t, s * s, t * t))
    with np.errstate(invalid="ignore", divide="ignore"):
        taus = agree / np.sqrt(mine * theirs)
    taus = taus[np.isfinite(taus)]
    low, high = np.quantile(taus, (0.025, 0.975)) if len(taus) else (np.nan, np.nan)
    return float(kendalltau(first, second).statistic), float(low), float(high)


def cost_of(metric: str, value: float) -> float:
    """A metric's value, turned so that lower is better."""
    return {"lower": value, "higher": -value, "one": abs(value - 1)}[METRICS[metric].better]


def taus(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each set and score, a column for each metric, with its tau and interval."""
    found: list[dict[str, Any]] = []
    metrics = list(rows[0]["truth"])
    for kind in (*SETS, "both"):
        those = [row for row in rows if kind in (row["set"], "both")]
        if len(those) < 3 or (kind == "both" and len({row["set"] for row in those}) == 1):
            continue
        columns: dict[str, list[float]] = {name: [row["scores"][name] for row in those] for name in those[0]["scores"]}
        columns |= {name: [-row[name] for row in those] for name in ("macs", "params")}  # the baselines
        for name, values in columns.items():
            rng, line = np.random.default_rng(0), {"set": kind, "nets": len(those), "score": name}
            for metric in metrics:
                tau = tau_of(values, [cost_of(metric, row["truth"][metric]) for row in those], rng)
                line[metric] = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*tau)
            found.append(line)
    return found


def values(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is known of each net, as a table."""
    return [{"set": row["set"], "macs": row["macs"], "params": row["params"], **row["scores"],
             **{f"test {name}": value for name, value in row["truth"].items()}}
            for row in sorted(rows, key=lambda row: (row["set"], row["macs"]))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a run folder with a supernet")
    parser.add_argument("--out", type=Path, required=True, help="a JSONL file; the tables come beside it as JSON")
    parser.add_argument("--steps", type=int, default=800, help="of distillation of each net")
    parser.add_argument("--trial", type=int, default=200, help="steps of the short distillation that is a score")
    parser.add_argument("--nets", type=int, default=12, help="of each set")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    prepare_cpu()
    try:
        study = Study(options.run, options.out, options.steps, options.trial)
        study.go(options.sets, options.nets)
    except UserError as error:
        raise SystemExit(f"{error}") from None
    print(measure.table(values(study.rows)))
    recipe = study.job.recipe
    measure.write(options.out.with_suffix(".json"), "ranks", study.job.setting.device, taus(study.rows),
                  family=recipe.family, data=recipe.data.path, **study.about, nets=study.rows)


if __name__ == "__main__":
    main()
