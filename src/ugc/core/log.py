"""What a person sees while a run works, and what `log.jsonl` keeps of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ugc.core.files import append, read_json, write_json, write_text
from ugc.core.rank import lead

console = Console(stderr=True, highlight=False, quiet=not lead())  # of many processes one speaks


def say(text: str) -> None:
    """One line to the person at the terminal (stderr; results for programs go to stdout)."""
    console.print(text, markup=False, soft_wrap=True)  # a log file gets whole lines


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A progress bar with the time gone and an estimate of the time left, from the pace of late."""
    columns = (TextColumn("{task.description:<12}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    quiet = not console.is_terminal
    with Progress(*columns, console=console, speed_estimate_period=60, disable=quiet) as bars:
        task = bars.add_task(title, total=total, completed=done, note="")
        bar = Bar(bars, task, title, total=total, done=done, quiet=quiet)
        yield bar
        bar.finish()


class Bar:
    """A progress bar; where there is no terminal it says a line every tenth of the way."""

    def __init__(self, bars: Progress, task: Any, title: str, *, total: int, done: int, quiet: bool) -> None:
        self.bars, self.task, self.title, self.total, self.done, self.quiet = bars, task, title, total, done, quiet
        self.told = done * 10 // max(total, 1)

    def advance(self, by: int = 1, note: str = "") -> None:
        self.done += by
        self.bars.update(self.task, advance=by, **(_note(note) if note else {}))
        tenth = self.done * 10 // max(self.total, 1)
        if self.quiet and tenth > self.told:
            self.told = tenth
            left = self.bars.tasks[0].time_remaining
            left_text = f", about {left:.0f} s left" if left else ""
            say(f"{self.title}: {self.done}/{self.total}{left_text}  {note}".rstrip())

    def expect(self, total: int) -> None:
        """How much work there is has become known."""
        self.total = total
        self.bars.update(self.task, total=total)

    def back(self, done: int) -> None:
        """Some of the work has to be done again."""
        self.done, self.told = done, done * 10 // max(self.total, 1)
        self.bars.reset(self.task, completed=done)

    def finish(self) -> None:
        if self.total:
            self.bars.update(self.task, completed=self.done)


def _note(text: str) -> dict[str, Any]:
    return {"note": text}


class Spent:
    """Seconds spent on work that is stopped and goes on: kept in a file meanwhile, at most every few seconds."""

    def __init__(self, path: Path, every: float = 5.0) -> None:
        self.path, self.every = path, every
        self.before = float(read_json(path)) if path.exists() else 0.0
        self.began = self.kept = time.monotonic()

    @property
    def seconds(self) -> float:
        """With those of earlier sessions."""
        return self.before + time.monotonic() - self.began

    def keep(self, now: bool = False) -> None:
        """Of many processes one writes."""
        if lead() and (now or time.monotonic() - self.kept > self.every):
            write_json(self.path, round(self.seconds, 1))
            self.kept = time.monotonic()


class JsonLog:
    """Append-only `log.jsonl`, one valid JSON object a line, cut back to a step when a run resumes."""

    def __init__(self, path: Path, resume_step: int = 0) -> None:
        self.path = path
        if lead():
            keep_rows(path, [row for row in read_log(path) if row["step"] < resume_step])

    def write(self, step: int, values: Mapping[str, float]) -> None:
        add_rows(self.path, [{"step": step, **{k: _number(v) for k, v in values.items()}}])


def _number(value: float) -> float | None:
    return finite(float(f"{value:.6g}"))


def finite(value: float) -> float | None:
    """The number, or None, which JSON has, where it is not finite."""
    return value if math.isfinite(value) else None


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log, up to the first line that is none: a kill left it half-written, or it is damaged."""
    rows: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict):
                break
            rows.append(row)
    return rows


def keep_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a log anew: what is kept of it, without the line that a kill left half-written. Of many processes one does."""
    if lead():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, _lines(rows))


def add_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a log. Of many processes one does."""
    if lead():
        append(path, _lines(rows))


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
