"""GauGAN: published sizes by hand, label maps at every scale, what its blocks share."""

import pytest
import torch
import torch.nn.functional as F

from ugc.core.errors import UserError
from ugc.models import gaugan
from ugc.models.gaugan import GauGAN
from ugc.nn.cost import total, trace
from ugc.nn.elastic import Elastic, ElasticBatchNorm
from ugc.nn.shrink import recalibrate
from ugc.nn.spectral import spectral

SIZE = (64, 128)


def on_meta(size=(256, 512), original=False, **fields):
    config = GauGAN.config_for(size, **{"in_channels": 36, **fields})
    with torch.device("meta"):
        return GauGAN(GauGAN.original(config) if original else config)


def small(original=False, **fields):
    config = GauGAN.config_for(SIZE, **{"in_channels": 5, "base": 8, **fields})
    return GauGAN(GauGAN.original(config) if original else config).init(torch.Generator().manual_seed(0)).double()


def labels(seed=0, n=2, classes=5, size=SIZE):
    ids = torch.randint(classes, (n, size[0] // 4, size[1] // 4), generator=torch.Generator().manual_seed(seed))
    ids = ids.repeat_interleave(4, 1).repeat_interleave(4, 2)
    return F.one_hot(ids, classes).permute(0, 3, 1, 2).double()


def by_hand(channels, base, start, doublings, separable=False):
    """(params, macs) of SPADE: `start` pixels at the beginning; doublings before head, middles and the four ups."""
    params = macs = 0

    def conv(a, b, kernel, pixels, bias=True):
        nonlocal params, macs
        params += a * b * kernel**2 + (b if bias else 0)
        macs += a * b * kernel**2 * pixels

    def spade(c, pixels):
        conv(channels, 2 * base, 3, pixels)
        for _ in ("gamma", "beta"):
            if separable:
                conv(1, 2 * base, 3, pixels)
                conv(2 * base, c, 1, pixels)
            else:
                conv(2 * base, c, 3, pixels)

    def block(a, inside, b, pixels):
        spade(a, pixels), conv(a, inside, 3, pixels)
        spade(inside, pixels), conv(inside, b, 3, pixels)
        if a != b:
            spade(a, pixels), conv(a, b, 1, pixels, bias=False)

    conv(channels, 16 * base, 3, start)
    widths = [16 * base] * 4 + [8 * base, 4 * base, 2 * base, base]
    pixels = start
    for a, b, doubled in zip(widths, widths[1:], doublings):
        pixels *= 4 if doubled else 1
        block(a, min(a, b), b, pixels)
    conv(base, 3, 3, pixels)
    return params, macs


MORE, NORMAL = (0, 1, 1, 1, 1, 1, 1), (0, 1, 0, 1, 1, 1, 1)


@pytest.mark.parametrize("size, fields, hand, macs, params", [
    ((256, 512), {}, (36, 64, 4 * 8, MORE), "281.277", "93.0480"),
    ((256, 512), {"in_channels": 35}, (35, 64, 4 * 8, MORE), "280.673", "93.0181"),
    ((256, 256), {"in_channels": 184, "upsampling": "normal"}, (184, 64, 8 * 8, NORMAL), "191.140", "97.481")], ids=str)
def test_published_sizes_of_the_originals(size, fields, hand, macs, params):
    net = on_meta(size, original=True, **fields)
    found = total(trace(net, None, size))
    assert (found.params, found.macs) == by_hand(*hand) and found.macs_paper == found.macs
    assert found.params == sum(p.numel() for p in net.parameters())
    assert f"{found.macs / 1e9:.{len(macs.partition('.')[2])}f}" == macs
    assert f"{found.params / 1e6:.{len(params.partition('.')[2])}f}" == params


@pytest.mark.parametrize("base, macs, params", [(64, "118.603", "70.681"), (48, "71.056", "39.975")])
def test_published_sizes_of_the_mobile_nets(base, macs, params):
    """GAN Compression's: full convolutions, gamma and beta separable, nothing inserted."""
    found = total(trace(on_meta(base=base, widths=(base,), depths=(0,)), None, (256, 512)))
    assert (found.params, found.macs) == by_hand(36, base, 32, MORE, separable=True)
    assert (f"{found.macs / 1e9:.3f}", f"{found.params / 1e6:.3f}") == (macs, params)


def member(net, widths, depths):
    return net.space.parse(",".join(f"{c.name}={v}" for c, v in zip(net.space.choices, [*widths, *depths], strict=True)))


@pytest.mark.parametrize("widths, depths, macs, params", [
    ([8] * 8, [0] * 6, "4.39", "1.23"), ([64] * 8, [2] * 6, "267.4", "162.9"), ([64] * 8, [0] * 6, "118.603", "70.681"),
    ([8, 16, 8, 16, 8, 8, 16, 8], [1, 2, 0, 0, 2, 0], "9.21", "2.98"),
    ([8, 24, 8, 16, 24, 8, 8, 16], [1, 1, 2, 2, 0, 0], "12.59", "4.99"),
    ([8] * 8, [1] * 6, "7.22", "2.01"), ([8] * 8, [2] * 6, "10.06", "2.79"), ([16] * 8, [0] * 6, "11.755", "4.635"),
    ([32, 40, 40, 32, 40, 24, 32, 24], [0] * 6, "31.114", "21.003"),
    ([32, 32, 48, 32, 32, 32, 32, 24], [0] * 6, "31.608", "20.425"),
    ([32, 32, 32, 48, 32, 24, 24, 32], [0] * 6, "31.155", "20.174")], ids=str)
def test_members_that_the_lineage_lists(widths, depths, macs, params):
    """macs in G, params in M, to the digits printed; the paper's students lie at 8-10G / 3.0M and 12-14G / 5.0M."""
    net = on_meta()
    found = total(trace(net, member(net, widths, depths), (256, 512)))
    assert found.macs == found.macs_paper
    for text, value in ((macs, found.macs / 1e9), (params, found.params / 1e6)):
        assert f"{value:.{len(text.partition('.')[2])}f}" == text


def test_the_space():
    space = on_meta().space
    assert space.count == 8**8 * 3**6 and GauGAN.default_budget == "31x"
    assert [c.name for c in space.choices] == ["fc", "head", "middle0", "middle1", "up0", "up1", "up2", "up3", "d.middle0",
                                               "d.middle1", "d.up0", "d.up1", "d.up2", "d.up3"]


def test_every_spade_sees_the_label_map_at_its_own_scale(monkeypatch):
    """Resized once a scale, to the nearest; one map is shared by all layers of that scale, and nothing else comes in."""
    net, x = small().eval(), labels()
    resized, calls = [], []
    plain = gaugan._every
    monkeypatch.setattr(gaugan, "_every", lambda x, scale: resized.append(plain(x, scale)) or resized[-1])
    for name, layer in net.named_modules():
        if name.endswith(".shared") or name == "fc":
            layer.register_forward_pre_hook(lambda layer, args: calls.append(args[0]))
    net(x)
    assert [tuple(y.shape[2:]) for y in resized] == [(1 << k, 2 << k) for k in range(7)]
    assert len({id(y) for y in calls}) == 7 and {id(y) for y in calls} == {id(y) for y in resized}
    for y in resized:
        assert torch.equal(y, F.interpolate(x, size=y.shape[2:], mode="nearest"))
    other = x.clone()
    other[0] = labels(9)[0]
    with torch.no_grad():
        a, b = net(x), net(other)
    assert torch.equal(a[1], b[1]) and not torch.equal(a[0], b[0])


@pytest.mark.parametrize("upsampling, stride", [("more", 64), ("normal", 32)])
def test_the_start_follows_the_size(upsampling, stride):
    net, starts = small(upsampling=upsampling), []
    net.fc.register_forward_hook(lambda layer, args, out: starts.append(tuple(out.shape[2:])))
    assert net.stride == stride
    for h, w in ((1, 2), (3, 1)):
        size = h * stride, w * stride
        net.check_size(size)
        assert net(labels(size=size)).shape == (2, 3, *size) and starts[-1] == (h, w)
    with pytest.raises(UserError, match=f"begins with 1 pixel in {stride}x{stride}.*such as {stride}x{2 * stride}"):
        net.check_size((stride, stride))


def test_a_block_normalises_what_it_shares_once():
    """SPADE before conv0 and in the shortcut look at the same x: 2 norms a block, as many as are computed."""
    net = small(norm="batch", depths=(0,))
    assert sum(isinstance(m, ElasticBatchNorm) for m in net.modules()) == 2 * 7
    assert all(m.weight is None and m.bias is None for m in net.modules() if isinstance(m, ElasticBatchNorm))


def test_channels_last_changes_nothing_but_the_layout():
    net, x = small().eval(), labels()
    with torch.no_grad():
        plain, other = net(x), net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, other, rtol=0, atol=1e-12)


def test_spectral_norm_is_on_the_main_convolutions_and_for_one_width():
    net = small(original=True)
    names = {name.split(".")[-1] for name, layer in net.named_modules() if layer in spectral(net)}
    assert names == {"conv0", "conv1", "conv_s"} and len(spectral(net)) == 2 * 7 + 4
    with pytest.raises(UserError, match="one width"):
        small(spectral=True)


def test_its_own_hidden_width():
    """An imported file may have 128 whatever its base is; else twice the block's number."""
    def found(net):
        return {layer.width for name, layer in net.named_modules() if name.endswith(".shared")}
    assert found(small(original=True)) == {16} and found(small(original=True, hidden=24)) == {24}
    net = small(hidden=24)
    seen = {layer.width for layer in trace(net, net.space.smallest, SIZE) if layer.name.endswith(".shared")}
    assert seen == {24}
    assert {layer.width for layer in trace(small(), small().space.smallest, SIZE) if layer.name.endswith(".shared")} == {2}


def test_recalibrated_statistics_are_those_of_all_images():
    net = small(original=True).baked()
    x = [labels(seed) for seed in range(3)]
    seen = []
    first = net.blocks["head"].norm0
    first.register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    recalibrate(net, x)
    torch.testing.assert_close(first.running_mean, torch.cat(seen).mean((0, 2, 3)))
    torch.testing.assert_close(first.running_var, torch.cat(seen).var((0, 2, 3)))


def test_inserted_blocks_by_their_kind():
    kinds = {kind: [layer.kind for layer in trace(on_meta(inserted_block=kind), None, (256, 512))
                    if layer.name.startswith("slots.up3.0.conv")] for kind in ("plain", "separable")}
    assert kinds["plain"] == ["ElasticConv"] * 2
    assert kinds["separable"] == ["ElasticDepthwise", "ElasticInstanceNorm", "ElasticConv"] * 2
    assert all(isinstance(m, Elastic) or not list(m.parameters(recurse=False)) for m in on_meta().modules())
