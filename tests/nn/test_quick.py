"""Layers of few channels out, computed in another order."""

import numpy as np
import pytest
import torch

from sizes import least_size
from ugc.models.generator import FAMILIES, shrink
from ugc.nn.elastic import ElasticConv, ElasticConvTranspose
from ugc.nn.quick import quicken


def filled(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-1, 1, generator=generator)
    return layer.double()


def pictures(n, c, h, w):
    return torch.empty(n, c, h, w, dtype=torch.float64).uniform_(-1, 1, generator=torch.Generator().manual_seed(1))


def quick_and_plain(layer, *xs):
    """What a layer gives in both orders; that they were two shows in `forward`."""
    with torch.no_grad():
        plain = layer(*xs)
        assert "forward" in vars(quicken(layer))
        return layer(*xs), plain


@pytest.mark.parametrize("reflect", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel", [5, 7])
@pytest.mark.parametrize("few", [1, 2, 3])
def test_a_convolution_by_rows(few, kernel, bias, reflect):
    layer = filled(ElasticConv((4,), few, kernel, padding=kernel // 2, reflect=reflect, bias=bias))
    quick, plain = quick_and_plain(layer, pictures(2, 4, 9, 14))
    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel, padding, more", [(4, 1, 0), (3, 1, 1)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("few", [1, 2, 3])
def test_a_transposed_convolution_by_a_product(few, bias, kernel, padding, more):
    """Of an input in two parts, as a UNet's, of an odd size."""
    layer = filled(ElasticConvTranspose((2, 3), few, kernel, 2, padding, more, bias=bias))
    quick, plain = quick_and_plain(layer, pictures(2, 2, 5, 7), pictures(2, 3, 5, 7))
    assert plain.shape == (2, few, 10, 14)
    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-12)


def test_halves_are_added_up_in_float32():
    """In bf16 it is no farther from the truth than the plain order is."""
    layer = filled(ElasticConv((16,), 1, 7, padding=3, reflect=True))
    x = pictures(2, 16, 32, 32)
    with torch.no_grad():
        truth = layer(x)
    quick, plain = quick_and_plain(layer.bfloat16(), x.bfloat16())
    assert quick.dtype == plain.dtype == torch.bfloat16
    off, plain_off = ((y.double() - truth).square().mean().sqrt() for y in (quick, plain))
    assert 0 < off < 1.5 * plain_off


@pytest.mark.parametrize("layer", [ElasticConv((4,), 4, 7, padding=3), ElasticConv((4,), 1, 3, padding=1),
                                   ElasticConv((4,), 1, 7, stride=2, padding=3), ElasticConvTranspose((4,), 4, 4, 2, 1)])
def test_layers_that_do_not_gain_are_left_alone(layer):
    assert "forward" not in vars(quicken(layer))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_family_draws_the_same(family):
    cls, size = FAMILIES[family], least_size(family)
    net = cls(cls.config_for(size, base=8, out_channels=1)).init(torch.Generator().manual_seed(0)).double()
    small = shrink(net, net.space.sample(np.random.default_rng(0))).eval()
    x = pictures(1, 3, *size)
    with torch.no_grad():
        plain = small(x)
        quick = quicken(small)(x)
    torch.testing.assert_close(quick, plain, rtol=0, atol=1e-9)  # norms enlarge what a stem rounds
    if family in ("pix2pix-resnet", "pix2pix-unet", "pix2pixhd"):
        assert any("forward" in vars(layer) for layer in small.modules())
