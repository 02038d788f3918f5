"""Generators of other repositories: what is imported computes what the published layer list says; all else is refused.

The lists below are written from the papers and the published code's order of modules, and run with nothing but
torch.nn.functional. Tensors are named as `nn.Sequential` names them: by the place of their module in the list.
"""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

import ugc as package
from ugc.core.errors import UserError
from ugc.export.formats import describe
from ugc.export.lineage import import_generator, read_generator
from ugc.export.saved import load_net
from ugc.models.generator import FAMILIES
from ugc.nn.cost import total, trace

# ---- the published nets: lists of modules ----


def resnet(norm="instance", blocks=9, dropout=None, separable=False, widths=(4, 8, 16), mids=None, ups=(8, 4), channels=(3, 3)):
    """dropout: its rate, where the repository puts the module in (0 in GAN Compression), else None."""
    bias = norm == "instance"

    def conv3(a, b):
        return ("separable", a, b) if separable else ("conv", a, b, 3, 1, 0, bias)

    c0, c1, c2 = widths
    layers = [("pad", 3), ("conv", channels[0], c0, 7, 1, 0, bias), (norm, c0), ("relu",),
              ("conv", c0, c1, 3, 2, 1, bias), (norm, c1), ("relu",), ("conv", c1, c2, 3, 2, 1, bias), (norm, c2), ("relu",)]
    for mid in mids or [c2] * blocks:
        drop = [] if dropout is None else [("dropout",)]
        layers.append(("block", [("pad", 1), conv3(c2, mid), (norm, mid), ("relu",), *drop,
                                 ("pad", 1), conv3(mid, c2), (norm, c2)]))
    for a, b in ((c2, ups[0]), ups):
        layers += [("up", a, b, 3, 1, bias), (norm, b), ("relu",)]
    return "model", [*layers, ("pad", 3), ("conv", ups[1], channels[1], 7, 1, 0, True), ("tanh",)]


def unet(norm="batch", levels=7, dropout=None, base=2, channels=(3, 3), widths=None):
    bias = norm == "instance"
    w = widths or [base * min(2**k, 8) for k in range(levels)]
    inside = [("lrelu",), ("conv", w[-2], w[-1], 4, 2, 1, bias), ("relu",), ("up", w[-1], w[-2], 4, 0, bias), (norm, w[-2])]
    for k in range(levels - 2, 0, -1):
        drop = [("dropout",)] if dropout and w[k] == w[-1] else []
        inside = [("lrelu",), ("conv", w[k - 1], w[k], 4, 2, 1, bias), (norm, w[k]), ("skip", inside),
                  ("relu",), ("up", 2 * w[k], w[k - 1], 4, 0, bias), (norm, w[k - 1]), *drop]
    return "model.model", [("conv", channels[0], w[0], 4, 2, 1, bias), ("skip", inside), ("relu",),
                           ("up", 2 * w[0], channels[1], 4, 0, True), ("tanh",)]


def weights(net, seed=0):
    """A state dict of random weights; batch norms have gathered statistics of their own."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, low=-1.0, high=1.0):
        return torch.empty(shape).uniform_(low, high, generator=generator)

    def fill(prefix, layers):
        for i, (kind, *a) in enumerate(layers):
            name = f"{prefix}.{i}"
            if kind == "conv":
                out[f"{name}.weight"] = draw(a[1], a[0], a[2], a[2]) * 1.5 / (a[0] * a[2] ** 2) ** 0.5
            elif kind == "up":
                out[f"{name}.weight"] = draw(a[0], a[1], a[2], a[2]) * 3 / (a[0] * a[2] ** 2) ** 0.5
            elif kind == "separable":
                out[f"{name}.conv.0.weight"], out[f"{name}.conv.0.bias"] = draw(a[0], 1, 3, 3), draw(a[0])
                out[f"{name}.conv.2.weight"], out[f"{name}.conv.2.bias"] = draw(a[1], a[0], 1, 1), draw(a[1])
            elif kind == "batch":
                out[f"{name}.weight"], out[f"{name}.bias"] = draw(a[0], low=0.5, high=1.5), draw(a[0]) / 4
                out[f"{name}.running_mean"], out[f"{name}.running_var"] = draw(a[0]), draw(a[0], low=0.3, high=2.0)
                out[f"{name}.num_batches_tracked"] = torch.tensor(7)
            elif kind in ("block", "skip"):
                fill(f"{name}.{'conv_block' if kind == 'block' else 'model'}", a[0])
            if kind in ("conv", "up") and a[-1]:
                out[f"{name}.bias"] = draw(a[1]) / 4

    out = {}
    fill(*net)
    return out


def forward(w, net, x):
    """The list on x, in eval mode."""

    def run(prefix, layers, x):
        for i, (kind, *a) in enumerate(layers):
            name = f"{prefix}.{i}"
            weight, bias = w.get(f"{name}.weight"), w.get(f"{name}.bias")
            if kind == "pad":
                x = F.pad(x, (a[0],) * 4, mode="reflect")
            elif kind == "conv":
                x = F.conv2d(x, weight, bias, a[3], a[4])
            elif kind == "up":
                x = F.conv_transpose2d(x, weight, bias, 2, 1, a[3])
            elif kind == "separable":
                x = F.conv2d(x, w[f"{name}.conv.0.weight"], w[f"{name}.conv.0.bias"], groups=a[0])
                x = F.conv2d(F.instance_norm(x), w[f"{name}.conv.2.weight"], w.get(f"{name}.conv.2.bias"))
            elif kind == "batch":
                x = F.batch_norm(x, w[f"{name}.running_mean"], w[f"{name}.running_var"], weight, bias)
            elif kind == "block":
                x = x + run(f"{name}.conv_block", a[0], x)
            elif kind == "skip":
                x = torch.cat([x, run(f"{name}.model", a[0], x)], 1)
            else:
                x = {"instance": F.instance_norm, "relu": F.relu, "tanh": torch.tanh, "dropout": lambda x: x,
                     "lrelu": lambda x: F.leaky_relu(x, 0.2)}[kind](x)
        return x

    return run(*net, x)


def pictures(side, channels=3, n=2):
    return torch.empty(n, channels, side, side).uniform_(-1, 1, generator=torch.Generator().manual_seed(5))


def side_of(net):
    return 32 if net[0] == "model" else 2 ** (1 + str(net).count("skip"))


# ---- what is done to files ----

def as_it_is(w):
    return w


def old_statistics(w):
    """torch 0.3 kept statistics in instance norms, which never used them."""
    names = {name.rpartition(".")[0] for name, t in w.items() if name.endswith("weight") and t.dim() == 4}
    for name in names:
        head, _, last = name.rpartition(".")
        if "conv.2" in name or last == "0" and "conv.0" in name:
            continue
        for leaf, fill in (("running_mean", 3.0), ("running_var", 0.01)):
            w[f"{head}.{int(last) + 1}.{leaf}"] = torch.full(w[f"{name}.weight"].shape[:1], fill)
    return w


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
CASES = {  # name: (net, what was done to the file)
    "full 9, dropout": (resnet(dropout=0.5), as_it_is),
    "full 9, no dropout": (resnet(), as_it_is),
    "full 6, no dropout": (resnet(blocks=6), as_it_is),
    "full 6, dropout": (resnet(blocks=6, dropout=0.5), as_it_is),
    "full 9, batch, dropout": (resnet("batch", dropout=0.5), as_it_is),
    "full 9, batch, no dropout": (resnet("batch"), as_it_is),
    "full 6, batch": (resnet("batch", blocks=6), no_counts),
    "full 9, channels": (resnet(channels=(1, 4)), as_it_is),
    "mobile": (resnet(separable=True, dropout=0), as_it_is),
    "mobile, batch": (resnet("batch", separable=True, dropout=0), as_it_is),
    "sub-mobile": (resnet(**SUB, mids=[8, 8, 8, 20, 20, 20, 4, 4, 4]), as_it_is),
    "sub-mobile, batch": (resnet("batch", **SUB, mids=[8, 8, 8, 20, 20, 20, 4, 4, 4]), as_it_is),
    "sub-mobile of 6 numbers": (resnet(**SUB, mids=[8] * 9), as_it_is),
    "sub-mobile, legacy": (resnet(**SUB, mids=[8, 12, 12, 20, 12, 12, 4, 12, 12]), as_it_is),
    "pruned, full": (resnet(widths=(3, 8, 20), ups=(6, 5), mids=[8, 8, 8, 8, 8, 8, 4, 4, 4]), as_it_is),
    "old statistics": (resnet(), old_statistics),
    "old statistics, dropout": (resnet(dropout=0.5), old_statistics),
    "old statistics, mobile": (resnet(separable=True, dropout=0), old_statistics),
    "DataParallel": (resnet(), prefixed("module.")),
    "compiled": (resnet("batch"), prefixed("_orig_mod.")),
    "halves": (resnet("batch"), halved),
    "doubles": (resnet(), doubled),
    "state_dict": (resnet(), in_table("state_dict")),
    "a training state": (resnet(), a_training_state),
    "tables in tables": (unet(levels=5), in_table("model", "netG")),
    "unet 128": (unet(), as_it_is),
    "unet 128, dropout": (unet(dropout=0.5), as_it_is),
    "unet 256": (unet(levels=8, base=1), as_it_is),
    "unet 256, dropout": (unet(levels=8, base=1, dropout=0.5), no_counts),
    "unet, instance": (unet("instance"), as_it_is),
    "unet, channels": (unet(channels=(1, 2)), prefixed("module.")),
    "unet, old statistics": (unet("instance", levels=5), lambda w: {**w, "model.model.1.model.2.running_mean": torch.ones(4)}),
    "unet, widths": (unet(levels=5, widths=[3, 4, 20, 8, 8]), as_it_is),
}


@pytest.mark.parametrize("case", CASES)
def test_it_draws_what_the_published_net_draws(tmp_path, case):
    net, change = CASES[case]
    w = weights(net)
    torch.save(change(dict(w)), tmp_path / "latest_net_G.pth")
    import_generator(tmp_path / "latest_net_G.pth", tmp_path / "net")
    ours, about = load_net(tmp_path / "net")
    if case == "halves":
        w = {name: t.half().float() for name, t in w.items()}
    x = pictures(side_of(net), ours.config.in_channels)
    with torch.no_grad():
        wanted, got = forward(w, net, x), ours(x)
    assert 0.05 < wanted.std() < 0.9 and wanted.std(0).mean() > 0.02  # neither flat nor saturated, nor blind to its input
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert about["params"] == sum(p.numel() for p in ours.parameters())
    theirs = sum(t.numel() for name, t in w.items() if not name.endswith(("running_mean", "running_var", "tracked")))
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
    ("sub-mobile", {"body_block": "separable", "groups": 3, "arch": "stem=3,down1=5,down2=3,mid1=2,mid2=5,mid3=1,up1=3,up2=5,"
                    "d.down1=0,d.down2=0,d.up1=0,d.up2=0"}),
    ("sub-mobile, legacy", {"groups": 9}),
    ("unet 128", {"levels": 7, "norm": "batch", "base": 2, "arch": ""}),
    ("unet, instance", {"levels": 7, "norm": "instance"})])
def test_what_is_recognised(tmp_path, case, fields):
    torch.save(weights(CASES[case][0]), tmp_path / "G.pth")
    config = read_generator(tmp_path / "G.pth")[0].config
    assert {name: getattr(config, name) for name in fields} == fields


@pytest.mark.parametrize("family, net, size", [
    ("pix2pix-resnet", resnet(widths=(64, 128, 256), ups=(128, 64)), 256),
    ("pix2pix-unet", unet(levels=8, base=64), 256)])
def test_an_original_of_the_papers_size_is_our_original(tmp_path, family, net, size):
    """The same config, so the same cost, as `ugc show` of the family."""
    torch.save({name: t.half() for name, t in weights(net).items() if not name.endswith("tracked")}, tmp_path / "G.pth")
    ours, _ = read_generator(tmp_path / "G.pth")
    cls = FAMILIES[family]
    assert ours.config == cls.original(cls.config_for((size, size), base=64))
    assert round(total(trace(ours, None, (size, size))).params / 1e6, 2) == {"pix2pix-resnet": 11.38, "pix2pix-unet": 54.41}[family]


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
    told = describe(net, about, tuple(about["size"]))
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
    assert 0 < rows["original"]["l1"] and rows["student"]["macs_paper"] <= cost.macs_paper / 2
    assert list((tmp_path / "run/stages/test/samples").glob("*-original.png"))


# ---- what is refused ----

def refused(path, *words):
    with pytest.raises(UserError) as error:
        import_generator(path, path.parent / "out")
    text = str(error.value)
    assert "\n" not in text and len(text) < 600 and str(path) in text
    for word in words:
        assert word in text, text
    assert not (path.parent / "out").exists()


class Trap:
    """A pickle of this makes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["zip", "old", "plain", "plain 4", "beside weights"])
def test_a_pickle_with_code_is_not_run(tmp_path, how):
    trap, path, sprung = Trap(tmp_path / "sprung"), tmp_path / "latest_net_G.pth", tmp_path / "sprung"
    if how.startswith("plain"):
        path.write_bytes(pickle.dumps({"model": trap}, protocol=4 if how == "plain 4" else 2))
    else:
        content = {**weights(resnet(blocks=6)), "x": trap} if how == "beside weights" else {"model": trap}
        torch.save(content, path, _use_new_zipfile_serialization=how != "old")
    refused(path, "posix.mkdir", "code", "nothing of it was run", "state_dict()")
    assert not sprung.exists()
    if how != "beside weights":  # it is a real one
        torch.load(path, weights_only=False) if how in ("zip", "old") else pickle.loads(path.read_bytes())
        assert sprung.exists()


def test_a_whole_module_and_a_script(tmp_path):
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "net.pth")
    refused(tmp_path / "net.pth", "torch.nn.modules.conv.Conv2d", "state_dict()")
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), tmp_path / "script.pth")
    refused(tmp_path / "script.pth", "TorchScript", "state_dict()")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short(tmp_path, share, zipped):
    path = tmp_path / "G.pth"
    torch.save(weights(resnet(blocks=6)), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, "damaged or cut short")


@pytest.mark.parametrize("content, word", [
    (b"", "it is empty"), (b"\n", "bytes 0a"), (b"hello world, this is no net\n", "it is text, 'hello world"),
    (b"<!DOCTYPE html><html>not found</html>", "web page"), (b"\x00" * 100, "bytes 00 00"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 45\n", "Git LFS"), (b"\x89HDF\r\n\x1a\n" + bytes(99), "89 48"),
    (b"PK\x03\x04" + bytes(100), "damaged"), (b"\x80\x02garbage", "damaged"), (bytes(8) + b"{\"a\": 1}", "safetensors"),
    (b"\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":1}         ", "safetensors")], ids=str)
def test_a_file_of_another_kind(tmp_path, content, word):
    (tmp_path / "G.pth").write_bytes(content)
    refused(tmp_path / "G.pth", word)


def test_no_file_a_folder_no_tensor(tmp_path):
    refused(tmp_path / "none.pth", "No such file", "latest_net_G.pth")
    (tmp_path / "checkpoints").mkdir()
    refused(tmp_path / "checkpoints", "directory")
    loop = {"epoch": 3}
    loop["self"] = loop
    for content in ({}, {"epoch": 3, "loss": [1.0]}, [torch.ones(3)], torch.ones(3), loop):
        torch.save(content, tmp_path / "G.pth")
        refused(tmp_path / "G.pth", "no tensor by name")


def patchgan(w):
    for i, (a, b) in {0: (6, 8), 2: (8, 16), 5: (16, 32), 8: (32, 64), 11: (64, 1)}.items():
        w[f"model.{i}.weight"] = torch.zeros(b, a, 4, 4)
    return w


def hd_global(downs):
    first = 4 + 3 * downs
    return {"model.1.weight": torch.zeros(4, 3, 7, 7), **{f"model.{first + i}.conv_block.{j}.weight": torch.zeros(8, 8, 3, 3)
                                                         for i in range(9) for j in (1, 5)}}


def named(*names):
    return {name: torch.zeros(2, 2, 3, 3) for name in names}


@pytest.mark.parametrize("content, word", [
    (patchgan({}), "PatchGAN discriminator; the generator is in the file with _G"),
    (prefixed("module.")(patchgan({})), "PatchGAN"),
    (named("net.0.weight", "net.2.weight"), "single pixels"),
    (hd_global(4), "pix2pixHD's GlobalGenerator, with 4 down-samplings"),
    (hd_global(3), "pix2pixHD's GlobalGenerator, with 3 down-samplings"),
    ({**hd_global(4), **named("model1_1.1.weight")}, "LocalEnhancer"),
    (named("scale0_layer0.0.weight"), "multi-scale discriminator"),
    (named("discriminator_0.model0.0.weight"), "multi-scale discriminator"),
    (named("fc.weight", "head_0.conv_0.weight", "head_0.norm_0.mlp_shared.0.weight"), "SPADE"),
    (named("model.1.weight", "model.7.filt", "model.12.conv_block.1.weight"), "CUT"),
    (named("model.10.conv_block.1.weight", "model.10.conv_block.12.weight"), "deep teacher of OMGD"),
    (named("model.model.0.weight", "model.model.1.model.1.weight", "model.model.1.model.3.conv_block.12.weight"), "OMGD"),
    (named("conv1.weight", "layer1.0.conv1.weight", "fc.weight"), "torchvision"),
    (named("features.0.weight", "classifier.0.weight"), "torchvision"),
    ({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}, "optimiser"),
    (named("encoder.weight", "decoder.weight"), "encoder.weight, decoder.weight")])
def test_another_network(tmp_path, content, word):
    torch.save(content, tmp_path / "latest_net_D.pth")
    refused(tmp_path / "latest_net_D.pth", "no generator that can be imported", word, "ResNet and UNet")


def test_a_net_without_norm(tmp_path):
    w = weights(resnet("batch"))
    torch.save({name: t for name, t in w.items() if t.dim() == 4 or name == "model.26.bias"}, tmp_path / "G.pth")
    refused(tmp_path / "G.pth", "--norm none")


def test_two_generators(tmp_path):
    torch.save({"G_A": weights(resnet()), "G_B": weights(resnet())}, tmp_path / "both.pth")
    refused(tmp_path / "both.pth", "2 generators (G_A, G_B)")


def without(*names):
    return lambda w: {name: t for name, t in w.items() if name not in names}


def changed(name, tensor):
    return lambda w: {**w, name: tensor}


@pytest.mark.parametrize("net, change, words", [
    (resnet(), without("model.7.weight"), ["lacks model.7.weight"]),
    (resnet(), without("model.26.bias"), ["lacks model.26.bias"]),
    (resnet(), without("model.26.weight"), ["lacks model.26.weight"]),
    (resnet(), without(*(f"model.14.conv_block.{i}.{leaf}" for i in (1, 5) for leaf in ("weight", "bias"))),
     ["lacks model.14.conv_block.1.weight, model.14.conv_block.5.weight"]),
    (resnet("batch"), without("model.2.running_mean"), ["lacks model.2.running_mean"]),
    (resnet("batch"), without(*(f"model.{i}.running_var" for i in (2, 5, 8, 20, 23))),
     ["lacks model.2.running_var, model.5.running_var, model.8.running_var and 2 more"]),
    (resnet(), changed("model.30.weight", torch.zeros(3)), ["has tensors that such a net has not: model.30.weight"]),
    (resnet(), changed("model.4.weight", torch.zeros(8, 4, 5, 5)), ["model.4.weight is 8x4x5x5, expected 8x4x3x3"]),
    (resnet(), changed("model.4.weight", torch.zeros(8, 4)), ["no convolution's weight at model.4.weight"]),
    (resnet(), changed("model.4.weight", torch.zeros(7, 4, 3, 3)), ["a ResNet of 9 full blocks: model.4.weight gives 7 channels", "multiple of 2"]),
    (resnet(), changed("model.4.weight", torch.zeros(0, 4, 3, 3)), ["model.4.weight"]),
    (resnet("batch"), changed("model.2.running_var", torch.zeros(5)), ["model.2.running_var is 5, expected 4"]),
    (resnet("batch"), changed("model.4.bias", torch.zeros(5)), ["model.4.bias is 5, expected 8"]),
    (resnet(), changed("model.4.weight", torch.zeros(8, 4, 3, 3, dtype=torch.int8)), ["model.4.weight is torch.int8"]),
    (resnet(), changed("model.4.weight", torch.zeros(8, 4, 3, 3).to_sparse()), ["model.4.weight", "sparse"]),
    (resnet(), changed("model.4.weight", torch.full((8, 4, 3, 3), float("nan"))), ["model.4.weight holds NaN"]),
    (resnet(), changed("model.1.weight", torch.zeros(1, 1, 1, 1).expand(9999, 9999, 7, 7)), ["model.1.weight claims 4,899,020,049"]),
    (unet(), without("model.model.1.model.1.weight"), ["lacks model.model.1.model.1.weight"]),
    (unet(), without("model.model.3.bias"), ["lacks model.model.3.bias"]),
    (unet("instance"), without("model.model.0.bias"), ["lacks model.model.0.bias"]),
    (unet(), changed("model.model.0.bias", torch.zeros(2)), ["has tensors that such a net has not: model.model.0.bias"]),
    (unet(levels=6, widths=[2, 4, 8, 16, 16, 24]), as_it_is, ["is 24x16x4x4, expected 16x16x4x4"])])
def test_tensors_that_do_not_fit(tmp_path, net, change, words):
    torch.save(change(weights(net)), tmp_path / "latest_net_G.pth")
    refused(tmp_path / "latest_net_G.pth", *words)


@pytest.mark.parametrize("size, word", [("33", "multiples of 4"), ("0x9", "--size"), ("wide", "--size")])
def test_a_size_that_it_cannot_have(tmp_path, ugc, size, word):
    torch.save(weights(resnet(blocks=6)), tmp_path / "G.pth")
    told = ugc("import", tmp_path / "G.pth", "--out", tmp_path / "net", "--size", size)
    assert told.code == 2 and word in told.err and not (tmp_path / "net").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path, ugc):
    torch.save(weights(resnet(blocks=6)), tmp_path / "G.pth")
    told = ugc("import", tmp_path / "G.pth", "--out", tmp_path)
    assert told.code == 2 and "not an empty folder" in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["G.pth"]


def test_an_unet_was_trained_at_the_size_that_it_halves(tmp_path):
    for levels, side in ((7, 128), (8, 256)):
        torch.save(weights(unet(levels=levels, base=1)), tmp_path / "G.pth")
        import_generator(tmp_path / "G.pth", tmp_path / f"net{levels}")
        assert load_net(tmp_path / f"net{levels}")[1]["size"] == [side, side]
