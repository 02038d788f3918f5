"""UGC's own parts: Eq. (8), D_EMA, the sandwich, which net is taught by whom, the ablations."""

import numpy as np
import pytest
import torch

from moments import moments
from ugc.core.clock import Clock
from ugc.data.stream import Batch
from ugc.methods.method import Losses, Selection
from ugc.models.discriminators import score
from ugc.search.budget import Budget
from ugc.search.region import Region
from ugc.training.player import Player

CLOCK = Clock(1)


@pytest.fixture
def distill(method_of):
    """distill(**options) -> a fresh stage 2 out of one supernet."""

    def make(setting=None, **options):
        method = method_of("ugc", options, **(setting or {}))
        supernet = method.setting.generator(method.setting.config, "supernet")
        space = supernet.space
        chosen = Selection(space.smallest, space.largest, space.largest.having({"d.up2": 0}))
        D = method.setting.discriminator("D").state_dict()
        return method.phase("distill", {"supernet": supernet, "D": D, "selection": chosen})

    return make


def with_ema(phase, value):
    for ema in phase.D_EMA.values():
        ema.fill_(value)
    return phase


def test_phi_tosses_above_as_the_paper_prints(distill):
    phase = with_ema(distill(), 0.5)
    scores = torch.linspace(0, 1, 2001)
    phi = phase.phi("deep", scores, CLOCK)
    assert torch.equal(phi[scores <= 0.5], torch.ones(1001))
    assert torch.equal(phase.phi("deep", torch.full((100,), 0.5), CLOCK), torch.ones(100))  # equal counts as below
    assert set(phi[scores > 0.5].tolist()) == {0.0, 1.0}
    assert not phi.requires_grad and phi.shape == scores.shape


def test_phi_tosses_below_for_quality(distill):
    phase = with_ema(distill(filter="quality"), 0.5)
    scores = torch.linspace(0, 1, 2001)
    phi = phase.phi("deep", scores, CLOCK)
    assert torch.equal(phi[scores > 0.5], torch.ones(1000))
    assert set(phi[scores <= 0.5].tolist()) == {0.0, 1.0}
    assert 0.0 in phase.phi("deep", torch.full((100,), 0.5), CLOCK)  # equal counts as below


def test_phi_off_keeps_everything(distill):
    phase = with_ema(distill(filter="off"), 0.5)
    assert torch.equal(phase.phi("wide", torch.linspace(0, 1, 7), CLOCK), torch.ones(7))


def test_the_coin_is_fair_and_one_an_image(distill):
    phase = with_ema(distill(), 0.0)
    many = phase.phi("deep", torch.ones(10_000), CLOCK)
    assert abs(float(many.mean()) - 0.5) < 4 * 0.5 / 100
    few = torch.stack([phase.phi("deep", torch.ones(4), CLOCK.at(step)) for step in range(500)])  # a fresh toss a step
    assert (few.mean(0) - 0.5).abs().max() < 4 * 0.5 / 500**0.5
    assert (np.corrcoef(few.numpy().T) - np.eye(4)).__abs__().max() < 0.2  # images of a batch are independent


def test_the_coins_of_the_teachers_are_their_own(distill):
    phase = with_ema(distill(), 0.0)
    deep, wide = (phase.phi(k, torch.ones(1000), CLOCK) for k in ("deep", "wide"))
    assert abs(float((deep == wide).float().mean()) - 0.5) < 0.08
    assert torch.equal(deep, phase.phi("deep", torch.ones(1000), CLOCK))  # the clock's, not a state's


def test_each_teacher_has_its_own_threshold(distill):
    phase = distill()
    phase.D_EMA["deep"].fill_(-1.0), phase.D_EMA["wide"].fill_(2.0)
    scores = torch.zeros(200)
    assert 0.0 in phase.phi("deep", scores, CLOCK) and torch.equal(phase.phi("wide", scores, CLOCK), torch.ones(200))


@pytest.mark.parametrize("decay", [0.99, 0.5])
def test_d_ema_starts_at_its_first_mean_and_decays(distill, batch_of, monkeypatch, decay):
    """Fed with D's scores, before its update, of the teacher's fakes on A."""
    phase = distill(decay=decay)
    assert all(ema.isnan() for ema in phase.D_EMA.values())
    means = {"deep": [], "wide": []}
    for step in range(3):
        batch = batch_of(step)
        with torch.no_grad():
            for k, seen in means.items():
                seen.append(float(score(phase.judge(k).net(batch.source, phase.T[k].net(batch.source))).mean()))
        phase.step(batch, CLOCK.at(step))
        for k, seen in means.items():
            expected = seen[0]
            for mean in seen[1:]:
                expected = decay * expected + (1 - decay) * mean
            assert float(phase.D_EMA[k]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_d_ema_keeps_still_where_the_teachers_do(distill, batch_of):
    phase = distill(every=3)
    phase.step(batch_of(0), CLOCK.at(0))
    before = {k: float(v) for k, v in phase.D_EMA.items()}
    for step in (1, 2):
        phase.step(batch_of(step), CLOCK.at(step))
        assert {k: float(v) for k, v in phase.D_EMA.items()} == before
    phase.step(batch_of(3), CLOCK.at(3))
    assert {k: float(v) for k, v in phase.D_EMA.items()} != before


def test_d_ema_is_in_the_checkpoint(distill, batch_of):
    phase, other = distill(), distill()
    phase.step(batch_of(0), CLOCK)
    other.restore(phase.state())
    assert {k: float(v) for k, v in other.D_EMA.items()} == {k: float(v) for k, v in phase.D_EMA.items()}


def test_dropped_images_teach_nothing(distill, batch_of, monkeypatch):
    """Phi = 0 for image 1: its pixels have no effect on the student, image 0's have."""
    ends = []
    for change in (None, 1, 0):
        phase = distill()
        monkeypatch.setattr(phase, "phi", lambda k, scores, clock: torch.tensor([1.0, 0.0]))
        batch = batch_of(0)
        if change is not None:
            batch.unlabelled[change] = -batch.unlabelled[change]
        phase.step(batch, CLOCK)
        ends.append(torch.cat([p.detach().flatten() for p in phase.student.net.parameters()]))
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)
    assert not torch.equal(ends[0], ends[2])


def test_the_student_sees_neither_target_nor_discriminator(distill, batch_of):
    """Other targets and another D change the teachers, not the student (its lessons are from before their update)."""
    ends = []
    for other in (False, True):
        phase = distill(filter="off")
        batch = batch_of(0)
        if other:
            batch.target.neg_()
            for D in phase.D.values():
                with torch.no_grad():
                    for p in D.net.parameters():
                        p.mul_(2)
        phase.step(batch, CLOCK)
        players = [phase.players[n] for n in ("student", "deep")]
        ends.append([torch.cat([p.detach().flatten() for p in player.net.parameters()]) for player in players])
    assert torch.equal(ends[0][0], ends[1][0]) and not torch.equal(ends[0][1], ends[1][1])


def test_sandwich_is_one_big_backward(doubles, method_of, batch_of, monkeypatch):
    """Three graphs, one after the other, give the gradient of their sum."""
    gradients = []
    learn = Player.learn

    def at_once(self, losses):
        learn(self, [torch.stack(list(losses)).sum()])

    for way in (learn, at_once):
        monkeypatch.setattr(Player, "learn", way)
        phase = method_of("ugc").phase("supernet", {})
        for player in phase.players.values():
            player.net.double()
        phase.step(batch_of(0, dtype=torch.float64), CLOCK)
        state = moments(phase.G)
        gradients.append({k: 2 * state[p]["exp_avg"] for k, p in phase.G.net.named_parameters() if p in state})
    assert gradients[0].keys() == gradients[1].keys()
    scale = max(float(g.abs().max()) for g in gradients[1].values())
    for k, g in gradients[0].items():
        torch.testing.assert_close(g, gradients[1][k], rtol=1e-9, atol=1e-13 * scale, msg=k)


def test_only_what_the_step_uses_moves_in_the_supernet(method_of, batch_of):
    """The largest net learns in every step, so every weight of the supernet does."""
    phase = method_of("ugc").phase("supernet", {})
    before = {k: p.detach().clone() for k, p in phase.G.net.named_parameters()}
    phase.step(batch_of(0), CLOCK)
    assert all(not torch.equal(p, before[k]) for k, p in phase.G.net.named_parameters() if p.dim() > 1)


def test_smaller_nets_do_not_teach_the_largest(doubles, method_of, batch_of):
    """L_dist has no gradient to G_l's picture: it is the same number however G_l's own weights beyond G_r, G_s lie."""
    phase = method_of("ugc").phase("supernet", {})
    phase.objective.g_parts = lambda D, pairs, fake: {"none": 0.0 * fake.mean()}
    phase.draw = lambda clock: phase.space.smallest
    for player in phase.players.values():
        player.net.double()
    before = {k: p.detach().clone() for k, p in phase.G.net.named_parameters()}
    phase.step(batch_of(0, dtype=torch.float64), CLOCK)
    weight, was = phase.G.net.stem.weight, before["stem.weight"]
    assert torch.equal(weight[1:], was[1:])  # outside the smallest net: at rest
    assert not torch.equal(weight[:1], was[:1])


def test_g_r_is_drawn_as_asked(method_of):
    """`spread` meets student-sized nets, `uniform` practically never."""
    shares = {}
    for sample in ("spread", "uniform"):
        phase = method_of("ugc", {"sample": sample}).phase("supernet", {})
        costs = [phase.cost(phase.draw(CLOCK.at(step))).macs_paper for step in range(150)]
        low, high = (phase.cost(a).macs_paper for a in (phase.space.smallest, phase.space.largest))
        shares[sample] = np.mean([c < (low * high) ** 0.5 for c in costs])
        assert phase.draw(CLOCK) == phase.draw(CLOCK) and phase.draw(CLOCK) in phase.space
    assert 0.35 < shares["spread"] < 0.65 and shares["uniform"] < 0.15


# The ablations of Tables 3 and 4


def other_sources(batch):
    return Batch(batch.source, batch.target, -batch.unlabelled)


@pytest.mark.parametrize("option, stage", [("nas_ssl", "supernet"), ("finetune_ssl", "distill")])
def test_without_ssl_the_unlabelled_play_no_part(method_of, distill, batch_of, option, stage):
    for value in (True, False):
        ends = []
        for change in (lambda b: b, other_sources):
            phase = distill(**{option: value}) if stage == "distill" else method_of("ugc", {option: value}).phase(stage, {})
            losses = phase.step(change(batch_of(0)), CLOCK)
            name = "student" if stage == "distill" else "G"
            ends.append(torch.cat([p.detach().flatten() for p in phase.players[name].net.parameters()]))
        assert torch.equal(*ends) == (not value)
        assert any(k.startswith("student/U.") for k in losses) == (stage == "distill" and value)


def test_without_nas_ssl_distils_on_the_pairs_sources(method_of, batch_of):
    """The same as a stage 1 whose unlabelled sources are A's."""
    ends = []
    for options, unlabelled in (({"nas_ssl": False}, None), ({}, "source")):
        phase = method_of("ugc", options).phase("supernet", {})
        batch = batch_of(0)
        losses = phase.step(Batch(batch.source, batch.target, batch.source) if unlabelled else batch, CLOCK)
        ends.append([float(losses[k]) for k in sorted(losses)])
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


def test_without_nas(method_of):
    method = method_of("ugc", {"nas": False})
    assert method.stages(method.config) == ("distill",)
    assert method.steps("distill", {"supernet": 3, "distill": 4}) == 7
    cost = method.setting.cost_model(method.setting.config)
    budget = Budget.parse("8x", cost(cost.space.largest))
    chosen = method.select_by_rule(budget, cost)
    for arch in (chosen.deep, chosen.wide):
        assert len({v for k, v in arch.items() if not k.startswith("d.")}) == 1
        assert len({v for k, v in arch.items() if k.startswith("d.")}) == 1
    assert budget.holds(cost(chosen.student)) and chosen.student.depth == 0
    wider = cost.space.uniform(min(v for k, v in chosen.student.items() if not k.startswith("d.")) + 1, 0)
    assert not budget.holds(cost(wider))  # the dearest that fits
    assert chosen.deep.depth == cost.space.largest.depth and chosen.deep != chosen.wide
    assert chosen.wide.depth <= chosen.deep.depth
    phase = method.phase("distill", {"selection": chosen})  # fresh weights: nothing is inherited
    a, b = (phase.players[k].net for k in ("deep", "wide"))
    assert not torch.equal(a.stem.weight[:1, :1], b.stem.weight[:1, :1])
    assert phase.student.net.config.arch == chosen.student.text


def test_with_nas(method_of):
    method = method_of("ugc")
    assert method.stages(method.config) == ("supernet", "search", "distill")
    assert method.steps("distill", {"supernet": 3, "distill": 4}) == 4
    assert method.select_by_rule(Budget("macs", 1e9, ""), method.setting.cost_model(method.setting.config)) is None


def test_two_rates_know_who_sees_a_discriminator(method_of, distill):
    """ttur: G, the teachers and every D have their own rate; the student keeps lr and betas."""
    supernet = method_of("ugc", optimiser={"ttur": True}).phase("supernet", {})
    stage_2 = distill(setting={"optimiser": {"ttur": True}})
    for phase in (supernet, stage_2, method_of("original", optimiser={"ttur": True}).phase("original", {})):
        for name, player in phase.players.items():
            role = "student" if name == "student" else "D" if name.startswith("D") else "G"
            (group,) = player.optimiser.param_groups
            wanted = {"student": (2e-4, (0.5, 0.999)), "D": (4e-4, (0.0, 0.9)), "G": (1e-4, (0.0, 0.9))}[role]
            assert (player.lr, group["lr"], group["betas"]) == (wanted[0], *wanted), name


def test_losses_add_up():
    losses = Losses()
    part = torch.tensor([1.0, 3.0], requires_grad=True)
    total = losses.add("G", {"a": part, "b": torch.tensor(0.5)})
    assert float(total.detach()) == 2.5 and total.requires_grad
    losses.add("G", {"a": torch.tensor(4.0)})  # the same part again: both count
    assert {k: float(v) for k, v in losses.items()} == {"G/a": 6.0, "G/b": 0.5} and not losses["G/a"].requires_grad


def test_teachers_regions_are_reachable_in_this_space(method_of):
    """Guards these tests: the tiny spaces used here hold what a search would look for."""
    cost = (method := method_of("ugc")).setting.cost_model(method.setting.config)
    region = Region(cost.space, lambda a: float(cost(a).macs_paper), 0.0, cost(cost.space.largest).macs_paper / 8)
    assert region.draw(np.random.default_rng(0)) in region
