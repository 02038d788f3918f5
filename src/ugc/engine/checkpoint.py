"""Checkpoints of a stage that is running: the newest and the one before it, each known by its digest.

    state.json           {"checkpoints": [{"file": .., "step": .., "sha256": ..}, ..]}, newest first
    state-00000120.pt    what the phase said of itself after 120 steps

A file is written whole before `state.json` names it, so a kill at any moment leaves a checkpoint that can be used; one
that has been damaged since is noticed by its digest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ugc.core.errors import UserError
from ugc.core.files import atomic, read_json, sha256, write_json
from ugc.core.log import say

KEPT = 2


class Checkpoints:
    """The checkpoints in a stage's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.index = folder, folder / "state.json"

    def save(self, step: int, content: dict[str, Any]) -> None:
        """Write what `latest` gives back.

        Raises:
            UserError: the disk is full, or cannot be written; older checkpoints are still there.
        """
        path = self.folder / f"state-{step:08d}.pt"
        try:
            with atomic(path) as file:
                torch.save(content, file)
            older = [entry for entry in self._listed() if entry["file"] != path.name]
            kept = [{"file": path.name, "step": step, "sha256": sha256(path)}, *older][:KEPT]
            write_json(self.index, {"checkpoints": kept})
        except (OSError, RuntimeError) as error:  # torch.save hides what the file says in a RuntimeError
            why = getattr(error, "strerror", None) or "is the disk full?"
            raise UserError(f"{path}: the checkpoint cannot be written ({why}); what was saved before is still there: make "
                            f"room and run the same command again") from None
        self._drop({str(entry["file"]) for entry in kept})

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is sound, on the CPU; None where there is none."""
        for entry in self._listed():
            path = self.folder / entry["file"]
            if path.exists() and sha256(path) == entry["sha256"]:
                content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
                return content
            say(f"{path}: {'damaged' if path.exists() else 'missing'}; the checkpoint before it is used")
        return None

    def clear(self) -> None:
        """Remove all: the stage is done."""
        self.index.unlink(missing_ok=True)
        self._drop(set())

    def _listed(self) -> list[dict[str, Any]]:
        if not self.index.exists():
            return []
        try:
            return [{"file": str(entry["file"]), "step": int(entry["step"]), "sha256": str(entry["sha256"])}
                    for entry in read_json(self.index)["checkpoints"]]
        except (UserError, ValueError, KeyError, TypeError):
            say(f"{self.index}: damaged; the stage starts again")
            return []

    def _drop(self, but: set[str]) -> None:
        for path in self.folder.glob("state-*.pt"):
            if path.name not in but:
                path.unlink(missing_ok=True)
