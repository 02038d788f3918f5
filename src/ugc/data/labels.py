"""Which targets training may use: nested fractions or a list of names, and the sources held out for validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.core.files import place, write_text
from ugc.data.dataset import DataConfig, Dataset

LEARNT = ("labels.txt", "unlabelled.txt", "validation.txt")  # of `write_split`: what training or the search has seen


@dataclass(frozen=True)
class Split:
    """Keys of training records, by what may be done with them; no key is in two of them."""

    labelled: tuple[str, ...]  # A: source and target
    unlabelled: tuple[str, ...]  # U: the source only
    validation: tuple[str, ...]  # V: the source only, and never to train on
    hidden: int  # how many targets exist that the split hides


def split(dataset: Dataset, config: DataConfig, seed: int, validation: int = 256, targets: bool = True) -> Split:
    """Choose A, U and V.

    A fraction of the pairs is the beginning of one seeded order, so 10 % lies inside 25 % inside 50 %. V is at most
    `validation` and at most 10 % of U, or of A where U is empty.

    Args:
        targets: False for a method that reads none: A is empty, and every training source is in U or V.

    Raises:
        UserError: a name in the .meta file is unknown, or fewer than two pictures are left to train on.
    """
    pairs = [record.key for record in dataset.train if record.target is not None]
    alone = [record.key for record in dataset.train if record.target is None]
    if not targets:
        return _sources(dataset, seed, validation, len(pairs))
    order = _shuffled(pairs, seed, "labels")
    if isinstance(config.labels, str):
        named = _named(dataset, config.labels)
        order = [key for key in order if key in named] + [key for key in order if key not in named]
        count = len(named)
    else:
        count = max(1, math.floor(config.labels * len(pairs) + 0.5))
    labelled, hidden = order[:count], order[count:]
    unlabelled = hidden + (alone if (config.unlabelled or dataset.unlabelled_default) == "all" else [])
    pool = _shuffled(unlabelled, seed, "validation") if unlabelled else labelled
    if len(pool) == 1 and not unlabelled:
        raise UserError(f"{dataset.name}: one labelled pair is left to train on and no other source; add some")
    held = _held(pool, validation)

    def rest(keys: Sequence[str]) -> tuple[str, ...]:
        wanted = set(keys) - held
        return tuple(record.key for record in dataset.train if record.key in wanted)

    return Split(rest(labelled), rest(unlabelled), tuple(r.key for r in dataset.train if r.key in held), len(hidden))


def _sources(dataset: Dataset, seed: int, validation: int, hidden: int) -> Split:
    """The split of a method that reads no target."""
    keys = [record.key for record in dataset.train]
    if len(keys) < 2:
        raise UserError(f"{dataset.name}: one source is left to train on; add some")
    held = _held(_shuffled(keys, seed, "validation"), validation)
    return Split((), tuple(key for key in keys if key not in held), tuple(key for key in keys if key in held), hidden)


def _held(pool: Sequence[str], validation: int) -> set[str]:
    """V: the end of a shuffled pool."""
    return set(pool[-max(1, min(validation, len(pool) // 10)):])


def lists(split: Split, dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """file -> keys: who is what."""
    return {"labels.txt": split.labelled, "unlabelled.txt": split.unlabelled, "validation.txt": split.validation,
            "test.txt": tuple(record.key for record in dataset.test)}


def write_split(folder: Path, split: Split, dataset: Dataset) -> None:
    """`labels.txt`, `unlabelled.txt`, `validation.txt` and `test.txt`: one key a line."""
    for name, keys in lists(split, dataset).items():
        write_text(folder / name, "".join(f"{key}\n" for key in keys))


def changed(folder: Path, split: Split, dataset: Dataset) -> str:
    """The first file of `write_split` in a folder that lists other keys; "" where none does."""
    return next((name for name, keys in lists(split, dataset).items() if differs(folder / name, keys)), "")


def listed(path: Path) -> list[str]:
    """The keys in a file of `write_split`; none where it is not there."""
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []


def differs(path: Path, keys: Sequence[str]) -> bool:
    """Whether a file of `write_split` is there and lists other keys."""
    return path.exists() and path.read_text(encoding="utf-8").split("\n") != [*keys, ""]


def read_names(path: str | Path) -> list[str]:
    """The names in a .meta file: one a line; empty lines and lines that begin with # are left out."""
    try:
        lines = place(str(path)).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"labels={path}: expected a fraction such as 0.25, or a text file of file names") from None
    names = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    if not names:
        raise UserError(f"labels={path}: the file names no picture")
    return names


def key_of(name: str, keys: set[str]) -> str | None:
    """The key that a file name or stem means, or None."""
    path = PurePosixPath(name)
    return next((key for key in (name, path.with_suffix("").as_posix() if path.name else name) if key in keys), None)


def _named(dataset: Dataset, path: str) -> set[str]:
    """The keys of pairs that a .meta file names."""
    pairs = {record.key for record in dataset.train if record.target is not None}
    names = read_names(path)
    found = {name: key_of(name, pairs) for name in names}
    wrong = [name for name in names if found[name] is None]
    if wrong:
        others = {"a source without a target": {r.key for r in dataset.train if r.target is None},
                  "in the test set": {r.key for r in dataset.test}}
        why = next((what for what, keys in others.items() if key_of(wrong[0], keys)), "unknown")
        like = min(pairs) if pairs else "none"
        raise UserError(f"labels={path}: {len(wrong)} of {len(names)} names are no training pair of {dataset.name}; "
                        f"{wrong[0]!r} is {why} (a training pair is, for example, {like!r})")
    return {key for key in found.values() if key is not None}


def _shuffled(keys: Sequence[str], seed: int, purpose: str) -> list[str]:
    return [keys[at] for at in Clock(seed).rng(purpose).permutation(len(keys))]
