"""A short distillation as a score: what is learnt, what is asked how often, what is left alone, and that it goes on."""

import json
import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from ugc.core.log import progress
from ugc.data.stream import Stream, TrainData
from ugc.methods import trial
from ugc.methods.from_teacher import Distill
from ugc.methods.trial import Remembering, TrialBoard, Trials
from ugc.models.generator import shrink


@pytest.fixture
def trials(method_of):
    """Of a supernet of fresh weights, and a stream whose targets are NaN."""
    setting = method_of("ugc", widths=(1, 4, 8), depths=(0, 1), distillation={"l1": 20.0}, optimiser={"lr": 2e-3}).setting
    supernet = setting.generator(setting.config, "supernet")
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.mul_(4 if parameter.dim() > 1 else 1)  # so that pictures are not flat
    rng = np.random.default_rng(0)
    a, u = (rng.integers(0, 256, (n, *setting.size, 1), dtype=np.uint8) for n in (5, 7))
    data = TrainData(a, np.full(a.shape, np.nan, np.float32), u, u[:2], setting.size)
    teacher = shrink(supernet, supernet.space.largest).eval()
    return Trials(setting, supernet, teacher, Stream(data, 2, torch.device("cpu")), 0)


def distance(trials, net):
    """Mean L1 to the teacher's pictures of all sources."""
    x = trials.stream.calibration().all()
    with torch.no_grad():
        return float((net(x) - trials.teacher(x)).abs().mean())


def test_a_net_draws_nearer_to_the_largest_and_nothing_else_moves(trials):
    space = trials.supernet.space
    before = {name: value.clone() for name, value in (*trials.supernet.state_dict().items(),
                                                      *trials.teacher.state_dict().items())}
    first = distance(trials, trials.distilled(space.smallest, 0))
    assert distance(trials, trials.distilled(space.smallest, 40)) < 0.9 * first
    after = {**trials.supernet.state_dict(), **trials.teacher.state_dict()}
    assert all(torch.equal(after[name], value) for name, value in before.items() if name in after)
    one, two = (trials.distilled(space.smallest, 3).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_largest_draws_each_batch_once_and_what_is_kept_changes_nothing(trials, monkeypatch):
    asked = []
    trials.teacher.register_forward_hook(lambda *_: asked.append(1))
    some = trials.supernet.space.ladder()[:3]
    kept = [trials.distilled(arch, 4).state_dict() for arch in some]
    assert len(asked) == 4
    monkeypatch.setattr(trial, "KEPT", 0)
    trials.taught.clear()
    fresh = [trials.distilled(arch, 4).state_dict() for arch in some]
    assert len(asked) == 4 + 12 and not trials.taught
    assert all(torch.equal(a[name], b[name]) for a, b in zip(kept, fresh) for name in a)
    assert issubclass(trial.Remembering, Distill)


@contextmanager
def board(trials, path, steps=2):
    tried = []
    with progress("search", 9) as bar:
        def score(net):
            tried.append(net.config.arch)
            return float(len(net.config.arch)) + len(tried)

        yield TrialBoard(path, trials, score, steps, bar), tried


def test_a_net_is_tried_once_and_a_killed_search_goes_on(trials, tmp_path):
    small, large = trials.supernet.space.smallest, trials.supernet.space.largest
    path = tmp_path / "trials.jsonl"
    with board(trials, path) as (ask, tried):
        first = ask([small, large, small])
        assert first[0] == first[2] and tried == [small.text, large.text] and ask([large]) == [first[1]]
    whole = path.read_text()
    assert [json.loads(line) for line in whole.splitlines()] == [
        {"arch": small.text, "score": first[0]}, {"arch": large.text, "score": first[1]}]
    path.write_text(whole[:-9])  # a kill in the middle of the second line
    with board(trials, path) as (ask, tried):
        assert ask([small]) == [first[0]] and not tried
        ask([large])
        assert tried == [large.text] and len(path.read_text().splitlines()) == 2


def test_a_trial_has_no_warmup_and_takes_the_sources_it_is_told(trials, monkeypatch):
    """A warm-up of 500 steps is of a stage; a trial of 200 would not get beyond it."""
    rates, asked = [], []
    plain = Stream.batch
    monkeypatch.setattr(Stream, "batch", lambda self, clock, of="U": (asked.append(of), plain(self, clock, of))[1])
    monkeypatch.setattr(Remembering, "step", lambda self, batch, clock: rates.append(
        self.student.optimiser.param_groups[0]["lr"]))
    warm = replace(trials.setting, optimiser=trials.setting.optimiser.model_copy(update={"warmup": 500}))
    args = (trials.supernet, trials.teacher, trials.stream, 0)
    for one in (Trials(warm, *args), Trials(trials.setting, *args, unlabelled=False)):
        one.distilled(trials.supernet.space.smallest, 3)
    assert rates[:3] == rates[3:] and rates[0] == 2e-3 and asked == ["U"] * 3 + ["A"] * 3


def test_without_nas_ssl_no_net_is_tried_on_unlabelled_sources(method_of):
    assert method_of("ugc").sees_unlabelled("search") and not method_of("ugc", {"nas_ssl": False}).sees_unlabelled("search")


def test_scores_that_are_no_numbers_are_the_same_after_a_kill(trials, tmp_path):
    archs, scores = trials.supernet.space.ladder()[:3], (math.inf, math.nan, 0.25)
    known = {arch.text: score for arch, score in zip(archs, scores)}
    for _ in range(2):
        with progress("tries", 3) as bar:
            board = TrialBoard(tmp_path / "trials.jsonl", trials, lambda net: known[net.config.arch], 1, bar)
            assert [None if math.isnan(value) else value for value in board(archs)] == [None, None, 0.25]
