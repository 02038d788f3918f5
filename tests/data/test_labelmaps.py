"""Trees of label maps: found by looking, paired by stem; ids, edges and photos cut alike; what does not fit is said."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ugc.core.clock import Clock
from ugc.core.encoding import edges_of
from ugc.core.errors import UserError
from ugc.core.palettes import palette
from ugc.data.dataset import DataConfig, open_dataset
from ugc.data.labels import split
from ugc.data.stream import Stream, test_data, train_data


def opened(folder, targets=True, **options):
    return open_dataset(DataConfig.parse({"path": str(folder), "size": "32x64", **options}, "data"), 0, targets)


def ids_in(path):
    return np.asarray(Image.open(path))


def notes(dataset):
    return " ".join(dataset.notes)


def test_cityscapes_as_downloaded(labels_in, tmp_path):
    """Its test holds no classes: val is the test. What lies beside the label maps plays no part."""
    labels_in(tmp_path, (("train", 4), ("val", 3), ("test", 2)), city=True, classes=34, empty_test=True)
    (tmp_path / "gtFine/train/bonn/bonn_000000_000019_gtFine_polygons.json").write_text("{}")
    for name in ("color", "labelTrainIds"):
        Image.new("RGB", (64, 32)).save(tmp_path / f"gtFine/train/bonn/bonn_000000_000019_gtFine_{name}.png")
    dataset = opened(tmp_path)
    assert [r.key for r in dataset.train] == [f"bonn_{i:06d}_000019" for i in range(4)]
    assert len(dataset.test) == 3 and all("/val/" in r.source.path and "/val/" in r.target.path for r in dataset.test)
    assert "own test hold no classes" in notes(dataset) and "ignored" not in notes(dataset)
    code = dataset.encoding
    assert (code.classes, code.unknown, code.edges, code.channels, code.palette) == (35, False, True, 36, "cityscapes")
    assert (dataset.source_channels, dataset.target_channels) == (2, 3)
    assert (dataset.load_size((32, 64)), dataset.flip, dataset.unlabelled_default) == ((32, 64), True, "all")
    record = dataset.train[0]
    ids = ids_in(tmp_path / record.source.path)
    stored = dataset.read(record.source, 32, 64, True)
    assert stored.dtype == np.uint8 and (stored[..., 0] == ids).all()
    edges = edges_of(torch.from_numpy(ids_in(tmp_path / record.source.instances).astype(np.int64)))
    assert (stored[..., 1] == edges.numpy()).all() and 0 < stored[..., 1].mean() < 1
    assert (dataset.read(record.target, 32, 64, True) == ids[..., None] * np.uint8(30)).all()


def test_a_test_with_classes_is_the_test(labels_in, tmp_path):
    dataset = opened(labels_in(tmp_path, (("train", 3), ("val", 3), ("test", 2)), city=True))
    assert len(dataset.test) == 2 and "no classes" not in notes(dataset)


@pytest.mark.parametrize("instances", [True, False])
def test_the_folders_of_pix2pixhd(instances, labels_in, tmp_path):
    labels_in(tmp_path, (("train", 4), ("test", 2)), instances=instances, classes=7)
    dataset = opened(tmp_path)
    assert (len(dataset.train), len(dataset.test), dataset.encoding.classes) == (4, 2, 7)  # ids 0 to 6
    assert dataset.encoding.channels == dataset.encoding.stored + 6 == 7 + instances
    assert ("no instance maps, so no edge channel" in notes(dataset)) is not instances
    assert (dataset.load_size((32, 64)), dataset.unlabelled_default) == ((32, 64), "all")
    assert opened(tmp_path, classes=12).encoding.classes == 12
    assert opened(tmp_path, load="40x80").load_size((32, 64)) == (40, 80)
    assert opened(tmp_path, classes=12).identity != dataset.identity


def test_cityscapes_in_the_folders_of_pix2pixhd(labels_in, tmp_path):
    """With its own names, and so its own ids."""
    labels_in(tmp_path / "a", city=True)
    for side, place in (("label", "gtFine"), ("inst", "gtFine"), ("img", "leftImg8bit")):
        for name in ("train", "val"):
            (tmp_path / f"{name}_{side}").mkdir()
            ending = {"label": "labelIds", "inst": "instanceIds", "img": "leftImg8bit"}[side]
            for path in (tmp_path / "a" / place / name / "bonn").glob(f"*_{ending}.png"):
                shutil.copy(path, tmp_path / f"{name}_{side}")
    dataset = opened(tmp_path)
    assert (len(dataset.train), len(dataset.test), dataset.encoding.channels) == (6, 3, 36)
    assert all(r.target and r.key == f"bonn_{i:06d}_000019" for i, r in enumerate(dataset.train))
    assert "train_label train_inst train_img" in notes(dataset) and dataset.encoding.palette == "cityscapes"


def test_255_is_unknown_as_in_coco_stuff(labels_in, tmp_path):
    labels_in(tmp_path, (("train", 4), ("val", 2)), instances=False)
    path = tmp_path / "train_label/0.png"
    Image.fromarray(np.where(ids_in(path) == 2, 255, ids_in(path)).astype(np.uint8)).save(path)
    dataset = opened(tmp_path, size="256x256")
    assert (dataset.encoding.classes, dataset.encoding.unknown, dataset.encoding.channels) == (7, True, 8)
    assert dataset.load_size((256, 256)) == (286, 286)
    source = next(r.source for r in dataset.train if r.key == "0")
    raw, stored = dataset.full_labels(source), dataset.read(source, 32, 64, False)[..., 0]
    assert raw.shape == (32, 64) and (raw == 255).any()
    assert (stored == np.where(raw == 255, 7, raw)).all()
    assert opened(tmp_path, classes=256).encoding.unknown is False  # then 255 is a class like any other
    with pytest.raises(UserError, match="holds the class id 255, and there are 7 classes"):
        opened(tmp_path, classes=7, unknown=False)
    shutil.rmtree(tmp_path / "train_label")
    shutil.copytree(tmp_path / "val_label", tmp_path / "train_label")
    assert opened(tmp_path, classes=7).encoding.unknown is False
    assert opened(tmp_path, classes=7, unknown=True).encoding == dataset.encoding  # of maps of which 255 is in none


def test_pairs_are_found_by_stem_and_not_by_order(labels_in, tmp_path):
    labels_in(tmp_path, (("train", 6), ("test", 2)))
    (tmp_path / "train_img/0.png").unlink()
    (tmp_path / "train_label/4.png").unlink()
    (tmp_path / "train_inst/4.png").unlink()
    Image.open(tmp_path / "train_img/2.png").save(tmp_path / "train_img/2.webp", lossless=True)
    (tmp_path / "train_img/2.png").unlink()
    dataset = opened(tmp_path)
    assert [(r.key, r.target is None) for r in dataset.train] == [(i, i == "0") for i in "01235"]
    for record in dataset.train[1:]:
        ids = dataset.read(record.source, 32, 64, False)[..., :1]
        assert (dataset.read(record.target, 32, 64, False) == ids * np.uint8(30)).all()
    assert "1 targets without a source were ignored" in notes(dataset)


def test_ids_are_never_mixed_and_edges_are_one_pixel_thin_at_any_size(labels_in, tmp_path):
    dataset = opened(labels_in(tmp_path, classes=7))
    source = dataset.train[0].source
    small = dataset.read(source, 16, 32, False)
    assert (small[..., 0] == dataset.full_labels(source)[1::2, 1::2]).all()
    numbers = ids_in(tmp_path / source.instances)[1::2, 1::2].astype(np.int64)
    assert (small[..., 1] == edges_of(torch.from_numpy(numbers)).numpy()).all()
    large = dataset.read(source, 50, 70, False)
    assert set(np.unique(large[..., 0])) <= set(np.unique(small[..., 0])) and set(np.unique(large[..., 1])) == {0, 1}


@pytest.mark.parametrize("city", [True, False])
def test_label_map_edges_and_photo_share_crop_and_flip(city, labels_in, tmp_path):
    """Every photo is the picture of its label map: so is every target of its source. Edges are those of the cut map."""
    labels_in(tmp_path, city=city)
    config = DataConfig(path=str(tmp_path), size=(16, 24), load=(32, 64))
    dataset = open_dataset(config, 0)
    seen = palette("cityscapes" if city else "distinct", dataset.encoding.ids)
    for record in dataset.train:
        Image.fromarray(seen[ids_in(tmp_path / record.source.path)]).save(tmp_path / record.target.path)
        Image.fromarray(ids_in(tmp_path / record.source.path)).save(tmp_path / record.source.instances)
    dataset = open_dataset(config, 0)
    stream, code = Stream(train_data(dataset, config, split(dataset, config, 0)), 8, torch.device("cpu")), dataset.encoding
    flipped = set()
    for step in range(4):
        batch = stream.batch(Clock(0, step))
        assert batch.source.shape == (8, code.channels, 16, 24) and batch.target.shape == (8, 3, 16, 24)
        assert torch.equal(batch.source[:, :code.ids].sum(1), torch.ones(8, 16, 24))
        assert torch.equal(code.view(batch.source), batch.target)
        inside, edges = edges_of(batch.source[:, :code.ids].argmax(1)), batch.source[:, -1].bool()
        assert torch.equal(inside[:, 1:-1, 1:-1], edges[:, 1:-1, 1:-1]) and inside.any() and not inside.all()
        flipped |= set(stream._views("A", stream.A, 8, Clock(0, step)).flip.tolist())
    assert flipped == {True, False}
    held = test_data(dataset, config)
    assert held.sources.shape == (3, 16, 24, 2) and held.encoding == dataset.encoding


def test_hidden_labels_are_hidden_photos(labels_in, tmp_path):
    dataset = opened(labels_in(tmp_path, (("train", 8), ("val", 2)), city=True), labels=0.5)
    parts = split(dataset, dataset.config, 0)
    assert len(parts.labelled) == 4 and len(parts.unlabelled) + len(parts.validation) == 4 == parts.hidden


def test_label_maps_alone_do_where_no_target_is_needed(labels_in, tmp_path):
    labels_in(tmp_path, city=True)
    shutil.rmtree(tmp_path / "leftImg8bit")
    dataset = opened(tmp_path, targets=False)
    assert (len(dataset.train), len(dataset.test), dataset.target_channels) == (6, 3, 0)
    with pytest.raises(UserError, match=r"has no pair: 6 source\(s\) and 0 target"):
        opened(tmp_path)


def test_colour_label_maps_stay_pictures(labels_in, tmp_path):
    """pix2pix's Cityscapes: photo and colours side by side."""
    (tmp_path / "train").mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 35, (32, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"train/{i}.jpg")
    dataset = opened(tmp_path, direction="BtoA")
    assert (dataset.encoding.kind, dataset.source_channels) == ("picture", 3)


def drop_some_instances(root):
    for i in (1, 4):
        (root / f"train_inst/{i}.png").unlink()


def small_instances(root):
    Image.new("I;16", (32, 16)).save(root / "train_inst/3.png")


def other_proportions(root):
    Image.new("RGB", (64, 48)).save(root / "train_img/3.png")


def colours(root):
    Image.new("RGB", (64, 32)).save(root / "train_label/3.png")


def no_label_map(root):
    shutil.rmtree(root / "train_label")
    (root / "train_label").mkdir()


WRONG = [(drop_some_instances, {}, r"2 of 9 label maps have no instance map, the first is train_label/1\.png; add them"),
         (small_instances, {}, r"train_inst/3\.png is 16x32 and its label map train_label/3\.png is 32x64"),
         (other_proportions, {}, r"train_label/3\.png is 32x64 and its target train_img/3\.png is 48x64"),
         (colours, {}, r"train_label/3\.png has 3 channels; expected a label map"),
         (no_label_map, {}, r"train_label holds no label map \(expected files such as 0001\.png\)"),
         (None, {"classes": 5}, r"\.png holds the class id 5, and there are 5 classes \(ids 0 to 4\); set data\.classes=7"),
         (None, {"direction": "BtoA"}, "holds label maps, which are sources only"),
         (None, {"source_channels": 3}, r"whose channels follow from their classes; set data\.classes instead")]


@pytest.mark.parametrize(("spoil", "options", "says"), WRONG)
def test_what_does_not_fit_is_said(spoil, options, says, labels_in, tmp_path):
    labels_in(tmp_path)
    if spoil:
        spoil(tmp_path)
    with pytest.raises(UserError, match=says):
        opened(tmp_path, **options)


@pytest.mark.parametrize("city", [True, False])
def test_ids_beyond_cityscapes_classes(city, labels_in, tmp_path):
    labels_in(tmp_path, city=city, classes=40)
    if city:
        with pytest.raises(UserError, match=r"there are 35 classes \(ids 0 to 34\); set data\.classes=40"):
            opened(tmp_path)
    assert opened(tmp_path, classes=40).encoding.channels == 41


def test_pictures_have_no_classes(pairs_in, tmp_path):
    with pytest.raises(UserError, match=r"data\.classes=4: .* holds pictures"):
        opened(pairs_in(tmp_path), classes=4)


def checked(ugc, folder):
    told = ugc("data", "check", folder, "--json")
    return told.code, json.loads(told.out), ugc("data", "check", folder).out, told.last if told.code else ""


def test_check_says_which_classes_there_are(ugc, labels_in, tmp_path):
    labels_in(tmp_path, (("train", 4), ("val", 3), ("test", 2)), city=True, classes=9, empty_test=True)
    one = tmp_path / "gtFine/train/bonn/bonn_000000_000019_gtFine_labelIds.png"
    ids = ids_in(one).copy()
    ids[0, 0], ids[0, 1] = 26, 255
    Image.fromarray(ids).save(one)
    code, found, table, _ = checked(ugc, tmp_path)
    assert code == 0 and found["problems"] == [] and (found["pairs"], found["test"], found["test_from"]) == (4, 3, "val")
    classes = found["classes"]
    assert (classes["count"], classes["unknown"], classes["edges"]) == (35, True, True)
    assert classes["ids"]["26"] == {"name": "car", "maps": 1, "share": 1 / (7 * 32 * 64)}
    assert classes["ids"]["33"] == {"name": "bicycle", "maps": 0, "share": 0.0} and classes["ids"]["7"]["maps"] == 7
    assert "rare        26 car (1 maps, 0.01%), 255 unknown" in table
    assert "absent      0 unlabeled, 9 parking" in table and "35, of which 9 are found, and unknown (255)" in table


def test_check_lists_all_that_is_wrong_with_label_maps(ugc, labels_in, tmp_path):
    labels_in(tmp_path, city=False)
    for spoil in (drop_some_instances, small_instances, colours, other_proportions):
        spoil(tmp_path)
    Image.new("RGB", (64, 32)).save(tmp_path / "train_label/3.png")
    Image.new("I;16", (32, 16)).save(tmp_path / "train_inst/2.png")
    shutil.copy(tmp_path / "train_label/0.png", tmp_path / "val_label/0.png")
    code, found, _, last = checked(ugc, tmp_path)
    assert code == 2 and last == f"ugc: {found['error']}" and "train_label/3.png has 3 channels" in last
    wrong = {p["kind"].split(" (")[0]: p["where"] for p in found["problems"]}
    assert wrong.pop("unreadable files")[0].startswith("train_label/3.png has 3 channels")
    assert wrong == {"label maps without an instance map": ["train_label/1.png", "train_label/4.png"],
                     "instance maps of another size than their label map":
                         ["train_inst/2.png of 16x32 and train_label/2.png of 32x64"],
                     "the same source in train and test": ["val_label/0.png is train_label/0.png"]}


OWN = {  # of families made for label maps: what makes them small, and what recipe.json says of their L_sup and D
    "pix2pixhd": ("blocks=1", {"gan": "lsgan", "scales": "sum", "d_factor": 0.5}, {"scales": 2, "spectral": False}),
    "gaugan": ("upsampling=normal", {"gan": "hinge", "scales": "mean", "d_factor": 1.0}, {"scales": 2, "spectral": True})}


@pytest.mark.parametrize("family", OWN)
def test_a_whole_run_on_label_maps(ugc, labels_in, tiny, family, tmp_path):
    """All stages under the family's own objective; grids and samples show label maps in colours; `ugc eval` reads them."""
    data, run = labels_in(tmp_path / "city", city=True), tmp_path / "run"
    body, objective, patch = OWN[family]
    told = ugc("run", data, "--out", run, *tiny, "--family", family, "--size", "32x64", "--budget", "5x",
               "--set", f"generator.{body}", "--set", "generator.widths=[1,8]", "--set", "generator.depths=[0,1]",
               "--set", "data.labels=0.7")
    assert told.code == 0, told.err
    recipe = json.loads((run / "recipe.json").read_text())
    terms = {"lambda_recon": 0.0, "lambda_features": 10.0, "lambda_perceptual": 10.0}
    assert {**objective, **terms}.items() <= recipe["objective"].items() and patch.items() <= recipe["patch"].items()
    assert recipe["objective"]["backbone"] in ("vgg19", "lite0")  # not auto: all stages take one
    for stage, player in (("original", "G"), ("supernet", "G"), ("distill", "deep")):
        last = json.loads((run / f"stages/{stage}/log.jsonl").read_text().splitlines()[-1])
        learnt = {key.split("/")[1] for key in last if key.startswith(f"{player}/")}
        assert {"gan", "features", "perceptual"} <= learnt and "recon" not in learnt
    about = json.loads((run / "student/config.json").read_text())
    assert about["config"]["in_channels"] == 36 and about["source"]["classes"] == 35 and about["source"]["edges"] is True
    assert "the last channel is the edges of instances" in (run / "report.html").read_text()
    sample = ids_in(run / "stages/test/samples/000-source.png")
    assert {tuple(colour) for colour in sample.reshape(-1, 3).tolist()} <= {(0, 0, 0), (111, 74, 0), (81, 0, 81)}
    shutil.copytree(run / "student", tmp_path / "net")
    told = ugc("eval", tmp_path / "net", data, "--json")
    assert told.code == 0, told.err
    row = next(iter(json.loads(told.out)["rows"].values()))
    assert abs(row["psnr"] - json.loads((run / "metrics.json").read_text())["rows"]["student"]["psnr"]) < 1e-4
    told = ugc("run", labels_in(tmp_path / "other"), "--original", tmp_path / "net", "--method", "from-teacher",
               "--budget", "2x", "--out", tmp_path / "next")
    assert told.code == 2 and "takes label maps of 35 classes" in told.last and "--set data.classes=35" in told.last
