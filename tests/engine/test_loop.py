"""The one loop: what it logs, what it notices, and who is told the learning rate."""

import json
from pathlib import Path

import pytest
import torch

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.data.stream import Stream, TrainData
from ugc.engine import loop
from ugc.methods.method import Losses
from ugc.methods.original import Gan
from ugc.methods.ugc import Supernet
from ugc.training.player import OptimiserConfig
from ugc.training.schedules import lineage, linear

LR = 2e-4


@pytest.fixture
def stream(batch_of):
    """Six pairs and two sources for validation, without crops or flips."""
    pictures = batch_of(0, n=6, m=2)

    def nhwc(images):
        return images.permute(0, 2, 3, 1).contiguous()

    data = TrainData(nhwc(pictures.source), nhwc(pictures.target), nhwc(pictures.unlabelled), nhwc(pictures.unlabelled),
                     crop=(32, 32))
    return Stream(data, 2, torch.device("cpu"))


class Fixed:
    """A phase with losses of our choice: `values(step)` -> name -> number."""

    unlabelled = "U"

    def __init__(self, setting, values):
        self.values, self.players = values, Gan(setting).players
        self.seen = []

    def step(self, batch, clock):
        self.seen.append({name: [g["lr"] for g in p.optimiser.param_groups] for name, p in self.players.items()})
        return Losses({name: torch.tensor(float(value)) for name, value in self.values(clock.step).items()})

    def state(self):
        return {}

    def restore(self, state):
        pass


@pytest.fixture
def train(stream, tmp_path):
    """train(phase, steps=5, ..) -> what `done.json` keeps."""

    def run(phase, steps=5, folder=tmp_path, shown=None, **options):
        shown = [] if shown is None else shown
        options = {"seed": 0, "rate": linear, "log_every": 1, "grids": 0,
                   "grid": lambda phase, path: shown.append(path.name) or {"net": 1.0}, **options}
        return loop.train(phase, stream, Path(folder), "stage", steps=steps, **options)

    return run


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_never_finite_stops_the_fourth_time(setting_of, train, tmp_path, bad):
    phase = Fixed(setting_of(), lambda step: {"D/gan": 1.0, "G/recon": bad if step == 3 else 2.0})
    with pytest.raises(UserError, match=r"stage, step 3: the loss G/recon is (nan|inf|-inf), after the learning rate was "
                                        r"halved 3 times; it began at step 3 \(the loss G/recon"):
        train(phase)
    assert len(phase.seen) == 4 * 4  # from step 0 each time
    assert [row["step"] for row in rows_of(tmp_path / "log.jsonl")] == [0, 1, 2]
    rates = [seen["G"][0] for seen in phase.seen[::4]]
    assert rates == pytest.approx([LR, LR / 2, LR / 4, LR / 8])


def test_it_is_noticed_at_its_step_also_where_nothing_is_logged(setting_of, train, capsys):
    phase = Fixed(setting_of(), lambda step: {"G/recon": float("nan") if step == 3 else 2.0})
    with pytest.raises(UserError, match="step 3: the loss G/recon is nan"):
        train(phase, steps=50, log_every=20)
    assert " ".join(capsys.readouterr().err.split()).count("goes on from step 0 with half the learning rate") == 3


def test_it_goes_on_from_the_last_checkpoint_with_half_the_rate(setting_of, train, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)
    steps = []

    def once(step):
        steps.append(step)
        return {"G/recon": float("nan") if steps.count(3) == 1 and step == 3 else 2.0}

    phase = Fixed(setting_of(), once)
    (warning,) = train(phase, steps=5, rate=lineage)["warnings"]
    assert steps == [0, 1, 2, 3, 3, 4] and "step 3: the loss G/recon is nan; it goes on from step 3" in warning
    rates = [seen["D"][0] for seen in phase.seen]
    assert rates == pytest.approx([LR, LR, LR, LR * 0.8, LR * 0.4, LR * 0.2])
    assert [row["step"] for row in rows_of(tmp_path / "log.jsonl")] == [0, 1, 2, 3, 4]


def test_a_halved_rate_outlives_a_kill(setting_of, train, monkeypatch):
    asked = []

    def cut(step):
        asked.append(step)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return {"G/recon": float("nan") if len(asked) == 2 else 2.0}

    with pytest.raises(KeyboardInterrupt):
        train(Fixed(setting_of(), cut), steps=4)
    phase = Fixed(setting_of(), lambda step: {"G/recon": 1.0})
    assert len(train(phase, steps=4)["warnings"]) == 1
    assert [seen["G"][0] for seen in phase.seen] == pytest.approx([LR / 2, LR * 3 / 8, LR / 4, LR / 8])


def test_weights_that_are_not_finite_are_never_a_checkpoint(setting_of, train, tmp_path, monkeypatch):
    """The losses of a step are those of the weights before it: a step can spoil weights and look well."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)
    phase, step = Gan(setting_of()), Gan.step

    def poisoned(self, batch, clock):
        losses = step(self, batch, clock)
        if clock.step == 2 and not seen:
            seen.append(clock.step)
            with torch.no_grad():
                self.G.own[0].fill_(float("nan"))
        return losses

    seen = []
    monkeypatch.setattr(Gan, "step", poisoned)
    (warning,) = train(phase, steps=4)["warnings"]
    assert "step 2: the weights of G are not finite; it goes on from step 2" in warning
    assert all(bool(p.isfinite().all()) for p in phase.G.own)


def test_through_main_it_is_one_sentence_and_status_2(ugc, tiny, tiny_data, tmp_path, monkeypatch):
    plain = Supernet.step

    def poisoned(self, batch, clock):
        losses = plain(self, batch, clock)
        return Losses({**losses, "G/s.ssim": losses["G/s.ssim"] * float("nan")}) if clock.step == 1 else losses

    monkeypatch.setattr(Supernet, "step", poisoned)
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--original", "none", "--set", "generator.blocks=3",
               "--set", "generator.widths=[1,4,8]", "--set", "generator.depths=[0,1]")
    assert told.code == 2
    assert told.last.startswith("ugc: supernet, step 1: the loss G/s.ssim is nan") and "--precision fp32" in told.last
    assert "supernet, step 1: the loss G/s.ssim is nan; it goes on from step 0 with half the learning rate" in told.err
    assert "Traceback" not in told.err
    assert not (tmp_path / "run/supernet").exists() and not (tmp_path / "run/stages/supernet/done.json").exists()


def test_a_nan_in_the_weights_is_noticed(setting_of, train):
    """Not only in losses that we hand it: a real step whose net has gone."""
    phase = Gan(setting_of())
    with torch.no_grad():
        next(phase.G.net.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match=r"step 0: the loss (D|G)/\w+ is nan"):
        train(phase)


def test_a_dead_discriminator_is_warned_of_once_and_kept(setting_of, train, monkeypatch, capsys):
    monkeypatch.setattr(loop, "DEAD_STEPS", 3)
    phase = Fixed(setting_of(), lambda step: {"D/gan": 0.0 if step > 1 else 1.0, "G/recon": 0.0})
    (warning,) = train(phase, steps=12)["warnings"]
    assert warning.startswith("stage, step 4: D/gan has been below 0.01 for 3 steps") and "patch.ndf" in warning
    assert " ".join(capsys.readouterr().err.split()).count("D/gan has been below") == 1


def test_the_warning_reaches_done_json_also_after_a_kill(setting_of, train, monkeypatch, capsys):
    """Warned of before the checkpoint: it is not forgotten, and not said a second time."""
    monkeypatch.setattr(loop, "DEAD_STEPS", 3)
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)

    def dead(step, stop=False):
        if stop and step == 6:
            raise KeyboardInterrupt
        return {"D/gan": 0.0}

    with pytest.raises(KeyboardInterrupt):
        train(Fixed(setting_of(), lambda step: dead(step, stop=True)), steps=12)
    warnings = train(Fixed(setting_of(), dead), steps=12)["warnings"]
    assert len(warnings) == 1 and "step 2: D/gan has been below" in warnings[0]
    assert " ".join(capsys.readouterr().err.split()).count("D/gan has been below") == 1


def test_the_warning_is_in_done_json(ugc, tiny, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "DEAD_STEPS", 2)
    monkeypatch.setattr(loop, "DEAD", 100.0)
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--set", "generator.blocks=3", "--until", "original")
    assert told.code == 0
    done = json.loads((tmp_path / "run/stages/original/done.json").read_text())
    assert len(done["warnings"]) == 1 and "original, step 1: D/gan" in done["warnings"][0]
    assert done["steps"] == 3 and done["rows"] == ["original"]


def collapsing(spreads):
    """A grid whose student has these spreads, one a picture; then the last one again."""
    left = list(spreads)
    return lambda phase, path: {"deep_teacher": 1.0, "student": left.pop(0) if len(left) > 1 else left[0]}


def test_a_collapsed_net_is_warned_of_once(setting_of, train, monkeypatch, capsys):
    monkeypatch.setattr(loop, "COLLAPSED_STEPS", 2)
    phase = Fixed(setting_of(), lambda step: {"student/recon": 1.0})
    (warning,) = train(phase, steps=6, grids=6, grid=collapsing([0.001, 0.5, 0.001, 0.001]))["warnings"]
    assert warning.startswith("stage, step 3: the student net answers all sources alike (its pictures differ by 0.1 %")
    assert "--set optimiser.lr" in warning
    assert " ".join(capsys.readouterr().err.split()).count("answers all sources alike") == 1


def test_a_net_that_answers_little_but_differently_has_not_collapsed(setting_of, train, monkeypatch):
    monkeypatch.setattr(loop, "COLLAPSED_STEPS", 0)
    phase = Fixed(setting_of(), lambda step: {"student/recon": 1.0})
    assert train(phase, steps=6, grids=6, grid=collapsing([0.05]))["warnings"] == []


def test_a_net_of_constant_answers_is_seen_as_such(ugc, tiny, tiny_data, pairs_in, tmp_path, monkeypatch):
    """Through a whole stage; and no alarm of a net as it began, nor where one source alone is held out."""
    data = pairs_in(tmp_path / "data", alone=30)
    monkeypatch.setattr(loop, "COLLAPSED_STEPS", 0)
    plain = Gan.nets

    def flat(self):
        nets = plain(self)
        with torch.no_grad():
            for parameter in nets["original"].parameters():
                parameter.zero_()
        return nets

    monkeypatch.setattr(Gan, "nets", flat)
    words = (*tiny, "--set", "generator.blocks=3", "--until", "original")

    def warned(folder, name):
        assert ugc("run", folder, "--out", tmp_path / name, *words).code == 0
        return json.loads((tmp_path / name / "stages/original/done.json").read_text())["warnings"]

    (warning,) = warned(data, "flat")
    assert "original, step 3: the original net answers all sources alike" in warning
    assert warned(tiny_data, "one held out") == []
    monkeypatch.setattr(Gan, "nets", plain)
    assert warned(data, "sound") == []


def test_a_discriminator_that_recovers_is_not_dead(setting_of, train, monkeypatch):
    monkeypatch.setattr(loop, "DEAD_STEPS", 3)
    phase = Fixed(setting_of(), lambda step: {"D_deep/gan": 1.0 if step % 3 == 2 else 0.0})
    assert train(phase, steps=12)["warnings"] == []


def test_each_discriminator_is_watched_alone(setting_of, train, monkeypatch):
    monkeypatch.setattr(loop, "DEAD_STEPS", 3)
    phase = Fixed(setting_of(), lambda step: {"D_deep/gan": 0.0, "D_wide/gan": 1.0, "deep/gan": 0.0})
    (warning,) = train(phase, steps=6)["warnings"]
    assert "D_deep/gan" in warning


def test_log_rows(setting_of, train, tmp_path):
    phase = Gan(setting_of())
    done = train(phase, steps=6, log_every=2)
    rows = rows_of(tmp_path / "log.jsonl")
    assert [row["step"] for row in rows] == [0, 2, 4, 5]  # every second, and the last
    assert all(list(row) == ["step", "D/gan", "G/recon", "G/gan", "lr"] for row in rows)
    assert [row["lr"] for row in rows] == pytest.approx([1, 4 / 6, 2 / 6, 1 / 6], rel=1e-5)
    assert done["steps"] == 6 and done["seconds"] >= 0 and done["warnings"] == []


@pytest.mark.parametrize("rate, factors", [
    (linear, [1, 0.75, 0.5, 0.25]), (lineage, [1, 1, 1, 0.5]),
    (OptimiserConfig(warmup=2).rate, [0.5, 0.75, 0.5, 0.25])])
def test_the_rate_reaches_every_player_before_its_step(setting_of, train, rate, factors):
    phase = Fixed(setting_of(), lambda step: {"G/recon": 1.0})
    train(phase, steps=4, rate=rate)
    for seen, factor in zip(phase.seen, factors, strict=True):
        assert set(seen) == {"G", "D"}
        assert all(lr == pytest.approx(LR * factor) for rates in seen.values() for lr in rates)


def test_at_the_end_nothing_has_moved_more_than_the_rate_allows(setting_of, train):
    """Adam's steps are at most about lr each: the linear schedule's sum bounds the whole way."""
    phase, before = Gan(setting_of()), None
    before = [p.detach().clone() for p in phase.G.own]
    train(phase, steps=4)
    bound = 2.2 * LR * (1 + 0.75 + 0.5 + 0.25)
    assert max(float((p.detach() - b).abs().max()) for p, b in zip(phase.G.own, before)) < bound


def test_grids_are_drawn_evenly_and_at_the_end(setting_of, train):
    phase = Fixed(setting_of(), lambda step: {"G/recon": 1.0})
    shown = []
    assert train(phase, steps=10, grids=3, shown=shown)["rows"] == ["net"]
    assert shown == ["grid-00000004.png", "grid-00000007.png", "grid-00000010.png"]


def test_a_resumed_log_has_each_step_once(setting_of, train, tmp_path, monkeypatch):
    """Rows behind the checkpoint, and a half-written last line, are cut off."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)

    def stop(step):
        if step == 3:
            raise KeyboardInterrupt
        return {"G/recon": float(step)}

    with pytest.raises(KeyboardInterrupt):
        train(Fixed(setting_of(), stop), steps=5)
    with open(tmp_path / "log.jsonl", "a") as log:
        log.write('{"step": 3, "G/recon": 9.0, "lr": 0.4}\n{"step": 4, "G/re')
    phase = Fixed(setting_of(), lambda step: {"G/recon": float(step)})
    train(phase, steps=5)
    assert len(phase.seen) == 2
    assert [(row["step"], row["G/recon"]) for row in rows_of(tmp_path / "log.jsonl")] == [(i, float(i)) for i in range(5)]


def test_resume_in_the_loop_is_exact(setting_of, train, tmp_path, monkeypatch):
    whole = Gan(setting_of())
    train(whole, steps=5, folder=tmp_path / "whole")
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)
    first, step = Gan(setting_of()), Gan.step

    def stop(self, batch, clock: Clock):
        if clock.step == 3 and self is first:
            raise KeyboardInterrupt
        return step(self, batch, clock)

    monkeypatch.setattr(Gan, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(first, steps=5, folder=tmp_path / "cut")
    second = Gan(setting_of())
    train(second, steps=5, folder=tmp_path / "cut")
    for name, value in whole.G.net.state_dict().items():
        assert torch.equal(value, second.G.net.state_dict()[name]), name
    assert (tmp_path / "cut/log.jsonl").read_bytes() == (tmp_path / "whole/log.jsonl").read_bytes()
