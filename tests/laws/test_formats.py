"""Laws of every export format, by registry: for every family, the file is the net."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import ugc
from sizes import least_size
from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.files import read_json
from ugc.export.formats import FORMATS, TOLERANCE, export
from ugc.export.saved import save_net
from ugc.models.generator import FAMILIES, shrink
from ugc.nn.cost import trace
from ugc.nn.shrink import recalibrate

ATTRIBUTION = "Squares by Ann Example, CC BY 4.0: https://squares.invalid/ä"
# role, norm, what goes in and how many channels come out: between them every norm, widening and narrowing, and label maps
NETS = {"pix2pix-resnet": [("student", "instance", (1, 3)), ("original", "batch", (3, 1))],
        "pix2pix-unet": [("student", "batch", (3, 1)), ("original", "instance", (1, 3))],
        "pix2pixhd": [("student", "batch", (LabelEncoding(classes=5, edges=True), 3))],
        "gaugan": [("student", "batch", (LabelEncoding(classes=4, unknown=True, edges=True), 3))]}
CASES = [(format, family, *net) for format in FORMATS for family in FAMILIES
         for net in NETS.get(family, [("student", "batch", (3, 3))])]
SIZES = [(1, 32, 32), (2, 37, 61), (1, 64, 20), (3, 9, 50), (1, 2, 33), (1, 1, 45), (2, 31, 1)]
OLD = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2]) < (2, 13)

pytestmark = pytest.mark.skipif(OLD, reason="the exporters want torch 2.13")


def pictures(count, channels, height, width, seed=0):
    """Random pictures of 8 bits, [N, H, W, C]."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), np.uint8)


def maps(g, count, height, width, seed=0):
    """Random label maps and instance maps in blocks of 3 pixels, int32 [N, H, W]; unknown is 255."""
    rng, encoding = np.random.default_rng(seed), g.encoding
    shape = count, -(-height // 3), -(-width // 3)
    ids, instances = (rng.integers(0, most, shape).repeat(3, 1).repeat(3, 2)[:, :height, :width].astype(np.int32)
                      for most in (encoding.ids, 40))
    return np.where(ids == encoding.classes, 255, ids).astype(np.int32), 1000 * instances


def asked(g, count, height, width, seed=0):
    """Random sources: the inputs of a file, and the translator's answers [N, H, W, C] to them in [0, 1], to a rounding."""
    if g.encoding.kind == "labels":
        inputs = maps(g, count, height, width, seed)
        return inputs, np.stack([g.maps(*one) / 255 for one in zip(*inputs)]), 0.5 / 255
    array = pictures(count, g.net.config.in_channels, height, width, seed)
    answers = np.stack([g.array(one.astype(np.uint16) * 257) / 65535 for one in array])
    return ((array / np.float32(255)).transpose(0, 3, 1, 2),), answers, 0.5 / 65535


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(map(str, case[:4])))
def exported(request, tmp_path_factory):
    """(folder of a saved net, its exported file, the format); the net's answers use the whole range."""
    name, family, role, norm, (source, outputs) = request.param
    source = Encoding(channels=source) if isinstance(source, int) else source
    inputs = source.channels
    cls, size = FAMILIES[family], tuple(max(64, side) if family == "pix2pixhd" else side for side in least_size(family))
    fields = {"blocks": 3} if "blocks" in cls.Config.model_fields else {}
    config = cls.config_for(size, base=8, norm=norm, in_channels=inputs, out_channels=outputs, **fields)
    net = cls(cls.original(config) if role == "original" else config).init(torch.Generator().manual_seed(2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0 if parameter.dim() > 1 else 1.0)
    if role == "student":
        net = shrink(net, net.space.uniform(3, 1))
    noise = torch.rand(8, inputs, *size, generator=torch.Generator().manual_seed(3)).mul(2).sub(1)
    recalibrate(net, noise.split(4))
    with torch.no_grad():  # of weights this small some families make almost nothing
        last = net.get_submodule(trace(net, None, size)[-1].name)
        last.weight.mul_(max(1.0, 0.5 / float(net(noise).atanh().std())))
    folder = tmp_path_factory.mktemp("saved")
    save_net(net, folder, family, role, size, {"data": "squares", "attribution": ATTRIBUTION,
                                               "source": source.model_dump(mode="json")})
    path = folder / f"made{FORMATS[name].suffix}"
    export(folder, name, path)
    return folder, path, FORMATS[name]()


@pytest.fixture(scope="module")
def run(exported):
    return exported[2].runtime(exported[1].read_bytes())


def test_the_file_is_the_translator_at_every_size(exported, run):
    """[0, 1] in and out, padding and cropping inside: rounded, it is `ugc.load(folder)` to a unit of 16 bits or so."""
    g = ugc.load(exported[0], "cpu")
    seen = []
    for size in SIZES:
        inputs, wanted, rounding = asked(g, *size)
        out = run(*inputs)
        assert out.dtype == np.float32 and out.min() >= 0 and out.max() <= 1
        ours = out.transpose(0, 2, 3, 1)
        assert ours.shape == wanted.shape
        assert np.abs(ours - wanted).max() < 2 * TOLERANCE + rounding, size
        seen.append(ours)
    spread = np.concatenate([one.ravel() for one in seen])
    assert spread.std() > 0.05 and spread.min() < 0.4 and spread.max() > 0.6  # answers that say something


def test_it_draws_what_a_pil_picture_gives(exported, run):
    g = ugc.load(exported[0], "cpu")
    if g.encoding.kind == "labels":
        inputs = maps(g, 1, 45, 38, seed=5)
        images = [Image.fromarray(inputs[0][0].astype(np.uint8)), Image.fromarray(inputs[1][0].astype(np.uint16))]
    else:
        array = pictures(1, g.net.config.in_channels, 45, 38, seed=5)
        inputs = ((array / np.float32(255)).transpose(0, 3, 1, 2),)
        images = [Image.fromarray(array[0, ..., 0] if array.shape[3] == 1 else array[0])]
    wanted = np.asarray(g(*images)).astype(int)
    out = run(*inputs)[0].transpose(1, 2, 0)
    ours = np.round(out * 255).astype(int)
    differ = ours != wanted.reshape(ours.shape)
    assert np.abs(ours - wanted.reshape(ours.shape)).max() <= 1
    assert np.abs(out[differ] * 255 % 1 - 0.5).max(initial=0) < 255 * TOLERANCE  # only where it is a matter of rounding


def test_pictures_of_a_batch_do_not_touch_one_another(exported, run):
    """Running statistics, not the batch's: eval mode is in the file."""
    inputs, _, _ = asked(ugc.load(exported[0], "cpu"), 3, 24, 40, seed=7)
    alone = np.concatenate([run(*(one[i:i + 1] for one in inputs)) for i in range(3)])
    assert np.abs(run(*inputs) - alone).max() < TOLERANCE


def test_it_says_what_it_is(exported):
    folder, path, chosen = exported
    about, config = chosen.about(path.read_bytes()), read_json(folder / "config.json")
    for key in ("family", "role", "arch", "data", "attribution", "ugc"):
        assert about[key] == config[key]
    for key in ("params", "macs", "macs_paper"):
        assert about[key] == str(config[key])
    assert about["attribution"] == ATTRIBUTION and "Apache-2.0" in about["licence"]
    assert about["size"] == "{}x{}".format(*config["size"])
    assert about["value_range"] == "[0, 1]" and about["layout"] == "NCHW"
    assert 0 < float(about["largest_difference"]) <= float(about["tolerance"]) == TOLERANCE
    sizes = json.loads(about["checked_sizes"])
    assert len(sizes) >= 3 and any(height % 2 and width % 2 for _, height, width in sizes)
    assert {count for count, _, _ in sizes} == {1, 2}
    assert set(chosen.versions().items()) <= set(about.items())


def test_nothing_of_this_machine_is_in_it(exported):
    data = exported[1].read_bytes()
    for word in (str(exported[0].parent), "site-packages", ".py", "/home/", "/root", "torch/nn"):
        assert word.encode() not in data
    assert not re.search(rb"/(?:tmp|work|usr|opt|var)/", data)
