"""Digests that nobody publishes: noted at the first download in `NAME.pin.json` beside the file; later ones must agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ugc.core.errors import UserError
from ugc.core.files import read_json, write_json
from ugc.core.files import sha256 as digest_of


def pin_file(path: Path) -> Path:
    return path.with_name(path.name + ".pin.json")


def pinned(path: Path) -> dict[str, Any]:
    """The note of `pin` (address, size, sha256, mtime_ns), or nothing."""
    return read_note(pin_file(path))


def pin(path: Path, address: str) -> None:
    """Note size and sha256 of a file that is there; a digest that was noted before stays."""
    stat = path.stat()
    sha256 = pinned(path).get("sha256") or digest_of(path)
    write_json(pin_file(path), {"address": address, "size": stat.st_size, "sha256": sha256, "mtime_ns": stat.st_mtime_ns})


def is_untouched(path: Path) -> bool:
    """It has the size and the time that it had when it was pinned, so its digest need not be computed again."""
    stat, note = path.stat(), pinned(path)
    return bool(note) and (stat.st_size, stat.st_mtime_ns) == (note.get("size"), note.get("mtime_ns"))


def read_note(path: Path) -> dict[str, Any]:
    """A JSON object; nothing where it is missing or spoilt."""
    try:
        found = read_json(path)
    except (OSError, UserError):
        return {}
    return found if isinstance(found, dict) else {}
