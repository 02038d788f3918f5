"""Players and schedules."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from moments import moments
from ugc.core.device import Device
from ugc.training.player import OptimiserConfig, Player
from ugc.training.schedules import SCHEDULES, warmed

FP32 = Device(torch.device("cpu"), "fp32")


def player(seed=0, device=FP32, **config):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    return Player(net, OptimiserConfig(**config), device)


X = torch.linspace(-1, 1, 15, dtype=torch.float64).view(5, 3)


def weights(p):
    return torch.cat([w.detach().flatten() for w in p.net.parameters()])


def test_learning_is_adam():
    one, other = player(lr=0.01, betas=(0.3, 0.9)), player()
    plain = torch.optim.Adam(other.net.parameters(), lr=0.01, betas=(0.3, 0.9), fused=False, foreach=False)
    for _ in range(5):
        one.learn([one(X).square().mean()])
        plain.zero_grad()
        other.net(X).square().mean().backward()
        plain.step()
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=1e-13)


def convolutions():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 4))


BF16 = Device(torch.device("cpu"), "bf16")


@pytest.mark.parametrize("device, settled, odd", [(FP32, True, 0), (BF16, True, 0), (BF16, False, 2)])
def test_learning_is_adam_whatever_the_layout_of_a_gradient(device, settled, odd):
    """In channels_last gradients of weights come as channels_last, too, and fused Adam reads flat memory."""
    net = convolutions()
    before = [w.detach().clone() for w in net.parameters()]
    p, x = Player(net, OptimiserConfig(lr=0.1), device), torch.randn(2, 1, 9, 9)
    if not settled:
        net.to(memory_format=torch.contiguous_format)
    gradients = torch.autograd.grad(p(x).float().square().mean(), p.own)
    assert sum(g.stride() != w.stride() for g, w in zip(gradients, p.own)) == odd
    p.learn([p(x).float().square().mean()])
    for w, old, g in zip(p.own, before, gradients):  # the first step of Adam: lr g / (|g| + eps)
        torch.testing.assert_close(w.detach(), old - 0.1 * g / (g.abs() + 1e-8), rtol=1e-4, atol=1e-5)


def test_several_losses_are_their_sum_one_graph_at_a_time():
    one, other, alive = player(), player(), []

    def losses():
        for power in (1, 2, 3):
            alive.append(power)
            yield one(X).pow(power).mean()

    one.learn(losses())
    y = other(X)
    other.learn([y.mean() + y.pow(2).mean() + y.pow(3).mean()])
    assert alive == [1, 2, 3]
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=1e-12)
    for a, b in zip(one.optimiser.state.values(), other.optimiser.state.values()):
        torch.testing.assert_close(a["exp_avg"], b["exp_avg"], rtol=1e-12, atol=1e-16)


def test_nobody_else_learns():
    """A loss through two players moves the one that learns; no gradient stays behind in either."""
    G, D = player(1), player(2)
    before = weights(D)
    G.learn([D.net[2](D.net[1](D.net[0](X * G(X)))).mean()])
    assert torch.equal(weights(D), before)
    assert all(p.grad is None for who in (G, D) for p in who.net.parameters())
    assert not D.optimiser.state


def test_a_parameter_out_of_the_graph_and_a_frozen_one_keep_still():
    p = player()
    before = [w.detach().clone() for w in p.net.parameters()]
    p.learn([p.net[0](X).square().mean()])
    after = list(p.net.parameters())
    assert not torch.equal(after[0], before[0]) and torch.equal(after[2], before[2])
    net = nn.Linear(3, 1)
    net.bias.requires_grad_(False)
    frozen = Player(net, OptimiserConfig(), FP32)
    bias = net.bias.clone()
    frozen.learn([frozen(X.float()).mean()])
    assert len(frozen.own) == 1 and torch.equal(net.bias, bias)


def test_no_loss_no_move():
    p = player()
    before = weights(p)
    p.learn([])
    assert torch.equal(weights(p), before)


def test_the_rate_is_a_factor_of_the_configured_one():
    p = player(lr=0.5)
    for _ in range(2):  # not of the last one
        p.set_lr(0.1)
    assert [g["lr"] for g in p.optimiser.param_groups] == [0.05]
    p.set_lr(0.0)
    before = weights(p)
    p.learn([p(X).mean()])
    assert torch.equal(weights(p), before)


def test_two_rates():
    """SPADE's: G 1e-4, D 4e-4, betas (0, 0.9); who sees no discriminator keeps its own."""
    two, one = OptimiserConfig(ttur=True), OptimiserConfig()
    found = {role: (two.of(role).lr, two.of(role).betas) for role in ("generator", "discriminator", "pupil")}
    assert found == {"generator": (1e-4, (0.0, 0.9)), "discriminator": (4e-4, (0.0, 0.9)), "pupil": (2e-4, (0.5, 0.999))}
    assert all(one.of(role) == one for role in found)


@pytest.mark.parametrize("ttur", [False, True])
def test_the_student_may_have_a_rate_of_its_own(ttur):
    """Only who learns from teachers alone in stage 2, and it is a factor of the same schedule."""
    config = OptimiserConfig(lr=1e-3, student=4.0, ttur=ttur)
    assert (config.of("student").lr, config.of("student").betas) == (4e-3, (0.5, 0.999))
    assert all(config.of(role) == OptimiserConfig(lr=1e-3, ttur=ttur).of(role).model_copy(update={"student": 4.0})
               for role in ("generator", "discriminator", "pupil"))


def test_a_restored_player_goes_on(tmp_path):
    one = player(lr=0.1)
    for _ in range(3):
        one.learn([one(X).square().mean()])
    torch.save(one.state(), tmp_path / "p.pt")
    other = player(seed=9, lr=0.1)
    other.restore(torch.load(tmp_path / "p.pt", weights_only=True))
    assert torch.equal(weights(one), weights(other))
    for p in (one, other):
        p.learn([p(X).square().mean()])
    assert torch.equal(weights(one), weights(other))


def test_a_player_is_restored_from_a_machine_that_lays_weights_otherwise():
    """Its weights are channels_last here, and its moments with them: fused Adam would take others in a wrong order."""
    one, x = Player(convolutions(), OptimiserConfig(lr=0.1), FP32), torch.randn(2, 1, 9, 9)
    one.learn([one(x).square().mean()])
    other = Player(convolutions(), OptimiserConfig(lr=0.1), BF16)
    other.restore(deepcopy(one.state()))
    weight = other.net[2].weight
    assert weight.stride() != one.net[2].weight.stride() and torch.equal(weight, one.net[2].weight)
    found, given = ([kept[key] for kept in moments(p).values() for key in ("exp_avg", "exp_avg_sq")] for p in (other, one))
    assert len(found) == 8 and all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(found, given))
    for p in (one, other):  # by the moments alone
        p.learn([sum((w * 0).sum() for w in p.own)])
    torch.testing.assert_close(weight, one.net[2].weight, rtol=0, atol=1e-6)


def test_the_net_runs_in_the_devices_precision():
    net = nn.Linear(3, 1)
    p = Player(net, OptimiserConfig(), Device(torch.device("cpu"), "bf16"))
    assert p(X.float()).dtype == torch.bfloat16 and net.weight.dtype == torch.float32 and p.scaler is None
    p.learn([p(X.float()).float().mean()])


@pytest.mark.parametrize("name, expected", [("linear", [1.0, 0.75, 0.5, 0.25, 0.0]), ("lineage", [1.0, 1.0, 1.0, 0.5, 0.0])])
def test_schedules(name, expected):
    assert [SCHEDULES[name](step, 100) for step in (0, 25, 50, 75, 100)] == pytest.approx(expected)
    factors = [SCHEDULES[name](step, 37) for step in range(37)]
    assert factors == sorted(factors, reverse=True) and min(factors) > 0


def test_a_warm_up_rises_in_equal_steps_and_then_leaves_the_schedule_alone():
    assert [warmed(step, 4) for step in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    plain, warm = OptimiserConfig(), OptimiserConfig(warmup=10)
    assert warm.rate(0, 100) == pytest.approx(0.1) and warm.rate(4, 100) == pytest.approx(0.5 * 0.96)
    assert all(warm.rate(step, 100) == plain.rate(step, 100) for step in range(9, 100))
