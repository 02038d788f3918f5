"""A .tar.gz from a stranger: unpacked below one folder, plain files only, within bounds, its checksum read to the end."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from ugc.core.errors import UserError
from ugc.core.log import progress

BLOCK = 1 << 20
HEADER = 4 << 20  # bytes of one header; more is an attack on the memory
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


class DamagedError(UserError):
    """The archive is cut off or spoilt; another copy may be whole."""


def unpack(archive: Path, folder: Path, title: str, most: int) -> int:
    """Write the files of `archive` below `folder`; returns how many there are.

    Hidden files are left out. Owners, modes and times of the archive are not taken over.

    Args:
        most: bytes that all files may have together.

    Raises:
        DamagedError: no gzip archive, cut off, or a wrong checksum.
        UserError: a path that leads out of the folder, a link, a device, a name that is there twice, more than `most`
            bytes; or the disk.
    """
    count = total = 0
    try:
        with open(archive, "rb") as raw, _Reader(fileobj=raw) as stream, \
                progress(f"unpacking {title}", -(-archive.stat().st_size // BLOCK)) as bar:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    inside = _checked(member, archive)
                    total += max(member.size, 0)
                    if total > most or member.size < 0:
                        raise UserError(f"{archive} would unpack to more than {most / 1e6:,.0f} MB ({inside} and what is "
                                        "before it), which such an archive should not: nothing was unpacked")
                    if any(part.startswith(".") for part in inside.parts):
                        continue
                    if member.isdir():
                        (folder / inside).mkdir(parents=True, exist_ok=True)
                        continue
                    _write(tar, member, folder / inside, archive)
                    count += 1
                    bar.advance(raw.tell() // BLOCK - bar.done)
            while rest := stream.read(BLOCK):  # up to the checksum
                if rest.strip(b"\0"):
                    raise DamagedError(f"{archive} is damaged (it goes on behind its end)")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise DamagedError(f"{archive} is damaged ({problem})") from None
    except OSError as problem:
        raise UserError(f"cannot unpack {archive} to {folder.parent}: {problem.strerror or problem}; nothing was left; "
                        "try again when that is mended") from None
    return count


class _Reader(gzip.GzipFile):
    """A gzip stream that gives at most HEADER bytes at once: tarfile reads a header whole, however long it claims to be."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _checked(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    """The path of a plain file or folder, below the archive's root.

    Raises:
        UserError: it is something else, or leads elsewhere.
    """
    path = PurePosixPath(member.name)
    why = ""
    if member.issym() or member.islnk():
        why = "a link"
    elif not member.isdir() and (member.type not in PLAIN or member.issparse()):
        why = "a device or another special file"
    elif path.is_absolute() or ".." in path.parts or any(letter in member.name for letter in "\\:\0"):
        why = "a path that leads out of its folder"
    elif not path.parts and not member.isdir():
        why = "a file without a name"
    if why:
        raise UserError(f"{archive} holds {member.name!r}, {why}: such archives are refused, nothing was unpacked")
    return path


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None  # a plain file
    try:
        with open(path, "xb") as file:
            shutil.copyfileobj(source, file, BLOCK)
    except FileExistsError:
        raise UserError(f"{archive} holds {member.name!r} twice: such archives are refused, nothing was unpacked") from None
    if path.stat().st_size != member.size:
        raise DamagedError(f"{archive} is damaged ({member.name} is cut off)")
