"""A model of latency: what it is fitted to, and how far off it is on nets whose layers' costs are known."""

import itertools
import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from ugc.models.generator import FAMILIES
from ugc.nn.cost import CostModel, trace
from ugc.nn.latency import LatencyModel, LayerTime, MemberTimes, design, nonnegative, place_of, timed_layers

SIZE = (64, 64)


def cost_model(family, base=16):
    cls = FAMILIES[family]
    with torch.device("meta"):
        net = cls(cls.config_for(SIZE, base=base, in_channels=1, out_channels=1))
    return net, CostModel(net, SIZE)


def seconds(layer, rng=None):
    """A machine: registers of 16 channels, memory that is read and written, a start for each operator; places differ."""
    kind = 1 + zlib.crc32(layer.name.split(".")[0].encode()) % 3
    blocks = math.ceil(sum(layer.have) / 16) * math.ceil(layer.width / 16) * 256 / (sum(layer.have) * layer.width)
    true = 6e-6 + kind * 2e-11 * layer.cost.macs * blocks**0.7 + 3e-9 * (
        sum(layer.have) * layer.grid_in + layer.width * layer.grid_out)
    return true * (1 if rng is None else math.exp(0.05 * rng.standard_normal()))


def whole(net, arch):
    return 180e-6 + 1.15 * sum(seconds(layer) for layer in timed_layers(trace(net, arch, SIZE)))


def timed(net, arch, rng):
    """As a clock would have it, off by some 5 % on each layer and 2 % on the whole."""
    layers = tuple(LayerTime(place_of(layer), sum(layer.have), layer.width, seconds(layer, rng))
                   for layer in timed_layers(trace(net, arch, SIZE)))
    return MemberTimes(arch.text, whole(net, arch) * math.exp(0.02 * rng.standard_normal()), layers)


@pytest.fixture(scope="module", params=["pix2pix-resnet", "pix2pix-unet"])
def fitted(request):
    net, cost = cost_model(request.param)
    rng = np.random.default_rng(0)
    members = [timed(net, arch, rng) for arch in design(cost.space, 12, rng)]
    return net, cost, LatencyModel(cost, members)


def test_a_dozen_members_predict_others_within_15_percent(fitted):
    net, cost, model = fitted
    rng = np.random.default_rng(5)
    ladder = cost.space.ladder()
    others = [*(cost.space.sample(rng) for _ in range(12)), *ladder[:: len(ladder) // 6]]
    off = [abs(model(arch) / (1000 * whole(net, arch)) - 1) for arch in others]
    assert max(off) < 0.15 and np.median(off) < 0.05
    assert model.off[0] <= model.off[1] < 0.15


def test_more_is_never_faster(fitted):
    """A search that steps down until a net fits relies on it."""
    _, cost, model = fitted
    rng = np.random.default_rng(6)
    for arch in (cost.space.sample(rng) for _ in range(20)):
        assert all(model(more) >= model(arch) for more in cost.space.steps(arch, up=True))
    assert model(cost.space.smallest) < model(cost.space.largest)


def test_the_cost_model_says_it_with_every_cost(fitted):
    _, cost, model = fitted
    arch = cost.space.sample(np.random.default_rng(7))
    plain, both = cost(arch), cost.timed(model)(arch)
    assert both.latency_ms == model(arch) and (both.params, both.macs, both.macs_paper) == tuple(vars(plain).values())
    assert not hasattr(cost(arch), "latency_ms")  # the plain model is what it was


def test_a_law_is_found_and_extends_to_other_widths():
    """t = 3 us + 2 ns w v at four pairs of widths is known at a fifth."""
    net, cost = cost_model("pix2pix-resnet")
    arch = cost.space.largest

    def member(arch):
        layers = tuple(LayerTime(place_of(x), sum(x.have), x.width, 3e-6 + 2e-9 * sum(x.have) * x.width)
                       for x in timed_layers(trace(net, arch, SIZE)))
        return MemberTimes(arch.text, sum(x.seconds for x in layers), layers)

    members = [member(a) for a in design(cost.space, 12, np.random.default_rng(0))]
    model = LatencyModel(cost, members)
    other = arch.having({name: 10 for name in arch if not name.startswith("d.")})
    assert model(other) == pytest.approx(1000 * member(other).whole, rel=0.02)
    assert model.share == pytest.approx(1, rel=0.02) and model.overhead == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("looking", "overhead"), [(6e-6, 20e-6), (0.0, 180e-6)])
def test_what_looking_at_a_layer_costs_is_not_in_the_whole(looking, overhead):
    """Profiled layers take longer by a constant, more than half of a tiny net's time: all nets are right, and more is never
    faster; and where it costs nothing, nothing is taken off."""
    net, cost = cost_model("pix2pix-resnet")

    def member(arch):
        layers = tuple(LayerTime(place_of(x), sum(x.have), x.width, 4e-6 + 1e-9 * sum(x.have) * x.width)
                       for x in timed_layers(trace(net, arch, SIZE)))
        return MemberTimes(arch.text, overhead + sum(x.seconds for x in layers),
                           tuple(replace(x, seconds=x.seconds + looking) for x in layers))

    rng = np.random.default_rng(3)
    model = LatencyModel(cost, [member(a) for a in design(cost.space, 12, rng)])
    least = member(cost.space.smallest)
    assert looking == 0 or sum(x.seconds for x in least.layers) > 2 * least.whole
    assert model.each == pytest.approx(-1000 * looking, abs=2e-4) and model.off[1] < 0.02
    for arch in (cost.space.smallest, *(cost.space.sample(rng) for _ in range(8))):
        assert model(arch) == pytest.approx(1000 * member(arch).whole, rel=0.02)
        assert all(model(more) >= model(arch) for more in cost.space.steps(arch, up=True))


def test_what_looking_costs_may_fall_with_the_size_of_a_net():
    """Whole times that are a power of the layers' sum: others are right by the bend and not without; one was disturbed."""
    net, cost = cost_model("pix2pix-unet")

    def member(arch):
        layers = tuple(LayerTime(place_of(x), sum(x.have), x.width, 5e-7 + 2e-8 * sum(x.have) * x.width)
                       for x in timed_layers(trace(net, arch, SIZE)))
        return MemberTimes(arch.text, sum(x.seconds for x in layers) ** 1.3, layers)

    rng = np.random.default_rng(8)
    members = [member(a) for a in design(cost.space, 12, rng)]
    members[4] = replace(members[4], whole=3 * members[4].whole)
    bent = LatencyModel(cost, members)
    others = [cost.space.sample(rng) for _ in range(12)]
    true = np.array([1000 * member(arch).whole for arch in others])
    found = np.array([bent(arch) for arch in others])
    straight = (found / bent.scale) ** (1 / bent.power)
    assert bent.power == pytest.approx(1.3, abs=0.05)
    assert np.median(abs(found / true - 1)) < 0.02 and np.median(abs(straight / true - 1)) > 0.2


def test_layers_never_take_less_than_nothing():
    """Whole times that fall with the depth would have it so."""
    net, cost = cost_model("pix2pix-resnet")
    rng = np.random.default_rng(4)
    members = []
    for arch in design(cost.space, 12, rng):
        one = timed(net, arch, rng)
        members.append(replace(one, whole=one.whole * 0.9 ** arch.depth))
    model = LatencyModel(cost, members)
    assert model.each < 0
    for arch in (cost.space.smallest, *(cost.space.sample(rng) for _ in range(8))):
        assert all(model(more) >= model(arch) * (1 - 1e-12) for more in cost.space.steps(arch, up=True))  # rounding


def test_far_are_members_whose_whole_or_layers_disagree(fitted):
    net, cost, _ = fitted
    rng = np.random.default_rng(0)
    members = [timed(net, arch, rng) for arch in design(cost.space, 12, rng)]
    assert LatencyModel(cost, members).far.max() < 0.15
    members[3] = replace(members[3], whole=3 * members[3].whole)
    members[5] = replace(members[5], layers=tuple(replace(x, seconds=3 * x.seconds) for x in members[5].layers))
    far = LatencyModel(cost, members).far
    assert set(np.argsort(far)[-2:]) == {3, 5} and far[[3, 5]].min() > 0.3


def test_no_coefficient_is_below_zero_and_the_best_of_these_is_taken():
    rng = np.random.default_rng(1)
    terms = rng.uniform(0.4, 1, (9, 3))
    wanted = terms @ np.array([3.0, -0.8, 2.0])
    free = np.linalg.lstsq(terms / wanted[:, None], np.ones(9), rcond=None)[0]
    assert free.min() < 0  # so that the rule matters
    found = nonnegative(terms, wanted)

    def error(x):
        return float(np.sum((terms @ x / wanted - 1) ** 2))

    assert (found >= 0).all()
    grid = np.linspace(0, 3, 31)
    assert error(found) <= min(error(np.array(x)) for x in itertools.product(grid, repeat=3))


def test_members_show_every_layer_and_every_value():
    _, cost = cost_model("pix2pix-resnet")
    archs = design(cost.space, 12, np.random.default_rng(0))
    assert archs[:2] == [cost.space.largest, cost.space.smallest] and len(archs) == len(set(archs)) == 12
    for choice in cost.space.choices:
        assert {arch[choice.name] for arch in archs} == set(choice.values)


@pytest.mark.parametrize("family", ["pix2pix-resnet", "pix2pix-unet"])
def test_members_go_from_small_to_large_and_tell_layers_apart(family):
    """A law of t(w, v) wants small nets and large ones, and widths that do not all rise together."""
    _, cost = cost_model(family)
    drawn = design(cost.space, 12, np.random.default_rng(0))[2:]
    sizes = np.log([cost(arch).macs for arch in drawn])
    assert np.corrcoef(np.arange(len(drawn)), sizes)[0, 1] > 0.8
    widths = np.array([[arch[choice.name] for choice in cost.space.choices if not choice.is_depth] for arch in drawn]).T
    between = np.corrcoef(widths)[np.triu_indices(len(widths), 1)]
    assert 0.3 < np.median(between) < 0.9


def test_blocks_of_one_place_share_their_times():
    net, cost = cost_model("pix2pix-resnet")
    places = {place_of(layer)[0] for layer in timed_layers(trace(net, cost.space.largest, SIZE))}
    assert {"stem", "down1", "body.#.conv1.depthwise", "slots.up2.#.conv2", "head"} <= places and len(places) < 25
