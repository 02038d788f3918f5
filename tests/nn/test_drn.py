"""DRN-D-105: sizes and names of the public file on a meta device, layers against plain functions, what a wrong file says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from ugc.core.errors import UserError
from ugc.nn import drn
from ugc.nn.drn import CHANNELS, DRN, LAYERS, bilinear_kernel


@pytest.fixture(scope="module")
def full():
    with torch.device("meta"):
        return DRN()


def test_the_public_files_names_and_sizes(full):
    state = full.state_dict()
    base = [key for key in state if key.startswith("base.")]
    assert len(base) == 648 and {key.split(".")[1] for key in base} == set("012345678")
    assert sum(p.numel() for p in full.base.parameters()) == 54_288_304  # 54.29M
    assert set(state) - set(base) == {"seg.weight", "seg.bias", "up.weight"}
    shapes = {"base.0.0.weight": (16, 3, 7, 7), "base.1.0.weight": (16, 16, 3, 3), "base.2.0.weight": (32, 16, 3, 3),
              "base.3.0.conv1.weight": (64, 32, 1, 1), "base.3.0.downsample.0.weight": (256, 32, 1, 1),
              "base.5.22.conv2.weight": (256, 256, 3, 3), "base.6.2.conv3.weight": (2048, 512, 1, 1),
              "base.7.0.weight": (512, 2048, 3, 3), "base.8.1.running_var": (512,), "seg.weight": (19, 512, 1, 1),
              "up.weight": (19, 1, 16, 16)}
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert "base.5.1.downsample.0.weight" not in state and "base.6.0.downsample.1.bias" in state


def small():
    """All levels and blocks, an eighth of the channels; statistics that keep the signal alive."""
    torch.manual_seed(0)
    net = DRN(LAYERS, [c // 8 for c in CHANNELS], 5).double()
    for name, tensor in net.state_dict().items():
        if name.startswith("base") and tensor.dim() == 1:
            tensor.uniform_(0.8, 1.2) if name.endswith(("weight", "var")) else tensor.normal_(0, 0.1)
    return net.requires_grad_(False).eval()


def reference(state, x):
    """The published layers as plain functions, [-1, 1] -> log-probabilities."""
    def unit(x, conv, norm, stride=1, dilation=1):
        w = state[f"{conv}.weight"]
        x = F.conv2d(x, w, None, stride, dilation * (w.shape[2] // 2), dilation)
        mean, var, gain, bias = (state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, gain, bias, False, 0.0, 1e-5)

    mean, deviation = (torch.tensor(v).double().view(1, 3, 1, 1) for v in ((.2901, .3281, .2870), (.1830, .1866, .1845)))
    x = ((x + 1) / 2 - mean) / deviation
    for level, stride in ((0, 1), (1, 1), (2, 2)):
        x = F.relu(unit(x, f"base.{level}.0", f"base.{level}.1", stride))
    for level, count, first, dilation in ((3, 3, 2, 1), (4, 4, 2, 1), (5, 23, 1, 2), (6, 3, 1, 4)):
        for block in range(count):
            at, stride = f"base.{level}.{block}", first if block == 0 else 1
            y = F.relu(unit(x, f"{at}.conv1", f"{at}.bn1"))
            y = F.relu(unit(y, f"{at}.conv2", f"{at}.bn2", stride, dilation))
            y = unit(y, f"{at}.conv3", f"{at}.bn3")
            x = F.relu(y + (unit(x, f"{at}.downsample.0", f"{at}.downsample.1", stride) if block == 0 else x))
    for level, dilation in ((7, 2), (8, 1)):
        x = F.relu(unit(x, f"base.{level}.0", f"base.{level}.1", 1, dilation))
    x = F.conv2d(x, state["seg.weight"], state["seg.bias"])
    x = F.conv_transpose2d(x, state["up.weight"], None, 8, 4, groups=x.shape[1])
    return x.log_softmax(1)


def test_layers_are_the_papers():
    net = small()
    x = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    got = net(x)
    assert got.shape == (2, 5, 48, 64) and got.std() > 1e-3
    torch.testing.assert_close(got, reference(net.state_dict(), x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(got.exp().sum(1), torch.ones(2, 48, 64, dtype=torch.float64))
    assert net(x[..., :45, :50]).shape == (2, 5, 48, 56)  # rounded up to multiples of 8
    torch.testing.assert_close(net(x[:, :1]), net(x[:, :1].repeat(1, 3, 1, 1)))


def test_the_last_enlargement_is_bilinear():
    """Inside, it is Pillow's bilinear enlargement; the kernel's sums are 1 in each phase."""
    kernel = bilinear_kernel(8)
    assert kernel.shape == (16, 16) and kernel[0, 0] == (1 / 16) ** 2 and torch.equal(kernel, kernel.flip(0, 1))
    small = torch.rand(6, 7, generator=torch.Generator().manual_seed(0))
    big = F.conv_transpose2d(small[None, None], kernel[None, None], None, 8, 4)[0, 0]
    want = np.asarray(Image.fromarray(small.numpy()).resize((56, 48), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(big[8:-8, 8:-8].numpy(), want[8:-8, 8:-8], atol=1e-5)


@pytest.fixture
def place(monkeypatch, tmp_path):
    """A little network in the place of DRN-D-105, and where its file is looked for."""
    monkeypatch.setenv("UGC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UGC_DRN105", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    make = DRN.__init__
    monkeypatch.setattr(DRN, "__init__", lambda self: make(self, (1,) * 8, [8] * 8))
    return tmp_path / "home" / drn.PUBLIC.name


def test_a_file_is_read_and_pinned(place, monkeypatch, tmp_path):
    torch.manual_seed(3)
    place.parent.mkdir()
    made = DRN()
    without_counts = {key: t for key, t in made.state_dict().items() if "num_batches" not in key}  # as files of 2017 are
    torch.save(without_counts, place)
    loaded, x = DRN.load(), torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(loaded(x), made.eval()(x))
    assert not any(p.requires_grad for p in loaded.parameters()) and not loaded.training
    digest = drn.PUBLIC.digest(place)
    assert len(digest) == 64 and place.with_name(place.name + ".pin.json").exists()
    torch.save({**without_counts, "seg.bias": torch.ones(19)}, place)
    with pytest.raises(UserError, match=rf"not the file of .* that was used before .sha256 {digest}"):
        DRN.load()
    monkeypatch.setenv("UGC_DRN105", str(tmp_path / "elsewhere.pth"))
    torch.save(made.state_dict(), tmp_path / "elsewhere.pth")
    torch.testing.assert_close(DRN.load()(x), made.eval()(x))


def test_what_is_absent_or_another_file_is_one_sentence(place, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"no DRN-D-105 weights .* get drn-d-105_ms_cityscapes.pth at http://go.yf.io/"):
        DRN.load(download=True)  # nothing is asked of the network: the address is a page
    place.parent.mkdir()
    place.write_bytes(b"<html>not here</html>")
    with pytest.raises(UserError, match=r"cannot be read as DRN-D-105 weights"):
        DRN.load()
    torch.save({"seg.weight": torch.zeros(19, 8, 1, 1), "seg.bias": torch.zeros(7)}, place)
    with pytest.raises(UserError, match=r"holds other tensors than DRN-D-105 .* are absent or of another shape"):
        DRN.load()
    assert not place.with_name(place.name + ".pin.json").exists()  # what proved wrong is not pinned
    monkeypatch.setenv("UGC_DRN105", str(tmp_path / "nothing.pth"))
    with pytest.raises(UserError, match=r"UGC_DRN105 names .*nothing.pth, which is no file"):
        DRN.load()
    assert replace(drn.PUBLIC, by_hand=False).where == "http://go.yf.io/drn-cityscapes-models"
