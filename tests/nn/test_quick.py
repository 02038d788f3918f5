"""Layers computed in another order: what they give and their gradients are those of torch's own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from sizes import least_size
from ugc.core.device import in_channels_last, to_channels_last
from ugc.models.generator import FAMILIES, shrink
from ugc.nn import quick

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def random(*shape, seed=0, dtype=torch.float64, layout="nchw"):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).contiguous(memory_format=LAYOUTS[layout])


def with_gradients(function, *tensors):
    """What a function gives, and the gradient of its product with noise, for each tensor."""
    tensors = [t.detach().requires_grad_() for t in tensors]
    out = function(*tensors)
    noise = random(*out.shape, seed=9).to(out.dtype)
    return out.detach(), *torch.autograd.grad(out, tensors, noise)


def stock(monkeypatch):
    """From here on the layers are torch's own."""
    monkeypatch.setattr(quick, "here", lambda x: False)


def agree(ours, plain, **tolerance):
    assert len(ours) == len(plain)
    for a, b in zip(ours, plain):
        torch.testing.assert_close(a, b, **tolerance, check_stride=False)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 5, 6, 7), (3, 5, 6, 7), (2, 1, 4, 4), (2, 2, 260, 256), (2, 4, 1, 1),
                                   (3, 16, 6, 7), (2, 20, 5, 4), (2, 17, 1, 1)])
def test_instance_norm(shape, layout, monkeypatch):
    x = random(*shape, layout=layout) * 3 + 2
    ours = with_gradients(lambda x: quick.instance_norm(x, 1e-5), x)
    assert ours[0].is_contiguous(memory_format=LAYOUTS[layout])
    stock(monkeypatch)
    agree(ours, with_gradients(lambda x: quick.instance_norm(x, 1e-5), x), rtol=0, atol=1e-10)
    assert shape[2:] != (1, 1) or not ours[0].any()  # of one pixel it is 0


@pytest.mark.parametrize("shape", [(2, 5, 16, 16), (3, 16, 16, 16), (2, 32, 48, 48), (1, 16, 8, 8)])
def test_instance_norm_of_halves(shape, monkeypatch):
    """Whichever way is taken: no farther from the truth than torch's own, in its layout."""
    x = random(*shape, dtype=torch.bfloat16, layout="nhwc") * 3 + 2
    ours = with_gradients(lambda x: quick.instance_norm(x, 1e-5), x)
    assert in_channels_last(ours[0]) and ours[0].dtype == ours[1].dtype == torch.bfloat16
    stock(monkeypatch)
    plain, truth = (with_gradients(lambda x: quick.instance_norm(x, 1e-5), z) for z in (x, x.double()))
    for a, b, t in zip(ours, plain, truth):
        off, plain_off = ((y.double() - t).norm() / t.norm() for y in (a, b))
        assert off < 1.2 * plain_off + 1e-3 and off < 0.01


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [5, 7])
@pytest.mark.parametrize("few", [1, 2, 3])
def test_a_convolution_by_rows(few, kernel, layout, monkeypatch):
    x, weight, bias = random(2, 4, 9, 14, layout=layout), random(few, 4, kernel, kernel, seed=1), random(few, seed=2)
    called = []
    rows = quick.by_rows
    monkeypatch.setattr(quick, "by_rows", lambda *t: called.append(1) or rows(*t))
    for padding, given in ((0, (x, weight)), (kernel // 2, (x, weight, bias))):
        def ours(x, w, b=None, padding=padding):
            return quick.conv2d(x, w, b, 1, padding)

        def plain(x, w, b=None, padding=padding):
            return F.conv2d(x, w, b, 1, padding)

        agree(with_gradients(ours, *given), with_gradients(plain, *given), rtol=0, atol=1e-11)
    assert len(called) == 2


def test_halves_are_added_up_in_float32():
    """In bf16 it is no farther from the truth than the plain order is."""
    x, weight = random(2, 16, 32, 32), random(1, 16, 7, 7, seed=1) / 28
    truth = F.conv2d(x, weight)
    ours, plain = quick.by_rows(x.bfloat16(), weight.bfloat16()), F.conv2d(x.bfloat16(), weight.bfloat16())
    assert ours.dtype == plain.dtype == torch.bfloat16
    off, plain_off = ((y.double() - truth).square().mean().sqrt() for y in (ours, plain))
    assert 0 < off < 1.5 * plain_off


@pytest.mark.parametrize("n, side, kernel, stride, padding, more", [
    (1, 4, 3, 1, 1, 0), (2, 5, 4, 2, 1, 0), (1, 9, 4, 2, 1, 1), (3, 4, 3, 2, 0, 1), (1, 7, 3, 3, 2, 2)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_is_the_convolution(transposed, n, side, kernel, stride, padding, more, monkeypatch):
    """In float64, whatever size, stride, frame and output padding: its gradients, too."""
    monkeypatch.setattr(quick, "_heavy", lambda *given: True)
    x, bias = random(n, 5, side, side + 1), random(6, seed=2)
    weight = random(*((5, 6) if transposed else (6, 5)), kernel, kernel, seed=1)

    def layer(x, w, b):
        if transposed:
            return quick.conv_transpose2d(x, w, b, stride, padding, more)
        return quick.conv2d(x, w, b, stride, padding)

    ours = with_gradients(layer, x, weight, bias)
    stock(monkeypatch)
    agree(ours, with_gradients(layer, x, weight, bias), rtol=0, atol=1e-11)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n, side, kernel, stride, padding", [(1, 4, 3, 1, 1), (2, 5, 4, 2, 1), (1, 9, 4, 2, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_of_few_pixels(transposed, n, side, kernel, stride, padding, layout, monkeypatch):
    """In bf16 under autocast, as a player runs it: as near to the truth as torch's own layer is."""
    x = random(n, 192, side, side, dtype=torch.bfloat16, layout=layout)
    weight, bias = random(192, 192, kernel, kernel, seed=1, layout=layout).float() / 40, random(192, seed=2).float()

    def layer(x, w, b):
        with torch.autocast("cpu", torch.bfloat16, enabled=x.dtype == torch.bfloat16):
            if transposed:
                return quick.conv_transpose2d(x, w, b, stride, padding, 0)
            return quick.conv2d(x, w, b, stride, padding)

    used = []
    cover, put = quick.cover, quick.put
    monkeypatch.setattr(quick, "cover", lambda *a: used.append(1) or cover(*a))
    monkeypatch.setattr(quick, "put", lambda *a: used.append(1) or put(*a))
    ours = with_gradients(layer, x, weight, bias)
    pays = weight.numel() >= quick.HEAVIER * n * (side if transposed or stride == 1 else side // 2)**2
    assert len(used) == pays
    stock(monkeypatch)
    plain = with_gradients(layer, x, weight, bias)
    truth = with_gradients(layer, x.double(), weight.double(), bias.double())
    assert len(used) == pays
    for a, b, t in zip(ours, plain, truth):
        assert a.dtype == b.dtype and a.shape == t.shape
        off, plain_off = ((y.double() - t).norm() / t.norm() for y in (a, b))
        assert off < 1.5 * plain_off + 1e-3 and off < 0.01
    assert in_channels_last(ours[0]) >= (layout == "nhwc") and (in_channels_last(ours[2]) or not pays)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_of_a_slice_lies_as_it_comes(layout, monkeypatch):
    monkeypatch.setattr(quick, "LAID", 64)
    weight, part = random(6, 5, 3, 3).requires_grad_(), random(4, 2, 3, 3, layout=layout)
    cut = quick.narrow(weight, ((0, 0, 4), (1, 3, 2)))
    assert torch.equal(cut, weight[:4, 3:]) and cut.data_ptr() == weight[:, 3:].data_ptr()
    (gradient,) = torch.autograd.grad(cut, weight, part)
    assert gradient.is_contiguous(memory_format=LAYOUTS[layout]) and torch.equal(gradient[:4, 3:], part)
    assert int((gradient != 0).sum()) == part.numel()
    with torch.no_grad():
        assert torch.equal(quick.narrow(weight, ((1, 3, 2),)), weight[:, 3:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_of_a_slice_is_added_where_gradients_are_added_up(layout, monkeypatch):
    """Two slices that share a corner, and the whole: the sum is that of torch, and what was added is not given back."""
    monkeypatch.setattr(quick, "LAID", 64)
    weight, before = random(6, 5, 3, 3).requires_grad_(), random(6, 5, 3, 3, layout=layout)
    part, other = random(4, 2, 3, 3, layout=layout), random(6, 3, 3, 3)

    def cut():
        return quick.narrow(weight, ((0, 0, 4), (1, 3, 2))), quick.narrow(weight, ((1, 2, 3),))

    weight.grad = before.clone(memory_format=torch.preserve_format)
    assert torch.autograd.grad(cut(), weight, (part, other), allow_unused=True) == (None,)
    expected = before.clone()
    expected[:4, 3:] += part
    expected[:, 2:] += other
    torch.testing.assert_close(weight.grad, expected, rtol=0, atol=1e-6)
    (whole,) = torch.autograd.grad((*cut(), weight), weight, (part, other, before))  # of the whole weight as ever
    assert torch.equal(whole, before)


@pytest.mark.parametrize("n, c, side", [(1, 3, 4), (3, 1, 2), (2, 5, 6)])
def test_images_side_by_side(n, c, side):
    """Channel c of image i is channel i C + c; a norm and a 1x1 convolution give what they give of each image."""
    x = random(n, c, side, side + 1)
    together = quick.beside(x)
    torch.testing.assert_close(together.reshape(x.shape), x, rtol=0, atol=0)
    assert in_channels_last(together) and in_channels_last(quick.apart(together, n))
    torch.testing.assert_close(quick.apart(together, n), x, rtol=0, atol=0)
    weight, bias = random(7, c, 1, 1, seed=1), random(7, seed=2)
    for ours, plain, given in (
            (lambda x: quick.instance_norm(quick.beside(x), 1e-5), lambda x: quick.instance_norm(x, 1e-5), (x,)),
            (lambda x, w, b: quick.pointwise(quick.beside(x), w, b, n), F.conv2d, (x, weight, bias))):
        def separated(*tensors, ours=ours):
            return quick.apart(ours(*tensors), n)

        agree(with_gradients(separated, *given), with_gradients(plain, *given), rtol=0, atol=1e-11)


def test_when_images_go_side_by_side():
    x = to_channels_last(random(2, 16, 8, 8, dtype=torch.bfloat16))
    assert quick.side_by_side(x)
    for other in (x[:1], x[:, :8], x.contiguous(), x.float(), x.to("meta"), x.expand(2, 16, 8, 8).repeat(1, 1, 8, 8)):
        assert not quick.side_by_side(other)


def test_a_layout_goes_through_every_layer():
    """Also through a stem of few channels out, which is computed by rows. (Of one channel a ReLU forgets it.)"""
    x = random(2, 1, 16, 16, dtype=torch.float32)
    for picture, last in ((to_channels_last(x), True), (x, False)):
        for width in (1, 2, 8):
            stem, next_ = random(width, 1, 7, 7).float(), random(4, width, 3, 3).float()
            y = quick.conv2d(quick.reflected(picture, 3), stem, None, 1, 0)
            assert in_channels_last(y) == in_channels_last(quick.instance_norm(y, 1e-5)) == last
            assert width == 1 or in_channels_last(quick.conv2d(F.relu(y), next_, None, 2, 1)) == last


def test_reflection_keeps_halves():
    x = random(1, 2, 4, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert quick.reflected(x, 1).dtype == torch.bfloat16
    torch.testing.assert_close(quick.reflected(x, 2).float(), F.pad(x.float(), (2,) * 4, mode="reflect"), rtol=0, atol=0)


def test_where_nothing_is_computed_the_layers_are_torchs_own():
    """On `meta`, where work is counted: the rows of a head see the frame above and below, which is no useful work."""
    for device, rows in (("meta", 10), ("cpu", 16)):
        with FlopCounterMode(display=False) as counter:
            quick.conv2d(torch.zeros(1, 4, 16, 16, device=device), torch.zeros(1, 4, 7, 7, device=device), None, 1, 0)
        assert counter.get_total_flops() == 2 * 4 * 49 * rows * 10


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_draws_and_learns_the_same(family, layout, monkeypatch):
    cls, size = FAMILIES[family], least_size(family)
    net = cls(cls.config_for(size, base=8, out_channels=1)).init(torch.Generator().manual_seed(0)).double()
    small = shrink(net, net.space.sample(np.random.default_rng(0))).train()
    x = random(2, *small.source_shape(size)[1:], layout=layout)

    def drawn():
        out = small(x)
        return out.detach(), *torch.autograd.grad(out.square().mean(), list(small.parameters()))

    ours = drawn()
    stock(monkeypatch)
    agree(ours, drawn(), rtol=1e-6, atol=1e-7)  # norms enlarge what a stem rounds
