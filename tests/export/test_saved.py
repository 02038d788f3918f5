"""A saved net is a folder that says what it is: round trips, and a sentence for all that is not one."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from sizes import least_size
from ugc.core.errors import UserError
from ugc.export.saved import load_net, load_tensors, save_net, save_tensors
from ugc.models.generator import FAMILIES, shrink
from ugc.nn.cost import total, trace

SIZE = (32, 32)
ROLES = ("original", "supernet", "largest", "student")


def make(setting_of, family, role, **config):
    """A net of that role with weights of its own, running statistics too."""
    setting = setting_of(family, **config)
    cls, fields = setting.family, setting.config
    net = cls(cls.original(fields) if role == "original" else fields).init(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            buffer.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    if role in ("largest", "student"):
        net = shrink(net, net.space.largest if role == "largest" else net.space.uniform(2, 1))
    return net.baked().eval()


@pytest.fixture
def saved(setting_of, tmp_path):
    """A student's folder, to be spoilt."""
    save_net(make(setting_of, "pix2pix-resnet", "student"), tmp_path / "net", "pix2pix-resnet", "student", SIZE, {})
    return tmp_path / "net"


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_round_trip(setting_of, tmp_path, family, role, norm):
    net, size = make(setting_of, family, role, norm=norm), least_size(family)
    save_net(net, tmp_path / "net", family, role, size, {"data": "squares"})
    back, about = load_net(tmp_path / "net")
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["config.json", "model.safetensors"]
    assert type(back) is type(net) and back.config == net.config and not back.training
    assert back.space == net.space
    ours, theirs = net.state_dict(), back.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    x = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(net(x), back(x))
        if role == "supernet":
            arch = net.space.uniform(3, 1)
            assert torch.equal(net(x, arch), back(x, arch))
    assert (about["role"], about["family"], about["data"], about["size"]) == (role, family, "squares", [*size])
    assert about["value_range"] == [-1, 1] and about["layout"] == "NCHW"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_its_cost_is_true(setting_of, tmp_path, family, role):
    net, size = make(setting_of, family, role), least_size(family)
    save_net(net, tmp_path / "net", family, role, size, {})
    about = json.loads((tmp_path / "net/config.json").read_text())
    numbers = {name: tensor.numel() for name, tensor in load_file(tmp_path / "net/model.safetensors").items()}
    assert about["params"] == sum(n for name, n in numbers.items() if "running" not in name)
    assert {key: about[key] for key in ("params", "macs", "macs_paper")} == vars(total(trace(net, None, size)))
    assert net.space.parse(about["arch"]) == net.space.largest


def test_the_runs_nets_load_with_no_flags(tiny_run, tiny_run_unet):
    for run, channels in ((tiny_run, 3), (tiny_run_unet, 1)):
        for role in ("original", "supernet", "largest", "smallest", "deep_teacher", "wide_teacher", "student"):
            net, about = load_net(run / role)
            assert about["role"] == role and net(torch.zeros(1, channels, *SIZE)).shape == (1, channels, *SIZE)
        assert about["data"] in ("squares", "grey squares") and len(about["recipe"]) == 12


def test_bf16_weights_are_taken(saved):
    """What someone else made smaller on disk still loads."""
    path = saved / "model.safetensors"
    save_file({name: t.bfloat16() for name, t in load_file(path).items()}, path)
    net, _ = load_net(saved)
    assert all(p.dtype == torch.float32 for p in net.parameters())


def refused(folder, *words):
    with pytest.raises(UserError) as error:
        load_net(folder)
    text = str(error.value)
    assert "\n" not in text and "Traceback" not in text
    for word in words:
        assert word in text, text


def test_no_folder_no_config_no_weights(saved, tmp_path):
    refused(tmp_path / "nothing", "nothing", "holds no saved net")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "config.json")
    (saved / "model.safetensors").unlink()
    refused(saved, "model.safetensors")


def test_a_file_instead_of_a_folder(saved):
    refused(saved / "model.safetensors", "model.safetensors")


@pytest.mark.parametrize("share", [0, 4, 0.5, 0.99])
def test_truncated_weights(saved, share):
    path = saved / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:share if isinstance(share, int) else math.floor(len(data) * share)])
    refused(saved, "model.safetensors", "cannot be read")


def test_foreign_weights(saved):
    (saved / "model.safetensors").write_bytes(b"PK\x03\x04" + bytes(1000))
    refused(saved, "model.safetensors")
    save_file({"encoder.weight": torch.zeros(3, 3)}, saved / "model.safetensors")
    refused(saved, "does not fit its config.json", "tensors differ")


def test_weights_of_another_shape(saved):
    path = saved / "model.safetensors"
    tensors = load_file(path)
    tensors["head.bias"] = torch.zeros(7)
    save_file(tensors, path)
    refused(saved, "1 tensors differ", "head.bias")


@pytest.mark.parametrize("text", [b"", b"{", b'{"family": "pix2pix-resnet", ', b"\xff\xfe\x00\x01"])
def test_damaged_config(saved, text):
    (saved / "config.json").write_bytes(text)
    refused(saved, "config.json")


@pytest.mark.parametrize("config", [
    [], {}, "net", None, {"model_type": "vit", "hidden_size": 768}, {"family": "pix2pix-resnet"},
    {"family": "pix2pix-resnet", "format": 1}, {"family": "pix2pix-resnet", "format": 1, "config": None},
    {"family": 3, "config": {}}])
def test_foreign_config(saved, config):
    (saved / "config.json").write_text(json.dumps(config))
    refused(saved)


def change(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_newer_format(saved):
    change(saved, format=2)
    refused(saved, "this version", "can read")


def test_unknown_family_and_fields(saved):
    config = json.loads((saved / "config.json").read_text())["config"]
    change(saved, family="pix2pix-resnot")
    refused(saved, "pix2pix-resnot", "'pix2pix-resnet'")
    change(saved, family="pix2pix-resnet", config={**config, "attention": True})
    refused(saved, "attention")
    change(saved, config={**config, "arch": "stem=999"})
    refused(saved, "stem")


def test_saving_is_whole_or_not_at_all(setting_of, saved, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_net(make(setting_of, "pix2pix-resnet", "largest"), saved, "pix2pix-resnet", "largest", SIZE, {})
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_tensors(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).t(), "b": torch.ones(1, requires_grad=True)}
    save_tensors(tensors, tmp_path / "deep/er/D.safetensors")
    back = load_tensors(tmp_path / "deep/er/D.safetensors")
    assert torch.equal(back["a"], tensors["a"]) and torch.equal(back["b"], torch.ones(1))
    with pytest.raises(UserError, match="cannot be read"):
        load_tensors(tmp_path / "none.safetensors")
