"""Spectral norm: what is used, what moves it, what it becomes."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ugc.core.device import Device
from ugc.models.generator import init_weights
from ugc.nn.elastic import ElasticConv
from ugc.nn.spectral import SpectralConv, spectral
from ugc.training.player import OptimiserConfig, Player


def conv(seed=0, **kinds):
    layer = SpectralConv(**{"parts": (3,), "width": 6, "kernel": 3, "padding": 1, **kinds})
    init_weights(layer, torch.Generator().manual_seed(seed))
    return layer.double()


def pictures(seed=0, n=2, c=3, dtype=torch.float64):
    return torch.empty(n, c, 8, 8, dtype=dtype).normal_(generator=torch.Generator().manual_seed(seed))


def vectors(layer):
    return torch.cat([layer.u, layer.v]).clone()


@pytest.mark.parametrize("kinds", [{}, {"kernel": 4, "stride": 2, "padding": 2, "bias": False}, {"reflect": True},
                                   {"parts": (2, 1), "kernel": 1, "padding": 0}], ids=str)
def test_it_is_the_convolution_with_its_weight_over_the_greatest_singular_value(kinds):
    layer = conv(**kinds)
    for _ in range(300):
        layer.iterate()
    greatest = torch.linalg.svdvals(layer.weight.flatten(1))[0]
    torch.testing.assert_close(layer.sigma, greatest, rtol=1e-10, atol=0)
    plain = ElasticConv(**{"parts": (3,), "width": 6, "kernel": 3, "padding": 1, **kinds}).double()
    plain.take(layer)
    torch.testing.assert_close(torch.linalg.svdvals(plain.weight.flatten(1))[0], torch.tensor(1.0).double())
    x = pictures()
    parts = x.split(layer.parts, 1)
    torch.testing.assert_close(layer(*parts), plain(*parts), rtol=0, atol=1e-12)


def test_sigma_is_right_before_the_first_step():
    layer = conv(parts=(64,), width=128)
    assert layer.sigma / torch.linalg.svdvals(layer.weight.flatten(1))[0] > 0.97


def test_its_gradient_takes_u_and_v_for_constants():
    """d(W / sigma) with sigma = u^T W v, as torch's own spectral norm has it."""
    layer = conv()
    theirs = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 6, 3, padding=1).double(), eps=1e-12).eval()
    with torch.no_grad():
        theirs.parametrizations.weight.original.copy_(layer.weight)
        theirs.bias.copy_(layer.bias)
        theirs.parametrizations.weight[0]._u.copy_(layer.u)
        theirs.parametrizations.weight[0]._v.copy_(layer.v)
    x = pictures()
    for net in (layer, theirs):
        net(x).pow(3).sum().backward()
    torch.testing.assert_close(layer.weight.grad, theirs.parametrizations.weight.original.grad, rtol=1e-10, atol=1e-12)


def player(seed=0):
    net = nn.Sequential(conv(seed), nn.ReLU(), conv(seed + 1, parts=(6,), width=3)).float()
    return Player(net, OptimiserConfig(lr=0.01), Device(torch.device("cpu"), "fp32"))


def test_it_moves_in_its_owners_update_only():
    """A loss of another player through this net, with gradient, in training, moves nothing of it."""
    D, G = player(), player(5)
    before = {name: tensor.clone() for name, tensor in D.net.state_dict().items()}
    x = pictures(dtype=torch.float32)
    G.learn([D(x * G(x)).mean()])
    assert all(torch.equal(tensor, before[name]) for name, tensor in D.net.state_dict().items())
    D.learn([D(x).square().mean()])
    assert not any(torch.equal(tensor, before[name]) for name, tensor in D.net.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*")
def test_an_update_then_an_iteration_is_iterate_then_use():
    """The usual order, that of torch's first spectral norm: each training forward iterates once, then uses."""
    ours = player()
    theirs = nn.Sequential(*(nn.utils.spectral_norm(nn.Conv2d(a, b, 3, padding=1)) if a else nn.ReLU()
                             for a, b in ((3, 6), (0, 0), (6, 3))))
    with torch.no_grad():
        for mine, its in ((ours.net[i], theirs[i]) for i in (0, 2)):
            for own, other in ((its.weight_orig, mine.weight), (its.bias, mine.bias), (its.weight_u, mine.u),
                               (its.weight_v, mine.v)):
                own.copy_(other)
            mine.iterate()
    optimiser = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.5, 0.999))
    for step in range(5):
        x = pictures(step, dtype=torch.float32)
        ours.learn([ours(x).square().mean()])
        optimiser.zero_grad()
        theirs.train()(x).square().mean().backward()
        optimiser.step()
    for i in (0, 2):
        torch.testing.assert_close(ours.net[i].weight, theirs[i].weight_orig, rtol=0, atol=2e-5)


def test_a_restored_player_goes_on():
    one, other, x = player(), player(9), pictures(dtype=torch.float32)
    one.learn([one(x).square().mean()])
    other.restore(copy.deepcopy(one.state()))
    for p in (one, other):
        p.learn([p(x).square().mean()])
    assert all(torch.equal(a, b) for a, b in zip(one.net.state_dict().values(), other.net.state_dict().values()))


def test_sigma_is_full_precision_under_autocast():
    layer = conv().float()
    for _ in range(50):
        layer.iterate()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer.sigma.dtype == torch.float32 and layer(pictures(dtype=torch.float32)).dtype == torch.bfloat16
        torch.testing.assert_close(layer.sigma, torch.linalg.svdvals(layer.weight.flatten(1))[0], rtol=1e-5, atol=0)


def test_drawn_from_the_generator_alone():
    a, b, c = conv(1), conv(1), conv(2)
    assert torch.equal(vectors(a), vectors(b)) and not torch.equal(vectors(a), vectors(c))
    assert spectral(nn.Sequential(a, nn.ReLU(), nn.Sequential(c))) == [a, c]
    with pytest.raises(ValueError, match="one width"):
        a(pictures(), width=4)
    other = SpectralConv((3,), 6, 3, padding=1).double()
    other.take(a)
    x = pictures()
    assert torch.equal(other(x), a(x)) and torch.equal(vectors(other), vectors(a))
    assert not torch.allclose(F.conv2d(x, a.weight, a.bias, padding=1), a(x))
