"""What every benchmark needs: the machine's name, its convolution peak, times of a call, a table, and a file of results.

A result names its machine, commit, torch, threads and date. On shared machines only ratios of one run mean anything: so what
is compared is timed in turns (`in_turns`), and the peak is measured in the same run.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F

from ugc.core.device import Device, ready
from ugc.core.files import write_text
from ugc.nn import quick

STATUS = Path("/proc/self/status")
PEAK = (4, 64, 64, 256)  # N, channels in, channels out, side: as wide as what this field trains at 256x256


def machine(device: Device) -> dict[str, Any]:
    """Whose numbers these are."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], check=False,
                            capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
    return {"device": device.text, "torch": torch.__version__, "commit": commit or "unknown",
            "date": date.today().isoformat()}


def timed(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call."""
    ready(device)
    start = time.perf_counter()
    call()
    ready(device)
    return time.perf_counter() - start


def in_turns(calls: Mapping[str, Callable[[], Any]], device: torch.device, rounds: int = 9, warm: int = 2,
             rest: float = 0.0) -> dict[str, list[float]]:
    """name -> seconds of each round; every round calls all once, so that what slows the machine slows all of them.

    rest: seconds to wait before each call, and one more call that does not count: threads of the call before may still
    spin, waiting for work, and take the cores.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(-warm, rounds):
        for name, call in calls.items():
            if rest:
                time.sleep(rest)
                call()
            seconds = timed(call, device)
            if round_ >= 0:
                found[name].append(seconds)
    return found


@contextmanager
def stock_layers() -> Iterator[None]:
    """While it is open every layer is torch's own: what others run, and what counts as useful work."""
    with mock.patch.object(quick, "here", lambda x: False):
        yield


def median(times: Sequence[float]) -> float:
    return statistics.median(times)


def convolution_peak(device: Device, least: float = 1.5) -> float:
    """Multiply-adds a second of the best of a few ways to run one 3x3 convolution, in the device's precision."""
    n, inside, out, side = PEAK
    best = 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        with torch.no_grad(), device.autocast():
            kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(device.precision, torch.float32)
            x = torch.randn(n, inside, side, side, device=device.device, dtype=kind).contiguous(memory_format=layout)
            w = torch.randn(out, inside, 3, 3, device=device.device, dtype=kind).contiguous(memory_format=layout)
            call, stop = partial(F.conv2d, x, w, padding=1), time.perf_counter() + least
            timed(call, device.device)  # the first is slow
            while True:
                best = max(best, 9 * n * inside * out * side * side / timed(call, device.device))
                if time.perf_counter() > stop:
                    break
    return best


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as a Markdown table, numbers with four digits."""
    heads = list(rows[0])
    lines = [[_said(row[head]) for head in heads] for row in rows]
    widths = [max(len(head), *(len(line[i]) for line in lines)) for i, head in enumerate(heads)]
    drawn = [heads, ["-" * width for width in widths], *lines]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in drawn)


def _said(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held so far: on a GPU in tensors there, else in all (resident memory)."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if STATUS.exists():  # getrusage's peak is inherited from the process that started this one
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[0])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def write(path: Path | None, name: str, device: Device, rows: Sequence[Mapping[str, Any]], **also: Any) -> None:
    """Print the table, and keep it with its machine as JSON where a path is given."""
    about = machine(device)
    print(f"{name}: {about['device']}, torch {about['torch']}, commit {about['commit']}, {about['date']}")
    print(table(rows), flush=True)
    if path:
        keep(path, name, device, rows, **also)


def keep(path: Path, name: str, device: Device, rows: Sequence[Mapping[str, Any]], **also: Any) -> None:
    """The file of results, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"benchmark": name, "machine": machine(device), **also, "rows": list(rows)}, indent=1)
    write_text(path, text + "\n")
