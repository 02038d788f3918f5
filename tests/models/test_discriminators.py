"""Discriminators: the published ones, scale by scale, the frozen one, and one number an image."""

from itertools import chain

import pytest
import torch
import torch.nn.functional as F

from ugc.core.device import Device
from ugc.core.errors import UserError
from ugc.models.discriminators import Discriminator, Judgement, PatchConfig, halved, score
from ugc.nn.spectral import spectral
from ugc.training.player import OptimiserConfig, Player

PIX2PIXHD = {"scales": 2, "padding": 2}
GAUGAN = {"scales": 2, "padding": 2, "spectral": True}


def build(channels=4, base=8, size=(32, 32), **fields):
    net = Discriminator(channels, PatchConfig(**fields).resolved(base, size)).init(torch.Generator().manual_seed(0)).double()
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
        net = Discriminator(6, config.model_copy(update={"norm": "batch"}))
        assert net(*(torch.empty(1, 3, 256, 256),) * 2).scores[0].shape == (1, 1, 30, 30)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(11.042, abs=5e-4)
    net = build(ndf=2, strided=3)
    net.norms = torch.nn.ModuleList(torch.nn.Identity() for _ in net.norms)  # instance norm sees the whole image
    x = pictures(0, n=1, size=128).requires_grad_()
    net(x, pictures(1, n=1, size=128)).scores[0][0, 0, 7, 7].backward()
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
    torch.testing.assert_close(net(x, y).scores[0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("fields, count", [
    (PIX2PIXHD, 2 * (39 * 64 * 16 + 64 + 64 * 128 * 16 + 128 + 128 * 256 * 16 + 256 + 256 * 512 * 16 + 512 + 512 * 16 + 1)),
    (GAUGAN, 2 * (39 * 64 * 16 + 64 + 64 * 128 * 16 + 128 * 256 * 16 + 256 * 512 * 16 + 512 * 16 + 1))],
    ids=["pix2pixhd, 5.603 M", "gaugan, 5.601 M"])
def test_published_sizes_on_two_scales(fields, count):
    """64 s2, 128 s2, 256 s2, 512 s1, 1 s1, kernel 4, padding 2: by hand, to the last parameter."""
    config = PatchConfig(**fields).resolved(64, (256, 512))
    assert (config.ndf, config.strided, config.norm) == (64, 3, "instance")
    with torch.device("meta"):
        net = Discriminator(39, config)
        said = net(torch.empty(1, 36, 256, 512), torch.empty(1, 3, 256, 512))
    assert sum(p.numel() for p in net.parameters()) == count
    assert round(count / 1e6, 3) == (5.601 if "spectral" in fields else 5.603)
    assert [[tuple(m.shape[1:]) for m in maps] for maps in said.maps] == [
        [(64, 129, 257), (128, 65, 129), (256, 33, 65), (512, 34, 66)],
        [(64, 65, 129), (128, 33, 65), (256, 17, 33), (512, 18, 34)]]
    assert [tuple(s.shape[1:]) for s in said.scores] == [(1, 35, 67), (1, 19, 35)]


def test_one_scale_has_the_names_of_a_patchgan_alone():
    """Weights of runs that knew one scale only are still these."""
    assert not [key for key in build().state_dict() if not key.startswith(("convs.", "last."))]
    two = [key for key in build(scales=2).state_dict() if key.startswith("coarser.0.")]
    assert [key.removeprefix("coarser.0.") for key in two] == list(build().state_dict())


def test_the_family_fills_in_what_the_recipe_leaves_open():
    own = {**GAUGAN, "norm": "batch"}
    assert PatchConfig().resolved(16, (64, 64), own) == PatchConfig(**own, ndf=16, strided=2)
    given = PatchConfig(scales=1, padding=1, spectral=False, norm="instance")
    assert given.resolved(16, (64, 64), own) == PatchConfig().resolved(16, (64, 64)) == given.resolved(16, (64, 64))
    assert PatchConfig().resolved(16, (64, 64)).ndf == 32  # one scale: 2 x base


def test_coarse_scales_need_room():
    two = PatchConfig(scales=2, strided=2).resolved(8, (24, 24))
    two.check_size((24, 24))
    with pytest.raises(UserError, match="2 strided layers on 2 scales needs 24 pixels"):
        two.check_size((24, 23))


def test_halving_leaves_out_what_is_outside():
    ones = torch.ones(1, 2, 5, 8)
    assert torch.equal(halved(ones), torch.ones(1, 2, 3, 4))
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert halved(x)[0, 0, 0, 0] == (0 + 1 + 4 + 5) / 4 and halved(x)[0, 0, 1, 1] == x[0, 0, 1:4, 1:4].mean()


def test_the_coarse_scale_is_a_patchgan_on_halved_pictures():
    net, x, y = build(**PIX2PIXHD), pictures(0), pictures(1)
    alone = build(ndf=8)
    alone.load_state_dict({k.removeprefix("coarser.0."): v for k, v in net.state_dict().items() if k.startswith("coarser")})
    for layer in (*alone.convs, alone.last):
        layer.padding = (2, 2)
    said, wanted = net(x, y), alone(halved(x), halved(y))
    torch.testing.assert_close(said.scores[1], wanted.scores[0], rtol=0, atol=1e-12)
    for a, b in zip(said.maps[1], wanted.maps[0], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_maps_are_what_the_next_layer_sees():
    net, x, y = build(ndf=8), pictures(0), pictures(1)
    said = net(x, y)
    assert [m.shape[1] for m in said.maps[0]] == [8, 16, 32]
    torch.testing.assert_close(net.last(said.maps[0][-1]), said.scores[0], rtol=0, atol=0)
    first = F.leaky_relu(net.convs[0](torch.cat([x, y], 1)), 0.2)
    torch.testing.assert_close(said.maps[0][0], first, rtol=0, atol=0)  # behind the leaky ReLU


def test_spectral_layers_have_gain_one():
    """The middle layers' weights, as used, have a greatest singular value of 1; first and last are as they are."""
    net = build(**GAUGAN)
    assert [layer.bias for layer in spectral(net)] == [None] * 4
    for _ in range(200):
        for layer in spectral(net):
            layer.iterate()
    for layer in spectral(net):
        used = layer.cut(layer.parts, layer.width)["weight"].detach().flatten(1)
        assert float(torch.linalg.matrix_norm(used, 2)) == pytest.approx(1.0, abs=1e-4)


def everything(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


def test_a_frozen_spectral_discriminator_does_not_move_by_a_bit():
    """A generator's loss, Eq. 8's score and another's update leave every parameter and buffer; its own update moves them."""
    x = pictures(0).float()
    player = Player(build(**GAUGAN).float(), OptimiserConfig(), Device(torch.device("cpu"), "fp32"))
    other = Player(torch.nn.Conv2d(2, 2, 3, padding=1), OptimiserConfig(), player.device)
    before = everything(player.net)
    with torch.no_grad():
        score(player.net(x, pictures(1).float()))
    other.learn([-player.net(x, other(x)).scores[1].mean()])
    player.net.judge(x, x, -x)
    after = everything(player.net)
    assert all(torch.equal(after[k], before[k]) for k in before)
    player.learn([player.net(x, -x).scores[0].mean() + player.net(x, -x).scores[1].mean()])
    after = everything(player.net)
    moving = [k for k in before if k.endswith((".u", ".v"))]
    assert len(moving) == 8 and not any(torch.equal(after[k], before[k]) for k in moving)


@pytest.mark.parametrize("fields", [{}, {"norm": "batch"}, PIX2PIXHD, GAUGAN], ids=str)
def test_judging_several_is_judging_each(fields):
    net, x = build(**fields), pictures(0)
    images = [pictures(seed) for seed in (1, 2, 3)]
    said = net.judge(x, *images)
    assert len(said) == 3
    for image, found in zip(images, said):
        alone = net(x, image)
        for a, b in zip(chain(*found.maps, found.scores), chain(*alone.maps, alone.scores), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_score_is_one_number_an_image():
    """The mean over patches, then over scales: a coarse scale has fewer patches and as much weight."""
    patches = torch.arange(8.0).view(2, 1, 2, 2)
    assert score(Judgement([], [patches])).tolist() == [1.5, 5.5]
    assert score(Judgement([], [patches.half()])).dtype == torch.float32
    assert score(Judgement([], [patches, patches[..., :1, :1]])).tolist() == [0.75, 4.75]
    net, x, y = build(scales=2), pictures(0, n=3), pictures(1, n=3)
    torch.testing.assert_close(score(net(x, y))[1:2], score(net(x[1:2], y[1:2])))
