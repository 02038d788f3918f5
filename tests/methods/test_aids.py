"""What may help a student beside the paper: a lesson of its own, a mean of its weights, fresh weights."""

from dataclasses import replace

import pytest
import torch

from ugc.core.clock import Clock
from ugc.methods.aids import Average
from ugc.methods.method import Selection
from ugc.training.player import OptimiserConfig

CLOCK = Clock(1)


@pytest.fixture
def distill(method_of):
    """distill(**options) -> a fresh stage 2 out of one supernet."""

    def make(optimiser=None, **options):
        method = method_of("ugc", options)
        if optimiser:
            method.setting = replace(method.setting, optimiser=optimiser)
        supernet, space = method.setting.generator(method.setting.config, "supernet"), method.setting.family(
            method.setting.config).space
        chosen = Selection(space.smallest, space.largest, space.largest.having({"d.up2": 0}))
        D = method.setting.discriminator("D").state_dict()
        return method.phase("distill", {"supernet": supernet, "D": D, "selection": chosen})

    return make


def weights(net):
    return torch.cat([p.detach().flatten().clone() for p in net.parameters()])


def test_the_mean_is_the_formula(distill):
    net = distill().student.net
    mean, expected = Average(net, 0.5), weights(net)
    for t in range(1, 8):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(0.1 * t)
        mean.follow(net)
        c = min(0.5, (1 + t) / (10 + t))  # 2/11, 3/12, .., 8/17
        expected = c * expected + (1 - c) * weights(net)
        torch.testing.assert_close(weights(mean.net), expected)
    for p in net.parameters():  # it has its own copy
        p.data.zero_()
    assert weights(mean.net).abs().min() > 0


def test_the_mean_is_delivered_and_nothing_else_changes(distill, batch_of):
    plain, averaged = distill(), distill(average=0.9)
    start = weights(averaged.nets()["student"])
    for step in range(3):
        for phase in (plain, averaged):
            phase.step(batch_of(step), CLOCK.at(step))
    assert torch.equal(weights(plain.student.net), weights(averaged.student.net))
    assert torch.equal(weights(plain.nets()["deep_teacher"]), weights(averaged.nets()["deep_teacher"]))
    assert plain.nets()["student"] is plain.student.net
    ours, last = weights(averaged.nets()["student"]), weights(plain.student.net)
    assert not torch.equal(ours, last) and not torch.equal(ours, start)
    assert (ours - start).norm() < (last - start).norm()


def test_the_mean_is_in_the_checkpoint(distill, batch_of, tmp_path):
    one, other = distill(average=0.9), distill(average=0.9)
    one.step(batch_of(0), CLOCK)
    torch.save(one.state(), tmp_path / "phase.pt")
    other.restore(torch.load(tmp_path / "phase.pt", weights_only=True))
    for phase in (one, other):
        phase.step(batch_of(1), CLOCK.at(1))
    assert torch.equal(weights(one.nets()["student"]), weights(other.nets()["student"]))
    assert {k: float(v) for k, v in one.D_EMA.items()} == {k: float(v) for k, v in other.D_EMA.items()}


def test_batch_norms_statistics_are_the_newest():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    mean = Average(net, 0.9)
    net(torch.randn(8, 2))
    mean.follow(net)
    assert torch.equal(mean.net[1].running_mean, net[1].running_mean) and float(mean.net[1].running_mean.abs().sum()) > 0


def test_a_lesson_of_its_own_leaves_the_teachers_as_they_are(distill, batch_of):
    """The student has a discriminator that nobody else meets; it learns from targets, also where the teachers rest."""
    plain, taught = distill(every=2), distill(every=2, supervised=1.0)
    assert "D_student" in taught.players and "D_student" not in plain.players
    before = weights(taught.D["D_student"].net)
    assert torch.equal(before, weights(taught.D["D_deep"].net))  # a copy of stage 1's
    seen = []
    for step in range(2):
        for phase in (plain, taught):
            losses = phase.step(batch_of(step), CLOCK.at(step))
        seen.append(weights(taught.D["D_student"].net))
        assert {"D_student/gan", "student/sup.gan", "student/sup.recon"} <= set(losses)
    assert not torch.equal(before, seen[0]) and not torch.equal(*seen)
    for name in ("deep", "wide", "D_deep", "D_wide"):
        assert torch.equal(weights(plain.players[name].net), weights(taught.players[name].net))
    assert not torch.equal(weights(plain.student.net), weights(taught.student.net))


def test_only_with_it_does_the_student_see_targets(distill, batch_of):
    ends = []
    for supervised in (0.0, 0.0, 1.0, 1.0):
        phase, batch = distill(filter="off", supervised=supervised), batch_of(0)
        if len(ends) % 2:
            batch.target.neg_()
        phase.step(batch, CLOCK)
        ends.append(weights(phase.student.net))
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[2], ends[3])


def test_shared_discriminators_do_not_become_the_students(distill, batch_of):
    phase = distill(discriminators="shared", supervised=1.0)
    assert set(phase.D) == {"D", "D_student"}
    losses = phase.step(batch_of(0), CLOCK)
    assert {"D/gan", "D/gan1", "D_student/gan"} <= set(losses) and "D_student/gan1" not in losses


def test_a_fresh_student_alone_begins_anew(distill):
    inherited, fresh = distill(), distill(student="fresh")
    assert inherited.student.net.config == fresh.student.net.config
    assert not torch.equal(weights(inherited.student.net), weights(fresh.student.net))
    assert torch.equal(weights(inherited.T["deep"].net), weights(fresh.T["deep"].net))


def test_the_students_rate_is_the_students_alone(distill, method_of):
    """In stage 2 and nowhere else; not where it has a lesson of its own, which is a game."""
    def rates(phase):
        return {name: player.lr / 2e-4 for name, player in phase.players.items()}

    four = OptimiserConfig(student=4.0)
    assert rates(distill(optimiser=four)) == {"student": 4, "deep": 1, "wide": 1, "D_deep": 1, "D_wide": 1}
    assert set(rates(distill(optimiser=four, supervised=1.0)).values()) == {1}
    method = method_of("from-teacher")
    method.setting = replace(method.setting, optimiser=four)
    original = method.setting.generator(method.setting.family.original(method.setting.config), "given")
    first = method.phase("supernet", {"original": original})
    assert set(rates(first).values()) == {1}
    chosen = Selection(first.space.smallest)
    second = {"original": original, "supernet": first.nets()["supernet"], "selection": chosen}
    assert rates(method.phase("distill", second)) == {"student": 4}
