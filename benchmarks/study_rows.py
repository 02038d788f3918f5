"""The study's runs, one a line: each is an ordinary `ugc run`. A seed is added to each name: `ugc-25-0`.

Words that are known only once other runs have ended: STEPS, the length of an original with so many labels (study_length.py);
STUDENT, DEEP, WIDE, the nets that the run NETS_OF of that seed found. A row with a source takes over that run's supernet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

RECIPE = "sans2serif-study"
STEPS, NETS, NETS_OF = "STEPS", {"STUDENT": "student", "DEEP": "deep", "WIDE": "wide"}, "ugc-25"
LENGTHS = (5_000, 10_000, 20_000, 40_000)  # of the originals, each with its own decay to zero
SHARES = {"100": "1.0", "50": "0.5", "25": "0.25", "10": "0.10", "5": "0.05"}  # of the pool of 2,048
LENGTH_OF = {"5": "10", "10": "10", "25": "25", "50": "100", "100": "100"}  # labels -> the labels whose length they take
CHOSEN_ON = ("10", "25", "100")  # labels for which a length is chosen, with a ResNet; the UNet takes the same


@dataclass(frozen=True)
class Row:
    """One run.

    name: with its seed. group: the question that it answers. labels: per cent of the pool. options: of `ugc run`, without
    recipe, labels, seed and folder. source: the name of the run whose supernet is taken over.
    """

    name: str
    group: str
    labels: str
    seed: int
    options: tuple[str, ...]
    source: str = ""

    def needs(self, word: str) -> bool:
        return any(word in option for option in self.options)


# options: `a=b` is `--set a=b`, `-x y` is `--x y`; SAME names all nets of stage 2, so that nothing is searched
SHORT = {"SAME": "search.student=STUDENT search.deep=DEEP search.wide=WIDE search.random=0",
         "LITE0": "distillation.backbone=lite0 distillation.l1=0",
         "BOTH": "optimiser.student=4 steps.distill=12000",
         "UNET": "-family pix2pix-unet -budget 15x",
         "EMOJI": "data.path=openmoji distillation.backbone=lite0 distillation.l1=50",
         # methods/uniform.py:even at 40x, which has twice the parameters of the net that a search finds
         "EVEN": "search.deep=DEEP search.wide=WIDE search.random=0 search.student=stem=4,down1=4,down2=4,mid1=4,mid2=4,"
                 "mid3=4,up1=4,up2=2,d.down1=0,d.down2=0,d.up1=0,d.up2=0"}
TABLE = """
#   group   name               labels  source         options
    core    original-100       100     -              -method original  data.unlabelled=all  steps.original=STEPS
    core    original-25        25      -              -method original  steps.original=STEPS
    core    original-10        10      -              -method original  steps.original=STEPS
    core    ugc-25             25      -              -original none
    core    ugc-10             10      -              -original none
    gain    no-finetune-25     25      ugc-25         options.finetune_ssl=false
    gain    finetune-A-25      25      ugc-25         options.finetune_ssl=A
    gain    no-nas-ssl-25      25      -              -original none  options.nas_ssl=false
    gain    no-ssl-25          25      no-nas-ssl-25  options.finetune_ssl=false
    gain    no-nas-25          25      -              -original none  options.nas=false
    gain    alone-25           25      -              -original none  -method alone  options.arch=STUDENT
    gain    all-25             25      -              -original none  data.unlabelled=all
    open    quality-25         25      ugc-25         SAME  options.filter=quality
    open    unfiltered-25      25      ugc-25         SAME  options.filter=off
    open    deep-25            25      ugc-25         SAME  options.teachers=deep
    open    wide-25            25      ugc-25         SAME  options.teachers=wide
    open    lite0-25           25      ugc-25         SAME  LITE0
    open    lite0-more-25      25      ugc-25         SAME  LITE0  distillation.style=2.5
    open    lite0-less-25      25      ugc-25         SAME  LITE0  distillation.style=0.025
    open    hed-25             25      ugc-25         SAME  distillation.backbone=hed_vgg  distillation.l1=0
    open    uniform-25         25      -              -original none  options.sample=uniform
    help    untried-25         25      ugc-25         search.trials=0
    help    even-25            25      ugc-25         EVEN
    help    longer-25          25      ugc-25         SAME  steps.distill=12000
    help    less-l1-25         25      ugc-25         SAME  distillation.l1=30
    help    more-l1-25         25      ugc-25         SAME  distillation.l1=300
    help    slow-25            25      -              -original none  optimiser.lr=2e-4
    help    fast-25            25      -              -original none  optimiser.lr=1e-3
    help    large-batch-25     25      -              -original none  batch=16
    help    supervised-25      25      ugc-25         SAME  options.supervised=1
    help    supervised-4-25    25      ugc-25         SAME  options.supervised=4
    help    lite0-l1-25        25      ugc-25         SAME  distillation.backbone=lite0
    help    average-25         25      ugc-25         SAME  options.average=0.999
    help    quick-25           25      ugc-25         SAME  optimiser.student=4
    help    both-25            25      ugc-25         BOTH
    help    both-25-12x        25      ugc-25         BOTH  -budget 12x
    help    fresh-25           25      ugc-25         SAME  options.student=fresh
    help    augment-25         25      -              -original none  objective.augment=true
    help    warm-25            25      -              -original none  optimiser.warmup=500
    help    supernet-25        25      -              -original none  steps.supernet=10000
    help    batch-norm-25      25      -              -original none  generator.norm=batch
    more    ugc-25-64x         25      ugc-25         -budget 64x
    more    ugc-10-64x         10      ugc-10         -budget 64x
    more    ugc-25-20x         25      ugc-25         -budget 20x
    more    ugc-25-12x         25      ugc-25         -budget 12x
    more    original-50        50      -              -method original  steps.original=STEPS
    more    original-5         5       -              -method original  steps.original=STEPS
    more    ugc-50             50      -              -original none
    more    ugc-5              5       -              -original none
    more    unet-original-100  100     -              UNET  -method original  data.unlabelled=all  steps.original=STEPS
    more    unet-original-25   25      -              UNET  -method original  steps.original=STEPS
    more    unet-25            25      -              UNET  -original none
    more    unet-25-22x        25      unet-25        -budget 22x
    show    emoji-100          100     -              EMOJI  -method original  data.unlabelled=all  steps.original=20000
    show    emoji-25           25      -              EMOJI  -method original  steps.original=20000
    show    emoji-ugc-25       25      -              EMOJI  -original none
"""


def rows(seeds: Iterable[int]) -> Iterator[Row]:
    """Every run, by question, then by seed."""
    lines = [line.split(maxsplit=4) for line in TABLE.strip().splitlines()[1:]]
    for group in dict.fromkeys(line[0] for line in lines):
        for seed in seeds:
            for _, name, labels, source, options in (line for line in lines if line[0] == group):
                yield Row(f"{name}-{seed}", group, labels, seed, tuple(_spelled(options.split())),
                          "" if source == "-" else f"{source}-{seed}")


def _spelled(words: list[str]) -> Iterator[str]:
    for word in words:
        if word in SHORT:
            yield from _spelled(SHORT[word].split())
        else:
            yield from ("--set", word) if "=" in word else (f"-{word}" if word.startswith("-") else word,)
