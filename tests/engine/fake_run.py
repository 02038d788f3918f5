"""A run folder as `ugc run` leaves it, made of invented numbers and drawn pictures: what the report is built against."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = 64
RESNET = ("stem", "down1", "down2", "mid1", "mid2", "mid3", "up1", "up2")
RESNET_SLOTS = ("down1", "down2", "up1", "up2")
Draw = Callable[[int, str], Image.Image]


def text_of(widths: list[int], depths: list[int], names: tuple[str, ...], slots: tuple[str, ...]) -> str:
    pairs = [*zip(names, widths), *zip([f"d.{s}" for s in slots], depths)]
    return ",".join(f"{name}={value}" for name, value in pairs)


def characters() -> Draw:
    """Sans-serif sources and serif targets where the demo's fonts are installed, else discs and squares."""
    try:
        from pylopdf_fonts_zh_cn import sans_path, serif_path

        fonts = {"sans": ImageFont.truetype(str(sans_path()), 56), "serif": ImageFont.truetype(str(serif_path()), 56)}
    except ImportError:
        fonts = {}
    words = "永和九年歲在癸丑暮春之初會于山陰之蘭亭修禊事也群賢畢至少長咸集"

    def draw(number: int, face: str) -> Image.Image:
        image = Image.new("L", (SIZE, SIZE), 255)
        pen = ImageDraw.Draw(image)
        if fonts:
            pen.text((4, 54), words[number % len(words)], font=fonts[face], fill=0, anchor="ls")
        else:
            shape = pen.ellipse if face == "serif" else pen.rectangle
            shape((8 + number % 9, 10, 50, 40 + number % 12), fill=0)
        return image

    return draw


def put(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")


def log(path: Path, keys: dict[str, float], steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(0, steps, max(1, steps // 300)):
        row: dict[str, Any] = {"step": step}
        for i, (key, start) in enumerate(keys.items()):
            flat = 0.5 if "gan" in key else 0.06
            row[key] = float(start * (flat + math.exp(-step / steps * (4 + i % 3))) * rng.lognormal(0, 0.16))
        rows.append({**row, "lr": 1 - step / steps})
    rows[len(rows) // 2][next(iter(keys))] = None  # a value that was not finite
    put(path, "".join(json.dumps(row) + "\n" for row in rows))


def l_od(prefix: str, scale: float = 1.0) -> dict[str, float]:
    weights = {"ssim": 5.0, "feature": 0.9, "style": 0.3, "tv": 0.004, "l1": 9.0}
    return {f"{prefix}.{part}": scale * weight for part, weight in weights.items()}


def grids(stage: Path, steps: int, count: int, draw: Draw) -> None:
    for i in range(count):
        sheet = Image.new("L", (8 * (SIZE + 4), 3 * (SIZE + 4)), 255)
        for column in range(8):
            for row, face in enumerate(("sans", "serif", "serif")):
                image = draw(column, face)
                blur = image.filter(ImageFilter.GaussianBlur(3.0 / (i + 1))) if row == 1 else image
                sheet.paste(blur, (column * (SIZE + 4), row * (SIZE + 4)))
        sheet.save(stage / f"grid-{steps * (i + 1) // count:08d}.png")


def candidates(family_text: Callable[[np.random.Generator], str]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    rows: list[dict[str, Any]] = []

    def add(role: str, macs: float, generation: int | None, gain: float) -> None:
        score = 2.6 + 6.5 * (macs / 1e7) ** -0.42 * gain * rng.lognormal(0, 0.05)
        rows.append({"arch": family_text(rng), "role": role, "generation": generation, "score": round(score, 5),
                     "params": int(macs / 400), "macs": int(macs * 0.8), "macs_paper": int(macs)})

    for generation in range(12):
        for role, centre in (("student", 2.5e7), ("deep", 1.9e8), ("wide", 1.9e8)):
            for _ in range(10):
                add(role, centre * rng.uniform(0.9, 1.0), generation, 1.12 - 0.014 * generation)
    for i in range(24):
        add("ladder", 8e6 * 1.18**i, None, 1.05)
    for i in range(64):
        add("random", 8e6 * 1.065**i, None, 1.2)
    return rows


def fake_run(run: Path, *, unet: bool = False, original: bool = True, until: str = "test", ugly: bool = False) -> Path:
    """Write a run folder.

    Args:
        unet: the other family.
        original: False is `--original none`: no stage, no samples, its cost only.
        until: the last stage that ended; the next one has only a beginning of its log.
        ugly: long keys with markup, markup in notes.
    """
    stages = [s for s in ("original", "supernet", "search", "distill", "test") if original or s != "original"]
    ended = stages[: stages.index(until) + 1] if until in stages else []
    begun = stages[: len(ended) + 1]
    steps = {"original": 3000, "supernet": 2500, "distill": 3000}
    draw = characters()
    if unet:
        names, slots = ("w1", "w2", "w4", "w8"), (*(f"down{k}" for k in range(1, 6)), *(f"up{k}" for k in range(6, 1, -1)))
        family, student, largest = "pix2pix-unet", [8, 12, 8, 4], [32] * 4
    else:
        names, slots = RESNET, RESNET_SLOTS
        family, student, largest = "pix2pix-resnet", [9, 6, 6, 12, 9, 6, 6, 9], [24] * 8
    n = len(slots)
    archs = {"student": text_of(student, [i % 3 % 2 for i in range(n)], names, slots),
             "deep_teacher": text_of([w // 2 for w in largest], [2] * n, names, slots),
             "wide_teacher": text_of(largest, [0] * n, names, slots), "largest": text_of(largest, [2] * n, names, slots),
             "original": ""}
    costs = {"original": (1_600_000, 273_900_000, 441_000_000), "student": (58_812, 21_300_000, 25_100_000),
             "deep_teacher": (410_233, 151_000_000, 188_000_000), "wide_teacher": (395_871, 149_200_000, 190_300_000),
             "largest": (801_277, 270_100_000, 432_900_000)}

    put(run / "recipe.json", {
        "name": "sans2serif-demo", "data": {"path": "/home/somebody/secret/sans2serif", "size": [SIZE, SIZE], "flip": False,
                                            "labels": 0.25, "unlabelled": "hidden"},
        "family": family, "base": 24, "generator": {}, "patch": {"ndf": 32, "layers": 2}, "method": "ugc",
        "options": {"filter": "paper", "every": 1}, "budget": "12x", "original": "train" if original else "none",
        "steps": steps, "batch": 8, "optimiser": {"lr": 0.0002, "betas": [0.5, 0.999]},
        "distillation": {"backbone": "lite0", "l1": 100.0}, "seed": 0, "device": "cpu", "precision": "bf16"})
    put(run / "env.json", {"versions": {"ugc": "0.1.0", "torch": "2.13.0", "python": "3.11.2", "numpy": "2.1.0"},
                           "device": "cpu (a processor, 2 threads), bf16", "threads": 2, "commit": "0123abc",
                           "started": "2026-11-23T10:00:00Z"})
    notes = ["512 of 2,048 pairs keep their targets; 1,536 are hidden.",
             "The deep teacher was clipped to 0.6 x the largest net."]
    put(run / "run.json", {
        "dataset": "sans2serif", "notes": notes + (["<script>alert('note')</script> & more"] if ugly else []),
        "attribution": "Characters drawn with Noto Sans SC and Noto Serif SC, SIL Open Font License 1.1.",
        "counts": {"labelled": 512, "unlabelled": 1383, "validation": 153, "hidden": 1536, "test": 2048},
        "budget": {"text": "12x", "key": "macs_paper", "limit": 36_750_000}, "stages": stages,
        "distillation": {"text": "1 − SSIM × 10, L1 × 100, TV × 1e-5, Lite0", "weights_sha256": "cd" * 32},
        "channels": [1, 1], "from": None})
    keys = [f"U+{0x4E00 + 37 * i:X}" for i in range(512)]
    if ugly:
        keys = [f"<b>folder</b>/{'a very long name ' * 8}{i}&\"'.png" for i in range(40)]
    put(run / "labels.txt", "\n".join(keys) + "\n")
    put(run / "unlabelled.txt", "".join(f"U+{0x5E00 + 3 * i:X}\n" for i in range(1383)))
    put(run / "validation.txt", "".join(f"U+{0x8E00 + 5 * i:X}\n" for i in range(153)))

    supervised = {"D/gan": 0.9, "G/recon": 38.0, "G/gan": 0.7}
    losses = {"original": supervised, "supernet": {**supervised, **l_od("G/r"), **l_od("G/s", 1.6)}, "distill": {
        "D_deep/gan": 0.8, "D_wide/gan": 0.9, "deep/recon": 15.0, "deep/gan": 0.8, "wide/recon": 17.0, "wide/gan": 0.6,
        **l_od("student/A.deep"), **l_od("student/U.deep", 1.2),
        **l_od("student/A.wide", 0.9), **l_od("student/U.wide", 1.1)}}
    for seed, stage in enumerate(begun):
        folder = run / "stages" / stage
        if stage in losses:
            log(folder / "log.jsonl", losses[stage], steps[stage] if stage in ended else steps[stage] // 3, seed)
            grids(folder, steps[stage], 10 if stage == "distill" else 4, draw)
            if stage in ended:
                put(folder / "done.json", {"steps": steps[stage], "seconds": 171.3 + 60 * seed, "warnings": []})

    def some_arch(rng: np.random.Generator) -> str:
        return text_of(list(rng.integers(3, 24, len(names))), list(rng.integers(0, 3, n)), names, slots)

    if "search" in begun:
        rows, folder = candidates(some_arch), run / "stages" / "search"
        put(folder / "candidates.jsonl", "".join(json.dumps(row) + "\n" for row in rows) + '{"arch": "cut o')
        if "search" in ended:
            chosen = {}
            for role in ("student", "deep", "wide"):
                best = min((r for r in rows if r["role"] == role), key=lambda r: r["score"])
                chosen[role] = {**best, "arch": archs[role if role == "student" else f"{role}_teacher"]}
            front: list[dict[str, Any]] = []
            for row in sorted(rows, key=lambda r: (r["macs_paper"], r["score"])):
                if not front or row["score"] < front[-1]["score"]:
                    front.append(row)
            put(folder / "choice.json", {**chosen, "notes": ["The wide teacher has no inserted block."]})
            put(folder / "pareto.json", {"rows": rows, "front": front, "chosen": chosen["student"]})
            put(folder / "done.json", {"scored": len(rows), "seconds": 48.0})

    config = {"in_channels": 1, "out_channels": 1, "base": 24, **({"levels": 6} if unet else {"blocks": 9})}
    saved = {"original": ["original"] if original else [], "supernet": ["largest"],
             "distill": ["student", "deep_teacher", "wide_teacher"]}
    for role in [role for stage in ended for role in saved.get(stage, [])]:
        params, macs, macs_paper = costs[role]
        put(run / role / "config.json", {"family": family, "config": config, "arch": archs[role], "params": params,
                                         "macs": macs, "macs_paper": macs_paper, "role": role, "size": [SIZE, SIZE]})
    if "test" in ended:
        _test(run, draw, costs, original)
    return run


def _test(run: Path, draw: Draw, costs: dict[str, tuple[int, int, int]], original: bool) -> None:
    names = ("psnr", "ssim", "l1", "ink_iou", "ink_grey", "kd_efflite0", "fd_efflite0")
    values = {"original": (12.43, 0.671, 0.1934, 0.6178, 1.02, 91.3, 112.4),
              "student": (12.09, 0.6549, 0.2021, 0.6032, 1.09, 133.7, 180.2),
              "deep_teacher": (12.31, 0.664, 0.196, 0.6101, 1.03, 99.2, 121.9),
              "wide_teacher": (12.35, 0.667, 0.195, 0.6123, 1.01, 96.0, 118.8),
              "largest": (12.22, 0.661, 0.198, 0.609, 1.04, 104.5, 130.1),
              "copy": (10.39, 0.553, 0.2605, 0.5722, 0.86, 68.2, 111.5)}
    rows: dict[str, dict[str, float]] = {}
    for role, numbers in values.items():
        rows[role] = dict(zip(names, numbers)) if original or role != "original" else {}
        if role in costs:
            rows[role] |= dict(zip(("params", "macs", "macs_paper"), costs[role]))
            if rows[role].get("psnr"):
                rows[role]["latency_ms"] = costs[role][1] / 21e6
    rows["floor"] = {"kd_efflite0": -0.53, "fd_efflite0": 13.9}
    put(run / "metrics.json", {"rows": rows, "protocol": {
        "test_images": 2048, "size": [SIZE, SIZE], "seed": 0, "extractor": "efficientnet-lite0", "weights_sha256": "ab" * 32,
        "metrics": {"psnr": "peak signal-to-noise ratio, peak 2, mean over images"},
        "latency_ms": "median of 30, batch 1, fp32, a processor, 2 threads"}})
    folder = run / "stages" / "test" / "samples"
    folder.mkdir(parents=True)
    for i in range(12):
        target = draw(i, "serif")
        draw(i, "sans").save(folder / f"{i:03d}-source.png")
        target.save(folder / f"{i:03d}-target.png")
        if original:
            target.filter(ImageFilter.GaussianBlur(0.7)).save(folder / f"{i:03d}-original.png")
        target.filter(ImageFilter.GaussianBlur(1.1)).save(folder / f"{i:03d}-student.png")
    put(run / "stages" / "test" / "done.json", {"seconds": 41.2})
