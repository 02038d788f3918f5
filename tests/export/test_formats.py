"""Exports are checked before they are written, and nothing is left where the check fails."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ugc.core.errors import UserError
from ugc.core.files import read_json, write_json
from ugc.export.formats import FORMATS, TOLERANCE, Format, cases, export, largest_difference
from ugc.export.saved import load_net, save_net
from ugc.export.wrapped import PictureNet
from ugc.models.generator import FAMILIES, shrink

SIZE = (32, 32)


@dataclass
class Mirror(Format):
    """A format whose runtime is torch, spoilt as a test wants it."""

    suffix = ".mirror"
    extra = "mirror"
    needs = ("json",)
    spoil = staticmethod(lambda out: out)

    def convert(self, net):
        self.net = net
        return b"data"

    def runtime(self, data):
        return lambda image: self.spoil(self.net(torch.from_numpy(image)).detach().numpy())

    def stamp(self, data, about):
        return data + repr(about).encode()

    def about(self, data):
        return {}

    def versions(self):
        return {"mirror": "1"}


@pytest.fixture
def mirror(monkeypatch):
    """FORMATS with "mirror" in it."""
    list(FORMATS)  # what is there is found first
    monkeypatch.setitem(FORMATS._things, "mirror", Mirror)
    monkeypatch.setattr(Mirror, "spoil", staticmethod(lambda out: out))
    return Mirror


@pytest.fixture
def saved(setting_of, tmp_path):
    setting = setting_of("pix2pix-resnet", in_channels=3)
    net = setting.family(setting.config).init(torch.Generator().manual_seed(0))
    save_net(shrink(net, net.space.uniform(3, 1)), tmp_path / "net", "pix2pix-resnet", "student", SIZE, {})
    return tmp_path / "net"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 5), (8, 8), (9, 70), (31, 33), (1, 40)], ids=str)
def test_padding_is_by_reflection_at_the_end(setting_of, family, size):
    """The net sees the picture first, then its mirror, up to a multiple of the stride: spelt out in a loop."""
    setting = setting_of(family, in_channels=2)
    net = setting.family(setting.config)
    seen = []
    net.forward = lambda x, arch=None: seen.append(x) or x[:, :1]
    image = torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(0))
    out = PictureNet(net)(image)
    torch.testing.assert_close(out, image[:, :1], rtol=0, atol=1e-6)

    def mirrored(i, n):
        i %= max(2 * (n - 1), 1)
        return min(i, 2 * (n - 1) - i)

    sides = [max(net.least, net.stride * -(-side // net.stride)) for side in size]
    if family == "gaugan" and sides == [64, 64]:
        sides = [64, 128]  # it begins with a pixel for each 64x64, and needs two
    assert list(seen[0].shape[2:]) == sides
    for i in range(sides[0]):
        for j in range(sides[1]):
            wanted = image[:, :, mirrored(i, size[0]), mirrored(j, size[1])] * 2 - 1
            torch.testing.assert_close(seen[0][:, :, i, j], wanted, rtol=0, atol=0)


@pytest.mark.parametrize("trained", [(8, 8), (64, 64), (256, 512), (720, 1280)], ids=str)
def test_the_sizes_of_the_check(trained):
    """Three: the training size, odd sides in a batch, a height that is shorter than what it is padded by."""
    first, second, third = cases(trained)
    assert first == (1, *trained)
    assert second[0] == 2 and second[1] % 2 and second[2] % 2 and second[1] < trained[0] <= second[2]
    assert third[1] < 8 - third[1] and third[2] % 2


def test_the_difference_is_the_largest(saved):
    net = PictureNet(load_net(saved)[0]).eval()

    def off(image):
        out = net(torch.from_numpy(image)).detach().numpy()
        out[-1, -1, -1, -1] += 0.25 if image.shape[0] == 2 else 0.125
        return out

    assert largest_difference(net, off, ((1, 8, 8), (2, 9, 9), (1, 8, 8))) == pytest.approx(0.25, abs=1e-6)
    assert largest_difference(net, lambda image: off(image)[:, :, :-1], ((1, 8, 8),)) == float("inf")
    assert largest_difference(net, lambda image: off(image) * np.nan, ((1, 8, 8),)) == float("inf")


def test_what_is_said_and_written(mirror, saved, tmp_path):
    lines = export(saved, "mirror")
    assert names(saved) == ["config.json", "model.mirror", "model.safetensors"]
    assert "largest difference from torch 0 " in lines[1] and "1x32x32, 2x25x41, 1x3x33" in lines[1]
    assert "pix2pix-resnet" in lines[2] and "macs" in lines[2] and "pictures of the user's own" in lines[3]
    assert "stem=3" in (saved / "model.mirror").read_text()
    export(saved, "mirror", tmp_path / "deep/er/x.mirror")
    assert names(tmp_path / "deep/er") == ["x.mirror"]


def test_the_terms_of_a_given_original_go_with_the_file(mirror, saved):
    """Beside those of the pictures: who passes the file on must know both."""
    config = read_json(saved / "config.json")
    given = {"family": "pix2pix-unet", "data": "maps", "attribution": "Maps by Ann Example, CC BY 4.0"}
    write_json(saved / "config.json", {**config, "original": given})
    told = export(saved, "mirror")[3]
    for words in ("the user's own, which keep their own terms. ", "a net of maps. Maps by Ann Example, CC BY 4.0"):
        assert words in told and words in (saved / "model.mirror").read_text(), words
    write_json(saved / "config.json", {**config, "attribution": "By Bob.", "original": {"data": None}})
    assert export(saved, "mirror")[3] == "attribution: By Bob. The original was given: a net of unknown data"


@pytest.mark.parametrize("spoil, why", [
    (lambda out: out + 2 * TOLERANCE, "differs from torch by up to 0.0002"),
    (lambda out: out[:, :, ::-1].copy(), "differs from torch"),
    (lambda out: out * np.nan, "differs from torch by up to inf"),
    (lambda out: out[..., :-1], "differs from torch by up to inf"),
    (lambda out: 1 / 0, "its runtime failed")], ids=["off", "upside down", "nan", "cut", "fails"])
def test_a_file_that_is_wrong_is_not_written(mirror, saved, ugc, monkeypatch, spoil, why):
    monkeypatch.setattr(mirror, "spoil", staticmethod(spoil))
    (saved / "model.mirror").write_text("of old")
    told = ugc("export", saved, "--format", "mirror")
    assert told.code == 2 and why in told.last and "nothing was written" in told.last
    assert (saved / "model.mirror").read_text() == "of old" and len(names(saved)) == 3


def test_a_small_difference_is_let_pass_and_told(mirror, saved, monkeypatch):
    monkeypatch.setattr(mirror, "spoil", staticmethod(lambda out: out + np.float32(TOLERANCE / 2)))
    assert "largest difference from torch 5e-05" in export(saved, "mirror")[1]
    assert "'largest_difference': '5e-05'" in (saved / "model.mirror").read_text()


def test_a_supernet_is_exported_at_its_full_width_and_says_so(mirror, setting_of, tmp_path, capsys):
    setting = setting_of("pix2pix-unet")
    net = setting.family(setting.config).init(torch.Generator().manual_seed(0))
    save_net(net, tmp_path, "pix2pix-unet", "supernet", SIZE, {})
    assert "w1=8," in export(tmp_path, "mirror")[2]
    assert "full width" in capsys.readouterr().err


def test_a_missing_package_is_named(mirror, saved, ugc, monkeypatch):
    monkeypatch.setattr(mirror, "needs", ("json", "no_such_runtime"))
    told = ugc("export", saved, "--format", "mirror")
    assert told.code == 2 and "no_such_runtime" in told.last and "pip install 'ugc[mirror]'" in told.last
    monkeypatch.setattr(mirror, "needs", ("onnxruntime",))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    with pytest.raises(UserError, match="onnxruntime cannot be imported"):
        export(saved, "mirror")
    assert len(names(saved)) == 2


def test_what_a_user_can_mend(mirror, saved, ugc, tmp_path):
    (tmp_path / "dir.mirror").mkdir()
    (tmp_path / "file").write_text("x")
    for words, why in (((saved, "--format", "onix"), "did you mean 'onnx'"),
                       ((saved, "--format", "mirror", "--out", tmp_path / "x.onnx"), "ends in .mirror"),
                       ((saved, "--format", "mirror", "--out", tmp_path / "dir.mirror"), "ends in .mirror"),
                       ((saved, "--format", "mirror", "--out", tmp_path / "file/x.mirror"), "cannot be written"),
                       ((tmp_path / "none", "--format", "mirror"), "holds no saved net")):
        told = ugc("export", *words)
        assert told.code == 2 and why in told.last and "Traceback" not in told.err, told.err
    text = (saved / "config.json").read_text()
    (saved / "config.json").write_text(text.replace('"size"', '"sizes"'))
    told = ugc("export", saved, "--format", "mirror")
    assert told.code == 2 and "names no size" in told.last
    assert names(saved) == ["config.json", "model.safetensors"]
