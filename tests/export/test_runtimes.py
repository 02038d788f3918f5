"""Runtimes as clocks: every convolution gets its time, and what passes between two of them."""

import numpy as np
import pytest
import torch

from sizes import little
from ugc.core.encoding import PICTURES
from ugc.core.errors import UserError
from ugc.export.onnx_runtime import OpenedOnnx, by_layer, unwatched
from ugc.export.runtimes import LAYERED, RUNTIMES, medians, times_of
from ugc.models.generator import FAMILIES, shrink
from ugc.nn.cost import Cost, LayerCost, trace
from ugc.nn.latency import timed_layers

SIZE = (16, 16)


def member(family, **fields):
    cls = FAMILIES[family]
    net = cls(cls.config_for(SIZE, **{**little(family), "in_channels": 3, **fields}))
    return shrink(net.init(torch.Generator().manual_seed(0)), net.space.sample(np.random.default_rng(0))).eval()


@pytest.mark.parametrize("runtime, family", [("torch", "pix2pix-resnet"), ("torch", "pix2pix-unet"),
                                             ("onnxruntime", "pix2pix-resnet"), ("onnxruntime", "pix2pix-unet")])
def test_every_convolution_has_its_time(runtime, family):
    """In torch and, folded, fused and reordered, in onnxruntime."""
    net = member(family, norm="instance" if family == "pix2pix-resnet" else "batch")
    opened = RUNTIMES[runtime]().open(net, PICTURES, SIZE)
    whole = opened.seconds()
    times = opened.layers(whole)
    assert len(times) == len(timed_layers(trace(net, None, SIZE))) and min(times) > 0
    assert whole > (0.2 if runtime == "torch" else 0.99) * sum(times)
    assert RUNTIMES[runtime]().version().startswith(runtime)


def test_a_slow_layer_is_the_one_that_is_slow():
    """A pause before one convolution of the net counts to it, and to no other."""
    net = member("pix2pix-resnet")
    names = [layer.name for layer in timed_layers(trace(net, None, SIZE))]

    def wait(*_):
        torch.zeros(400, 400) @ torch.zeros(400, 400)

    slow = names.index("up1")
    net.get_submodule("up1").register_forward_pre_hook(wait)
    times = RUNTIMES["torch"]().open(net, PICTURES, SIZE).layers(1.0)
    assert max(range(len(times)), key=times.__getitem__) == slow


def node(kind, dur, shape=(1, 8, 4, 4)):
    return {"dur": dur, "args": {"op_name": kind, "output_type_shape": [{"float": list(shape)}]}}


def layer(name, width, grid):
    return LayerCost(name, "ElasticConv", (8,), width, grid, grid, Cost(1, 1, 1))


def seconds(nodes):
    return [1e-6 * one["dur"] for one in nodes]


LAYERS = [layer("a", 6, 16), layer("b", 12, 16), layer("c", 20, 4)]


def test_a_profile_is_shared_out_among_the_convolutions():
    nodes = [node("Pad", 2), node("Conv", 30), node("InstanceNormalization", 5), node("ReorderInput", 1),
             node("Conv", 10, (1, 16, 4, 4)), node("FusedConv", 7, (1, 32, 2, 2)), node("Tanh", 9)]
    assert by_layer(nodes, seconds(nodes), LAYERS) == pytest.approx([32e-6, 16e-6, 7e-6])


def test_branches_in_another_order_are_told_by_their_shapes():
    nodes = [node("Conv", 7, (1, 20, 2, 2)), node("Conv", 30, (1, 6, 4, 4)), node("Conv", 10, (1, 12, 4, 4))]
    assert by_layer(nodes, seconds(nodes), LAYERS) == pytest.approx([30e-6, 10e-6, 7e-6])


@pytest.mark.parametrize("nodes", [
    [node("Conv", 1), node("Conv", 1, (1, 16, 4, 4))],
    [node("Conv", 1), node("Conv", 1, (1, 16, 4, 4)), node("Conv", 1, (1, 32, 2, 2)), node("Conv", 1)],
    [node("Conv", 1), node("Conv", 1, (1, 16, 4, 4)), node("Conv", 1, (1, 64, 2, 2))]])
def test_other_convolutions_than_the_nets_are_refused(nodes):
    with pytest.raises(UserError, match="onnxruntime ran other convolutions"):
        by_layer(nodes, seconds(nodes), LAYERS)


@pytest.mark.parametrize(("shown", "whole", "wanted"), [
    ([5, 5, 10], 20, [5, 5, 10]), ([5, 5, 10], 25, [5, 5, 10]),  # a profile that is no slower is taken as it is
    ([5, 5, 10], 11, [2, 2, 7]), ([3, 3, 3, 30], 27.9, [0.3, 0.3, 0.3, 27]), ([10, 3, 30, 3], 31.6, [5.5, 0.3, 25.5, 0.3]),
    ([4, 3, 8], 1.5, [0.4, 0.3, 0.8]), ([4, 3, 8], 0.75, [0.2, 0.15, 0.4]), ([7], 2, [2])])
def test_looking_costs_every_node_the_same(shown, whole, wanted):
    """But none more than nine tenths of what is seen of it; the sum is that of a picture with nobody looking."""
    assert unwatched(shown, whole) == pytest.approx(wanted)


def test_time_that_only_the_profile_takes_is_no_layers(monkeypatch):
    """Two layers as heavy as each other, one with ten nodes beside it that do nothing but are looked at."""
    opened = object.__new__(OpenedOnnx)
    opened.expected = [layer("a", 6, 16), layer("b", 12, 16)]
    nodes = [node("Shape", 3)] * 10 + [node("Conv", 23), node("Conv", 23, (1, 16, 4, 4))]
    monkeypatch.setattr(opened, "profile", lambda: [nodes] * 5)
    first, second = opened.layers(43e-6)
    assert (first, second) == pytest.approx((23e-6, 20e-6), abs=1e-6)


def test_the_median_leaves_the_first_passes_out():
    assert medians([[9.0, 9.0]] * 3 + [[1.0, 2.0], [2.0, 3.0], [7.0, 2.5]]) == [2.0, 2.5]
    calls = []
    assert len(times_of(lambda: calls.append(1), seconds=0.0, least=4)) == 4 and len(calls) == 7
    assert len(times_of(lambda: None, seconds=60, most=LAYERED)) == LAYERED


def test_an_unknown_runtime():
    with pytest.raises(UserError, match=r"unknown runtime 'onnxruntme': did you mean 'onnxruntime'\?"):
        RUNTIMES["onnxruntme"]
