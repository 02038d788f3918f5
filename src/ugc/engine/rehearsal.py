"""About how long a run will take on this machine: every stage that is not done, tried with noise for some seconds.

Nothing is written to the run folder, no picture is read, and nothing is downloaded. What decoding the pictures takes when
data are used for the first time is not in it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ugc.core import processes
from ugc.core.clock import Clock
from ugc.core.device import available_memory, prepare_cpu
from ugc.core.errors import UserError, out_of_memory
from ugc.core.log import read_log
from ugc.data.stream import Stream
from ugc.engine.checkpoint import Checkpoints
from ugc.engine.examination import examination
from ugc.engine.invented import fresh_phase, invented_data, some_of
from ugc.engine.loop import SAVE_SECONDS, shown
from ugc.engine.pace import Stopwatch, pace_of
from ugc.engine.pictures import sample_grid
from ugc.engine.pipeline import Run
from ugc.engine.plan import reckoned
from ugc.engine.record import NETS
from ugc.export.saved import load_net
from ugc.methods.selection import CHUNK, SupernetScore, computed
from ugc.methods.trial import Remembering
from ugc.models.generator import Generator, shrink
from ugc.nn.arch import Arch
from ugc.nn.backbones import stand_ins
from ugc.search.region import spread

LONG = 1.0  # seconds of a step, beside which sample grids do not count
GIB = 2**30
TRIED = 8  # steps of a trial that are timed


def rehearse(run: Run, until: str | None = None) -> Iterator[str]:
    """Lines for `ugc run --dry-run`: the time of each stage up to and with `until`, and of all. Each as it is known."""
    found: dict[str, float | None] = {}
    for name, seconds, said in times(run, until):
        found[name] = seconds
        yield f"time     {name}: {said}"
    unknown = [name for name, seconds in found.items() if seconds is None]
    without = f", without {' and '.join(unknown)}" if unknown else ""
    seconds = sum(filter(None, found.values()))
    yield f"time     in all: {f'about {spoken(seconds)}' if seconds else 'nothing is left'}{without}"


def times(run: Run, until: str | None = None) -> Iterator[tuple[str, float | None, str]]:
    """(stage, seconds that are left of it or None, words) of each stage up to and with `until`."""
    prepare_cpu()
    names, show = run.wanted(until), Rehearsal(run)
    with processes.group(run.setting.device.device):
        for name in names:
            if name != "test":
                yield name, *show.stage(name)
    if "test" in names and processes.lead():  # as in a run
        yield "test", *show.stage("test")


class Rehearsal:
    """Tries the stages of a run, one after the other; remembers which nets they leave."""

    def __init__(self, run: Run) -> None:
        self.run, self.setting = run, run.setting
        self.device = run.setting.device.device
        self.watch, self.lost = Stopwatch(self.device), False
        self.nets: dict[str, Callable[[], Generator]] = {}
        saved = {role: run.behind / role for role in NETS if (run.behind / role / "config.json").exists()}
        self.note({role: load_net(folder)[0] for role, folder in saved.items()})
        if run.given:
            self.note({"original": run.given.net})

    def note(self, nets: Mapping[str, Generator]) -> None:
        """Remember how nets are made that the test will need."""
        for role, net in nets.items():
            if role in NETS:
                self.nets[role] = partial(type(net), net.baked().config)

    @cached_property
    def stream(self) -> Stream:
        """Noise in the place of the run's pictures, as many as there are."""
        run, split = self.run, self.run.split
        counts = (len(split.labelled), len(split.unlabelled), len(split.validation))
        data = invented_data(run.dataset.encoding, run.dataset.target_channels, run.dataset.load_size(self.setting.size),
                             self.setting.size, counts)
        return Stream(data, run.recipe.batch, self.device)

    def stage(self, name: str) -> tuple[float | None, str]:
        """Seconds that a stage will take, None where that cannot be told, and the words for it."""
        if self.run.done(name):
            return 0.0, "done"
        try:
            tried = {"search": self.search, "test": self.test}.get(name, partial(self.training, name))
            with stand_ins():
                seconds, said = tried()
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or processes.size() > 1:  # the others would wait for this one
                raise
            seconds, said = None, "not timed: the memory of this machine is too small for it"
        self.lost = self.lost or seconds is None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return seconds, said if seconds is None else f"about {spoken(seconds)} ({said})"

    # ---- stages ----

    def training(self, name: str) -> tuple[float | None, str]:
        """Its steps that are left, its sample grids and its checkpoints."""
        run = self.run
        needed = reckoned(run, name) * (1 if self.device.type == "cuda" else processes.size())
        free = available_memory(self.device)
        if any(processes.gather(float(needed > free))):
            return None, f"not timed: it needs about {needed / GIB:.2f} GiB of memory, and {free / GIB:.2f} are free"
        phase = fresh_phase(run.method, name, run.expected, self.given())
        self.note(phase.nets())
        steps, at = run.steps(name), Checkpoints(run.stage(name)).step
        pace, grid, save = pace_of(phase, self.stream, self.watch, run.recipe.seed), 0.0, 0.0
        with TemporaryDirectory() as folder, suppress(UserError):
            if pace.mean < LONG:
                grid = self.watch(lambda: sample_grid(phase, Path(folder) / "grid.png", self.stream))
            save = self.watch(lambda: Checkpoints(Path(folder)).save(0, {"phase": phase.state()}))
        seconds = pace.of(at, steps) + grid * sum(step > at for step in shown(steps, run.recipe.grids))
        seconds += save * (2 + seconds // SAVE_SECONDS)
        left = f", {steps - at:,} of {steps:,} are left" if at else ""
        return seconds, f"{pace.mean:.2g} s a step{left}"

    def search(self) -> tuple[float | None, str]:
        """Nets of several costs are scored on some of V; what a net costs says how long the others take."""
        run, config, s = self.run, self.run.recipe.search, self.setting
        space, cost, chosen = run.cost.space, run.cost, run.expected.archs
        counts = computed(config, len(space.ladder()), run.method.teachers)
        v = min(config.validation, len(run.split.validation))
        some = some_of(v, CHUNK, s.size)
        train = min(config.recalibrate, len(run.split.labelled) + len(run.split.unlabelled))
        supernet, scores, l_od = s.generator(s.config, "supernet"), list[SupernetScore](), s.l_od()
        sources, calibration = self.stream.validation()[:some], self.stream.calibration(max(1, train * some // v))
        reference = self.given() if run.method.imitates else None
        begins = v / some * self.watch(lambda: scores.append(
            SupernetScore(supernet, sources, calibration, l_od, config.score, s.device, reference)))

        def macs(arch: Arch) -> float:
            return float(cost(arch).macs_paper)

        def scored(arch: Arch) -> float:
            """Its copy is made once, whatever the size of V."""
            copied = self.watch(lambda: shrink(supernet, arch))
            return copied + v / some * max(self.watch(lambda: scores[0](arch)) - copied, 0.0)

        tried = sorted({*chosen.values(), space.smallest, space.largest}, key=macs)
        scored(space.largest)  # warm
        times = [scored(arch) for arch in tried]

        def each(costs: list[float]) -> float:
            """Mean seconds of nets of these macs_paper."""
            return float(np.interp(costs, [macs(arch) for arch in tried], times).mean())

        span = np.geomspace(macs(space.smallest), macs(space.largest), 33).tolist()
        kinds = {role: each([macs(arch)]) for role, arch in chosen.items()}
        kinds |= {"ladder": each([macs(arch) for arch in space.ladder()]), "random": each(span)}
        drawing = self.watch(lambda: [spread(space, macs, np.random.default_rng(i)) for i in range(8)]) / 8
        total = sum(counts.values())
        left = max(0, total - len(read_log(run.stage("search") / "candidates.jsonl")))
        mean = (sum(count * kinds[role] for role, count in counts.items()) / processes.size() + total * drawing) / total
        said = f"{mean:.2g} s a net, about {left:,} nets"
        if not config.trials:
            return begins + left * mean, said
        trials = max(0, config.tried - len(read_log(run.stage("search") / "trials.jsonl")))
        trial = self.trial(reference or shrink(supernet, space.largest).eval(), shrink(supernet, chosen["student"]))
        return begins + left * mean + trials * trial, f"{said}; {trial:.2g} s a trial, about {trials} trials"

    def trial(self, teacher: Generator, student: Generator) -> float:
        """Seconds of a trial, the teacher's pictures known as they are in all but the first."""
        one, batch = Remembering(self.setting, teacher, student, {}), self.stream.batch(Clock(0))
        one.step(batch, Clock(0))
        return self.run.recipe.search.trial * self.watch(lambda: [one.step(batch, Clock(0)) for _ in range(TRIED)]) / TRIED

    def test(self) -> tuple[float | None, str]:
        """Answers of all nets that there will be, and their metrics."""
        if self.lost:
            return None, "not timed: it needs the nets of the stages before"
        return examination(self.run, self.nets, self.watch)

    def given(self) -> Generator | None:
        """A copy of the given original on the device."""
        return deepcopy(self.run.given.net).to(self.device).eval() if self.run.given else None


def spoken(seconds: float) -> str:
    """40 s, 14 min, 3.2 h, 5.1 days."""
    for limit, unit, name, digits in ((100, 1, "s", 0), (100 * 60, 60, "min", 0), (48 * 3600, 3600, "h", 1)):
        if seconds < limit:
            return f"{max(seconds / unit, 1 if name == 's' else 0):.{digits}f} {name}"
    return f"{seconds / 86400:.1f} days"
