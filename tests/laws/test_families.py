"""Laws of every generator family, by registry."""

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from sizes import least_size
from ugc.core.errors import UserError
from ugc.models.generator import FAMILIES, shrink
from ugc.nn.cost import Cost, CostModel, total, trace
from ugc.nn.elastic import ElasticBatchNorm
from ugc.nn.spectral import spectral

NAMES = list(FAMILIES)
VARIANTS = [{}, {"norm": "batch"}, {"norm": "instance"}, {"inserted_block": "separable"},
            {"norm": "batch", "inserted_block": "separable"}]


def build(name, size=None, seed=0, **fields):
    """A supernet in float64 with weights large enough that a wrong slice shows in the picture."""
    size, fields = size or least_size(name), {"base": 8, **fields}
    net = FAMILIES[name](FAMILIES[name].config_for(size, **fields)).init(torch.Generator().manual_seed(seed)).double()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() == 1:
                p.add_(torch.empty(p.shape).uniform_(-0.2, 0.2, generator=generator))
            else:
                p.mul_(4)
    return net


def archs_of(space, count, seed=0):
    """Random archs, the ends first."""
    rng = np.random.default_rng(seed)
    return [space.largest, space.smallest, *(space.sample(rng) for _ in range(count - 2))]


def pictures(net, size, seed=0, n=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(n, net.config.in_channels, *size, dtype=torch.float64).uniform_(-1, 1, generator=generator)


def on_meta(name, size=(256, 256), original=False, **fields):
    config = FAMILIES[name].config_for(size, **fields)
    with torch.device("meta"):
        return FAMILIES[name](FAMILIES[name].original(config) if original else config)


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_shrunk_net_is_the_sub_network(name, fields):
    net = build(name, **fields)
    for seed in range(3):  # with gradient: the running statistics of batch norms come to differ by channel
        net(pictures(net, least_size(name), seed + 10))
    norms = [m for m in net.modules() if isinstance(m, ElasticBatchNorm)]
    assert all(m.running_mean.abs().min() > 0 and m.running_mean.unique().numel() == m.width for m in norms)
    assert bool(norms) == (net.config.norm == "batch")
    x = pictures(net, least_size(name))
    for arch in archs_of(net.space, 12):
        small = shrink(net, arch)
        assert small.training and list(small.space.largest.items()) == list(arch.items())
        outputs = {}
        for training in (True, False):
            net.train(training), small.train(training)
            with torch.no_grad():
                ours, theirs = small(x), net(x, arch)
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
            outputs[training] = ours
        if norms:  # else train and eval are one
            assert (outputs[True] - outputs[False]).abs().max() > 1e-6
        net.train()


@pytest.mark.parametrize("name", NAMES)
def test_a_shrunk_net_learns_as_the_sub_network(name):
    """Statistics gathered by the shrunk net in training are those that the supernet would gather in its channels."""
    net = build(name, norm="batch")
    arch = net.space.sample(np.random.default_rng(3))
    small = shrink(net, arch)
    x = pictures(net, least_size(name))
    small(x), net(x, arch)
    again = shrink(net, arch)
    for key, value in small.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_shrinking_copies(name):
    net = build(name)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    small = shrink(net, net.space.largest)
    with torch.no_grad():
        for tensor in small.state_dict().values():
            tensor.zero_()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_shrinking_twice(name):
    """A shrunk net's config alone builds it again: same keys and shapes, and shrinking it changes nothing."""
    net = build(name)
    arch = net.space.sample(np.random.default_rng(5))
    small = shrink(net, arch)
    rebuilt = type(net)(type(net).Config.parse(small.config.model_dump(mode="json"), "config.json")).double()
    rebuilt.load_state_dict(small.state_dict())
    again = shrink(small, arch)
    x = pictures(net, least_size(name))
    assert torch.equal(small(x), rebuilt(x)) and torch.equal(small(x), again(x))


@pytest.mark.parametrize("fields", [{"inserted_block": "separable"}, {"in_channels": 1, "out_channels": 4},
                                    {"norm": "batch", "depths": (1, 3), "widths": (2, 5, 8)}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_cost_is_what_runs(name, fields):
    net, (h, w) = build(name, **fields).float().eval(), least_size(name)
    size = 2 * h, w
    cost = CostModel(net, size)
    for arch in archs_of(net.space, 6, seed=1):
        small = shrink(net, arch)
        x = torch.zeros(net.source_shape(size))
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            small.to("meta")(x.to("meta"))
        small.to_empty(device="cpu")
        found = cost(arch)
        assert found.macs == counter.get_total_flops() / 2
        assert found.params == sum(p.numel() for p in small.parameters())
        assert found == total(trace(net, arch, size))
        assert found.macs_paper == papers_count(small, x)
        assert Cost(*cost.table([arch, arch])[1]) == found


def papers_count(net, x):
    """torchprofile's way: every convolution at its output grid, transposed ones too."""
    count = []

    def watch(layer, args, out):
        weight = getattr(layer, "weight", None)
        if weight is not None and weight.dim() == 4:
            transposed = "Transpose" in type(layer).__name__
            inner = weight.shape[0] if transposed else weight.shape[1]
            count.append(inner * out.shape[1] * weight.shape[2] * weight.shape[3] * out.shape[2] * out.shape[3])

    handles = [m.register_forward_hook(watch) for m in net.modules()]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return sum(count)


@pytest.mark.parametrize("name", NAMES)
def test_cost_grows_with_every_choice(name):
    size = tuple(2 * side for side in least_size(name))
    net = on_meta(name, size, base=16)
    cost = CostModel(net, size)
    for arch in archs_of(net.space, 12, seed=2):
        here = cost(arch)
        for dearer in net.space.steps(arch, up=True):
            there = cost(dearer)
            assert all(getattr(there, key) > getattr(here, key) for key in ("params", "macs", "macs_paper")), dearer


@pytest.mark.parametrize("name", NAMES)
def test_over_ten_thousand_costs_a_second(name):
    cost = CostModel(on_meta(name), (256, 256))
    rng = np.random.default_rng(0)
    archs = list({cost.space.sample(rng) for _ in range(3000)})
    best = 0.0
    for _ in range(5):  # other people share these cores
        cost._memo.clear()
        start = time.perf_counter()
        for arch in archs:
            cost(arch)
        best = max(best, len(archs) / (time.perf_counter() - start))
        if best >= 10_000:
            break
    assert best >= 10_000


@pytest.mark.parametrize("name", NAMES)
def test_arch_text(name):
    space = on_meta(name).space
    for arch in archs_of(space, 12):
        again = space.parse(arch.text)
        assert again == arch and again.text == arch.text and hash(again) == hash(arch) and arch in space
    assert space.parse(" , ".join(reversed(space.largest.text.split(",")))) == space.largest
    first = space.choices[0]
    for wrong, word in [(f"{first.name}s=8", f"did you mean '{first.name}'"), (f"{first.name}=7", "takes one of 8, 16"),
                        (first.name, "takes one of"), (f"{first.name}=8", "no value for"), ("", "no value for")]:
        with pytest.raises(UserError, match=word):
            space.parse(wrong)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_of_the_largest_learns(name, norm):
    net = build(name, norm=norm)
    torch.manual_seed(0)
    x = pictures(net, least_size(name))
    (net(x) * torch.randn_like(x)).sum().backward()
    for key, p in net.named_parameters():
        assert p.grad is not None, key
        if p.dim() > 1:  # a bias before a norm without parameters has a gradient of zero
            assert p.grad.abs().max() > 1e-9, key


@pytest.mark.parametrize("name", NAMES)
def test_pictures_keep_their_size_and_range(name):
    h, w = least_size(name)
    for channels_in, channels_out, size in ((1, 3, (h, 2 * w)), (4, 1, (2 * h, w))):
        net = build(name, size, in_channels=channels_in, out_channels=channels_out)
        net.check_size(size)
        for arch in archs_of(net.space, 3):
            y = net(10 * pictures(net, size), arch)
            assert y.shape == (2, channels_out, *size)
            assert y.min() >= -1 and y.max() <= 1 and y.max() - y.min() > 0.02
            if arch == net.space.largest:
                assert y.min() < -0.1 and y.max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_do_not_fit_are_refused(name):
    h, w = least_size(name)
    net = on_meta(name, (h, w), base=8)
    for size in ((h, w + 1), (net.stride // 2, w), (0, 0)):
        with pytest.raises(UserError, match=f"multiples of {net.stride}"):
            net.check_size(size)


@pytest.mark.parametrize("fields", [{"base": 12}, {"base": 0}, {"widths": ()}, {"widths": (8, 4)}, {"depths": (-1, 0)},
                                    {"bases": 8}, {"norm": "group"}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_wrong_configs_are_refused_in_a_sentence(name, fields):
    with pytest.raises(UserError, match=f"family {name}: "):
        FAMILIES[name].config_for(least_size(name), **fields)


# Sizes as published (facts of the papers and of their code), at each paper's size and channels.

ORIGINALS = {  # params, macs, macs_paper
    "pix2pix-resnet": Cost(11_378_179, 49_551_507_456, 56_799_264_768),
    "pix2pix-unet": Cost(54_413_955, 6_048_186_368, 18_140_364_800),
    "pix2pixhd": Cost(182_546_755, 122_331_070_464, 151_322_099_712),
    "gaugan": Cost(93_048_003, 281_276_612_608, 281_276_612_608)}
SUPERNETS = {  # params and macs_paper of the smallest and the largest, and how many nets there are
    "pix2pix-resnet": ((38_723, 439_615_488), (5_675_779, 56_969_134_080), 8**8 * 3**4),
    "pix2pix-unet": ((852_307, 332_988_416), (136_144_515, 39_053_164_544), 8**4 * 3**14),
    "pix2pixhd": ((531_755, 2_920_415_232), (94_416_451, 228_716_445_696), 8**9 * 3**8),
    "gaugan": ((1_231_195, 4_386_027_520), (162_888_131, 267_443_093_504), 8**8 * 3**6)}


def as_published(name, original=False):
    """A net of base 64 at the paper's channels, and the paper's size."""
    size, (inside, outside) = FAMILIES[name].paper
    return on_meta(name, size, original, in_channels=inside, out_channels=outside), size


def members(name, widths, depths):
    space = on_meta(name).space
    return space.parse(",".join(f"{c.name}={v}" for c, v in zip(space.choices, [*widths, *depths], strict=True)))


@pytest.mark.parametrize("name", NAMES)
def test_published_sizes_of_the_originals(name):
    net, size = as_published(name, original=True)
    found = total(trace(net, None, size))
    assert found == ORIGINALS[name]
    assert found == CostModel(net, size)(net.space.largest)
    assert found.params == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_published_sizes_of_the_supernets(name):
    net, size = as_published(name)
    *ends, count = SUPERNETS[name]
    for arch, published in zip((net.space.smallest, net.space.largest), ends, strict=True):
        found = total(trace(net, arch, size))
        assert (found.params, found.macs_paper) == published
    assert net.space.count == count


@pytest.mark.parametrize("name, widths, depths, listed", [
    ("pix2pix-resnet", [8, 8, 8, 32, 16, 32, 8, 8], [0, 0, 2, 1], ("0.867", None, "0.100")),
    ("pix2pix-resnet", [8, 16, 8, 48, 32, 24, 8, 16], [0, 1, 2, 1], ("1.445", None, "0.151")),
    ("pix2pix-resnet", [8, 16, 16, 8, 8, 8, 32, 64], [2, 2, 2, 2], ("17.3", None, "0.63")),
    ("pix2pix-resnet", [64, 64, 64, 40, 64, 48, 64, 64], [0, 0, 0, 0], ("17.3", None, "1.74")),
    ("pix2pix-resnet", [64, 64, 64, 56, 64, 64, 48, 56], [1, 2, 0, 0], ("29.7", None, "4.5")),
    ("pix2pix-resnet", [16] * 8, [0] * 4, ("1.41", "0.955", "0.137")),
    ("pix2pix-resnet", [32] * 8, [1] * 4, ("9.76", None, None)),
    ("pix2pix-unet", [16, 8, 8, 8], [1, 2, 0, 2, 1, 0, 0, 2, 1, 0, 2, 1, 2, 2], ("0.868", "0.558", "1.503")),
    ("pix2pix-unet", [8, 16, 24, 8], [1, 0, 1, 2, 0, 1, 1, 2, 1, 0, 2, 0, 1, 0], ("1.280", "0.655", "2.030")),
    ("pix2pix-unet", [64] * 4, [0] * 14, ("18.14", "6.048", "54.414"))])
def test_members_that_the_lineage_lists(name, widths, depths, listed):
    """macs_paper and macs in G, params in M, to the digits printed."""
    arch = members(name, widths, depths)
    found = total(trace(on_meta(name), arch, (256, 256)))
    for text, value in zip(listed, (found.macs_paper / 1e9, found.macs / 1e9, found.params / 1e6)):
        if text is not None:
            assert f"{value:.{len(text.partition('.')[2])}f}" == text


def test_unet_has_as_many_levels_as_the_size_halves():
    cls = FAMILIES["pix2pix-unet"]
    levels = {size: cls.config_for(size).levels for size in ((256, 256), (64, 64), (64, 128), (1024, 1024), (100, 300))}
    assert levels == {(256, 256): 8, (64, 64): 6, (64, 128): 6, (1024, 1024): 8, (100, 300): 6}
    slots = {size: sum(c.is_depth for c in on_meta("pix2pix-unet", size).space.choices) for size in ((256,) * 2, (64,) * 2)}
    assert slots == {(256, 256): 14, (64, 64): 10}


# The originals, written again from their papers' layer lists with nothing but torch.nn.functional.


def resnet_forward(w, x, blocks):
    """ReflPad3 conv7 IN ReLU, 2 x (conv3 s2 IN ReLU), blocks x (x + ReflPad1 conv3 IN ReLU ReflPad1 conv3 IN), .."""

    def conv(name, x, stride=1, pad=0):
        if pad:
            x = F.pad(x, (pad,) * 4, mode="reflect")
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, 0 if pad else 1)

    x = F.relu(F.instance_norm(conv("stem", x, pad=3)))
    x = F.relu(F.instance_norm(conv("down1", x, 2)))
    x = F.relu(F.instance_norm(conv("down2", x, 2)))
    for i in range(blocks):
        y = F.relu(F.instance_norm(conv(f"body.{i}.conv1", x, pad=1)))
        x = x + F.instance_norm(conv(f"body.{i}.conv2", y, pad=1))
    for name in ("up1", "up2"):
        x = F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], 2, 1, 1)
        x = F.relu(F.instance_norm(x))
    return torch.tanh(conv("head", x, pad=3))


def unet_forward(w, x, levels, training):
    """Level 1: conv, .., ReLU convT tanh. Inner: LeakyReLU conv norm, .., ReLU convT norm. Last: no norm going down.

    A level gives cat([its input, what comes from below]) to the level above.
    """

    def norm(name, x):
        mean, var = w[f"norms.{name}.running_mean"].clone(), w[f"norms.{name}.running_var"].clone()
        return F.batch_norm(x, mean, var, w[f"norms.{name}.weight"], w[f"norms.{name}.bias"], training)

    def level(k, x):
        x_in = x
        x = F.conv2d(F.leaky_relu(x, 0.2) if k > 1 else x, w[f"down.{k}.weight"], None, 2, 1)
        if 1 < k < levels:
            x = norm(f"down{k}", x)
        if k < levels:
            x = level(k + 1, x)
        x = F.conv_transpose2d(F.relu(x), w[f"up.{k}.weight"], w.get(f"up.{k}.bias"), 2, 1)
        return torch.tanh(x) if k == 1 else torch.cat([x_in, norm(f"up{k}", x)], 1)

    return level(1, x)


@pytest.mark.parametrize("training", [True, False])
def test_the_original_resnet_is_the_published_one(training):
    cls = FAMILIES["pix2pix-resnet"]
    net = cls(cls.original(cls.config_for((32, 32), base=8))).init(torch.Generator().manual_seed(0)).double().train(training)
    x = pictures(net, (32, 32))
    w = net.state_dict()
    assert {tuple(t.shape) for k, t in w.items() if k.startswith("body") and k.endswith("weight")} == {(32, 32, 3, 3)}
    assert len(w) == 48
    torch.testing.assert_close(net(x), resnet_forward(w, x, 9), rtol=0, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_the_original_unet_is_the_published_one(training):
    cls = FAMILIES["pix2pix-unet"]
    net = cls(cls.original(cls.config_for((64, 64), base=8))).init(torch.Generator().manual_seed(0)).double()
    for seed in range(3):
        net(pictures(net, (64, 64), seed))
    net.train(training)
    x = pictures(net, (64, 64))
    with torch.no_grad():
        torch.testing.assert_close(net(x), unet_forward(net.state_dict(), x, 6, training), rtol=0, atol=1e-10)
    shapes = {k: tuple(t.shape[:2]) for k, t in net.state_dict().items() if k.startswith(("down", "up"))}
    assert [shapes[f"down.{k}.weight"] for k in range(1, 7)] == [(8, 3), (16, 8), (32, 16), (64, 32), (64, 64), (64, 64)]
    ups = [(64, 64), (128, 64), (128, 32), (64, 16), (32, 8), (16, 3)]
    assert [shapes[f"up.{k}.weight"] for k in range(6, 0, -1)] == ups
    assert shapes["up.1.bias"] == (3,) and not any(f"up.{k}.bias" in shapes for k in range(2, 7))


@pytest.mark.parametrize("name", NAMES)
def test_a_baked_original_is_the_original(name):
    """What is saved of a trained net: nothing that moves in training is left, and it draws the same."""
    cls, size = FAMILIES[name], least_size(name)
    net = cls(cls.original(cls.config_for(size, base=8))).init(torch.Generator().manual_seed(0)).double()
    net(pictures(net, size, 1))
    baked = net.baked()
    assert not spectral(baked) and type(net)(baked.config).state_dict().keys() == baked.state_dict().keys()
    assert baked.baked() is baked and total(trace(baked, None, size)) == total(trace(net, None, size))
    x = pictures(net, size)
    for training in (True, False):
        with torch.no_grad():
            torch.testing.assert_close(baked.train(training)(x), net.train(training)(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_drawn_as_in_the_papers(name):
    """Convolutions N(0, 0.02), biases 0, norms N(1, 0.02); from the generator alone."""
    cls = FAMILIES[name]
    config = cls.config_for(least_size(name), base=16, norm="batch")
    net = cls(config).init(torch.Generator().manual_seed(0))
    again = cls(config).init(torch.Generator().manual_seed(0))
    other = cls(config).init(torch.Generator().manual_seed(1))
    kernels = torch.cat([p.flatten() for p in net.parameters() if p.dim() > 1])
    norms = [p.flatten() for k, p in net.named_parameters() if p.dim() == 1 and not k.endswith("bias")]
    assert abs(kernels.mean()) < 1e-4 and abs(kernels.std() - 0.02) < 2e-4
    if norms:  # else batch norm has no parameters here
        assert abs(torch.cat(norms).mean() - 1) < 5e-3 and abs(torch.cat(norms).std() - 0.02) < 5e-3
    assert all(not p.any() for k, p in net.named_parameters() if k.endswith("bias"))
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values()))
    assert any(not torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))
