"""Laws of every method, by registry: who moves, what is logged, resume, hidden labels."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from sizes import least_size, little
from ugc.core.clock import Clock
from ugc.data.stream import Batch, Rows, Stream, TrainData
from ugc.methods.method import METHODS, Selection
from ugc.models.generator import FAMILIES
from ugc.nn.shrink import recalibrate
from ugc.search.budget import Budget
from ugc.training.player import Player

CLOCK = Clock(3)

OPTIONS = {  # ways to run a method beside its defaults; a new method is run with its defaults anyway
    "ugc": [{"filter": "quality"}, {"filter": "off"}, {"discriminators": "shared"}, {"order": "paper"},
            {"sample": "uniform"}, {"every": 2}, {"every": 2, "order": "paper", "discriminators": "shared"},
            {"nas_ssl": False}, {"finetune_ssl": False}, {"finetune_ssl": "A"}, {"nas": False}, {"decay": 0.5},
            {"teachers": "deep"}, {"teachers": "wide", "discriminators": "shared"},
            {"supervised": 1.0, "every": 2}, {"average": 0.9}, {"student": "fresh"}]}
MUCH = "pix2pix-unet"  # with which every option is tried; with every other family, its own D and its own L_sup, a few:
FEW = ({}, {"every": 2, "order": "paper", "discriminators": "shared"}, {"nas": False})
CASES = [(name, options, family) for name in METHODS for options in ({}, *OPTIONS.get(name, [])) for family in FAMILIES
         if family == MUCH or options in FEW]
every_case = pytest.mark.parametrize("name, options, family", CASES, ids=[f"{n}-{o}-{f}" for n, o, f in CASES])
every_method = pytest.mark.parametrize("name, family", [(n, f) for n, o, f in CASES if not o])


def size_of(family):
    return least_size(family, **little(family))


def fields_of(family):
    """Of a setting: a little net, and what is the family's own, its objective and its D."""
    return {"family": family, **little(family)}


@pytest.fixture(autouse=True)
def _no_slow_backbone(eyes):
    """The perceptual term sees through a tiny backbone."""


@pytest.fixture
def batch_of(batch_of):
    """batch_of(family, seed, ..): pictures of the size that its net is tried at."""
    return lambda family, seed, **counts: batch_of(seed, size=size_of(family), **counts)


@pytest.fixture
def stages(method_of, batch_of):
    """stages(name, options, family) -> (stage, make) of each training stage; make() gives a fresh phase every time."""

    def of(name, options, family):
        method = method_of(name, options, **fields_of(family))
        inherited = {"original": teacher(method)} if method.imitates else {}
        for stage in method.stages(method.config):
            if stage == "search":
                space = inherited["supernet"].space
                small = space.smallest.having({c.name: c.values[1] for c in space.choices if c.is_depth})
                wide = space.largest.having({c.name: 0 for c in space.choices if c.is_depth})
                inherited["selection"] = Selection(small, space.largest, wide)
                continue
            if "selection" not in inherited:
                model = method.setting.cost_model(method.setting.config)
                budget = Budget.parse("8x", model(model.space.largest))
                if (chosen := method.select_by_rule(budget, model)) is not None:
                    inherited["selection"] = chosen

            yield stage, partial(fresh, method, stage, dict(inherited))
            if stage == "supernet":
                phase = fresh(method, stage, inherited)
                phase.step(batch_of(family, 99), CLOCK)
                inherited |= {"supernet": phase.nets()["supernet"], **phase.left()}

    return of


def teacher(method):
    """An original whose running statistics are no longer those of the first day."""
    net = method.setting.generator(method.setting.family.original(method.setting.config), "a given original")
    h, w = method.setting.size
    net.train()(torch.linspace(-1, 1, 2 * h * w).view(2, 1, h, w))
    return net.eval()


def fresh(method, stage, inherited):
    return method.phase(stage, copy.deepcopy(inherited))


def bits(value):
    """Anything that a state holds, as something whose equality is that of the bits."""
    if isinstance(value, torch.Tensor):
        return value.dtype, tuple(value.shape), value.detach().contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    return [bits(v) for v in value] if isinstance(value, (list, tuple)) else value


def weights(player):
    return bits(dict(player.net.named_parameters()))


@every_case
def test_a_step_moves_exactly_the_players_it_names(stages, batch_of, name, options, family):
    for _stage, make in stages(name, options, family):
        phase = make()
        for step in range(3):
            before = bits(phase.state()["players"])
            moved = {n: weights(p) for n, p in phase.players.items()}
            named = {key.split("/")[0] for key in phase.step(batch_of(family, step), CLOCK.at(step))}
            after = bits(phase.state()["players"])
            assert named and named <= set(phase.players)
            for player in phase.players:
                if player in named:
                    assert weights(phase.players[player]) != moved[player], player
                else:  # not a bit of weights, running statistics or optimiser
                    assert after[player] == before[player], player
            rests = "student" in phase.players and step % options.get("every", 1) != 0
            restless = {"student", "D_student"} & set(phase.players)
            assert named == (restless if rests else set(phase.players))


@every_case
def test_who_judges_or_teaches_keeps_still_while_others_learn(stages, batch_of, monkeypatch, name, options, family):
    """A player's update moves its own weights and buffers, and not a bit of any other's, batch statistics aside."""
    learn, own = Player.learn, {}

    def watched(self, losses):
        def rest():
            return bits({n: {k: v for k, v in p.net.state_dict().items() if "running" not in k}
                         for n, p in phase.players.items() if p is not self})

        before, spectral = rest(), bits(dict(self.net.named_buffers()))
        learn(self, losses)
        assert rest() == before
        own[id(self)] = {k: v for k, v in bits(dict(self.net.named_buffers())).items() if v == spectral[k]}

    monkeypatch.setattr(Player, "learn", watched)
    for _stage, make in stages(name, options, family):
        phase = make()
        phase.step(batch_of(family, 0), CLOCK.at(0))
        for player in phase.players.values():
            assert not [k for k in own[id(player)] if k.endswith((".u", ".v"))]  # its own do move


@every_method
def test_what_is_inherited_keeps_still(method_of, batch_of, name, family):
    """Stage 2 works on copies: the supernet and its D do not move by a bit; nor does a net that is imitated."""
    method = method_of(name, **fields_of(family))
    if "supernet" not in method.stages(method.config):
        model = method.setting.cost_model(method.setting.config)
        chosen = method.select_by_rule(Budget.parse("8x", model(model.space.largest)), model)
        first = partial(method.phase, method.stages(method.config)[0], {"selection": chosen} if chosen else {})
        assert bits(first().state()) == bits(first().state())  # fresh weights: the seed's
        return
    original = teacher(method)
    given = {"original": original} if method.imitates else {}
    first = method.phase("supernet", given)
    first.step(batch_of(family, 0), CLOCK)
    assert not method.imitates or bits(original.state_dict()) == bits(teacher(method).state_dict())
    supernet, left = first.nets()["supernet"], first.left()
    space = supernet.space
    phase = method.phase("distill", {**given, "supernet": supernet, **left,
                                     "selection": Selection(space.smallest, space.largest, space.largest)})
    before, before_left = bits(supernet.state_dict()), bits(dict(left))
    phase.step(batch_of(family, 1), CLOCK)
    assert bits(supernet.state_dict()) == before and bits(dict(left)) == before_left
    if method.imitates:
        assert bits(original.state_dict()) == bits(teacher(method).state_dict())
        return
    phase = method.phase("distill", {"supernet": supernet, **left,
                                     "selection": Selection(space.smallest, space.largest, space.largest)})
    assert [bits(phase.players[k].net.state_dict()) for k in ("D_deep", "D_wide")] == [before_left["D"]] * 2
    phase.step(batch_of(family, 1), CLOCK)
    teachers = [bits(phase.players[k].net.state_dict()) for k in ("deep", "wide")]
    assert teachers[0] == teachers[1]  # equal archs, equal D: nothing but the arch tells the teachers apart


@every_case
def test_the_logged_parts_add_up_to_what_was_differentiated(stages, batch_of, monkeypatch, name, options, family):
    handed = {}
    learn = Player.learn

    def watched(self, losses):
        def counted():
            for loss in losses:
                handed[id(self)] = handed.get(id(self), 0.0) + float(loss.detach())
                yield loss

        learn(self, counted())

    monkeypatch.setattr(Player, "learn", watched)
    for _stage, make in stages(name, options, family):
        phase = make()
        for step in range(2):
            handed.clear()
            losses = phase.step(batch_of(family, step), CLOCK.at(step))
            assert all(value.dim() == 0 and not value.requires_grad for value in losses.values())
            learnt = {n for n, p in phase.players.items() if id(p) in handed}
            assert learnt == {key.split("/")[0] for key in losses}
            for player in learnt:
                logged = sum(float(v) for k, v in losses.items() if k.startswith(player + "/"))
                assert logged == pytest.approx(handed[id(phase.players[player])], rel=2e-6), player


def through_a_file(state, path):
    torch.save(state, path)
    return torch.load(path, weights_only=True)


@every_case
def test_resumed_equals_uninterrupted_to_the_last_bit(stages, batch_of, tmp_path, name, options, family):
    for _stage, make in stages(name, options, family):
        straight, logged = make(), []
        for step in range(4):
            for player in straight.players.values():
                player.set_lr(1 - step / 4)
            logged.append(straight.step(batch_of(family, step), CLOCK.at(step)))
            if step == 1:
                kept = through_a_file(straight.state(), tmp_path / "checkpoint.pt")
        resumed = make()
        resumed.restore(kept)
        for step in (2, 3):
            for player in resumed.players.values():
                player.set_lr(1 - step / 4)
            assert bits(dict(resumed.step(batch_of(family, step), CLOCK.at(step)))) == bits(dict(logged[step]))
        assert bits(resumed.state()) == bits(straight.state())


@every_method
def test_a_step_is_a_function_of_batch_and_clock(stages, batch_of, name, family):
    """Global random states play no part, and another seed of the clock tells."""
    for _stage, make in stages(name, {}, family):
        ends = []
        for torch_seed in (1, 2):
            torch.manual_seed(torch_seed), np.random.seed(torch_seed)  # noqa: NPY002
            phase = make()
            phase.step(batch_of(family, 0), CLOCK)
            ends.append(bits(phase.state()))
        assert ends[0] == ends[1]


# Hidden labels


def training_data(hide, size, seed=0):
    """8 pictures of which A = {1, 4}: every other target is what `hide` makes of it."""
    rng = np.random.default_rng(seed)
    sources, targets = (rng.uniform(-1, 1, (8, size[0] + 4, size[1] + 4, 1)).astype(np.float32) for _ in range(2))
    a, u, v = np.array([1, 4]), np.array([0, 2, 5, 6]), np.array([3, 7])
    targets[[*u, *v]] = hide(targets[[*u, *v]])
    return TrainData(Rows(sources, a), Rows(targets, a), Rows(sources, u), Rows(sources, v), size, flip=True)


@every_case
def test_hidden_labels_are_hidden(stages, name, options, family):
    """NaN in all targets that the split hides: every loss stays finite, and not a bit changes."""
    for _stage, make in stages(name, options, family):
        ends = []
        for hide in (lambda y: y, lambda y: np.full_like(y, np.nan)):
            stream = Stream(training_data(hide, size_of(family)), 2, torch.device("cpu"))
            assert stream.calibration().all().isfinite().all() and stream.validation().all().isfinite().all()
            phase = make()
            for step in range(4):
                losses = phase.step(stream.batch(CLOCK.at(step)), CLOCK.at(step))
                assert all(value.isfinite() for value in losses.values()), losses
            assert all(t.isfinite().all() for p in phase.players.values() for t in p.net.state_dict().values())
            ends.append(bits(phase.state()))
        assert ends[0] == ends[1]


@every_case
def test_who_sees_no_unlabelled_source_is_the_same_without_them(method_of, stages, name, options, family):
    """All pixels of U become others: the nets, as they are saved, change of stages that see U; of the rest not a bit."""
    method, size = method_of(name, options, **fields_of(family)), size_of(family)
    for stage, make in stages(name, options, family):
        ends = []
        for other in (False, True):
            data = training_data(lambda y: y, size)
            if other:
                data = replace(data, source_U=Rows(data.source_U.base * -0.5, np.array([0, 2, 5, 6])))
            stream, phase = Stream(data, 2, torch.device("cpu")), make()
            phase.step(stream.batch(CLOCK, phase.unlabelled), CLOCK)
            plain = stream.calibration(16, method.sees_unlabelled(stage)).split(16)
            ends.append({role: bits(recalibrate(net.baked(), plain).state_dict()) for role, net in phase.nets().items()
                         if role != "supernet"})
        assert (ends[0] == ends[1]) is not method.sees_unlabelled(stage), stage


@every_method
def test_the_test_for_hidden_labels_can_see(stages, batch_of, name, family):
    """NaN in a target of A does reach the losses: the test above is not blind. Who imitates sees no target at all."""
    for _stage, make in stages(name, {}, family):
        batch = batch_of(family, 0)
        batch.target[0, 0, 3, 3] = float("nan")
        assert all(value.isfinite() for value in make().step(batch, CLOCK).values()) is METHODS[name].imitates


@every_method
def test_who_imitates_takes_sources_alone(stages, batch_of, name, family):
    """A empty; and a source teaches the same whether it comes with a target or without."""
    if not METHODS[name].imitates:
        return
    for _stage, make in stages(name, {}, family):
        ends = []
        for batch in (batch_of(family, 0, n=2, m=0), Batch(*(batch_of(family, 0, n=2).source[i:] for i in (2, 2, 0)))):
            phase = make()
            phase.step(batch, CLOCK)
            ends.append(bits(phase.state()))
        assert ends[0] == ends[1]


@every_case
def test_without_unlabelled_sources(stages, batch_of, name, options, family):
    """U empty: the mean of nothing is NaN, and must not come in."""
    for _stage, make in stages(name, options, family):
        phase = make()
        for step in range(2):
            losses = phase.step(batch_of(family, step, m=0), CLOCK.at(step))
            assert all(value.isfinite() for value in losses.values())
            assert not any("/U." in key for key in losses)
        assert all(t.isfinite().all() for p in phase.players.values() for t in p.net.state_dict().values())


@every_method
def test_unequal_numbers_of_pairs_and_sources(stages, batch_of, name, family):
    for _stage, make in stages(name, {}, family):
        losses = make().step(batch_of(family, 0, n=1, m=3), CLOCK)
        assert all(value.isfinite() for value in losses.values())


@every_method
def test_it_ends_in_the_net_it_promises(method_of, stages, name, family):
    roles = [role for _, make in stages(name, {}, family) for role in make().nets()]
    assert METHODS[name].result() in roles
    assert METHODS[name].name == name
    assert method_of(name).steps(method_of(name).stages(method_of(name).config)[-1],
                                 {"original": 5, "supernet": 6, "distill": 7}) in (5, 6, 7, 6 + 7)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_nets_of_a_phase_are_those_that_learn(stages, batch_of, family):
    for _stage, make in stages("ugc", {}, family):
        phase = make()
        before = {role: bits(net.state_dict()) for role, net in phase.nets().items()}
        phase.step(batch_of(family, 0), CLOCK)
        after = {role: bits(net.state_dict()) for role, net in phase.nets().items()}
        assert all(after[role] != before[role] for role in before)


def test_batches_have_what_the_methods_are_promised():
    """What the stream hands out is what these tests hand out."""
    batch = Stream(training_data(lambda y: y, (32, 48)), 2, torch.device("cpu")).batch(CLOCK)
    assert isinstance(batch, Batch)
    assert batch.source.shape == batch.target.shape == batch.unlabelled.shape == (2, 1, 32, 48)
