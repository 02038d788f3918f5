"""SPADE and GAN Compression's mobile SPADE: what is imported computes what the published list of tensors says."""

import json

import numpy as np
import pytest
import torch
from published_spade_net import forward, spade, weights

from ugc.core.encoding import encoding_of
from ugc.core.errors import UserError
from ugc.engine.given import like_original
from ugc.export.lineage import import_generator, read_generator
from ugc.export.saved import load_net
from ugc.models.generator import FAMILIES
from ugc.nn.cost import total, trace

SUB = (2, 3, 1, 2, 3, 4, 2, 3)
CASES = {  # name: (net, (H, W), number of tensors)
    "full": (spade(), (64, 128), 198),
    "full, spectral norm": (spade(spectral=True), (64, 128), 234),
    "full, hidden 128": (spade((1,) * 8, hidden=128, spectral=True), (64, 128), 234),
    "full, 35 channels": (spade(channels=35), (128, 64), 198),
    "full, 184 channels, normal": (spade(channels=184, spectral=True, upsampling="normal"), (64, 64), 234),
    "full, instance norm": (spade(norm="instance"), (256, 256), None),
    "mobile": (spade(mobile=True), (64, 128), None),
    "mobile, hidden 12": (spade(mobile=True, hidden=12), (64, 128), None),
    "sub-mobile": (spade(SUB, mobile=True), (64, 128), None),
    "sub-mobile, wide statistics": (spade(SUB, mobile=True, wide=7), (64, 128), None),
    "sub-mobile, normal": (spade(SUB, mobile=True, wide=7, upsampling="normal"), (32, 64), None),
    "one number for grey pictures": (spade(out=1), (64, 128), 198),
}


def label_maps(encoding, size, n=2):
    rng = np.random.default_rng(5)
    maps = np.stack([rng.integers(0, most, (n, size[0] // 8, size[1] // 8), np.uint8) for most in (encoding.classes, 2)], -1)
    maps = maps.repeat(8, 1).repeat(8, 2)
    return encoding.encode(maps[..., : encoding.stored])


def words(net):
    return {} if net["upsampling"] == "more" else {"upsampling": "normal"}


@pytest.mark.parametrize("case", CASES)
def test_it_draws_what_the_published_net_draws(tmp_path, case):
    net, size, count = CASES[case]
    w = weights(net)
    assert count in (None, len(w))
    torch.save(w, tmp_path / "latest_net_G.pth")
    import_generator(tmp_path / "latest_net_G.pth", tmp_path / "net", None, words(net))
    ours, about = load_net(tmp_path / "net")
    x = label_maps(encoding_of(about["source"], 3), size).double()
    w = {name: t.double() if t.is_floating_point() else t for name, t in w.items()}
    with torch.no_grad():
        wanted, got = forward(w, net, x), ours.double()(x)
    assert 0.05 < wanted.std() < 0.95 and wanted.std(0).mean() > 0.02
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)
    left_out = ("running_mean", "running_var", "tracked", "weight_u", "weight_v")
    assert about["params"] == sum(t.numel() for name, t in w.items() if not name.endswith(left_out))
    assert about["size"] == ([256, 512] if net["upsampling"] == "more" else [256, 256])
    assert not ours.config.spectral and ours.config.upsampling == net["upsampling"]


@pytest.mark.parametrize("case, fields", [
    ("full", {"base": 2, "in_channels": 36, "modulation": "plain", "hidden": None, "norm": "batch", "arch": ""}),
    ("full, hidden 128", {"base": 1, "hidden": 128}),
    ("full, instance norm", {"norm": "instance"}),
    ("mobile, hidden 12", {"modulation": "separable", "hidden": 12, "arch": ""}),
    ("sub-mobile, wide statistics", {
        "modulation": "separable", "hidden": None, "base": 4,
        "arch": "fc=2,head=3,middle0=1,middle1=2,up0=3,up1=4,up2=2,up3=3,d.middle0=0,d.middle1=0,d.up0=0,d.up1=0,d.up2=0,"
                "d.up3=0"})])
def test_what_is_recognised(tmp_path, case, fields):
    torch.save(weights(CASES[case][0]), tmp_path / "G.pth")
    config = read_generator(tmp_path / "G.pth")[0].config
    assert {name: getattr(config, name) for name in fields} == fields


def test_statistics_are_those_of_the_leading_channels(tmp_path):
    """As many as the maps have: what is behind was of other members of the supernet."""
    w = weights(spade(SUB, mobile=True, wide=5))
    torch.save(w, tmp_path / "G.pth")
    net = read_generator(tmp_path / "G.pth")[0]
    there = w["G_middle_0.norm_1.param_free_norm.running_var"]
    assert len(there) == 16 + 5 and torch.equal(net.blocks["middle0"].norm1.running_var, there[:16])


@pytest.mark.parametrize("numbers, macs, params", [
    ("32_40_40_32_40_24_32_24", "31.114", "21.003"), ("32_32_48_32_32_32_32_24", "31.608", "20.425"),
    ("32_32_32_48_32_24_24_32", "31.155", "20.174")])
def test_sizes_of_the_nets_that_gan_compression_released(tmp_path, numbers, macs, params):
    net = spade(tuple(int(n) for n in numbers.split("_")), mobile=True)
    torch.save({name: t.half() for name, t in weights(net).items()}, tmp_path / "latest_net_G.pth")
    cost = total(trace(read_generator(tmp_path / "latest_net_G.pth")[0], None, (256, 512)))
    assert (f"{cost.macs_paper / 1e9:.3f}", f"{cost.params / 1e6:.3f}") == (macs, params)


def test_an_original_is_our_original_without_spectral_norm(tmp_path):
    """The same config, so the same cost, as what a run saves of the original that it trains."""
    torch.save(weights(spade((8,) * 8, spectral=True)), tmp_path / "G.pth")
    cls = FAMILIES["gaugan"]
    original = cls.original(cls.config_for((256, 512), base=8, in_channels=36))
    assert read_generator(tmp_path / "G.pth")[0].config == original.model_copy(update={"spectral": False})


def test_a_supernet_like_an_imported_net(tmp_path):
    """Takes its doublings and its norm, and not what only originals have: full gamma and beta, a hidden layer of 128."""
    torch.save(weights(spade((8,) * 8, hidden=128, upsampling="normal")), tmp_path / "G.pth")
    import_generator(tmp_path / "G.pth", tmp_path / "net", None, {"upsampling": "normal"})
    fields = like_original(tmp_path / "net", None)
    assert fields == {"base": 8, "data": {"size": [256, 256]}, "family": "gaugan",
                      "generator": {"norm": "batch", "upsampling": "normal"}}


def test_names_in_front_and_tables(tmp_path):
    net, size, _ = CASES["full, spectral norm"]
    w = weights(net)
    torch.save({"netG": {f"module.{name}": t for name, t in w.items()}}, tmp_path / "G.pth")
    x = label_maps(encoding_of({"kind": "labels", "classes": 35, "edges": True}, 36), size)
    with torch.no_grad():
        torch.testing.assert_close(read_generator(tmp_path / "G.pth")[0](x), forward(w, net, x), rtol=0, atol=1e-4)


def test_what_no_file_says_is_said(tmp_path, ugc):
    torch.save(weights(spade()), tmp_path / "G.pth")
    told = ugc("import", tmp_path / "G.pth", "--out", tmp_path / "a")
    assert told.code == 0, told.err
    said = told.out + told.err
    for sentence in ("SPADE (GauGAN) generator of full gamma and beta", "batch norm, 36 to 3 channels",
                     "--upsampling more was taken; no file says it", "--edges yes was taken; no file says it", "at 256x512"):
        assert sentence in said
    told = ugc("import", tmp_path / "G.pth", "--out", tmp_path / "b", "--upsampling", "normal", "--edges", "no")
    assert "was taken" not in told.out + told.err and "36 classes" in told.out + told.err
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("a", "b")]
    assert [about["config"]["upsampling"] for about in configs] == ["more", "normal"]
    assert [about["source"]["edges"] for about in configs] == [True, False]
    assert [about["size"] for about in configs] == [[256, 512], [256, 256]]
    assert configs[0]["source"]["palette"] == "cityscapes"


def spoilt(change, net=None):
    w = weights(net or spade())
    change(w)
    return w


def put(name, make):
    return lambda w: w.__setitem__(name, make(w.get(name)))


def without(name):
    return lambda w: w.pop(name)


SPECTRAL = spade(spectral=True)


@pytest.mark.parametrize("w, said, expected", [
    (spoilt(put("fc.weight", lambda t: torch.zeros(32 * 8, 256))), {}, "--use_vae"),
    (spoilt(put("up_4.conv_0.bias", lambda t: torch.zeros(1))), {}, "num_upsampling_layers most"),
    (spoilt(without("up_2.norm_1.mlp_gamma.bias")), {}, "lacks up_2.norm_1.mlp_gamma.bias"),
    (spoilt(without("G_middle_1.conv_0.weight")), {}, "lacks G_middle_1.conv_0.weight"),
    (spoilt(without("head_0.norm_1.mlp_shared.0.bias")), {}, "lacks head_0.norm_1.mlp_shared.0.bias"),
    (spoilt(without("up_0.conv_s.weight_v"), SPECTRAL), {}, "up_0.conv_s.weight_u and up_0.conv_s.weight_v"),
    (spoilt(put("up_0.conv_1.weight_u", lambda t: t[1:]), SPECTRAL), {}, "up_0.conv_1.weight_u"),
    (spoilt(put("up_0.conv_1.weight_u", torch.zeros_like), SPECTRAL), {}, "up_0.conv_1.weight holds NaN or infinity"),
    (spoilt(put("up_1.norm_s.param_free_norm.running_var", lambda t: t * 2)), {}, "running_var of up_1.norm_0"),
    (spoilt(put("up_1.norm_1.param_free_norm.running_var", lambda t: t[1:])), {}, "running_var is 7, expected 8"),
    (spoilt(put("up_1.norm_1.mlp_gamma.weight", lambda t: t[:, :, :1, :1])), {}, "4x1x1, expected 8x4x3x3"),
    (spoilt(put("head_0.norm_0.mlp_shared.0.weight", lambda t: t[:3])), {}, "hidden layers of its norms have 3, 4"),
    (spoilt(put("fc.weight", lambda t: t[:20])), {}, "a multiple of 16"),
    (spoilt(put("extra.weight", lambda t: torch.zeros(1))), {}, "has tensors that such a net has not: extra.weight"),
    (weights(spade(channels=300)), {}, "classes: input should be less than or equal to 256"),
    (weights(spade()), {"size": (64, 64)}, "begins with 1 pixel"),
    (weights(spade()), {"size": (64, 96)}, "multiples of 64")], ids=lambda case: case if isinstance(case, str) else "")
def test_what_is_refused(tmp_path, w, said, expected):
    torch.save(w, tmp_path / "G.pth")
    with pytest.raises(UserError) as error:
        import_generator(tmp_path / "G.pth", tmp_path / "net", said.get("size"))
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "net").exists()
