"""The one kind of error that a user sees: a sentence, no traceback, exit status 2."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend. Its message is one sentence, on one line: what, where, what was expected, what to do."""

    def __init__(self, sentence: object) -> None:
        super().__init__(" ".join(str(sentence).splitlines()))  # names of files and values may hold anything


class LostError(UserError):
    """Another process of the run has ended. Said by every process that is left, at once (`core/processes.py`); other errors
    by one of each machine, when the command ends."""


def near(word: str, words: Iterable[str]) -> str:
    """A hint such as `did you mean 'labels'? known: a, b` for a word that is not among `words`."""
    known = sorted(words)
    close = get_close_matches(word, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return f"{hint}known: {', '.join(known)}"


FULL = (errno.ENOSPC, errno.EDQUOT)
NOWHERE = (errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def of_system(error: OSError) -> str | None:
    """What the operating system refused, where, and what to do, in one sentence; None for an error that is not its own."""
    if isinstance(error, shutil.Error):  # of a copied tree: a list of (from, to, why)
        _, where, why = error.args[0][0]
        return f"{where}: cannot be copied ({why}); make room or choose another place, and run the same command again"
    if error.errno is None:
        return None
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    if error.errno in FULL:
        return f"{what}; make room and run the same command again"
    if error.errno == errno.EFBIG:
        return f"{what}; raise the limit (ulimit -f) and run the same command again"
    if error.errno in FORBIDDEN:
        return f"{what}; change its permissions, or choose another place"
    if error.errno in NOWHERE:
        return f"{what}; a part of that path is a file, or is not there: choose another place"
    return what


def out_of_memory(error: BaseException) -> bool:
    """Whether Python, numpy or torch found no memory."""
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words))
