"""A public file of weights: found on this machine, checked by digest, downloaded only when asked for."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from ugc.core.download import fetch
from ugc.core.errors import UserError
from ugc.core.files import home, read_json, sha256, write_json

LARGE = 1 << 20  # bytes


@dataclass(frozen=True)
class PublicFile:
    """What is known of a file before it is there.

    Attributes:
        title: what it is, for progress bars and errors.
        address: where it comes from.
        name: what it is called in ugc's cache.
        size: bytes.
        sha256: hex digest.
        variable: the environment variable that names a copy elsewhere.
        others: names under which other tools keep the same bytes in torch hub's cache.
        packages: (package, path in it) of installed packages that bring the same bytes; they are not imported.
    """

    title: str
    address: str
    name: str
    size: int
    sha256: str
    variable: str
    others: tuple[str, ...] = ()
    packages: tuple[tuple[str, str], ...] = ()

    def cached(self) -> Path | None:
        """What the variable names, else the file in ugc's cache, in torch hub's or in a package; None if nowhere."""
        if explicit := os.environ.get(self.variable):
            return Path(explicit)
        hub = Path(torch.hub.get_dir()) / "checkpoints"
        places = (home() / self.name, hub / self.name, *(hub / other for other in self.others),
                  *(Path(root) / path for name, path in self.packages for root in _folders(name)))
        return next((path for path in places if path.is_file() and path.stat().st_size == self.size), None)

    def get(self, download: bool = False) -> Path:
        """Where it lies, checked.

        Raises:
            UserError: it is absent and may not or cannot be downloaded, or is another file.
        """
        path = self.cached()
        if path is None and download:
            path = fetch(self.address, home() / self.name, self.size, self.sha256, self.title)
        if path is None:
            raise UserError(f"no {self.title} on this machine: get {self.address} and put it at {home() / self.name}")
        self.check(path)
        return path

    def tensors(self, download: bool = False) -> dict[str, Tensor]:
        """The state dict in it, on the CPU; code in the file is not run."""
        weights: dict[str, Tensor] = torch.load(self.get(download), map_location="cpu", weights_only=True)
        return weights

    def check(self, path: Path) -> None:
        """Is it the public file? The digest of a large one is computed once and noted beside it with its size and time.

        Raises:
            UserError: it is missing, or is another file.
        """
        if not path.is_file():
            raise UserError(f"{self.variable} names {path}, which is no file: get {self.address} and put it there")
        stat = path.stat()
        stamp = {"sha256": self.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        note = path.with_name(path.name + ".checked") if stat.st_size >= LARGE else None
        with contextlib.suppress(OSError, UserError):
            if note and read_json(note) == stamp:
                return
        if stat.st_size != self.size or sha256(path) != self.sha256:
            raise UserError(f"{path} is not the public file of {self.title} (sha256 {self.sha256}): remove it and get "
                            f"{self.address}")
        with contextlib.suppress(OSError):  # a read-only cache: it is checked again next time
            if note:
                write_json(note, stamp)


def _folders(package: str) -> list[str]:
    """Where an installed package lies."""
    found = find_spec(package)
    return list(found.submodule_search_locations or ()) if found else []
