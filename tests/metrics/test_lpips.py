"""LPIPS: equal to an independent implementation with the same trunk and the published linear weights."""

import hashlib
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchmetrics.functional.image import lpips as theirs

from ugc.core.errors import UserError
from ugc.metrics import lpips
from ugc.metrics.lpips import LINEAR, Lpips
from ugc.nn import vgg16


@pytest.fixture
def trunk(tmp_path, monkeypatch):
    """A random VGG-16 in the place of the public file; returns it as torchvision's sequence of layers."""
    torch.manual_seed(0)
    net = vgg16.VGG16((*vgg16.GROUPS, (512, 512, 512)))
    for layer in net.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    path = tmp_path / "vgg16.pth"
    torch.save(net.state_dict(), path)
    known = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    for module in (vgg16, lpips):
        monkeypatch.setattr(module, "PUBLIC", replace(vgg16.PUBLIC, **known))
    monkeypatch.setenv("UGC_VGG16", str(path))
    return net.features


def images(n=3, channels=3, size=(48, 33)):
    g = torch.Generator().manual_seed(1)
    x = torch.rand(n, channels, *size, generator=g) * 2 - 1
    return x, (x + 0.4 * torch.randn(x.shape, generator=g)).clamp(-1, 1)


def test_it_equals_torchmetrics(trunk, monkeypatch):
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *a, **k: nn.Sequential(*trunk))
    peer = theirs._LPIPS(net="vgg", pnet_rand=True)
    x, y = images()
    assert Lpips.at_hand()
    ours = Lpips()
    torch.testing.assert_close(ours(x, y), peer(x, y).flatten(), rtol=1e-4, atol=1e-6)
    assert ours(x, x).abs().max() == 0 and (ours(x, y) > 0).all()
    nearer = ours(x + 0.1 * (y - x), x)
    assert (nearer < ours(y, x)).all()


def test_grey_is_colour_and_batches_do_not_matter(trunk, monkeypatch):
    judge = Lpips()
    x, y = images(channels=1)
    whole = judge(x, y)
    torch.testing.assert_close(whole, judge(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)))
    monkeypatch.setattr(lpips, "BATCH", 2)
    torch.testing.assert_close(judge(x, y), whole)


def test_the_published_linear_weights_are_pinned():
    """Two packages bring the same bytes; their digest is the one that is written down."""
    path = LINEAR.get()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == LINEAR.sha256
    widths = [LINEAR.tensors()[f"lin{i}.model.1.weight"].shape[1] for i in range(5)]
    assert widths == [64, 128, 256, 512, 512]


def test_absent_or_other_weights_are_one_sentence(trunk, tmp_path, monkeypatch):
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"x" * 7289)
    monkeypatch.setenv("UGC_LPIPS", str(bad))
    with pytest.raises(UserError, match="is not the public file of LPIPS linear weights"):
        Lpips()
    monkeypatch.delenv("UGC_LPIPS")
    monkeypatch.setenv("UGC_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(lpips, "LINEAR", replace(LINEAR, packages=(("no_such_package_of_ours", "vgg.pth"),)))
    assert not Lpips.at_hand()
    with pytest.raises(UserError, match="no LPIPS linear weights on this machine: get"):
        Lpips()
