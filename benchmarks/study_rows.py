"""The study's runs, one a line: each is an ordinary `ugc run`. Seeds are added to the names: `ugc-25-0`.

A row with a source takes over that run's supernet (`--from`), of the same seed. LENGTH stands for the steps that the
originals' own choice found for that many labels (study_length.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

RECIPE = "sans2serif-study"
LENGTH = "LENGTH"
LENGTHS = (5_000, 10_000, 20_000, 40_000)  # of the originals, each with its own decay to zero
SHARES = {"100": "1.0", "50": "0.5", "25": "0.25", "10": "0.10", "5": "0.05"}  # of the pool of 2,048
CHOSEN_ON = ("100", "25", "10")  # labels for which a length is chosen


@dataclass(frozen=True)
class Row:
    """One run.

    name: with its seed. group: the question that it answers. labels: per cent of the pool. options: of `ugc run`, without
    recipe, seed and folder. source: the name of the run whose supernet is taken over.
    """

    name: str
    group: str
    labels: str
    seed: int
    options: tuple[str, ...]
    source: str = ""


#   group      name                labels  source          options
TABLE = """
    core       original-100        100     -               --method original --set data.unlabelled=all --set steps.original=LENGTH
    core       original-25         25      -               --method original --set steps.original=LENGTH
    core       original-10         10      -               --method original --set steps.original=LENGTH
    core       ugc-25              25      -               --original none
    core       ugc-10              10      -               --original none
    gain       no-finetune-25      25      ugc-25          --set options.finetune_ssl=false
    gain       no-nas-ssl-25       25      -               --original none --set options.nas_ssl=false
    gain       no-ssl-25           25      no-nas-ssl-25   --set options.nas_ssl=false --set options.finetune_ssl=false
    gain       no-nas-25           25      -               --original none --set options.nas=false
    gain       all-25              25      -               --original none --set data.unlabelled=all
"""


def rows(seeds: tuple[int, ...] = (0, 1, 2)) -> Iterator[Row]:
    """Every run, by question, then by seed."""
    lines = [line.split(maxsplit=4) for line in TABLE.strip().splitlines()]
    for group in dict.fromkeys(line[0] for line in lines):
        for seed in seeds:
            for _, name, labels, source, options in (line for line in lines if line[0] == group):
                yield Row(f"{name}-{seed}", group, labels, seed, tuple(options.split()),
                          "" if source == "-" else f"{source}-{seed}")
