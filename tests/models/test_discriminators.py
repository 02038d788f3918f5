"""PatchGAN: the published one, and one number an image."""

import pytest
import torch
import torch.nn.functional as F

from ugc.models.discriminators import PatchConfig, PatchGAN, score


def build(channels=4, base=8, size=(32, 32), **fields):
    net = PatchGAN(channels, PatchConfig(**fields).resolved(base, size)).init(torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(5)
    return net


def pictures(seed, n=2, c=2, size=32):
    return torch.empty(n, c, size, size, dtype=torch.float64).uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))


def test_published_size_and_reach():
    """ndf 128 at base 64, 11.04 M parameters, maps of 30x30 whose patches see 70x70 pixels."""
    config = PatchConfig().resolved(64, (256, 256))
    assert (config.ndf, config.strided) == (128, 3)
    with torch.device("meta"):
        net = PatchGAN(6, config.model_copy(update={"norm": "batch"}))
        assert net(*(torch.empty(1, 3, 256, 256),) * 2).shape == (1, 1, 30, 30)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(11.042, abs=5e-4)
    net = build(ndf=2, strided=3)
    net.norms = torch.nn.ModuleList(torch.nn.Identity() for _ in net.norms)  # instance norm sees the whole image
    x = pictures(0, n=1, size=128).requires_grad_()
    net(x, pictures(1, n=1, size=128))[0, 0, 7, 7].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert len(rows) == int(rows[-1] - rows[0]) + 1 == 70


def test_smaller_pictures_get_one_strided_layer_fewer():
    assert PatchConfig().resolved(16, (64, 256)).strided == 2 and PatchConfig().resolved(16, (128, 128)).strided == 3
    assert PatchConfig(ndf=5, strided=1).resolved(16, (256, 256)).ndf == 5
    assert PatchConfig().resolved(16, (64, 64)).ndf == 32


@pytest.mark.parametrize("kind", ["instance", "batch"])
def test_forward_is_the_layer_list(kind):
    """conv4 s2 LReLU; conv4 s2, norm, LReLU; conv4 s1, norm, LReLU; conv4 s1. Source and image are concatenated."""
    net, x, y = build(norm=kind), pictures(0), pictures(1)
    w = net.state_dict()
    h = torch.cat([x, y], 1)
    for i, stride in enumerate((2, 2, 1)):
        h = F.conv2d(h, w[f"convs.{i}.weight"], w.get(f"convs.{i}.bias"), stride, 1)
        if i and kind == "instance":
            h = F.instance_norm(h)
        elif i:
            h = F.batch_norm(h, None, None, w[f"norms.{i}.weight"], w[f"norms.{i}.bias"], True)
        h = F.leaky_relu(h, 0.2)
    expected = F.conv2d(h, w["last.weight"], w["last.bias"], 1, 1)
    torch.testing.assert_close(net(x, y), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["instance", "batch"])
def test_judging_several_is_judging_each(kind):
    net, x = build(norm=kind), pictures(0)
    images = [pictures(seed) for seed in (1, 2, 3)]
    maps = net.judge(x, *images)
    assert len(maps) == 3
    for image, found in zip(images, maps):
        torch.testing.assert_close(found, net(x, image), rtol=0, atol=1e-12)


def test_score_is_one_number_an_image():
    patches = torch.arange(8.0).view(2, 1, 2, 2)
    assert score(patches).tolist() == [1.5, 5.5] and score(patches.half()).dtype == torch.float32
    net, x, y = build(), pictures(0, n=3), pictures(1, n=3)
    torch.testing.assert_close(score(net(x, y))[1:2], score(net(x[1:2], y[1:2])))
