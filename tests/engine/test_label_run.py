"""A run on label maps with instance maps, as in Cityscapes' tree: its report, its card, and all who answer its test."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from ugc.core.encoding import LabelEncoding
from ugc.core.palettes import CITYSCAPES
from ugc.data.pictures import read_picture
from ugc.engine.answers import OnnxAnswers
from ugc.export.saved import load_net, save_net

OLD = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2]) < (2, 13)
CITY = LabelEncoding(classes=35, edges=True, palette="cityscapes")
TEST = 3


def maps(seed):
    """Class ids and instance ids of 40x80, in blocks: roads, skies, and cars one beside the other."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(np.array([7, 11, 23, 26], np.uint8), (5, 10)).repeat(8, 0).repeat(8, 1)
    things = rng.integers(0, 9, (5, 10)).repeat(8, 0).repeat(8, 1)
    return ids, np.where(ids == 26, 26000 + things, ids).astype(np.uint16)


def write(root, split, count, seed):
    for i in range(count):
        stem = f"ulm/ulm_{i:06d}_000019"
        ids, instances = maps(seed + i)
        photo = np.array([label.colour for label in CITYSCAPES], np.uint8)[ids] // 2 + 60
        for path, pixels in ((f"gtFine/{split}/{stem}_gtFine_labelIds.png", ids),
                             (f"gtFine/{split}/{stem}_gtFine_instanceIds.png", instances),
                             (f"leftImg8bit/{split}/{stem}_leftImg8bit.png", photo)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / path)
    return root


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    return write(write(tmp_path_factory.mktemp("data") / "city", "train", 8, 0), "val", TEST, 100)


@pytest.fixture(scope="module")
def command(tiny):
    words = list(tiny)
    words[words.index("--size") + 1] = "32x64"
    return (*words, "--set", "generator.blocks=2", "--set", "generator.widths=[2,8]", "--set", "generator.depths=[0]")


@pytest.fixture(scope="module")
def run(ugc, command, city, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "city"
    told = ugc("run", city, "--out", folder, *command, "--budget", "2x")
    assert told.code == 0, told.err
    return folder


@pytest.fixture(scope="module")
def told(ugc, city):
    def measured(*words, data=city):
        answer = ugc("eval", words[0], data, *words[1:], "--json", "--device", "cpu")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)["rows"]

    return measured


def without_cost(row):
    return {key: value for key, value in row.items() if key not in ("params", "macs", "macs_paper", "latency_ms")}


def test_its_report_names_the_columns_of_label_maps(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    heads = re.findall(r'<div class="sample head">(.*?)</div>', page)
    assert re.findall(r"<span[^>]*>(.*?)</span>", heads[0]) == ["label map", "photo (target)", "original", "student"]
    shown = read_picture(run / "stages/test/samples/000-source.png")
    assert {tuple(pixel) for pixel in shown.reshape(-1, 3).tolist()} <= {CITYSCAPES[i].colour for i in (7, 11, 23, 26)}


def test_its_card_says_what_goes_in_and_its_example_runs(run, tmp_path, monkeypatch):
    card = (run / "student/README.md").read_text(encoding="utf-8")
    text = " ".join(card.split())
    assert "takes a label map of 35 classes and an instance map and gives an image of 3 channels (RGB)" in text
    assert "`[N, 36, H, W] in {0, 1} -> [N, 3, H, W]` in [-1, 1]" in text and "for a label map or a folder of them" in text
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1].replace('"student"', repr(str(run / "student")))
    label, instance = (Image.fromarray(one) for one in maps(5))
    monkeypatch.chdir(tmp_path)
    exec(code, {"label": label, "instance": instance})
    assert Image.open("out.png").size == (80, 40)


def test_eval_measures_as_the_run_did(run, told):
    saved = json.loads((run / "metrics.json").read_text())["rows"]
    found = told(run / "student", "--against", run / "original")
    for role in ("student", "original", "palette", "floor"):
        assert without_cost(found[role]) == pytest.approx(without_cost(saved[role]), rel=1e-9)
    assert "copy" not in found


@pytest.mark.parametrize("given", ["gtFine/val/ulm", "gtFine/val", "gtFine/val/*/*_labelIds.png"])
def test_what_translate_writes_scores_as_the_net(run, told, ugc, city, tmp_path, given):
    """At the test's size, which is not that of the files here: so of label maps that are."""
    small = tmp_path / "small"
    for path in city.rglob("val/**/*.png"):
        (small / path.relative_to(city)).parent.mkdir(parents=True, exist_ok=True)
        size, how = (64, 32), Image.Resampling.BICUBIC if "left" in path.name else Image.Resampling.NEAREST
        Image.open(path).resize(size, how).save(small / path.relative_to(city))
    assert ugc("translate", run / "student", small / given, tmp_path / "out", "--device", "cpu").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"ulm_{i:06d}_000019_leftImg8bit.png" for i in range(TEST)]
    assert without_cost(told(tmp_path / "out", "--size", "32x64")["student"]) == pytest.approx(
        without_cost(told(run / "student")["student"]), rel=1e-9)


def test_a_tree_of_photos_is_a_perfect_answer(told, city):
    rows = told(city / "leftImg8bit/val/ulm", "--size", "40x80")
    assert rows["student"]["l1"] == 0


@pytest.mark.skipif(OLD, reason="the exporters want torch 2.13")
@pytest.mark.parametrize("labels", ["ids", "onehot"])
def test_its_files_answer_as_the_net(run, told, ugc, tmp_path, labels):
    path = tmp_path / "x.onnx"
    assert ugc("export", run / "student", "--labels", labels, "--out", path).code == 0
    assert OnnxAnswers(path).source == CITY
    wanted, found = told(run / "student")["student"], told(path)["student"]
    assert without_cost(found) == pytest.approx(without_cost(wanted), rel=1e-3) and found["params"] == wanted["params"]


def test_data_of_another_encoding_are_refused(run, ugc, city, tiny_run, tiny_data, setting_of, tmp_path):
    """By eval, and where the net is to be learnt from."""
    nets = {}
    for name, encoding in {"bare": LabelEncoding(classes=35), "few": LabelEncoding(classes=12, edges=True),
                           "more": LabelEncoding(classes=35, unknown=True, edges=True)}.items():
        setting = setting_of("pix2pix-resnet", in_channels=encoding.channels, out_channels=3)
        nets[name] = tmp_path / name
        save_net(setting.family(setting.config).init(torch.Generator().manual_seed(0)), nets[name], "pix2pix-resnet",
                 "original", (32, 64), {"source": encoding.model_dump(mode="json")})
    with_maps = "label maps of 35 classes with instance maps"
    for net, data, why in ((nets["bare"], city, f"takes label maps of 35 classes without instance maps.*{with_maps}"),
                           (nets["few"], city, "there are 12 classes"),
                           (run / "student", tiny_data, f"takes {with_maps}.*pictures of 3"),
                           (tiny_run / "student", city, f"takes pictures of 3 channels.*{with_maps}")):
        told = ugc("eval", net, data, "--device", "cpu")
        assert told.code == 2 and re.search(why, told.last), told.err
    for net, why in ((nets["bare"], f"without instance maps, the data are {with_maps}; take away their instance maps"),
                     (nets["few"], f"takes label maps of 12 classes .* {with_maps}; --set data.classes=12"),
                     (nets["more"], f"35 classes and unknown .* {with_maps}; --set data.unknown=true reads them so"),
                     (tiny_run / "original", f"takes pictures of 3 channels, the data are {with_maps}")):
        told = ugc("run", city, "--method", "from-teacher", "--original", net, "--out", tmp_path / "out", "--dry-run")
        assert told.code == 2 and re.search(why, told.last), told.err
    told = ugc("run", city, "--method", "from-teacher", "--original", nets["more"], "--set", "data.unknown=true", "--budget",
               "2x", "--out", tmp_path / "out", "--dry-run")
    assert told.code == 0 and "37 -> 3 channels" in told.out, told.err
    assert ugc("eval", nets["more"], city, "--device", "cpu").code == 0


def test_a_net_of_label_maps_is_learnt_from(run, ugc, city, command, tmp_path):
    words = list(command)
    for option in ("--base", "--size"):
        del words[words.index(option):words.index(option) + 2]
    told = ugc("run", city, "--method", "from-teacher", "--original", run / "original", "--out", tmp_path / "out", *words,
               "--budget", "2x")
    assert told.code == 0, told.err
    net, about = load_net(tmp_path / "out/student")
    assert net.config.in_channels == 36 and about["source"] == CITY.model_dump(mode="json")


