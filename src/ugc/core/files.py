"""Files that are whole or absent: written under a temporary name in the same folder, flushed, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import reprlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ugc.core.errors import UserError

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold a lock on a folder or file. The system lets go of it however the process ends, so a kill leaves nothing behind.

    Args:
        busy: called where another process holds it. It may raise; if it returns, the lock is waited for.
    """
    if sys.platform == "win32":  # no such locks: two processes are not noticed there
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` only when the block ends well. An OSError names `path`."""
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
        _flush_folder(path.parent)
    except BaseException as error:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if isinstance(error, OSError) and (
                error.filename in (None, name) or (name is None and Path(error.filename).parent == path.parent)):
            error.filename = str(path)  # and not the temporary one
        raise


def append(path: Path, text: str) -> None:
    """Add to the end of a file: all of `text`, or nothing and an OSError that names `path`."""
    with open(path, "ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        left = memoryview(text.encode())
        try:
            while left:
                left = left[file.write(left):]
        except OSError as error:
            with contextlib.suppress(OSError):
                file.truncate(size)
            error.filename = str(path)
            raise


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder, whole or not at all; what `target` was is gone."""
    part = target.with_name(f".{target.name}.copy")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)


def _flush_folder(folder: Path) -> None:
    """The new name, too, outlives a loss of power."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no such thing; the file is whole all the same
            os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a kill in the middle of `atomic` left below a folder that nobody else writes to."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    with atomic(path) as file:
        file.write(text.encode())


def write_json(path: Path, data: Any) -> None:
    """Valid JSON (a NaN is an error), two spaces, sorted as given."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"{path} is damaged: it holds no JSON ({why}); put the whole file back") from None


def place(text: str) -> Path:
    """The path that a person typed, `~` spelled out.

    Raises:
        UserError: nothing here can have that path.
    """
    try:
        text.encode()  # a name of other bytes could not be written into recipe.json
        path = Path(text).expanduser()
        path.resolve().exists()  # where this goes well, the system takes the name
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(f"{reprlib.repr(text)} can be no path here: {getattr(error, 'strerror', None) or error}") from None
    return path


def sha256(path: Path, block: int = 1 << 20) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(block):
            digest.update(chunk)
    return digest.hexdigest()


def digest(data: Any) -> str:
    """Twelve hex digits of plain data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:12]


def home() -> Path:
    """Where downloads and decoded data are cached: `UGC_HOME`, else `~/.cache/ugc`."""
    return Path(os.environ.get("UGC_HOME") or Path.home() / ".cache" / "ugc")


def sync() -> None:
    """All that was written reaches the disk before this returns, where the system can say so."""
    if hasattr(os, "sync"):
        os.sync()
