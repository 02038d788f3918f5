"""The one kind of error that a user sees: a sentence, no traceback, exit status 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend. Its message is one sentence: what, where, what was expected, what to do."""


class LostError(UserError):
    """Another process of the run has ended. Said by every process that is left; other errors by one of each machine."""


def near(word: str, words: Iterable[str]) -> str:
    """A hint such as `did you mean 'labels'? known: a, b` for a word that is not among `words`."""
    known = sorted(words)
    close = get_close_matches(word, known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return f"{hint}known: {', '.join(known)}"
