"""Weights of L_OD for a backbone, from gradient norms at the student's output.

    lambda_t = 10 * |d(1 - SSIM)/dS| / |d t/dS|,   half of it for style

so that SSIM (weight 10, UGC Sec. 4.1) and the feature term pull equally hard and the style term half as hard. Norms are
means over batches of a finished run's training sources, its deep teacher against its student: nets that have learnt,
since at step 1 the ratios are several times off. The backbone's numbers are then written into its class by hand.

    python benchmarks/calibrate.py runs/demo --backbone lite0
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from ugc.core.files import read_json
from ugc.engine.pipeline import Run
from ugc.engine.recipe import Recipe
from ugc.export.saved import load_net
from ugc.losses.distillation import DistillationConfig, OutputDistillation

TERMS = ("ssim", "feature", "style", "tv", "l1")


def norms(run: Path, backbone: str, batch: int) -> dict[str, list[float]]:
    """Per term, the gradient norm of its unit loss (mean over images) at the student's output, batch by batch."""
    job = Run(Recipe.parse(read_json(run / "recipe.json"), str(run)), run)
    device = torch.device("cpu")
    loss = OutputDistillation(DistillationConfig(backbone=backbone, ssim=1, feature=1, style=1, tv=1, l1=1), device)
    teacher, student = load_net(run / "deep_teacher")[0], load_net(run / "student")[0]
    found: dict[str, list[float]] = {term: [] for term in TERMS}
    for sources in job.stream.calibration(16 * batch).split(batch):
        with torch.no_grad():
            taught, picture = loss.look(teacher(sources)), student(sources)
        leaf = picture.requires_grad_()
        parts = loss(taught, loss.look(leaf))
        for term, part in parts.items():
            (grad,) = torch.autograd.grad(part.mean(), leaf, retain_graph=True)
            found[term].append(float(grad.norm()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--backbone", default="lite0")
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    found = {term: values for term, values in norms(options.run, options.backbone, options.batch).items() if values}
    ssim = statistics.mean(found["ssim"])
    for term, values in found.items():
        mean = statistics.mean(values)
        weight = 10 * ssim / mean * (0.5 if term == "style" else 1.0)
        print(f"{term:8} gradient norm {mean:.5g} (min {min(values):.3g}, max {max(values):.3g})  equal at {weight:.4g}")


if __name__ == "__main__":
    main()
