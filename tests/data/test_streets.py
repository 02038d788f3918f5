"""Rendered streets: a function of seed and index; labels that fit the picture; a tree as Cityscapes'; resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from ugc.core.errors import UserError
from ugc.core.palettes import CITYSCAPES, palette
from ugc.data import streets
from ugc.data.dataset import DataConfig, open_dataset
from ugc.data.fetch import marked
from ugc.data.street_parts import CAR, CLASSES, PERSON, ROAD, SKY, THINGS
from ugc.data.street_scene import street
from ugc.data.street_tree import ATTRIBUTION, paths, write_tree

pytestmark = pytest.mark.skipif(find_spec("mujoco") is None, reason="ugc[streets] is not installed")
SIZE = (32, 64)
COUNTS = {"train": 3, "val": 1, "test": 1}


@pytest.fixture(scope="module")
def drawn():
    """Frames of seed 0, by index."""
    from ugc.data.street_render import renderer

    with renderer((64, 128)) as one:
        return {index: one.frame(0, index) for index in (0, 1, 2, 3, 1_000_000)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("streets") / "tree"
    write_tree(out, SIZE, 5, COUNTS)
    return out


def read(path):
    with Image.open(path) as picture:
        return np.array(picture)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- a street ----

def told(what):
    return [(s.shape, s.size, s.at.tolist(), s.turn.tolist(), s.colour, s.label, s.instance) for s in what.solids]


def test_a_street_is_a_function_of_seed_and_index():
    first = street(0, 7)
    street(3, 3)  # what is made between does not matter
    assert told(first) == told(street(0, 7))
    assert told(first) != told(street(1, 7)) and told(first) != told(street(0, 8))


def test_the_labels_are_those_of_the_picture(drawn):
    """Where a street says sky there is the sky's own colour, and the road lies below it; shapes are as they should be."""
    for frame in drawn.values():
        assert frame.photo.shape == (64, 128, 3) and frame.photo.dtype == np.uint8
        assert frame.labels.shape == frame.instances.shape == (64, 128)
        assert (frame.labels.dtype, frame.instances.dtype) == (np.uint8, np.uint16)
        rows = np.arange(64)[:, None].repeat(128, 1)
        assert rows[frame.labels == ROAD].mean() > 40 and (frame.labels[-1] == ROAD).mean() > 0.3
        sky = frame.labels == SKY
        if sky.any():
            assert rows[sky].mean() < 32
            assert frame.photo[sky].mean() > frame.photo[frame.labels == ROAD].mean()


def test_a_label_map_moved_aside_does_not_fit_the_picture(drawn):
    """Labels explain the colours to the pixel: any shift explains less of them."""
    def within(frame, shift):
        labels = np.roll(frame.labels, shift, 1)[:, 8:-8]
        photo = frame.photo[:, 8:-8].astype(float)
        return sum(((photo[labels == c] - photo[labels == c].mean(0)) ** 2).sum() for c in np.unique(labels))

    by_shift = {shift: sum(within(frame, shift) for frame in drawn.values()) for shift in (-4, -2, -1, 0, 1, 2, 4)}
    assert min(by_shift, key=by_shift.get) == 0


def test_ids_are_those_of_cityscapes_and_all_of_them_come(drawn):
    names = {CITYSCAPES[i].name for i in CLASSES}
    assert len(CLASSES) == 12 and {"road", "sidewalk", "building", "vegetation", "sky", "person", "car", "pole"} <= names
    assert set().union(*(np.unique(f.labels) for f in drawn.values())) <= set(CLASSES)
    made = {solid.label for index in range(12) for solid in street(0, index).solids}
    assert made | {SKY} == set(CLASSES)


def test_instances_belong_to_their_class(drawn):
    several = 0
    for frame in drawn.values():
        thing = np.isin(frame.labels, THINGS)
        assert (frame.instances[~thing] == frame.labels[~thing]).all()
        assert (frame.instances[thing] // 1000 == frame.labels[thing]).all()
        several += len(np.unique(frame.instances[frame.labels == CAR]))
    assert several > len(drawn)  # cars have numbers of their own


def test_every_thing_has_one_number_and_stays_together():
    solids = street(0, 0).solids
    for label in THINGS:
        numbers = {s.instance for s in solids if s.label == label}
        assert numbers == set(range(label * 1000, label * 1000 + len(numbers)))
        for number in numbers:
            at = np.array([s.at for s in solids if s.instance == number])
            assert np.ptp(at, 0).max() < (5 if label == CAR else 2)
    assert any(s.label == PERSON for s in solids)


def test_light_and_colours_vary(drawn):
    means = np.array([f.photo[f.labels == ROAD].mean() for f in drawn.values()])
    assert np.ptp(means) > 10


# ---- a tree ----

def test_the_layout_is_that_of_cityscapes(tree):
    found = sorted(str(p.relative_to(tree)) for p in tree.rglob("*.png"))
    assert len(found) == 4 * sum(COUNTS.values())
    assert "gtFine/train/northtown/northtown_000002_000019_gtFine_labelIds.png" in found
    assert "gtFine/val/midtown/midtown_000000_000019_gtFine_instanceIds.png" in found
    assert "leftImg8bit/test/southtown/southtown_000000_000019_leftImg8bit.png" in found
    where = paths(tree, "train", 0)
    labels, instances = read(where["labels"]), read(where["instances"])
    assert labels.shape == instances.shape == SIZE and (labels.dtype, instances.dtype) == (np.uint8, np.uint16)
    assert read(where["photo"]).shape == (*SIZE, 3)
    assert (read(where["colours"]) == palette("cityscapes", 35)[labels]).all()


def test_splits_show_different_streets(tree):
    photos = [read(paths(tree, split, i)["photo"]).tobytes() for split, count in COUNTS.items() for i in range(count)]
    assert len(set(photos)) == len(photos)


def test_a_tree_says_what_it_is(tree):
    mark = marked(tree)
    assert mark["attribution"] == ATTRIBUTION and "MuJoCo" in ATTRIBUTION and mark["whole"]
    assert (mark["name"], mark["size"], mark["seed"], mark["counts"]) == ("streets", list(SIZE), 5, COUNTS)


def test_what_is_missing_is_drawn_again_to_the_byte_and_the_rest_is_kept(tree):
    before = contents(tree)
    lost = paths(tree, "train", 1)
    lost["photo"].unlink()
    lost["labels"].unlink()
    (lost["photo"].parent / f".{lost['photo'].name}.abcd1234").write_bytes(b"half")  # what a kill leaves
    kept = paths(tree, "train", 0)["photo"].stat().st_mtime_ns
    write_tree(tree, SIZE, 5, COUNTS)
    assert contents(tree) == before and paths(tree, "train", 0)["photo"].stat().st_mtime_ns == kept


def test_a_killed_call_goes_on_and_the_number_of_processes_changes_nothing(tmp_path, monkeypatch):
    """Two processes, killed in the middle; then one alone; against one that was never stopped."""
    counts, size = {"train": 7, "val": 1, "test": 1}, (16, 32)
    (tmp_path / "draw.py").write_text(
        "from pathlib import Path\nfrom ugc.data import street_tree\nif __name__ == '__main__':\n    street_tree.PART = 1\n"
        f"    street_tree.write_tree(Path('two'), {size}, 1, {counts})\n")
    process = subprocess.Popen([sys.executable, "draw.py"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("two/leftImg8bit/*/*/n*.png")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not marked(tmp_path / "two")["whole"]
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    write_tree(tmp_path / "two", size, 1, counts)
    write_tree(tmp_path / "one", size, 1, counts)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


# ---- the built-in set ----

def test_the_built_in_set_is_drawn_once_for_all_runs(tmp_path, monkeypatch):
    """The second run finds it in the cache and needs no MuJoCo; another seed of the run sees the same streets."""
    monkeypatch.setenv("UGC_HOME", str(tmp_path))
    monkeypatch.setattr(streets, "COUNTS", COUNTS)
    config = DataConfig(path="streets", size=SIZE, labels=0.5)
    first = open_dataset(config, 0)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    second = open_dataset(config, 1)
    assert first.name == "streets" and first.attribution == ATTRIBUTION and first.unlabelled_default == "hidden"
    assert (len(first.train), len(first.test)) == (3, 1) and first.identity == second.identity
    assert first.encoding.channels == 36 and first.encoding.edges
    assert first.read(first.test[0].target, *SIZE, load=False).shape == (*SIZE, 3)
    with pytest.raises(UserError, match=r"pip install 'ugc\[streets\]'"):
        open_dataset(DataConfig(path="streets", size=(16, 32)), 0)


@pytest.mark.parametrize("load", [None, (48, 96)])
def test_streets_are_drawn_at_the_load_size(tmp_path, monkeypatch, load):
    monkeypatch.setenv("UGC_HOME", str(tmp_path))
    monkeypatch.setattr(streets, "COUNTS", {"train": 2, "val": 0, "test": 1})
    dataset = open_dataset(DataConfig(path="streets", size=SIZE, load=load), 7)
    assert dataset.load_size(SIZE) == (load or SIZE)
    assert {read(path).shape[:2] for path in tmp_path.rglob("*.png")} == {load or SIZE}


# ---- what is refused ----

@pytest.mark.parametrize(("size", "seed", "counts", "word"), [
    ((16, 32), 5, COUNTS, "size: 32x64 there, 16x32 now"), (SIZE, 6, COUNTS, "seed: 5 there, 6 now"),
    (SIZE, 5, {**COUNTS, "train": 9}, "another count: train 3, val 1, test 1 there, train 9")])
def test_other_streets_in_the_same_folder_are_refused(tree, size, seed, counts, word):
    before = contents(tree)
    with pytest.raises(UserError, match=word):
        write_tree(tree, size, seed, counts)
    assert contents(tree) == before


def test_data_streets(ugc, tmp_path):
    said = ugc("data", "streets", "--size", "16x32", "--count", 2, "--seed", 3, "--out", tmp_path / "town")
    assert said.code == 0, said.err
    mark = json.loads((tmp_path / "town/.fetched.json").read_text())
    assert mark["counts"] == {"train": 2, "val": 1, "test": 1} and mark["size"] == [16, 32] and mark["seed"] == 3
    assert "train 2, val 1, test 1" in said.err and "next: ugc run" in said.err


@pytest.mark.parametrize(("words", "word"), [(("--count", "0"), "--count 0"), (("--seed", "-1"), "--seed -1"),
                                             (("--size", "big"), "256x512"), (("--count", "x"), "--count")])
def test_data_streets_refuses(ugc, tmp_path, words, word):
    said = ugc("data", "streets", "--out", tmp_path / "town", *words)
    assert said.code == 2 and word in said.err and not (tmp_path / "town").exists()
