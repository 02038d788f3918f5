"""How a step of each stage grows: seconds and peak memory against image size, batch, width and processes, with the exponent;
and what more unlabelled images cost.

    python benchmarks/growth.py --out benchmarks/results/growth.json
    python benchmarks/growth.py --families pix2pixhd,gaugan --set distillation.backbone=none
    python benchmarks/growth.py --set device=cuda --set precision=bf16 --out benchmarks/results/growth-cuda-bf16.json

One axis at a time leaves the point 128x128, batch 2, base 32, one process. Every case is a process of its own, on random
pictures. Rows are kept as they come; with the same --out the command goes on where it was stopped. The exponent b is the
least-squares slope of log y against log x, so y ~ x^b; x counts pixels, images, base width or processes.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from apart import CaseError, answer, apart
from fresh import STAGES, noise, phase_of
from measure import keep, machine, median, peak_memory, table, timed

from data import loaded, write_pairs
from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import prepare_cpu
from ugc.core.errors import UserError
from ugc.core.files import read_json
from ugc.data.dataset import DataConfig
from ugc.engine.recipe import Recipe

Row = dict[str, Any]
POINT = {"size": 128, "batch": 2, "base": 32, "processes": 1}
AXES = {"size": (64, 128, 256), "batch": (1, 2, 4, 8), "base": (16, 32, 64), "processes": (1, 2)}
UNLABELLED = (1000, 4000, 16000)
CHANNELS = {"pix2pixhd": (36, 3), "gaugan": (36, 3)}  # source, target; else 3, 3
SETTINGS = ("budget=12x", "distillation.backbone=lite0")  # the same for all families
CLOCKS = 4  # different steps that are timed: each draws another sub-network
ROUNDS = 7  # over them at most
LEAST = 2.0  # seconds over which steps are timed, where ROUNDS allow it
PAIRS = 64  # beside the unlabelled images
SMALL = 64  # their side


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """b of y ~ x^b: the least-squares slope of log y against log x; at least two different x, all positive."""
    u, v = [math.log(a) for a in x], [math.log(b) for b in y]
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    return sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v)) / sum((a - mean_u) ** 2 for a in u)


# ---- which cases ----


def cases(families: Iterable[str], stages: Iterable[str], axes: Mapping[str, Sequence[int]], point: Mapping[str, int]
          ) -> Iterator[Row]:
    """Every case once: the point, and each axis's other values with all else as the point has it."""
    for family in families:
        points = [{**point, axis: value} for axis, values in axes.items() for value in values]
        for own in [p for at, p in enumerate(points) if p not in points[:at]]:
            for stage in stages:
                yield {"family": family, "stage": stage, **own}


def along(rows: Sequence[Row], axis: str, point: Mapping[str, int]) -> dict[tuple[str, str], list[Row]]:
    """(family, stage) -> the rows that differ in one axis only, by its value."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[axis]):
        if all(row[other] == value for other, value in point.items() if other != axis):
            found.setdefault((row["family"], row["stage"]), []).append(row)
    return found


def exponents(rows: Sequence[Row], axes: Iterable[str], point: Mapping[str, int]) -> list[Row]:
    """Exponents of seconds and of own memory (beside what Python and torch hold), an axis, family and stage a row."""
    found = []
    for axis in axes:
        for (family, stage), own in along(rows, axis, point).items():
            x = [row[axis] ** 2 if axis == "size" else row[axis] for row in own]
            if len(set(x)) > 1:
                found.append({"axis": axis, "family": family, "stage": stage, "from": own[0][axis], "to": own[-1][axis],
                              "time": exponent(x, [row["seconds"] for row in own]),
                              "memory": exponent(x, [max(1e-3, row["own MB"]) for row in own])})
    return found


def is_case(row: Mapping[str, Any], case: Mapping[str, Any]) -> bool:
    return all(row.get(key) == value for key, value in case.items())


# ---- one case, in its process ----


def stepped(case: Mapping[str, Any], settings: Sequence[str]) -> Row:
    """Seconds of a step and this process's peak of memory, in MB, in all and beside what it held before the nets.

    A step's time is the mean over CLOCKS steps of each one's median over rounds; all processes take the same steps.
    """
    recipe = Recipe.parse({"data": {"path": "none", "size": case["size"]}, "family": case["family"], "base": case["base"],
                           "batch": case["batch"]}, "case").with_settings([*SETTINGS, *settings]).resolved()
    setting = recipe.setting(CHANNELS.get(case["family"], (3, 3)))
    device = setting.device.device
    prepare_cpu()  # as a run does
    with processes.group(device):
        before = at_rest(device)
        phase, batch = phase_of(case["stage"], recipe, setting), noise(recipe, setting)
        times: list[list[float]] = [[] for _ in range(CLOCKS)]
        phase.step(batch, Clock(0, 0))
        began, rounds = time.perf_counter(), 0
        while not rounds or (rounds < ROUNDS and max(processes.gather(time.perf_counter() - began)) < LEAST):
            for step, found in enumerate(times):
                found.append(timed(partial(phase.step, batch, Clock(0, step)), device))
            rounds += 1
        seconds = max(processes.gather(sum(median(found) for found in times) / CLOCKS))
        peak = max(processes.gather(peak_memory(device) - before))
    return {**case, "threads": torch.get_num_threads(), "seconds": seconds, "own MB": peak / 1e6,
            "peak MB": (peak + before) / 1e6, "rounds": rounds}


def at_rest(device: torch.device) -> int:
    """Bytes that this process holds once a net of one layer has taken a step: what torch loads when it first computes."""
    net = torch.nn.Conv2d(3, 3, 3).to(device)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 3, 8, 8, device=device)).sum().backward()
    optimiser.step()
    return peak_memory(device)


# ---- unlabelled images ----


def with_unlabelled(folder: Path, counts: Sequence[int], threads: int) -> Iterator[Row]:
    """What opening, decoding and a batch cost with so many sources without a target; batches of 8 at 64x64."""
    write_pairs(folder, "png", PAIRS, PAIRS, SMALL)
    alone = [(folder / "trainA" / f"{PAIRS + at}.png").read_bytes() for at in range(PAIRS)]
    for count in counts:
        have = sum(1 for _ in (folder / "trainA").iterdir()) - PAIRS
        for at in range(have, count):
            (folder / "trainA" / f"{PAIRS + at}.png").write_bytes(alone[at % PAIRS])
        with tempfile.TemporaryDirectory() as home:
            states = {state: apart(__file__, {"folder": str(folder)}, threads, UGC_HOME=home) for state in ("cold", "warm")}
        yield {"unlabelled": count, "open s": states["warm"]["open s"], "decode s": states["cold"]["decode s"],
               "found s": states["warm"]["decode s"], "batch ms": states["warm"]["batch ms"],
               "peak MB": states["warm"]["peak MB"]}


def opened(folder: str) -> Row:
    """In its process: the loader on the CPU."""
    cpu = torch.device("cpu")
    row = loaded(DataConfig(path=folder, size=(SMALL, SMALL)), 8, cpu, least=1.0)
    return {**row, "peak MB": peak_memory(cpu) / 1e6}


# ---- the command ----


def kept(path: Path | None, about: Mapping[str, Any], settings: Sequence[str]) -> tuple[list[Row], list[Row]]:
    """Rows that are there: of steps, and of unlabelled images.

    Raises:
        UserError: they were measured on another machine, with another torch, or other settings.
    """
    if path is None or not path.exists():
        return [], []
    before = read_json(path)
    now = {"device": about["device"], "torch": about["torch"], "set": list(settings)}
    for key, then in {**before["machine"], "set": before["set"]}.items():
        if now.get(key, then) != then:
            raise UserError(f"{path} was measured with {key} {then}, and this is {now[key]}: rows of both cannot be "
                            f"compared; give another --out")
    return before["rows"], before["unlabelled"]


def listed(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--families", default="pix2pix-resnet,pix2pix-unet")
    parser.add_argument("--stages", default=",".join(STAGES))
    for axis, values in AXES.items():
        parser.add_argument(f"--{axis}", type=listed, default=list(values), help="values of this axis, such as 64,128")
    parser.add_argument("--unlabelled", type=listed, default=list(UNLABELLED), help="numbers of unlabelled images")
    parser.add_argument("--point", type=json.loads, default={}, help='what the axes leave, such as {"size": 64}')
    parser.add_argument("--set", action="append", default=[], help="a field of the recipe")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        folder = options.case.pop("folder", None)
        answer(opened(folder) if folder else stepped(options.case["case"], options.case["set"]))
        return
    drive(options)


def drive(options: argparse.Namespace) -> None:
    """Measure what is not there yet, and print exponents."""
    recipe = Recipe.parse({"data": {"path": "none"}}, "defaults").with_settings(options.set)
    device, threads = recipe.compute(), torch.get_num_threads()
    about, point = machine(device), {**POINT, **options.point}
    axes = {axis: getattr(options, axis) for axis in AXES}
    rows, unlabelled = kept(options.out, about, options.set)
    failed = []

    def note(row: Row, into: list[Row]) -> None:
        into.append({**row, "commit": about["commit"]})
        print(json.dumps(row), flush=True)
        if options.out:
            keep(options.out, "growth", device, rows, unlabelled=unlabelled, point=point, set=options.set)

    for case in cases(options.families.split(","), options.stages.split(","), axes, point):
        if any(is_case(row, case) for row in rows):
            continue
        try:
            each = max(1, threads // case["processes"])
            note(apart(__file__, {"case": case, "set": options.set}, each, case["processes"]), rows)
        except CaseError as error:
            failed.append(case)
            print(f"failed: {error}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        wanted = [count for count in sorted(options.unlabelled) if not any(row["unlabelled"] == count for row in unlabelled)]
        for row in with_unlabelled(Path(folder), wanted, threads) if wanted else ():
            note(row, unlabelled)
    if found := exponents(rows, axes, point):
        print(table(found))
    if failed:
        raise SystemExit(f"{len(failed)} cases failed; the same command tries them again")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
