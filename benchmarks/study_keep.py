"""What a run of the study leaves for docs/results.md, small enough to be committed:

    NAME.json   its command's options, counts, seconds by stage, environment, architecture and metrics
    NAME.npz    the metrics of each test image, float16, and its pictures of the twelve characters, uint8 [12, H, W, C]
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from study_rows import Row

from ugc.core.clock import Clock
from ugc.core.files import atomic, read_json, sha256, write_json
from ugc.core.images import Array, from_unit
from ugc.data.dataset import open_dataset
from ugc.data.stream import TestData, test_data
from ugc.engine.answers import NetAnswers
from ugc.engine.inherit import STAGES as TAKEN
from ugc.engine.recipe import Recipe, read_recipe

SHOWN = 12  # test characters, drawn at random once
EACH = ("psnr", "ssim", "l1", "ink_iou", "ink_grey", "palette_accuracy")  # of those that the data have


def kept(results: Path, name: str) -> bool:
    return (results / f"{name}.json").exists()


def keep(row: Row, run: Path, results: Path) -> None:
    """Gather a run that has ended. The .json comes last."""
    role = "original" if (run / "original" / "config.json").exists() else "student"
    metrics = read_json(run / "metrics.json")
    scores = np.load(run / "stages" / "test" / "scores.npz")
    arrays = {name: scores[f"{role}/{name}"].astype(np.float16) for name in EACH if f"{role}/{name}" in scores}
    with atomic(results / f"{row.name}.npz") as file:
        np.savez_compressed(file, shown=pictures(run, role), **arrays)
    write_json(results / f"{row.name}.json", {
        "name": row.name, "group": row.group, "labels": row.labels, "seed": row.seed, "options": list(row.options),
        "source": row.source, "role": role, "archs": archs(run), "supernet": supernet(run),
        "counts": read_json(run / "run.json")["counts"],
        "steps": read_recipe(run)["steps"], "seconds": seconds(run), "env": about(run), **of(metrics)})


def archs(run: Path) -> dict[str, str]:
    """role -> architecture, of the nets that were chosen, or of `alone`'s; empty for an original."""
    path = run / "stages" / "search" / "choice.json"
    named = read_recipe(run)["options"].get("arch")
    choice = read_json(path) if path.exists() else {"student": {"arch": named}} if named else {}
    return {role: choice[role]["arch"] for role in ("student", "deep", "wide") if role in choice}


def supernet(run: Path) -> str | None:
    """Which supernet it has: the start of its weights' sha256."""
    path = run / "supernet" / "model.safetensors"
    return sha256(path)[:12] if path.exists() else None


def of(metrics: dict[str, Any]) -> dict[str, Any]:
    """What is kept of metrics.json."""
    return {"rows": metrics["rows"], "intervals": metrics["intervals"], "warnings": metrics["warnings"],
            "test_images": metrics["protocol"]["test_images"]}


def seconds(run: Path) -> dict[str, float]:
    """By stage, of those that this run did itself."""
    about = read_json(run / "run.json")
    own = [stage for stage in about["stages"] if not (about["from"] and stage in TAKEN)]
    stages = [stage for stage in own if (run / "stages" / stage / "done.json").exists()]
    return {stage: read_json(run / "stages" / stage / "done.json").get("seconds") for stage in stages}


def about(run: Path) -> dict[str, Any]:
    """Machine, versions and commits of all sessions."""
    env = read_json(run / "env.json")
    sessions = env.pop("sessions", [])
    return {**env, "commits": list(dict.fromkeys(session.get("commit") for session in sessions))}


def pictures(run: Path, role: str) -> Array:
    """A net's pictures of the twelve characters, uint8 [12, H, W, C]."""
    data = shown(Recipe.parse(read_recipe(run), str(run)))
    answers = [answer for answer, _ in NetAnswers(run / role).batches(data, torch.device("cpu"))]
    return from_unit(torch.cat(answers))


def shown(recipe: Recipe) -> TestData:
    """Twelve test pairs, the same in every row."""
    data = test_data(open_dataset(recipe.data, recipe.seed), recipe.data)
    at = np.sort(Clock(0).rng("shown in docs/results.md").permutation(len(data))[:SHOWN])
    return replace(data, sources=data.sources[at], targets=data.targets[at], keys=tuple(data.keys[i] for i in at))
