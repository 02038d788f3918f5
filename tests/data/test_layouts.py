"""Every layout is found by looking, and every folder that has none gets one sentence."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ugc.core.errors import UserError
from ugc.data.arrays import decode
from ugc.data.dataset import DataConfig, Dataset, open_dataset

LAYOUTS = {
    "trainA trainB": ("trainA/{}.png", "trainB/{}.png", "testA/{}.png", "testB/{}.png"),
    "train_A train_B": ("train_A/{}.png", "train_B/{}.jpg", "test_A/{}.png", "test_B/{}.jpg"),
    "A/train B/train": ("A/train/{}.png", "B/train/{}.png", "A/test/{}.png", "B/test/{}.png"),
    "trainA trainB, val only": ("trainA/{}.png", "trainB/{}.PNG", "valA/{}.png", "valB/{}.PNG"),
    "A B": ("A/{}.png", "B/{}.png", None, None),
}


def opened(folder: Path, **options: object) -> Dataset:
    return open_dataset(DataConfig.parse({"path": str(folder), "size": 8, **options}, "data"), 0)


def value(dataset: Dataset, ref: object) -> float:
    return float(dataset.read(ref, 8, 8, False).mean())


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_two_sided_layouts(name: str, direction: str, save, tmp_path: Path) -> None:
    a, b, test_a, test_b = LAYOUTS[name]
    for i in range(12):
        save(a.format(i), 10)
        save(b.format(i), 200)
    if test_a:
        save(test_a.format("t"), 10)
        save(test_b.format("t"), 200)
    dataset = opened(tmp_path, direction=direction)
    assert len(dataset.train) == (12 if test_a else 11)
    assert [r.key for r in dataset.test] == ["t"] if test_a else len(dataset.test) == 1
    low, high = (10, 200) if direction == "AtoB" else (200, 10)
    for record in (*dataset.train, *dataset.test):
        assert abs(value(dataset, record.source) - low) < 2
        assert abs(value(dataset, record.target) - high) < 2


@pytest.mark.parametrize("where", ["train/", ""])
def test_side_by_side(where: str, save, tmp_path: Path) -> None:
    both = np.zeros((8, 17, 3), np.uint8)
    both[:, 8:] = 200
    for i in range(11):
        save(f"{where}{i}.png", both)
    if where:
        save("val/v.png", both)
        save("test/t.png", both)
    dataset = opened(tmp_path)
    assert (len(dataset.train), len(dataset.test)) == ((11, 1) if where else (10, 1))
    record = dataset.train[0]
    assert value(dataset, record.source) == 0
    assert value(dataset, record.target) == 200
    assert [r.key for r in dataset.train if r.key.isdigit()] == sorted((r.key for r in dataset.train), key=int)


def test_sources_without_targets_are_unlabelled_and_targets_without_sources_are_counted(save, tmp_path: Path) -> None:
    for i in range(6):
        save(f"trainA/{i}.png")
    for i in (0, 1, 2, 3, 77, 78):
        save(f"trainB/{i}.png")
    (tmp_path / "trainA" / "notes.txt").write_text("")
    (tmp_path / "trainA" / ".hidden.png").write_text("")
    dataset = opened(tmp_path)
    assert {r.key for r in dataset.train if r.target is None} == {"4", "5"}
    assert dataset.unlabelled_default == "all"
    text = " ".join(dataset.notes)
    assert "3 pairs and 2 unlabelled" in text
    assert "2 targets without a source" in text
    assert "1 files that are no pictures" in text
    swapped = opened(tmp_path, direction="BtoA")
    assert {r.key for r in swapped.train if r.target is None} == {"77", "78"}


def test_a_test_set_drawn_from_the_pairs_follows_the_seed_and_spares_named_labels(save, tmp_path: Path) -> None:
    for i in range(40):
        save(f"A/{i}.png")
        save(f"B/{i}.png")
    config = DataConfig(path=str(tmp_path), size=(8, 8))
    keys = [frozenset(r.key for r in open_dataset(config, seed).test) for seed in (0, 0, 1)]
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 4
    assert "4 of 40 pairs, by seed 0" in " ".join(open_dataset(config, 0).notes)
    meta = tmp_path / "labels.meta"
    meta.write_text("\n".join(f"{key}.png" for key in keys[0]))
    assert not keys[0] & {r.key for r in opened(tmp_path, labels=str(meta)).test}
    meta.write_text("\n".join(str(i) for i in range(40)))
    with pytest.raises(UserError, match="claims every pair"):
        opened(tmp_path, labels=str(meta))


def test_subfolders_pair_by_their_path(save, tmp_path: Path) -> None:
    for name in ("x/1", "x/2", "y/1"):
        save(f"A/{name}.png")
        save(f"B/{name}.png")
    dataset = opened(tmp_path)
    assert {r.key for r in (*dataset.train, *dataset.test)} == {"x/1", "x/2", "y/1"}


def test_identity_follows_the_pixels(save, tmp_path: Path) -> None:
    for name in ("A/1", "A/2", "B/1", "B/2"):
        save(f"{name}.png")
    first = opened(tmp_path).identity
    assert opened(tmp_path).identity == first
    assert opened(tmp_path, source_channels=1).identity != first
    save("A/1.png", 99)
    assert opened(tmp_path).identity != first


def test_folders_whose_files_look_alike_are_decoded_apart(tmp_path: Path) -> None:
    """Names, sizes and times may be the same where formats and archives make them so."""
    means = []
    for grey in (10, 200):
        folder = tmp_path / str(grey)
        for side in "AB":
            (folder / side).mkdir(parents=True)
            for i in range(2):
                path = folder / side / f"{i}.bmp"
                Image.new("L", (8, 8), grey + i).save(path)
                os.utime(path, (1e9, 1e9))
        dataset = opened(folder)
        means.append(decode(dataset, [record.source for record in dataset.train], 1, (8, 8), load=False, title="x").mean())
    assert opened(tmp_path / "10").identity == opened(tmp_path / "200").identity and means[1] - means[0] == 190


BAD = {
    "empty folder": ([], "found nothing; expected pairs side by side"),
    "no picture": (["notes.txt"], "found notes.txt; expected"),
    "no picture in a side": (["trainA/1.png", "trainB/x.txt"], "trainB holds no picture .* --method from-teacher"),
    "no picture in train": (["train/x.txt"], "train holds no picture"),
    "one side only": (["trainA/1.png"], "has trainA but no trainB"),
    "one bare side only": (["B/1.png"], "has B but no A"),
    "no pair": (["A/1.png", "B/2.png"], "has no pair: 1 source"),
    "one pair": (["A/1.png", "B/1.png"], "has only one pair"),
    "single pictures": (["1.png", "2.png"], "8 wide and 8 high, not a pair"),
    "sides below train": (["train/A/1.png", "train/B/1.png"], "holds folders A and B, and no pairs side by side"),
    "same stem twice": (["A/1.png", "A/1.jpg", "B/1.png"], "same stem"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders_get_one_sentence(name: str, save, tmp_path: Path) -> None:
    names, sentence = BAD[name]
    for file in names:
        if file.endswith(".txt"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("")
        else:
            save(file)
    with pytest.raises(UserError, match=sentence) as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)


# ---- sources alone ----

def alone(folder: Path, **options: object) -> Dataset:
    return open_dataset(DataConfig.parse({"path": str(folder), "size": 8, **options}, "data"), 0, targets=False)


SOURCES = {  # files of 20 sources, of 3 test sources; what the layout is called
    "bare": ("{}.png", None, "sources alone in the folder itself"),
    "bare with a test": ("{}.png", "test/t{}.png", "sources alone in the folder itself test"),
    "train": ("train/{}.png", "test/t{}.png", "sources alone in train test"),
    "train, val": ("train/{}.png", "val/t{}.png", "sources alone in train val"),
    "trainA": ("trainA/{}.png", "testA/t{}.png", "trainA testA"),
    "train_A": ("train_A/x/{}.png", None, "train_A"),
    "A/train": ("A/train/{}.png", "A/val/t{}.png", "A/train A/val"),
    "A": ("A/{}.png", None, "A"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_alone_are_found_in_every_layout(name: str, save, tmp_path: Path) -> None:
    train, test, text = SOURCES[name]
    for i in range(20):
        save(train.format(i), 10)
    for i in range(3):
        if test:
            save(test.format(i), 30)
    dataset = alone(tmp_path)
    assert (len(dataset.train), len(dataset.test)) == ((20, 3) if test else (18, 2))
    assert all(record.target is None for record in (*dataset.train, *dataset.test))
    assert {value(dataset, r.source) for r in dataset.train} == {10}
    assert {value(dataset, r.source) for r in dataset.test} == {30 if test else 10}
    assert (dataset.source_channels, dataset.target_channels) == (3, 0)
    notes = " ".join(dataset.notes)
    assert f"Layout: {text}." in notes and "no target is read" in notes
    assert ("3 sources of" if test else "2 of 20 sources, by seed 0") in notes
    with pytest.raises(UserError, match="--method from-teacher --original DIR"):
        opened(tmp_path)


def test_a_picture_as_wide_as_two_crops_is_a_pair_else_a_source(save, tmp_path: Path) -> None:
    for i in range(12):
        save(f"{i}.png", 7, size=(8, 16))
    assert all(r.target for r in alone(tmp_path).train)
    assert not any(r.target for r in alone(tmp_path, size="8x16").train)
    for i in range(12):
        save(f"{i}.png", 7, size=(8, 12))  # as photographs are
    assert not any(r.target for r in alone(tmp_path).train)


def test_pairs_still_are_the_test_where_there_are_some(save, tmp_path: Path) -> None:
    for i in range(20):
        save(f"trainA/{i}.png")
        save(f"trainB/{i}.png")
    save("testA/t.png")
    assert [(r.key, r.target) for r in alone(tmp_path).test] == [("t", None)]
    save("testA/u.png")
    save("testB/u.png", 200)
    (only,) = alone(tmp_path).test
    assert only.key == "u" and value(alone(tmp_path), only.target) == 200
    shutil.rmtree(tmp_path / "testA"), shutil.rmtree(tmp_path / "testB")
    carved = alone(tmp_path)
    assert len(carved.test) == 2 and all(r.target for r in carved.test)
    assert len(carved.train) == 18


def test_the_direction_says_where_sources_alone_are(save, tmp_path: Path) -> None:
    for i in range(4):
        save(f"trainB/{i}.png", 50)
    assert {value(alone(tmp_path, direction="BtoA"), r.source) for r in alone(tmp_path, direction="BtoA").train} == {50}
    with pytest.raises(UserError, match="trainB but no trainA, where --direction says"):
        alone(tmp_path)


def test_unpaired_targets_are_no_obstacle(save, tmp_path: Path) -> None:
    """As CycleGAN's data are."""
    for i in range(10):
        save(f"trainA/a{i}.png")
        save(f"trainB/b{i}.png")
    dataset = alone(tmp_path)
    assert len(dataset.train) == 9 and not any(r.target for r in dataset.train)
    assert "10 targets without a source were ignored" in " ".join(dataset.notes)


def test_one_source_is_too_few_and_none_is_said(save, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=r"no sources that are understood: found notes\.txt; expected pictures in"):
        alone(tmp_path)
    save("1.png")
    with pytest.raises(UserError, match="only one source: nothing is left to test with; add sources"):
        alone(tmp_path)
