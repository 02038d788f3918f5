"""The times that a dry run tells: their arithmetic on a clock that is told what to show, and every stage tried for real."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ugc.cli.main import parser
from ugc.cli.run import recipe_of
from ugc.core.clock import Clock
from ugc.core.encoding import LabelEncoding
from ugc.core.errors import UserError
from ugc.core.files import read_json
from ugc.data.stream import Stream
from ugc.engine import rehearsal
from ugc.engine.examination import examination
from ugc.engine.invented import fresh_phase, invented_data
from ugc.engine.pace import Pace, Stopwatch, pace_of, typical
from ugc.engine.pipeline import Run
from ugc.engine.rehearsal import Rehearsal, rehearse, spoken, times
from ugc.methods.method import METHODS
from ugc.methods.selection import SelectionConfig, computed, expected
from ugc.models.generator import FAMILIES
from ugc.nn.backbones import load_backbone, stand_ins
from ugc.search.budget import Budget
from ugc.search.region import just_below
from ugc.search.teachers import teacher_regions

CPU = torch.device("cpu")


class Ticks:
    """A clock on which every call that is timed takes `each` seconds."""

    def __init__(self, each):
        self.each, self.now = each, 0.0

    def __call__(self):
        self.now += self.each
        return self.now


# ---- arithmetic ----

@pytest.mark.parametrize("every", [1, 3, 4])
def test_the_steps_that_are_left_are_counted_by_kind(every):
    pace = Pace(5.0, 1.0, every)
    for begin in range(10):
        for end in range(begin, 20):
            assert pace.of(begin, end) == sum(1.0 if step % every else 5.0 for step in range(begin, end))
    assert pace.mean == pytest.approx((5 + every - 1) / every)


def test_typical_draws_stand_for_all():
    efforts = np.exp(np.random.default_rng(0).uniform(0, 5, 64))
    assert sorted(typical(efforts, 64)) == list(range(64))
    for count in (1, 2, 5, 16):
        chosen = typical(efforts, count)
        assert len(set(chosen)) == count
        assert efforts[chosen].mean() == pytest.approx(efforts.mean(), rel=0.2)


def test_a_pace_is_the_mean_of_each_kind_of_step():
    """Steps of a stage whose first of three takes 5 s and the others 1 s, more by what they draw: 0 to 0.2 s."""
    now, taken = [0.0], []

    def extra(clock):
        return 0.2 * (clock.step % 2)

    def step(batch, clock):
        taken.append(clock.step)
        now[0] += (1.0 if clock.step % 3 else 5.0) + extra(clock)
        return {"G/l1": torch.zeros(())}

    phase = SimpleNamespace(every=3, unlabelled="U", step=step, effort=extra)
    stream = SimpleNamespace(batch=lambda clock, unlabelled: None)
    pace = pace_of(phase, stream, Stopwatch(CPU, lambda: now[0]), seed=0, seconds=64.0, most=6)
    assert pace == Pace(pytest.approx(5.1), pytest.approx(1.1), 3)
    taken.clear()
    slow = pace_of(phase, stream, Stopwatch(CPU, lambda: now[0]), seed=0, seconds=1.0)
    assert len(taken) == 4 and slow.mean == pytest.approx((5 + 2) / 3, abs=0.2)  # one to warm up, one that counts


@pytest.mark.parametrize("seconds, words", [(0.2, "1 s"), (40, "40 s"), (842, "14 min"), (11_700, "3.2 h"),
                                            (440_000, "5.1 days")])
def test_times_are_spoken(seconds, words):
    assert spoken(seconds) == words


# ---- stages ----

def at_most(cost, times):
    """A budget of so many times what the smallest net costs."""
    return Budget("macs_paper", times * cost(cost.space.smallest).macs_paper, "")


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_begins_every_stage(setting_of, family):
    setting = setting_of(family, in_channels=4, out_channels=3)
    encoding = LabelEncoding(classes=3, edges=True)
    method = METHODS["ugc"](METHODS["ugc"].Config(every=2), setting)
    cost = setting.cost_model(setting.config)
    chosen = expected(cost, at_most(cost, 2.0), SelectionConfig(), Clock(0))
    stream = Stream(invented_data(encoding, 3, setting.size, setting.size, (3, 5, 2)), 2, CPU)
    batch = stream.batch(Clock(0))
    assert batch.source.shape == batch.unlabelled.shape == (2, 4, *setting.size) and batch.target.shape[1] == 3
    assert set(batch.source.unique().tolist()) == {0.0, 1.0}
    for stage in ("original", "supernet", "distill"):
        pace = pace_of(fresh_phase(method, stage, chosen), stream, Stopwatch(CPU), 0, seconds=0.0)
        assert pace.first > 0 and pace.every == (2 if stage == "distill" else 1)


def test_what_is_expected_of_a_search_is_where_it_looks(setting_of):
    setting = setting_of("pix2pix-resnet", base=16)
    cost = setting.cost_model(setting.config)
    budget = at_most(cost, 3.0)
    chosen = expected(cost, budget, SelectionConfig(), Clock(0))

    def macs(arch):
        return float(cost(arch).macs_paper)

    window = just_below(cost.space, macs, budget.limit, Clock(0).rng("window/student"))
    assert window.low > 0 and chosen.student in window
    regions = teacher_regions(cost.space, macs, chosen.student)
    assert chosen.deep in regions.deep.widened(Clock(0).rng("window/deep"))
    assert chosen.wide in regions.wide.widened(Clock(0).rng("window/wide"))
    assert set(expected(cost, budget, SelectionConfig(), Clock(0), teachers=False).archs) == {"student"}
    asked = SelectionConfig(student=cost.space.smallest.text)
    assert expected(cost, budget, asked, Clock(0)).student == cost.space.smallest


def run_of(words, *more):
    """The run that a command describes, not begun."""
    options = parser().parse_args([str(word) for word in ("run", *words, *more)])
    return Run(recipe_of(options), Path(options.out), Path(options.source) if options.source else None)


@pytest.fixture
def command(ugc_home, tiny_data, tiny):
    return (tiny_data, *tiny, "--set", "options.every=2")


@pytest.fixture
def quick(monkeypatch):
    """One step of each kind, and no test stage, whose Frechet distances take seconds."""
    monkeypatch.setattr(rehearsal, "pace_of", lambda *args: pace_of(*args, seconds=0.0))
    monkeypatch.setattr(rehearsal, "examination", lambda run, nets, watch: (5.0, " ".join(sorted(nets))))


def test_a_run_that_has_not_begun(command, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(rehearsal, "examination", examination)
    lines = list(rehearse(run_of(command, "--out", tmp_path / "run")))
    assert [line.split(":")[0] for line in lines] == [f"time     {name}" for name in (
        "original", "supernet", "search", "distill", "test", "in all")]
    assert all("about" in line for line in lines) and "4 pictures, 5 nets" in lines[4]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words, stages", [(("--method", "original"), ["original", "test"]),
                                           (("--set", "options.nas=false", "--original", "none"), ["distill", "test"])])
def test_stages_of_other_methods(command, tmp_path, quick, words, stages):
    words = command[:-2] + words if "original" in words[:2] else command + words
    found = list(times(run_of(words, "--out", tmp_path / "run")))
    assert [name for name, *_ in found] == stages and all(seconds > 0 for _, seconds, _ in found)
    assert not list(tmp_path.iterdir())


def test_from_a_saved_net(ugc_home, tiny_data, tiny, tiny_run, tmp_path, quick):
    """The original is tested, too; there are no teachers."""
    run = run_of((tiny_data, *tiny), "--method", "from-teacher", "--original", tiny_run / "original",
                 "--out", tmp_path / "run")
    found = {name: (seconds, said) for name, seconds, said in times(run)}
    assert list(found) == ["supernet", "search", "distill", "test"] and all(s > 0 for s, _ in found.values())
    assert "(largest original student)" in found["test"][1]
    seconds, said = examination(run, {role: lambda: run.given.net for role in ("original", "student")}, Stopwatch(CPU))
    assert seconds > 0 and said == "4 pictures, 2 nets"


def test_what_is_done_takes_no_time(command, tiny, tiny_data, tiny_run, tmp_path, quick):
    whole = run_of((tiny_data, *tiny), "--out", tiny_run)
    assert [(seconds, said) for _, seconds, said in times(whole)] == [(0.0, "done")] * 5
    half = tmp_path / "half"
    shutil.copytree(tiny_run, half)
    for stage in ("distill", "test"):
        (half / "stages" / stage / "done.json").unlink()
    (half / "stages/distill/state-00000002.json").write_text("{}")
    before = sorted((p, p.stat().st_mtime_ns) for p in half.rglob("*"))
    lines = list(rehearse(run_of((tiny_data, *tiny), "--out", half)))
    assert [line.endswith(": done") for line in lines] == [True] * 3 + [False] * 3
    assert "1 of 3 are left" in lines[3]
    assert sorted((p, p.stat().st_mtime_ns) for p in half.rglob("*")) == before
    taken = list(times(run_of(("--from", tiny_run), "--budget", "7x", "--out", tmp_path / "new"), "search"))
    assert [seconds == 0 for _, seconds, _ in taken] == [True, True, False] and not (tmp_path / "new").exists()


def test_steps_grids_and_checkpoints_add_up(command, tmp_path, monkeypatch):
    """Every call takes 2 s: 3 steps, one grid unless a step is long, two checkpoints; then as much in 60 s a call."""
    for each, long, seconds in ((2.0, 3.0, 3 * 2 + 2 + 2 * 2), (2.0, 1.0, 3 * 2 + 2 * 2), (60.0, 1.0, 3 * 60 + 3 * 60)):
        monkeypatch.setattr(rehearsal, "LONG", long)
        show = Rehearsal(run_of(command, "--out", tmp_path / "run"))
        show.watch = Stopwatch(CPU, Ticks(each))
        found, said = show.stage("original")
        assert found == seconds and f"{each:.2g} s a step" in said
    monkeypatch.setattr(Rehearsal, "stage", lambda self, name: {"search": (None, "?")}.get(name, (100.0, "!")))
    assert list(rehearse(run_of(command, "--out", tmp_path / "run")))[-1] == "time     in all: about 7 min, without search"


def test_a_search_is_its_nets(command, tmp_path):
    """Every call takes 2 s: a net's copy is made once, the rest of its score is as long as V."""
    run = run_of(command, "--out", tmp_path / "run", "--set", "search.random=5", "--set", "search.trials=0")
    show = Rehearsal(run)
    show.watch = Stopwatch(CPU, Ticks(2.0))
    seconds, said = show.search()
    nets = 3 * (4 + 1 * (4 - 2)) + len(run.cost.space.ladder()) + 5
    assert f"about {nets:,} nets" in said
    assert seconds == pytest.approx(2 + nets * (2 + 2 / 8))  # looks at the reference, scores, draws
    run = run_of(command, "--out", tmp_path / "run", "--set", "search.random=5", "--set", "search.trials=7", "--set",
                 "search.trial=16")
    show = Rehearsal(run)
    show.watch = Stopwatch(CPU, Ticks(2.0))
    longer, said = show.search()
    assert longer == pytest.approx(seconds + 2 + 2 / 8 + 7 * 16 * 2 / 8) and "4 s a trial, about 7 trials" in said


def test_a_search_computes_about_as_many_scores_as_are_counted(command, tiny_run, tmp_path):
    run = run_of(command, "--out", tmp_path / "run")
    counted = sum(computed(run.recipe.search, len(run.cost.space.ladder())).values())
    scored = read_json(tiny_run / "stages/search/done.json")["scored"]
    assert counted / 2 <= scored <= counted


def test_lack_of_memory_is_said_and_the_rest_goes_on(command, tmp_path, monkeypatch, quick):
    run = run_of(command, "--out", tmp_path / "run")
    begun = []

    def full(method, stage, *rest):
        begun.append(stage)
        if stage == "supernet":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return fresh_phase(method, stage, *rest)

    monkeypatch.setattr(rehearsal, "fresh_phase", full)
    lines = list(rehearse(run))
    assert "supernet: not timed: the memory of this machine is too small for it" in lines[1] and "about" in lines[3]
    assert "test: not timed" in lines[4] and lines[5].endswith("without supernet and test")
    begun.clear()
    monkeypatch.setattr(rehearsal, "available_memory", lambda device: 2**20)
    assert "not timed: it needs about 0.3" in next(rehearse(run)) and "0.00 are free" in next(rehearse(run)) and not begun


def test_nothing_is_downloaded_for_a_rehearsal(monkeypatch):
    monkeypatch.setattr("ugc.nn.vgg16.VGG16.cached", classmethod(lambda cls: None))

    def refuse(cls, download=False):
        raise UserError("no network")

    monkeypatch.setattr("ugc.nn.vgg16.VGG16.load", classmethod(refuse))
    with stand_ins():
        assert [t.shape[1] for t in load_backbone("vgg16")(torch.zeros(1, 3, 32, 32))] == [64, 128, 256, 512]
    with pytest.raises(UserError, match="no network"):
        load_backbone("vgg16")


def test_the_command_line_tells_times(ugc, command, tmp_path, monkeypatch, quick):
    monkeypatch.setattr("ugc.engine.rehearsal.rehearse", rehearse)
    told = ugc("run", *command, "--out", tmp_path / "run", "--dry-run", "--until", "original")
    assert told.code == 0 and not list(tmp_path.iterdir()), told.err
    assert "time     original: about" in told.out and "time     in all: about" in told.out and "supernet: about" in told.out
    assert "time     supernet" not in told.out
