"""The study of docs/results.md: does a small student with few labels reach the original? All its runs by one command.

    python benchmarks/study.py --out runs/study
    python benchmarks/study.py --out runs/study --group core gain --seed 0
    python benchmarks/study.py --out runs/study --list

Each run is an ordinary `ugc run sans2serif-study ..` in a process of its own; study_rows.py has the table. The same command
goes on where it stopped. A run whose results are kept is not begun again, unless others are to start from its supernet and
its folder is gone: then it is run again whole and its results are replaced, since another chip trains another supernet, in
which other nets are found; and so are those of the arms that began from the supernet, or took the nets, of before. First
comes each original's length (study_length.py). --jobs runs go side by side, each with --threads threads (docs/lab-book.md:
on two cores two runs of one thread do 1.2 to 1.4 times as much as one of two). What docs/results.md needs of a run goes to
--results (study_keep.py).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from study_keep import keep, kept
from study_length import Lengths
from study_rows import CHOSEN_ON, LENGTH_OF, NETS, NETS_OF, RECIPE, SHARES, STEPS, Row, rows

from ugc.core.files import read_json
from ugc.core.log import say

RESULTS = Path(__file__).parent / "results" / "study"


def nets_of(row: Row) -> str:
    """The run whose nets it names."""
    return f"{NETS_OF}-{row.seed}"


class Study:
    """Which runs there are, which have ended, and which may begin."""

    def __init__(self, out: Path, results: Path, groups: list[str], seeds: list[int]) -> None:
        self.out, self.results = out, results
        self.lengths = Lengths(results / "lengths.json", out)
        self.named = {row.name: row for row in rows(seeds)}
        self.rows = [row for row in self.named.values() if not groups or row.group in groups]

    def ready(self) -> Iterator[Row]:
        """The runs that can begin, in order: the lengths, for which originals wait, the shortest first; the table's rows."""
        tries = [row for labels in CHOSEN_ON if (row := self.lengths.next(labels))]
        tries = sorted(tries, key=lambda row: int(row.name.rpartition("-")[2]))
        wanted = any(row.needs(STEPS) and not kept(self.results, row.name) for row in self.rows)
        yield from tries if wanted else ()
        again = set[str]()
        for row in self.rows:
            if self.ended(row.name) or not self.known(row) or (any(map(row.needs, NETS)) and nets_of(row) in again):
                continue
            if row.source and kept(self.results, row.source) and not self.here(row.source):
                again.add(row.source)
                yield self.named[row.source]
            if not row.source or (self.out / row.source / "stages" / "supernet" / "done.json").exists():
                yield row

    def ended(self, name: str) -> bool:
        """Whether a run's results are kept, are of its source's supernet and nets, and it is not being run again."""
        whole = kept(self.results, name) and (self.here(name) or not (self.out / name).exists())
        return whole and not self.stale(self.named[name])

    def stale(self, row: Row) -> bool:
        """Whether the run that it began from, or whose nets it took, has been run again since."""
        mine = read_json(self.results / f"{row.name}.json")
        if row.source and kept(self.results, row.source):
            one, other = mine.get("supernet"), read_json(self.results / f"{row.source}.json").get("supernet")
            if one and other and one != other:
                return True
        roles = [role for word, role in NETS.items() if row.needs(word)]
        if not roles or not kept(self.results, nets_of(row)):
            return False
        nets = read_json(self.results / f"{nets_of(row)}.json")["archs"]
        return any(mine["archs"].get(role, nets[role]) != nets[role] for role in roles)

    def here(self, name: str) -> bool:
        """Whether the folder of a run that has ended is."""
        return (self.out / name / "metrics.json").exists()

    def known(self, row: Row) -> bool:
        """Whether its length and its nets are."""
        length = not row.needs(STEPS) or self.lengths.chosen(LENGTH_OF[row.labels]) is not None
        return length and (not any(map(row.needs, NETS)) or self.ended(nets_of(row)))

    def command(self, row: Row) -> list[str]:
        """What stands behind `ugc`."""
        what = ["--from", str(self.out / row.source)] if row.source else [RECIPE, "--seed", str(row.seed)]
        if not row.source and "--labels" not in row.options:
            what += ["--labels", SHARES[row.labels]]
        known = {}
        if row.needs(STEPS):
            known[STEPS] = str(self.lengths.chosen(LENGTH_OF[row.labels]))
        if any(map(row.needs, NETS)):
            archs = read_json(self.results / f"{nets_of(row)}.json")["archs"]
            known |= {word: archs[role] for word, role in NETS.items()}
        options = list(row.options)
        for word, value in known.items():
            options = [option.replace(word, value) for option in options]
        return ["run", *what, *options, "--out", str(self.out / row.name)]

    def finish(self, row: Row) -> None:
        """Keep what a run left."""
        if row.group == "length":
            self.lengths.add(row)
        else:
            keep(row, self.out / row.name, self.results)


def work(study: Study, jobs: int, threads: int) -> int:
    """Run all that is ready until nothing is; returns how many failed."""
    running: dict[subprocess.Popen[bytes], Row] = {}
    failed = set[str]()
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        while True:
            busy = {row.name for row in running.values()}
            for row in study.ready():
                if len(running) == jobs:
                    break
                if row.name in busy | failed:
                    continue
                command = study.command(row)
                say(f"ugc {' '.join(command)}")
                with (study.out / f"{row.name}.log").open("ab") as log:
                    process = subprocess.Popen([sys.executable, "-m", "ugc", *command], env=env, stdout=log,
                                               stderr=subprocess.STDOUT, start_new_session=True)
                running[process] = row
                busy.add(row.name)
            if not running:
                return len(failed)
            time.sleep(1)
            for process in [one for one in running if one.poll() is not None]:
                row = running.pop(process)
                if process.returncode:
                    failed.add(row.name)
                    say(f"{row.name}: ended with status {process.returncode}; see {study.out / row.name}.log")
                else:
                    study.finish(row)
                    say(f"{row.name}: ended")
    finally:  # each run has a session of its own, so that Ctrl-C reaches it once, from here: the second ends it unsaved
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder of the run folders")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--group", nargs="*", default=[], help="questions of study_rows.py; default: all")
    parser.add_argument("--seed", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print what is ready, ended and waiting, and stop")
    options = parser.parse_args()
    study = Study(options.out.resolve(), options.results.resolve(), options.group, options.seed)
    study.out.mkdir(parents=True, exist_ok=True)
    if options.list:
        ready = {row.name for row in study.ready()}
        for row in study.rows:
            state = "ended" if study.ended(row.name) else "ready" if row.name in ready else "waits"
            print(f"{row.group:8} {row.name:20} {state}")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(1 if work(study, options.jobs, options.threads) else 0)


if __name__ == "__main__":
    main()
