"""Rendered streets as a folder in Cityscapes' own layout; a killed call goes on where it stopped."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from ugc.core import files
from ugc.core.errors import UserError
from ugc.core.images import Array
from ugc.core.log import progress, say
from ugc.core.palettes import palette
from ugc.core.pins import read_note
from ugc.data.fetch import MARK
from ugc.data.street_render import VERSION, Frame, Renderer, renderer

Size = tuple[int, int]
Job = tuple[str, int]  # split, number
TOWNS = {"train": ("northtown", 0), "val": ("midtown", 1_000_000), "test": ("southtown", 2_000_000)}  # and the first index
ATTRIBUTION = ("streets: pictures and label maps drawn by ugc from a seed, with MuJoCo (Apache-2.0); no photo, texture or "
               "mesh of others is in them.")
PART = 4  # frames that a process takes at a time: few, so that Ctrl-C need not wait
OPEN = ExitStack()  # what a helper holds until its end


def write_tree(out: Path, size: Size, seed: int, counts: Mapping[str, int]) -> None:
    """Streets of (H, W) pixels in `out`: so many of train, val and test, all different.

    Every file is whole or absent, and what is there is kept: the frames are a function of (seed, index).

    Raises:
        UserError: `out` holds something else or other streets; MuJoCo is missing or cannot draw; the disk.
    """
    about = {"name": "streets", "size": list(size), "seed": seed, "renderer": VERSION, "counts": dict(counts)}
    _check(out, about)
    with renderer(size) as drawer:  # first of all: where nothing can be drawn, nothing is written
        out.mkdir(parents=True, exist_ok=True)
        with files.locked(out, lambda: say(f"another process is drawing the streets of {out}; waiting for it")):
            files.sweep(out)
            about_it = f"Streets in the layout of Cityscapes, {size[0]}x{size[1]}, seed {seed}.\n{ATTRIBUTION}\n"
            files.write_text(out / "README.txt", about_it)
            files.write_json(out / MARK, {**about, "attribution": ATTRIBUTION, "whole": False})
            jobs = [(split, i) for split, count in counts.items() for i in range(count)]
            missing = [job for job in jobs if not all(path.exists() for path in paths(out, *job).values())]
            with (progress("streets", len(jobs), len(jobs) - len(missing)) as bar,
                  closing(_drawn(drawer, out, seed, missing)) as drawn):  # Ctrl-C anywhere stops the helpers
                for done in drawn:
                    bar.advance(done)
            files.write_json(out / MARK, {**about, "attribution": ATTRIBUTION, "whole": True})


def is_whole(out: Path) -> bool:
    """Whether all streets of the folder have been drawn."""
    return bool(read_note(out / MARK).get("whole"))


def _check(out: Path, about: Mapping[str, Any]) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    there = read_note(out / MARK) if out.is_dir() else {}
    if there.get("name") != "streets":
        raise UserError(f"{out} exists already and holds no streets; choose another --out")
    for key, value in about.items():
        if there.get(key) != value:
            raise UserError(f"{out} holds streets with another {key.removesuffix('s')}: {_plain(there.get(key))} there, "
                            f"{_plain(value)} now; give the same to go on, or another --out")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def paths(out: Path, split: str, number: int) -> dict[str, Path]:
    """The four files of a frame, in the order in which they are written."""
    town, _ = TOWNS[split]
    stem = f"{town}_{number:06}_000019"
    fine = out / "gtFine" / split / town
    return {
        "labels": fine / f"{stem}_gtFine_labelIds.png",
        "instances": fine / f"{stem}_gtFine_instanceIds.png",
        "colours": fine / f"{stem}_gtFine_color.png",
        "photo": out / "leftImg8bit" / split / town / f"{stem}_leftImg8bit.png",
    }


def _save(frame: Frame, where: Mapping[str, Path]) -> None:
    pictures: dict[str, Array] = {
        "labels": frame.labels,
        "instances": frame.instances,
        "colours": palette("cityscapes", 256)[frame.labels],
        "photo": frame.photo,
    }
    for kind, path in where.items():
        held = io.BytesIO()
        Image.fromarray(pictures[kind]).save(held, "png")
        with files.atomic(path) as file:
            file.write(held.getvalue())


def _some(drawer: Renderer, out: Path, seed: int, jobs: Iterable[Job]) -> int:
    done = 0
    for split, number in jobs:
        _save(drawer.frame(seed, TOWNS[split][1] + number), paths(out, split, number))
        done += 1
    return done


def _drawn(drawer: Renderer, out: Path, seed: int, jobs: list[Job]) -> Generator[int, None, None]:
    """Draw the jobs, many of them in as many processes as there are cores; yields how many more are on disk."""
    if len(jobs) <= 4 * PART or os.cpu_count() == 1:
        for job in jobs:
            yield _some(drawer, out, seed, [job])
        return
    parts = [jobs[i:i + PART] for i in range(0, len(jobs), PART)]
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(parts)), multiprocessing.get_context("spawn"), _began) as pool:
        try:
            for future in as_completed([pool.submit(_part, out, drawer.size, seed, part) for part in parts]):
                yield future.result()
        except BrokenProcessPool:
            raise UserError("a process that drew streets was ended by the system, perhaps for want of memory; "
                            f"{out} keeps what is there: run the same command again") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _began() -> None:
    """A helper leaves Ctrl-C to the process that began it, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _part(out: Path, size: Size, seed: int, jobs: list[Job]) -> int:
    return _some(_own(size), out, seed, jobs)


@cache
def _own(size: Size) -> Renderer:
    """A helper's renderer, for as long as it lives."""
    return OPEN.enter_context(renderer(size))
