"""How fast the loader is, cold and warm, and whether training waits for it.

    python benchmarks/data.py --out benchmarks/results/data.json
    python benchmarks/data.py --only png,labels --count 64 --no-training

The loader: pictures (sources and targets) a second of `Stream.batch` over folders that are made from a seed, and over
sans2serif; each in a fresh process, cold (nothing decoded yet; the files themselves are in the system's cache) and warm.
Waiting: the share of the real loop's time (`engine/loop.py`) in which a step waits for its batch, at the demo's sizes and at
256x256, batch 4, base 64. The loop fetches a batch when it needs it, so that all of its time is waiting.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from apart import answer, apart
from fresh import STAGES, phase_of
from measure import median, ready, table, write
from PIL import Image

from ugc.core.clock import Clock
from ugc.core.device import choose, prepare_cpu
from ugc.core.images import Array
from ugc.data.dataset import DataConfig, open_dataset
from ugc.data.labels import split
from ugc.data.stream import Batch, Stream, train_data
from ugc.engine.job import Job
from ugc.engine.loop import train
from ugc.engine.recipe import Recipe
from ugc.recipes.table import parsed

Now = Callable[[], float]
SIDE = 256
KINDS = ("png", "jpeg", "labels", "sans2serif")
SKIPPED = 1  # step of a training loop, which comes too early to count
LEAST = 2.0  # seconds that a loader is watched after its first pass


# ---- pictures from a seed ----


def pictures(count: int, side: int, channels: int, seed: int) -> Iterator[Array]:
    """uint8 [side, side, channels]: large smooth shapes with a little noise, which compress as photographs do."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        noisy = smooth + rng.normal(0, 4, smooth.shape)
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[..., :channels]


def write_pairs(folder: Path, kind: str, count: int, alone: int, side: int = SIDE, seed: int = 0) -> Path:
    """`count` pairs, `alone` sources without a target, and two test pairs: `png` or `jpeg` pictures, or `labels`, whose
    sources are label and instance maps of large blocks."""
    sides = ("label", "inst", "img") if kind == "labels" else ("A", "B")
    rng = np.random.default_rng(seed)
    for part, n, lone in (("train", count, alone), ("test", 2, 0)):
        for name in sides:
            (folder / (f"{part}_{name}" if kind == "labels" else f"{part}{name}")).mkdir(parents=True, exist_ok=True)
        for at, picture in enumerate(pictures(n + lone, side, 3, seed + len(part))):
            if kind == "labels":
                ids = rng.integers(1, 34, (8, 8), dtype=np.uint8).repeat(side // 8, 0).repeat(side // 8, 1)
                Image.fromarray(ids).save(folder / f"{part}_label" / f"{at}.png")
                Image.fromarray(ids.astype(np.uint16) * 1000).save(folder / f"{part}_inst" / f"{at}.png")
                _save(picture, folder / f"{part}_img" / f"{at}.jpg", at < n)
            else:
                suffix = ".jpg" if kind == "jpeg" else ".png"
                _save(picture, folder / f"{part}A" / f"{at}{suffix}", True)
                _save(255 - picture, folder / f"{part}B" / f"{at}{suffix}", at < n)
    return folder


def _save(picture: Array, path: Path, wanted: bool) -> None:
    if wanted:
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "JPEG" if path.suffix == ".jpg" else "PNG", quality=90)
        path.write_bytes(data.getvalue())


# ---- the loader ----


def delivered(batch: Batch) -> int:
    """Pictures in a batch: sources, targets and unlabelled sources."""
    return len(batch.source) + len(batch.target) + len(batch.unlabelled)


def loaded(config: DataConfig, size: int, device: torch.device, least: float = LEAST, now: Now = time.perf_counter
           ) -> dict[str, Any]:
    """Seconds until the folder is known and its pictures are decoded (or found decoded), and pictures a second: of the
    first pass over as many pictures as there are, with all that comes before it, and of what follows it."""
    start = now()
    dataset = open_dataset(config, 0)
    parts = split(dataset, config, 0)
    opened = now()
    stream = Stream(train_data(dataset, config, parts), size, device)
    decoded = now()
    total = sum(len(rows) for rows in (stream.A, stream.T, stream.U, stream.V))
    step = given = 0
    while given < total:
        given += delivered(stream.batch(Clock(0, step)))
        step += 1
    ready(device)
    passed, again, times = now(), 0, list[float]()
    while (began := now()) - passed < least or not times:
        again += delivered(stream.batch(Clock(0, step)))
        ready(device)
        step += 1
        times.append(now() - began)
    return {"pictures": total, "open s": opened - start, "decode s": decoded - opened,
            "first pass, pictures/s": given / (passed - start), "pictures/s": again / sum(times),
            "batch ms": 1000 * median(times)}


# ---- does training wait? ----


class Waits:
    """A stream whose batches are timed: how long each step waited, and when the next one asked."""

    def __init__(self, stream: Any, device: torch.device, now: Now = time.perf_counter) -> None:
        self.stream, self.device, self.now = stream, device, now
        self.asked: list[float] = []
        self.got: list[float] = []

    def batch(self, clock: Clock, unlabelled: Literal["U", "A"] = "U") -> Batch:
        ready(self.device)  # what the last step left to do is no waiting for pictures
        self.asked.append(self.now())
        batch: Batch = self.stream.batch(clock, unlabelled)
        ready(self.device)
        self.got.append(self.now())
        return batch

    def figures(self, skipped: int = SKIPPED) -> dict[str, float]:
        """Of the steps between the first `skipped` ones and the last one, whose end nobody sees."""
        asked, got = self.asked[skipped:], self.got[skipped:]
        steps, whole = len(asked) - 1, asked[-1] - asked[0]
        waited = sum(after - before for before, after in zip(asked[:-1], got))
        return {"steps": steps, "step ms": 1000 * whole / steps, "waiting ms": 1000 * waited / steps,
                "share": waited / whole}


def waited(recipe: Recipe, stage: str, steps: int, folder: Path) -> dict[str, float]:
    """A stage of a run through the real loop, in a folder that is thrown away."""
    prepare_cpu()  # as a run does
    job = Job(recipe.resolved(), folder)
    phase = phase_of(stage, job.recipe, job.setting)
    stream = Waits(job.stream, job.setting.device.device)
    train(phase, stream, folder / stage, stage, steps=steps + SKIPPED + 1, seed=0,  # type: ignore[arg-type]
          rate=recipe.optimiser.rate, log_every=recipe.log_every, grids=0, grid=lambda phase, path: {})
    return stream.figures()


def large(folder: str) -> Recipe:
    """256x256, batch 4, base 64, a ResNet."""
    return Recipe.parse({"data": {"path": folder, "size": SIDE, "labels": 0.25}, "batch": 4, "base": 64}, "256x256")


# ---- the command ----


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", default=",".join(KINDS), help="which data, of: " + " ".join(KINDS))
    parser.add_argument("--count", type=int, default=256, help="pairs of a folder, and sources without a target")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40, help="of each stage at the demo's sizes; a twentieth at 256x256")
    parser.add_argument("--no-training", action="store_true", help="the loader alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        answer(measured(**options.case))
        return
    device, threads = choose(options.device, options.precision), torch.get_num_threads()
    loader, training = list[dict[str, Any]](), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as home:
        for kind in options.only.split(","):
            about = {"path": kind, "size": 64, "labels": 0.25}
            if kind != "sans2serif":
                about = {"path": str(write_pairs(Path(home) / kind, kind, options.count, options.count)), "size": SIDE}
            for state in ("cold", "warm"):
                case = {"loader": about, "batch": options.batch, "device": options.device}
                found = apart(__file__, case, threads, UGC_HOME=f"{home}/cache-{kind}")
                loader.append({"data": f"{kind} {about['size']}", "state": state, **found})
                print(loader[-1], flush=True)
        if not options.no_training:
            pairs = str(write_pairs(Path(home) / "pairs", "png", 64, 0))
            runs = (("sans2serif-demo", "", options.steps), ("256x256, batch 4", pairs, options.steps // 20))
            for run, path, steps in runs:
                for stage in STAGES:
                    case = {"stage": stage, "path": path, "steps": max(1, steps), "device": options.device,
                            "precision": options.precision}
                    found = apart(__file__, case, threads, UGC_HOME=f"{home}/cache-training")
                    training.append({"run": run, "stage": stage, **found})
                    print(training[-1], flush=True)
    if training:
        print(table(training))
    write(options.out, "data", device, loader, training=training)


def measured(device: str, loader: Mapping[str, Any] | None = None, batch: int = 0, path: str = "", **training: Any
             ) -> dict[str, Any]:
    """A case in its process: `loader` of one data set, or a stage of training."""
    if loader:
        return loaded(DataConfig.model_validate(loader), batch, choose(device).device)
    recipe = large(path) if path else parsed("sans2serif-demo")
    recipe = recipe.with_settings([f"device={device}", f"precision={training['precision']}"])
    with tempfile.TemporaryDirectory() as folder:
        return waited(recipe, training["stage"], training["steps"], Path(folder))


if __name__ == "__main__":
    main()
