"""The study of docs/results.md: does a small student with few labels reach the original? All its runs by one command.

    python benchmarks/study.py --out runs/study
    python benchmarks/study.py --out runs/study --group core gain --seeds 0
    python benchmarks/study.py --out runs/study --list

Each run is an ordinary `ugc run sans2serif-study ..` in a process of its own (study_rows.py has the table). The same command
goes on where it stopped; a run that has ended is not begun again, nor one whose results are kept. First comes each
original's length (study_length.py). --jobs runs go side by side, each with --threads threads: two of one thread do a
fifth to two fifths more in the same time than one of two (docs/lab-book.md). What a run leaves for docs/results.md goes to
--results (study_keep.py).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from study_keep import keep, kept
from study_length import Lengths
from study_rows import CHOSEN_ON, LENGTH, RECIPE, Row, rows

from ugc.core.files import write_text
from ugc.core.log import say


class Study:
    """Which runs there are, which have ended, and which may begin."""

    def __init__(self, out: Path, results: Path, groups: list[str], seeds: tuple[int, ...]) -> None:
        self.out, self.results = out, results
        self.lengths = Lengths(results / "lengths.json", out)
        self.rows = [row for row in rows(seeds) if row.group in groups]

    def ended(self, row: Row) -> bool:
        """Whether all that docs/results.md wants of a run is there."""
        return kept(self.results, row.name)

    def waiting(self, running: set[str]) -> Row | None:
        """The next run that can begin: lengths first, then the table's order."""
        tries = [row for labels in CHOSEN_ON if (row := self.lengths.next(labels))] if self.wants_lengths() else []
        ready = [row for row in self.rows if not self.ended(row) and self.can_begin(row)]
        return next((row for row in (*tries, *ready) if row.name not in running), None)

    def wants_lengths(self) -> bool:
        return any(LENGTH in option for row in self.rows for option in row.options)

    def can_begin(self, row: Row) -> bool:
        """Whether its supernet is there, and its length known."""
        source = not row.source or (self.out / row.source / "stages" / "supernet" / "done.json").exists()
        return source and (not self.named(row, LENGTH) or self.lengths.chosen(row.labels) is not None)

    @staticmethod
    def named(row: Row, word: str) -> bool:
        return any(word in option for option in row.options)

    def command(self, row: Row) -> list[str]:
        """`ugc ..`, after the program's name."""
        length = str(self.lengths.chosen(row.labels)) if self.named(row, LENGTH) else ""
        what = ["--from", str(self.out / row.source)] if row.source else [RECIPE, "--seed", str(row.seed),
                                                                         *([] if self.named(row, "--labels") else
                                                                           ["--labels", SHARE[row.labels]])]
        return ["run", *what, *(option.replace(LENGTH, length) for option in row.options), "--out", str(self.out / row.name)]

    def finish(self, row: Row) -> None:
        """Keep what a run left."""
        if row.group == "length":
            self.lengths.add(row)
        else:
            keep(row, self.out / row.name, self.results)
