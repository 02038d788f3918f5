"""Weights for a backbone, from gradient norms at a generator's picture: of L_OD, or of the perceptual term of L_sup.

L_OD:

    lambda_t = 10 * |d(1 - SSIM)/dS| / |d t/dS|,   half of it for style

so that SSIM (weight 10, UGC Sec. 4.1) and the feature term pull equally hard and the style term half as hard. Norms are
means over batches of a finished run's training sources, its deep teacher against its student: nets that have learnt,
since at step 1 the ratios are several times off.

The perceptual term, sum_t w_t |f_t(y) - f_t(G(x))|, of a run whose supernet learnt with feature matching:

    w_t = c / |d|f_t(y) - f_t(G(x))| / dG(x)|,   c such that |dL_P / dG(x)| = |dL_FM / dG(x)|

so that every tap pulls as hard as another, and all of them together as hard as feature matching at the same lambda (10
and 10 in pix2pixHD and GauGAN). Its largest net, its D and its labelled pairs.

The backbone's numbers are then written into its class by hand.

    python benchmarks/calibrate.py runs/demo --backbone lite0
    python benchmarks/calibrate.py runs/heir --backbone lite0 --term perceptual
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch
from torch import Tensor

from ugc.core.clock import Clock
from ugc.core.files import read_json
from ugc.engine.pipeline import Run
from ugc.engine.recipe import Recipe
from ugc.export.saved import load_net, load_tensors
from ugc.losses.distillation import DistillationConfig, OutputDistillation
from ugc.losses.matching import feature_matching
from ugc.losses.perceptual import perceptual
from ugc.nn.backbones import load_backbone

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


def perceptual_weights(run: Path, backbone: str, batch: int, batches: int = 16) -> None:
    """Print a weight for each tap, beside what it comes from."""
    recipe = Recipe.parse(read_json(run / "recipe.json"), str(run)).model_copy(update={"batch": batch})
    job, device, clock = Run(recipe, run), torch.device("cpu"), Clock(recipe.seed + 1)
    net, eyes = load_net(run / "largest")[0], load_backbone(backbone, device)
    judge = job.setting.discriminator("D").to(device)
    judge.load_state_dict(load_tensors(run / "stages" / "supernet" / "D.safetensors"))
    taken: list[tuple[Tensor, list[Tensor]]] = []  # the gradients of feature matching and of each tap's L1, a batch
    for step in range(batches):
        pairs = job.stream.batch(clock.at(step))
        x, y = pairs.source.to(device), pairs.target.to(device)
        with torch.no_grad():
            fake, seen, (real,) = net(x), eyes(y), judge.judge(x, y)
        fake.requires_grad_()
        losses = [feature_matching(judge.judge(x, fake)[0].maps, real.maps)]
        losses += [perceptual([ours], [theirs], (1.0,)) for ours, theirs in zip(eyes(fake), seen)]
        features, *taps = (torch.autograd.grad(loss.mean(), fake, retain_graph=True)[0] for loss in losses)
        taken.append((features, taps))
    alone = [statistics.mean(float(taps[t].norm()) for _, taps in taken) for t in range(len(eyes.perceptual))]
    together = statistics.mean(float(sum(g / n for g, n in zip(taps, alone)).norm()) for _, taps in taken)
    wanted = statistics.mean(float(features.norm()) for features, _ in taken)
    used = statistics.mean(float(sum(w * g for w, g in zip(eyes.perceptual, taps)).norm()) for _, taps in taken)
    print(f"feature matching: gradient norm {wanted:.5g}; the term with its weights of now: {used:.5g}")
    for tap, norm in enumerate(alone):
        print(f"tap {tap}: gradient norm {norm:.5g}, weight {wanted / together / norm:.4g} (now {eyes.perceptual[tap]:.4g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, help="a finished run folder")
    parser.add_argument("--backbone", default="lite0")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--term", choices=("l_od", "perceptual"), default="l_od")
    options = parser.parse_args()
    if options.term == "perceptual":
        perceptual_weights(options.run, options.backbone, options.batch)
        return
    found = {term: values for term, values in norms(options.run, options.backbone, options.batch).items() if values}
    ssim = statistics.mean(found["ssim"])
    for term, values in found.items():
        mean = statistics.mean(values)
        weight = 10 * ssim / mean * (0.5 if term == "style" else 1.0)
        print(f"{term:8} gradient norm {mean:.5g} (min {min(values):.3g}, max {max(values):.3g})  equal at {weight:.4g}")


if __name__ == "__main__":
    main()
