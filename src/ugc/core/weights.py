"""A public file of weights: found on this machine, checked by digest, downloaded only when asked for."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from ugc.core.download import fetch
from ugc.core.errors import UserError
from ugc.core.files import home, read_json, sha256, write_json
from ugc.core.pins import is_untouched, pin, pin_file, pinned

LARGE = 1 << 20  # bytes


@dataclass(frozen=True)
class PublicFile:
    """What is known of a file before it is there.

    Attributes:
        title: what it is, for progress bars and errors.
        address: where it comes from.
        name: what it is called in ugc's cache.
        size: bytes; None where nobody publishes them.
        sha256: hex digest; empty where nobody publishes it: then what `trust` noted counts.
        variable: the environment variable that names a copy elsewhere.
        others: names under which other tools keep the same bytes in torch hub's cache.
        packages: (package, path in it) of installed packages that bring the same bytes; they are not imported.
        by_hand: the address is a page on which a person picks the file; it is not downloaded.
    """

    title: str
    address: str
    name: str
    size: int | None
    sha256: str
    variable: str
    others: tuple[str, ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    by_hand: bool = False

    @property
    def where(self) -> str:
        """What a person has to get."""
        return f"{self.name} at {self.address}" if self.by_hand else self.address

    def cached(self) -> Path | None:
        """What the variable names, else the file in ugc's cache, in torch hub's or in a package; None if nowhere."""
        if explicit := os.environ.get(self.variable):
            return Path(explicit)
        hub = Path(torch.hub.get_dir()) / "checkpoints"
        places = (home() / self.name, hub / self.name, *(hub / other for other in self.others),
                  *(Path(root) / path for name, path in self.packages for root in folders(name)))
        return next((path for path in places if path.is_file() and self.size in (None, path.stat().st_size)), None)

    def get(self, download: bool = False) -> Path:
        """Where it lies, checked.

        Raises:
            UserError: it is absent and may not or cannot be downloaded, or is another file.
        """
        path = self.cached()
        if path is None and download and not self.by_hand:
            path = fetch(self.address, home() / self.name, self.size, self.sha256 or None, self.title)
        if path is None:
            raise UserError(f"no {self.title} on this machine: get {self.where} and put it at {home() / self.name}")
        self.check(path)
        return path

    def tensors(self, download: bool = False) -> dict[str, Tensor]:
        """The state dict in it, on the CPU; code in the file is not run."""
        path = self.get(download)
        try:
            weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, KeyError, UnpicklingError) as error:
            if self.sha256:
                raise
            raise UserError(f"{path} cannot be read as {self.title}: get {self.where} and put it there") from error
        return weights

    def check(self, path: Path) -> None:
        """Is it the public file? The digest of a large one is computed once and noted beside it with its size and time.

        Raises:
            UserError: it is missing, or is another file.
        """
        if not path.is_file():
            raise UserError(f"{self.variable} names {path}, which is no file: get {self.where} and put it there")
        if not self.sha256:
            self._check_pinned(path)
            return
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

    def _check_pinned(self, path: Path) -> None:
        first = pinned(path).get("sha256")
        if first and not is_untouched(path) and sha256(path) != first:
            raise UserError(f"{path} is not the file of {self.title} that was used before (sha256 {first}); if you trust "
                            f"it, remove {pin_file(path)}")

    def trust(self, path: Path) -> None:
        """Pin the digest of a file that proved right, where nobody publishes one: a later one must agree."""
        if not self.sha256 and not is_untouched(path):
            with contextlib.suppress(OSError):  # a read-only folder: nothing to agree with next time
                pin(path, self.address)

    def digest(self, path: Path) -> str:
        """sha256 of a checked file."""
        return self.sha256 or str(pinned(path).get("sha256") or sha256(path))


def folders(package: str) -> list[str]:
    """Where an installed package lies, without importing it; nothing where it is not installed."""
    found = find_spec(package)
    return list(found.submodule_search_locations or ()) if found else []
