"""Checkpoints of a stage that is running: the newest and the one before it, each known by its digest.

    state-00000120.pt     what the phase said of itself after 120 steps
    state-00000120.json   {"sha256": ..}: written when the first is whole

A kill at any moment leaves a checkpoint that can be used, and one that has been damaged since is noticed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ugc.core.errors import UserError
from ugc.core.files import atomic, read_json, sha256, write_json
from ugc.core.log import say


class Checkpoints:
    """The checkpoints in a stage's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Write what `latest` gives back. The one before it stays; what is of this step or a later one goes.

        Raises:
            UserError: the disk is full, or cannot be written; older checkpoints are still there.
        """
        path = self._path(step)
        before = max((s for s in self._steps() if s < step), default=step)
        try:
            with atomic(path) as file:
                torch.save(content, file)
            write_json(path.with_suffix(".json"), {"sha256": sha256(path)})
        except (OSError, RuntimeError) as error:  # torch.save wraps what the file says in a RuntimeError
            raise UserError(f"{path}: the checkpoint cannot be written ({error}); what was saved before is still there: "
                            f"make room and run the same command again") from None
        self._drop({step, before})

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is sound, on the CPU; None where there is none."""
        steps = self._steps()
        for step in steps:
            path = self._path(step)
            if self._sound(path):
                content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return content
            path.with_suffix(".json").unlink(missing_ok=True)  # it is no "one before" to keep
            last = step == steps[-1]
            say(f"{path}: damaged; {'the stage starts again' if last else 'the checkpoint before it is used'}")
        return None

    @property
    def step(self) -> int:
        """How many steps the newest one knows of, sound or not; 0 where there is none."""
        return next(iter(self._steps()), 0)

    def clear(self) -> None:
        """Remove all: the stage is done."""
        self._drop(set())

    def _path(self, step: int) -> Path:
        return self.folder / f"state-{step:08d}.pt"

    def _steps(self) -> list[int]:
        """Of all checkpoints that were whole once, the newest first."""
        names = {path.stem.removeprefix("state-") for path in self.folder.glob("state-*.json")}
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    @staticmethod
    def _sound(path: Path) -> bool:
        try:
            return bool(sha256(path) == read_json(path.with_suffix(".json"))["sha256"])
        except (OSError, UserError, KeyError, TypeError):
            return False

    def _drop(self, but: set[int]) -> None:
        keep = {self._path(step).stem for step in but}
        for path in self.folder.glob("state-*"):
            if path.stem not in keep:
                path.unlink(missing_ok=True)
