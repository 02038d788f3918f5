"""What a run folder says, read without trust: a file that is missing is empty, a stage that did not end is not done."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from ugc.core.encoding import PICTURES, Encoding, encoding_of
from ugc.core.errors import UserError
from ugc.core.log import read_log
from ugc.engine.page import flat

Row = dict[str, Any]
STAGES = ("original", "supernet", "search", "distill", "alone", "test")
NETS = ("original", "student", "deep_teacher", "wide_teacher", "largest")
NONE = "unknown"  # what a session did not say of itself, such as the commit of an installation
SAMPLES = ("source", "target", "original", "student")


class Record:
    """The files of one run, on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = self._json("recipe.json")
        self.env = self._json("env.json")
        self.run = self._json("run.json")
        self.metrics = self._json("metrics.json")
        self.choice = self._json("stages/search/choice.json")
        self.pareto = self._json("stages/search/pareto.json")
        self.nets = {name: self._json(f"{name}/config.json") for name in NETS}

    def _json(self, name: str) -> Row:
        try:
            data = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    @cached_property
    def source(self) -> Encoding:
        """How the sources are encoded, as the nets say; pictures where none says so."""
        said = next((net["source"] for net in self.nets.values() if isinstance(net.get("source"), dict)), None)
        try:
            return encoding_of(said, PICTURES.channels)
        except UserError:
            return PICTURES

    @cached_property
    def stages(self) -> list[str]:
        """The stages that the run was to have, in order."""
        named = [str(stage) for stage in self.run.get("stages") or []]
        found = [s for s in STAGES if (self.folder / "stages" / s).is_dir()]
        return named or found

    def done(self, stage: str) -> Row | None:
        """`done.json` of a stage ({} where the stage left its result but no such file); None where it did not end."""
        about = self._json(f"stages/{stage}/done.json")
        result = {"search": self.choice, "test": self.metrics}.get(stage)
        return about if about or result else None

    @property
    def open_stages(self) -> list[str]:
        return [stage for stage in self.stages if self.done(stage) is None]

    def steps(self, stage: str) -> Row:
        """Where a training stage stands: the last step of its log, and the steps it was to take."""
        rows = self.log(stage)
        return {"at": rows[-1]["step"] + 1 if rows else 0, "of": self._asked.get(stage)}

    @property
    def taken(self) -> dict[str, int]:
        """The steps of each training stage, as they were taken; of one that has not ended, as it is to take."""
        found = {stage: (self.done(stage) or {}).get("steps", self._asked.get(stage)) for stage in self.stages}
        return {stage: steps for stage, steps in found.items() if isinstance(steps, int)}

    @property
    def _asked(self) -> Row:
        """The steps of each training stage: what the method makes of those of the recipe."""
        known = (self.run.get("steps"), self.recipe.get("steps"))
        return next((steps for steps in known if steps and isinstance(steps, dict)), {})

    @cached_property
    def sessions(self) -> list[Row]:
        """Where each part of the run ran: `env.json` of all sessions, in order."""
        sessions = self.env.get("sessions")
        named = [one for one in sessions if isinstance(one, dict)] if isinstance(sessions, list) else []
        return named or [self.env]

    @cached_property
    def ran(self) -> dict[str, str]:
        """On what: each field of `env.json` as text (`versions.torch`); where sessions differ, `this, then that`."""
        found: dict[str, dict[str, None]] = {}
        for session in self.sessions:
            for key, value in flat({name: NONE if value is None else value for name, value in session.items()}):
                found.setdefault(key, {})[value] = None
        began = {"started": next(iter(found["started"]))} if "started" in found else {}
        return {key: ", then ".join(values) for key, values in found.items()} | began

    def log(self, stage: str) -> list[Row]:
        rows = _rows(self.folder / "stages" / stage / "log.jsonl")
        return [row for row in rows if isinstance(row.get("step"), int)]

    @cached_property
    def candidates(self) -> list[Row]:
        return _rows(self.folder / "stages" / "search" / "candidates.jsonl")

    def grids(self, stage: str) -> list[tuple[int, Path]]:
        """(step, sample grid), early to late."""
        found = []
        for path in sorted((self.folder / "stages" / stage).glob("grid-*.png")):
            number = re.fullmatch(r"grid-(\d+)", path.stem)
            if number:
                found.append((int(number.group(1)), path))
        return sorted(found)

    @cached_property
    def samples(self) -> list[dict[str, Path]]:
        """The random test images: column name -> file."""
        images: dict[str, dict[str, Path]] = {}
        for path in sorted((self.folder / "stages" / "test" / "samples").glob("*-*.png")):
            number, _, column = path.stem.partition("-")
            images.setdefault(number, {})[column] = path
        return list(images.values())

    def keys(self, name: str) -> list[str]:
        """`labels.txt` and its like: one key a line."""
        try:
            lines = (self.folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        return [line for line in lines if line.strip()]

    def row(self, name: str) -> Row:
        """Metrics and cost of a net, the cost from its own folder where it was not measured; only finite numbers."""
        about = {key: self.nets.get(name, {}).get(key) for key in ("params", "macs", "macs_paper")}
        row = {**about, **((self.metrics.get("rows") or {}).get(name) or {})}
        return {key: value for key, value in row.items() if _finite(value)}

    def pair(self, table: str, name: str, key: str) -> tuple[float, float] | None:
        """Two finite numbers of a net and a metric, such as an interval's ends; None where there are none."""
        found = self._cell(table, name, key)
        ends = found if isinstance(found, list) else []
        return (ends[0], ends[1]) if len(ends) == 2 and all(map(_finite, ends)) else None

    def half(self, name: str, key: str) -> float | None:
        """A distance at the floor's count."""
        found = self._cell("half", name, key)
        return found if _finite(found) else None

    def _cell(self, table: str, name: str, key: str) -> Any:
        rows = self.metrics.get(table)
        row = rows.get(name) if isinstance(rows, dict) else None
        return row.get(key) if isinstance(row, dict) else None


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _rows(path: Path) -> list[Row]:
    return [row for row in read_log(path) if isinstance(row, dict)]
