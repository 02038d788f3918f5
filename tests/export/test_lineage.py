"""Generators of other repositories: what is imported computes what the published layer list says, and works as any net."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from published_nets import forward, global_generator, resnet, unet, weights
from safetensors.torch import save_file

import ugc as package
from ugc.core.encoding import encoding_of
from ugc.export.formats import describe
from ugc.export.lineage import import_generator, read_generator
from ugc.export.saved import load_net
from ugc.export.wrapped import PictureNet
from ugc.models.generator import FAMILIES
from ugc.nn.cost import total, trace


def pictures(side, channels=3, n=2):
    return torch.empty(n, channels, side, side).uniform_(-1, 1, generator=torch.Generator().manual_seed(5))


def sources(about, side, n=2):
    """What a net takes: pictures, or random label maps and edges, one-hot."""
    encoding = encoding_of(about["source"], 3)
    if encoding.kind == "picture":
        return pictures(side, encoding.channels, n)
    rng = np.random.default_rng(5)
    maps = np.stack([rng.integers(0, most, (n, side // 8, side // 8), np.uint8) for most in (encoding.classes, 2)], -1)
    return encoding.encode(maps[..., : encoding.stored].repeat(8, 1).repeat(8, 2))


def side_of(net):
    return max(32, 2 << sum(kind == "up" for kind, *_ in net[1])) if net[0] == "model" else 2 ** (1 + str(net).count("skip"))


# ---- what is done to files ----

def as_it_is(w):
    return w


def of_old_torch(net):
    return lambda w: weights(net, old=True)


def in_table(*path):
    def wrap(w):
        for key in reversed(path):
            w = {key: w}
        return w
    return wrap


def prefixed(*heads):
    return lambda w: {f"{head}{name}": t for head in heads for name, t in w.items()}


def no_counts(w):
    return {name: t for name, t in w.items() if not name.endswith("num_batches_tracked")}


def halved(w):
    return {name: t.half() if t.is_floating_point() else t for name, t in w.items()}


def doubled(w):
    return {name: t.double() if t.is_floating_point() else t for name, t in w.items()}


def a_training_state(w):
    return {"epoch": 7, "G": w, "D": {"model.0.weight": torch.zeros(4, 6, 4, 4)}, "name": "facades",
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 2e-4}]}}


SUB = {"separable": True, "widths": (3, 10, 12), "ups": (6, 5), "dropout": 0}
MOBILE = resnet(separable=True, dropout=0)
CASES = {  # name: (net, what was done to the file)
    "full 9, dropout": (resnet(dropout=0.5), as_it_is),
    "full 9, no dropout": (resnet(), as_it_is),
    "full 6, no dropout": (resnet(blocks=6), as_it_is),
    "full 6, dropout": (resnet(blocks=6, dropout=0.5), as_it_is),
    "full 9, batch, dropout": (resnet("batch", dropout=0.5), as_it_is),
    "full 9, batch, no dropout": (resnet("batch"), as_it_is),
    "full 6, batch": (resnet("batch", blocks=6), no_counts),
    "full 9, channels": (resnet(channels=(1, 4)), as_it_is),
    "mobile": (MOBILE, as_it_is),
    "mobile, batch": (resnet("batch", separable=True, dropout=0), as_it_is),
    "sub-mobile": (resnet(**SUB, mids=[8, 8, 8, 20, 20, 20, 4, 4, 4]), as_it_is),
    "sub-mobile, batch": (resnet("batch", **SUB, mids=[8, 8, 8, 20, 20, 20, 4, 4, 4]), as_it_is),
    "sub-mobile of 6 numbers": (resnet(**SUB, mids=[8] * 9), as_it_is),
    "sub-mobile, legacy": (resnet(**SUB, mids=[8, 12, 12, 20, 12, 12, 4, 12, 12]), as_it_is),
    "pruned, full": (resnet(widths=(3, 8, 20), ups=(6, 5), mids=[8, 8, 8, 8, 8, 8, 4, 4, 4]), as_it_is),
    "old statistics": (resnet(), of_old_torch(resnet())),
    "old statistics, dropout": (resnet(dropout=0.5), of_old_torch(resnet(dropout=0.5))),
    "old statistics, mobile": (MOBILE, of_old_torch(MOBILE)),
    "DataParallel": (resnet(), prefixed("module.")),
    "compiled": (resnet("batch"), prefixed("_orig_mod.")),
    "halves": (resnet("batch"), halved),
    "doubles": (resnet(), doubled),
    "state_dict": (resnet(), in_table("state_dict")),
    "a training state": (resnet(), a_training_state),
    "tables in tables": (unet(levels=5), in_table("model", "netG")),
    "pix2pixHD": (global_generator(), as_it_is),
    "pix2pixHD, batch": (global_generator("batch", base=4, blocks=2), as_it_is),
    "pix2pixHD, old statistics": (global_generator(), of_old_torch(global_generator())),
    "pix2pixHD, 3 downs": (global_generator(downs=3, blocks=4), prefixed("module.")),
    "pix2pixHD, 1 down": (global_generator("batch", downs=1, blocks=2), in_table("model", "netG")),
    "pix2pixHD, 6 downs": (global_generator(downs=6, blocks=1, base=1), as_it_is),
    "pix2pixHD of pictures": (global_generator(channels=(3, 1)), as_it_is),
    "unet 128": (unet(), as_it_is),
    "unet 128, dropout": (unet(dropout=0.5), as_it_is),
    "unet 256": (unet(levels=8, base=1), as_it_is),
    "unet 256, dropout": (unet(levels=8, base=1, dropout=0.5), no_counts),
    "unet, instance": (unet("instance"), as_it_is),
    "unet, channels": (unet(channels=(1, 2)), prefixed("module.")),
    "unet, old statistics": (unet("instance"), of_old_torch(unet("instance"))),
    "unet, widths": (unet(levels=5, widths=[3, 4, 20, 8, 8]), as_it_is),
}


@pytest.mark.parametrize("case", CASES)
def test_it_draws_what_the_published_net_draws(tmp_path, case):
    net, change = CASES[case]
    w = weights(net, loud=1.5 if case == "pix2pixHD, batch" else 1.0)
    torch.save(change(dict(w)), tmp_path / "latest_net_G.pth")
    import_generator(tmp_path / "latest_net_G.pth", tmp_path / "net")
    ours, about = load_net(tmp_path / "net")
    if case == "halves":
        w = {name: t.half().float() for name, t in w.items()}
    x = sources(about, side_of(net)).double()
    w = {name: t.double() if t.is_floating_point() else t for name, t in w.items()}  # norms of few pixels enlarge rounding
    with torch.no_grad():
        wanted, got = forward(w, net, x), ours.double()(x)
    assert 0.05 < wanted.std() < 0.9 and wanted.std(0).mean() > 0.02  # neither flat nor saturated, nor blind to its input
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    assert about["params"] == sum(p.numel() for p in ours.parameters())
    dropped = ("running_mean", "running_var", "tracked")
    if "HD" in case and ours.config.norm == "batch":  # its convolutions have a bias there, too; it goes into the mean
        dropped += tuple(name.replace("weight", "bias") for name in list(w)[:-2] if w[name].dim() == 4)
    theirs = sum(t.numel() for name, t in w.items() if not name.endswith(dropped))
    assert about["params"] == theirs


@pytest.mark.parametrize("case", ["full 9, batch, no dropout", "sub-mobile", "unet 128"])
def test_a_bias_before_a_norm(tmp_path, case):
    """Beside batch norm, where the published nets have none, it moves the mean; beside instance norm none is needed."""
    net, _ = CASES[case]
    w = weights(net)
    normed = [name for name in w if name.endswith(".weight") and w[name].dim() == 4]
    if "sub" in case:
        del w["model.4.bias"], w["model.12.conv_block.6.conv.2.bias"]
    else:  # of every convolution that a norm follows
        for name in normed:
            stem, _, last = name.removesuffix(".weight").rpartition(".")
            if f"{stem}.{int(last) + 1}.running_mean" in w:
                width = len(w[f"{stem}.{int(last) + 1}.running_mean"])
                w[name.replace("weight", "bias")] = torch.linspace(-1, 1, width)
    torch.save(w, tmp_path / "G.pth")
    x = pictures(side_of(net))
    with torch.no_grad():
        torch.testing.assert_close(read_generator(tmp_path / "G.pth")[0](x), forward(w, net, x), rtol=0, atol=1e-5)


def test_safetensors(tmp_path):
    net = resnet("batch", blocks=6)
    w = weights(net)
    save_file(w, tmp_path / "G.safetensors")
    x = pictures(32)
    with torch.no_grad():
        torch.testing.assert_close(read_generator(tmp_path / "G.safetensors")[0](x), forward(w, net, x), rtol=0, atol=1e-5)


def test_the_file_format_of_old_torch(tmp_path):
    net = resnet(blocks=6)
    torch.save(weights(net), tmp_path / "G.pth", _use_new_zipfile_serialization=False)
    assert read_generator(tmp_path / "G.pth")[0].config.blocks == 6


@pytest.mark.parametrize("case, fields", [
    ("full 9, dropout", {"blocks": 9, "body_block": "plain", "norm": "instance", "base": 4, "arch": ""}),
    ("full 6, batch", {"blocks": 6, "body_block": "plain", "norm": "batch", "arch": ""}),
    ("mobile", {"body_block": "separable", "base": 4, "groups": 3, "arch": ""}),
    ("sub-mobile", {"body_block": "separable", "groups": 3,
                    "arch": "stem=3,down1=5,down2=3,mid1=2,mid2=5,mid3=1,up1=3,up2=5,d.down1=0,d.down2=0,d.up1=0,d.up2=0"}),
    ("sub-mobile, legacy", {"groups": 9}),
    ("pix2pixHD", {"downs": 4, "blocks": 9, "body_block": "plain", "norm": "instance", "base": 2, "in_channels": 36}),
    ("pix2pixHD, 1 down", {"downs": 1, "blocks": 2, "norm": "batch"}),
    ("unet 128", {"levels": 7, "norm": "batch", "base": 2, "arch": ""}),
    ("unet, instance", {"levels": 7, "norm": "instance"})])
def test_what_is_recognised(tmp_path, case, fields):
    torch.save(weights(CASES[case][0]), tmp_path / "G.pth")
    config = read_generator(tmp_path / "G.pth")[0].config
    assert {name: getattr(config, name) for name in fields} == fields


@pytest.mark.parametrize("family, net, size", [
    ("pix2pix-resnet", resnet(widths=(64, 128, 256), ups=(128, 64)), 256),
    ("pix2pix-unet", unet(levels=8, base=64), 256), ("pix2pixhd", global_generator(base=64, blocks=1), 256)])
def test_an_original_of_the_papers_size_is_our_original(tmp_path, family, net, size):
    """The same config, so the same cost, as what `ugc show` prints and a run trains."""
    torch.save({name: t.half() for name, t in weights(net).items() if not name.endswith("tracked")}, tmp_path / "G.pth")
    ours, _ = read_generator(tmp_path / "G.pth")
    cls = FAMILIES[family]
    fields = {"in_channels": 36, "blocks": 1} if family == "pix2pixhd" else {}
    assert ours.config == cls.original(cls.config_for((size, size), base=64, **fields))


@pytest.mark.parametrize("numbers, macs_paper, macs, params", [
    ("24_24_40_56_24_56_16_40", "4.832", "3.699", "0.703"), ("16_24_48_56_40_48_24_16", "5.419", "4.060", "0.886"),
    ("32_32_48_32_48_48_16_16", "4.962", "4.056", "0.822"), ("32_32_48_32_32_48_24_24", "5.560", "4.031", "0.781")])
def test_sizes_of_the_nets_that_gan_compression_released(tmp_path, numbers, macs_paper, macs, params):
    """Their files hold as many parameters, and cost as much, as its tables say (in G and M)."""
    c0, c1, c2, *h, u0, u1 = (int(n) for n in numbers.split("_"))
    net = resnet(separable=True, dropout=0, widths=(c0, 2 * c1, 4 * c2), mids=[4 * x for x in h for _ in range(3)],
                 ups=(2 * u0, u1))
    torch.save(weights(net), tmp_path / "latest_net_G.pth")
    cost = total(trace(read_generator(tmp_path / "latest_net_G.pth")[0], None, (256, 256)))
    found = [f"{number:.3f}" for number in (cost.macs_paper / 1e9, cost.macs / 1e9, cost.params / 1e6)]
    assert found == [macs_paper, macs, params]
    if numbers.startswith("32_32_48_32_48"):  # published exactly: 4,993,843,200 with 32,243,712 elements of instance norms
        assert cost.macs_paper == 4_993_843_200 - 32_243_712


def test_an_unet_was_trained_at_the_size_that_it_halves(tmp_path):
    for levels, side in ((7, 128), (8, 256)):
        torch.save(weights(unet(levels=levels, base=1)), tmp_path / "G.pth")
        import_generator(tmp_path / "G.pth", tmp_path / f"net{levels}")
        assert load_net(tmp_path / f"net{levels}")[1]["size"] == [side, side]


# ---- what no file says ----

@pytest.mark.parametrize("channels, words, source", [
    (36, (), {"kind": "labels", "classes": 35, "edges": True, "palette": "cityscapes", "unknown": False, "channels": 36}),
    (36, ("--edges", "no"), {"kind": "labels", "classes": 36, "edges": False, "palette": "distinct", "unknown": False,
                             "channels": 36}),
    (35, ("--edges", "no"), {"kind": "labels", "classes": 35, "edges": False, "palette": "cityscapes", "unknown": False,
                             "channels": 35}),
    (4, ("--edges", "yes"), {"kind": "labels", "classes": 3, "edges": True, "palette": "distinct", "unknown": False,
                             "channels": 4}),
    (3, (), {"kind": "picture", "channels": 3})])
def test_the_edge_map_is_said(tmp_path, ugc, channels, words, source):
    """And whatever is taken for granted is said aloud."""
    torch.save(weights(global_generator(channels=(channels, 3), blocks=1)), tmp_path / "G.pth")
    told = ugc("import", tmp_path / "G.pth", "--out", tmp_path / "net", *words)
    assert told.code == 0, told.err
    about = json.loads((tmp_path / "net/config.json").read_text())
    assert about["source"] == source and about["size"] == [256, 512]
    assert encoding_of(about["source"], 3).channels == about["config"]["in_channels"] == channels
    said = told.out + told.err
    assert ("--edges yes was taken; no file says it" in said) == (channels > 3 and not words)
    if source["kind"] == "labels":
        assert f"{source['classes']} classes, one-hot, and {'the' if source['edges'] else 'no'} edge map" in said
    else:
        assert "edge map" not in said and "one-hot" not in said


@pytest.mark.parametrize("net, words, expected", [
    (resnet(blocks=6), ("--edges", "no"), "--edges no means nothing for {}, a ResNet of 6 full blocks"),
    (unet(levels=5), ("--edges", "yes"), "--edges yes means nothing for {}, a UNet of 5 levels"),
    (global_generator(channels=(3, 3)), ("--edges", "no"), "--edges no means nothing for {}, a pix2pixHD GlobalGenerator"),
    (global_generator(channels=(300, 3)), (), "as label maps: classes: input should be less than or equal to 256, got 299"),
    (global_generator(), ("--edges", "maybe"), "--edges: invalid choice: 'maybe'"),
    (global_generator(), ("--size", 24), "multiples of 16 and at least 32")])
def test_what_the_file_leaves_no_room_for(tmp_path, ugc, net, words, expected):
    torch.save(weights(net), tmp_path / "G.pth")
    told = ugc("import", tmp_path / "G.pth", "--out", tmp_path / "net", *words)
    assert told.code == 2 and expected.format(tmp_path / "G.pth") in told.err and len(told.err.strip().splitlines()) == 1
    assert not (tmp_path / "net").exists()


# ---- the saved net at work ----

@pytest.fixture
def imported(tmp_path, ugc):
    """A file, and the folder that `ugc import` made of it."""
    net = resnet(dropout=0.5)
    torch.save(weights(net), tmp_path / "latest_net_G.pth")
    told = ugc("import", tmp_path / "latest_net_G.pth", "--out", tmp_path / "old", "--size", 32)
    assert told.code == 0, told.err
    for word in ("ResNet of 9 full blocks", "instance norm", "3 to 3 channels", "base 4", "at 32x32", "--eval"):
        assert word in told.out + told.err
    return tmp_path / "old", net, weights(net)


def test_it_translates_pictures(imported, tmp_path, ugc):
    folder, net, w = imported
    array = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "in.png")
    assert ugc("translate", folder, tmp_path / "in.png", tmp_path / "out.png").code == 0
    with torch.no_grad():
        out = forward(w, net, torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1)
    wanted = ((out[0].permute(1, 2, 0).numpy() + 1) * 127.5).round()
    drawn = np.asarray(Image.open(tmp_path / "out.png")).astype(float)
    assert drawn.shape == wanted.shape and np.abs(drawn - wanted).max() <= 1
    assert np.array_equal(np.asarray(package.load(folder, "cpu")(Image.fromarray(array))), drawn)


def test_what_an_exported_file_says_of_it(imported):
    net, about = load_net(imported[0])
    told = describe(PictureNet(net), about, tuple(about["size"]))
    assert told["size"] == "32x32" and told["family"] == "pix2pix-resnet" and told["role"] == "imported"
    assert "latest_net_G.pth" in told["attribution"]


def test_it_is_the_original_of_a_run(imported, tiny_data, tiny, ugc, tmp_path):
    """Its own cost at the run's size is what a budget of 2x divides, and its pictures are what the table scores."""
    folder, _, _ = imported
    shutil.copytree(folder, tmp_path / "old256")
    about = json.loads((folder / "config.json").read_text())
    about = {**about, "size": [256, 256], **{key: 64 * about[key] for key in ("macs", "macs_paper")}}
    (tmp_path / "old256/config.json").write_text(json.dumps(about))
    quick = ("generator.blocks=1", "generator.depths=[0]", "options.nas=false", "grids=0")
    told = ugc("run", tiny_data, "--out", tmp_path / "run", "--original", tmp_path / "old256", *tiny, "--budget", "2x",
               *(word for setting in quick for word in ("--set", setting)))
    assert told.code == 0, told.err
    rows = json.loads((tmp_path / "run/metrics.json").read_text())["rows"]
    cost = total(trace(load_net(folder)[0], None, (32, 32)))
    assert {key: rows["original"][key] for key in ("params", "macs", "macs_paper")} == vars(cost)
    assert rows["original"]["l1"] > 0 and rows["student"]["macs_paper"] <= cost.macs_paper / 2
    assert list((tmp_path / "run/stages/test/samples").glob("*-original.png"))
