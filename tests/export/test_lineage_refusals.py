"""Files that hold no generator that can be imported: one sentence each, nothing run, nothing written."""

import io
import os
import pickle
import tarfile

import pytest
import torch
from published_nets import global_generator, resnet, unet, weights

from ugc.core.errors import UserError
from ugc.export.lineage import import_generator


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


@pytest.mark.parametrize("name", ["model", "PK\x03\x04", "\udc80\x02"])
def test_a_tar_archive_is_not_opened(tmp_path, name):
    """torch before 2.6 unpickles one without its guard; its first bytes can be those of any other kind of file."""
    with tarfile.open(tmp_path / "G.pth", "w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"code"))
    assert (tmp_path / "G.pth").read_bytes().startswith(name.encode(errors="surrogateescape"))
    refused(tmp_path / "G.pth", "tar archive", "state_dict()")


def test_names_that_would_write_on_the_terminal(tmp_path):
    torch.save({"model.\x1b[2J\n": torch.ones(3)}, tmp_path / "G.pth")
    refused(tmp_path / "G.pth", r"model.\x1b[2J\n")


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
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 45\n", "Git LFS"),
    (b"\x89HDF\r\n\x1a\n" + bytes(99), "89 48"),
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


def named(*names):
    return {name: torch.zeros(2, 2, 3, 3) for name in names}


@pytest.mark.parametrize("content, word", [
    (patchgan({}), "PatchGAN discriminator; the generator is in the file with _G"),
    ({"module": patchgan({})}, "PatchGAN"),
    (named("net.0.weight", "net.2.weight"), "single pixels"),
    (weights(global_generator(downs=0)), "named as none"),
    ({**weights(global_generator()), **named("model1_1.1.weight")}, "LocalEnhancer, in which the head of the global"),
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


@pytest.mark.parametrize("separable", [False, True])
def test_a_net_without_norm(tmp_path, separable):
    w = weights(resnet("batch", separable=separable))
    kept = [name for name, t in w.items() if t.dim() == 4 or name == "model.26.bias" or ".conv." in name]
    torch.save({name: w[name] for name in kept}, tmp_path / "G.pth")
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
    (resnet(), changed("model.4.weight", torch.zeros(7, 4, 3, 3)),
     ["a ResNet of 9 full blocks: model.4.weight gives 7 channels", "multiple of 2"]),
    (resnet(), changed("model.4.weight", torch.zeros(0, 4, 3, 3)), ["model.4.weight"]),
    (resnet("batch"), changed("model.2.running_var", torch.zeros(5)), ["model.2.running_var is 5, expected 4"]),
    (resnet("batch"), changed("model.4.bias", torch.zeros(5)), ["model.4.bias is 5, expected 8"]),
    (resnet(), changed("model.4.weight", torch.zeros(8, 4, 3, 3, dtype=torch.int8)), ["model.4.weight is torch.int8"]),
    (resnet(), changed("model.4.weight", torch.zeros(8, 4, 3, 3).to_sparse()), ["model.4.weight", "sparse"]),
    (resnet(), changed("model.4.weight", torch.full((8, 4, 3, 3), float("nan"))), ["model.4.weight holds NaN"]),
    (resnet(), changed("model.1.weight", torch.zeros(1, 1, 1, 1).expand(9999, 9999, 7, 7)),
     ["model.1.weight claims 4,899,020,049"]),
    (unet(), without("model.model.1.model.1.weight"), ["lacks model.model.1.model.1.weight"]),
    (unet(), without("model.model.3.bias"), ["lacks model.model.3.bias"]),
    (unet("instance"), without("model.model.0.bias"), ["lacks model.model.0.bias"]),
    (unet(), changed("model.model.0.bias", torch.zeros(2)), ["has tensors that such a net has not: model.model.0.bias"]),
    (unet(levels=6, widths=[2, 4, 8, 16, 16, 24]), without(), ["is 24x16x4x4, expected 16x16x4x4"])])
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
