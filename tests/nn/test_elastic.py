"""Elastic layers: one slice rule, parts at concatenations, the parameter itself at full width."""

import pytest
import torch
import torch.nn.functional as F

from ugc.nn import blocks
from ugc.nn.blocks import ResidualBlock, Slot, Trunk
from ugc.nn.elastic import (
    ElasticBatchNorm,
    ElasticConv,
    ElasticConvTranspose,
    ElasticDepthwise,
    ElasticInstanceNorm,
    leading,
    norm,
)
from ugc.nn.shrink import copy_slices


def drawn(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in [*module.parameters(), *module.buffers()]:
            p.uniform_(0.1, 1, generator=generator)
    return module.double()


def maps(*widths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.empty(2, w, 6, 6, dtype=torch.float64).normal_(generator=generator) for w in widths]


def test_leading_takes_each_part_from_its_own_start():
    t = torch.arange(10)
    assert leading(t, (0, (4, 6), (2, 3))).tolist() == [0, 1, 4, 5, 6]
    assert leading(t, (0, (10,), (3,))).tolist() == [0, 1, 2]
    assert leading(t, (0, (2, 3, 5), (1, 3, 1))).tolist() == [0, 2, 3, 4, 5]
    assert leading(t, (0, (4, 6), (4, 6))) is t
    assert leading(t.view(1, 10), (1, (4, 6), (1, 1))).tolist() == [[0, 4]]


@pytest.mark.parametrize("layer", [
    ElasticConv((5, 3), 6, 3, padding=1), ElasticConv((4,), 6, 3, bias=False), ElasticConvTranspose((5, 3), 6, 4, 2, 1),
    ElasticDepthwise(6), ElasticInstanceNorm(6), ElasticBatchNorm(6)], ids=lambda layer: type(layer).__name__)
def test_at_full_width_the_parameters_themselves_are_used(layer):
    own = dict(layer.named_parameters()) | dict(layer.named_buffers())
    cut = layer.cut(layer.parts, layer.width)
    assert cut.keys() == own.keys()
    assert all(cut[name] is own[name] for name in own)


@pytest.mark.parametrize("transposed", [False, True])
def test_behind_a_concatenation_zeros_stand_for_missing_channels(transposed):
    """Narrow parts give what full parts with zeros in the missing channels give: a leading corner would not."""
    layer = ElasticConvTranspose((5, 3), 6, 4, 2, 1) if transposed else ElasticConv((5, 3), 6, 3, padding=1, stride=2)
    drawn(layer)
    a, b = maps(2, 3)
    padded = F.pad(a, (0, 0, 0, 0, 0, 3))
    narrow, full = layer(a, b, width=4), layer(padded, b)
    torch.testing.assert_close(narrow, full[:, :4], rtol=0, atol=1e-12)
    corner = (layer.weight[:5, :4], layer.weight[:4, :5])[not transposed]
    run = F.conv_transpose2d if transposed else F.conv2d
    wrong = run(torch.cat([a, b], 1), corner, layer.bias[:4], 2, 1)
    assert (wrong - narrow).abs().max() > 0.1


@pytest.mark.parametrize("reflect", [False, True])
def test_convolution(reflect):
    layer = drawn(ElasticConv((4,), 6, 3, stride=2, padding=1, reflect=reflect))
    (x,) = maps(3)
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect" if reflect else "constant")
    expected = F.conv2d(padded, layer.weight[:5, :3], layer.bias[:5], 2)
    torch.testing.assert_close(layer(x, width=5), expected, rtol=0, atol=1e-12)
    assert layer(maps(4)[0]).shape == (2, 6, 3, 3)


def test_depthwise():
    layer = drawn(ElasticDepthwise(6))
    (x,) = maps(4)
    y = layer(x)
    for c in range(4):
        one = F.conv2d(F.pad(x[:, c:c + 1], (1, 1, 1, 1), mode="reflect"), layer.weight[c:c + 1], layer.bias[c:c + 1])
        torch.testing.assert_close(y[:, c:c + 1], one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", [ElasticConv((5, 3), 6, 3, padding=1), ElasticConvTranspose((5, 3), 6, 4, 2, 1)])
def test_take_is_cut(layer):
    drawn(layer)
    make = {ElasticConv: lambda: ElasticConv((2, 1), 4, 3, padding=1),
            ElasticConvTranspose: lambda: ElasticConvTranspose((2, 1), 4, 4, 2, 1)}[type(layer)]
    small = make().double()
    small.take(layer)
    x = maps(2, 1)
    assert torch.equal(small(*x), layer(*x, width=4))
    small.weight.data.zero_()
    assert layer.weight.abs().min() > 0  # a copy


def test_batch_norm_is_sliced_affine_and_statistics():
    layer = drawn(ElasticBatchNorm(6)).eval()
    (x,) = maps(4)
    expected = (x - layer.running_mean[:4, None, None]) / (layer.running_var[:4, None, None] + 1e-5).sqrt()
    expected = expected * layer.weight[:4, None, None] + layer.bias[:4, None, None]
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_batch_norm_in_training_gathers_in_its_channels_only():
    layer = drawn(ElasticBatchNorm(6)).train()
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    (x,) = maps(4)
    layer(x)
    torch.testing.assert_close(layer.running_mean[:4], 0.9 * mean[:4] + 0.1 * x.mean((0, 2, 3)))
    torch.testing.assert_close(layer.running_var[:4], 0.9 * var[:4] + 0.1 * x.var((0, 2, 3)))
    assert torch.equal(layer.running_mean[4:], mean[4:]) and torch.equal(layer.running_var[4:], var[4:])


def test_batch_norm_without_gradient_leaves_the_buffers_alone():
    """In training mode it still uses the batch's statistics."""
    layer = drawn(ElasticBatchNorm(6)).train()
    before = layer.running_mean.clone(), layer.running_var.clone()
    (x,) = maps(6)
    with torch.no_grad():
        y = layer(x)
    assert torch.equal(layer.running_mean, before[0]) and torch.equal(layer.running_var, before[1])
    assert torch.equal(y, layer(x))
    assert not torch.equal(layer.running_mean, before[0])


def test_instance_norm_in_fp16_does_not_overflow():
    x = torch.full((1, 2, 32, 32), 6e4).half()
    x[..., ::2] = -6e4
    y = ElasticInstanceNorm(2)(x)
    assert y.dtype == torch.float16 and y.isfinite().all()
    torch.testing.assert_close(y.float().abs(), torch.ones(1, 2, 32, 32), rtol=1e-2, atol=0)


def test_norm_by_name():
    assert isinstance(norm("instance", 3), ElasticInstanceNorm) and isinstance(norm("batch", 3), ElasticBatchNorm)


def test_macs_of_a_transposed_convolution():
    """True on the input grid, the papers' on the output grid."""
    layer = ElasticConvTranspose((4,), 8, 3, 2, 1, 1)
    assert layer.macs((3,), 5, 16, 64) == (9 * 3 * 5 * 16, 9 * 3 * 5 * 64)
    assert ElasticConv((4, 2), 8, 3).macs((3, 2), 5, 64, 16) == (9 * 5 * 5 * 16,) * 2
    assert ElasticDepthwise(8).macs((3,), 3, 16, 16) == (9 * 3 * 16,) * 2


@pytest.mark.parametrize("kind", ["plain", "separable"])
@pytest.mark.parametrize("norm_kind", ["instance", "batch"])
def test_residual_block_narrow_is_its_copy(kind, norm_kind):
    big = drawn(ResidualBlock(6, 8, kind, norm_kind)).eval()
    small = ResidualBlock(4, 3, kind, norm_kind).double().eval()
    copy_slices(big, small)
    (x,) = maps(4)
    torch.testing.assert_close(small(x, mid=3), big(x, mid=3), rtol=0, atol=1e-12)
    assert small(x, mid=3).shape == x.shape


def test_a_slot_runs_its_first_blocks():
    slot = drawn(Slot(4, 2, "plain", "instance"))
    (x,) = maps(4)
    assert slot(x, 0) is x
    assert torch.equal(slot(x, 1), slot[0](x)) and torch.equal(slot(x, 2), slot[1](slot[0](x)))


@pytest.mark.parametrize("kind, norm_kind, together", [
    ("separable", "instance", True), ("separable", "batch", False), ("plain", "instance", False)])
def test_a_trunk_with_its_images_side_by_side(kind, norm_kind, together, monkeypatch):
    """It gives what its blocks give one behind the other, and its gradients, where no layer sees two images at once."""
    trunk = drawn(Trunk(ResidualBlock(6, 8, kind, norm_kind) for _ in range(2)))
    (x,) = maps(4)
    x.requires_grad_()
    used = []

    def learnt(run):
        out = run(x)
        assert out.shape == x.shape
        found = torch.autograd.grad(out.square().sum(), [x, *trunk.parameters()], allow_unused=True)
        return [out.detach(), *(g for g in found if g is not None)]

    plain = learnt(lambda x: trunk[1](trunk[0](x, mid=3), mid=7))
    monkeypatch.setattr(blocks, "side_by_side", lambda x: used.append(1) or True)
    ours = learnt(lambda x: trunk(x, [3, 7]))
    assert len(used) == together and len(ours) == len(plain) > 8
    for a, b in zip(ours, plain):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
