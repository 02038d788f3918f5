"""Kinds of pictures in a folder: mixed sizes, channels and depths become uniform."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ugc.core.errors import UserError
from ugc.data.dataset import DataConfig, Dataset, open_dataset
from ugc.data.folders import natural
from ugc.data.pictures import write_picture


def opened(folder: Path, **options: object) -> Dataset:
    return open_dataset(DataConfig.parse({"path": str(folder), "size": "8x12", **options}, "data"), 0)


def pairs(folder: Path, *sources: np.ndarray) -> None:
    for i, source in enumerate(sources):
        (folder / "A").mkdir(exist_ok=True)
        (folder / "B").mkdir(exist_ok=True)
        write_picture(folder / "A" / f"{i}.png", source)
        write_picture(folder / "B" / f"{i}.png", np.zeros((*source.shape[:2], 1), np.uint8))


def flat(value: int, channels: int, dtype: type = np.uint8, size: tuple[int, int] = (8, 12)) -> np.ndarray:
    return np.full((*size, channels), value, dtype)


def sources(dataset: Dataset) -> list[np.ndarray]:
    return [dataset.read(r.source, 8, 12, False) for r in sorted((*dataset.train, *dataset.test), key=lambda r: r.key)]


def test_grey_stays_grey_and_mixed_becomes_colour(tmp_path: Path) -> None:
    pairs(tmp_path, flat(1, 1), flat(2, 1))
    assert (opened(tmp_path).source_channels, opened(tmp_path).target_channels) == (1, 1)
    pairs(tmp_path, flat(1, 1), flat(2, 3), flat(3, 4))
    dataset = opened(tmp_path)
    assert (dataset.source_channels, dataset.target_channels) == (3, 1)
    assert {p.shape for p in sources(dataset)} == {(8, 12, 3)}
    assert "mixes grey and colour" in " ".join(dataset.notes)
    assert opened(tmp_path, direction="BtoA").target_channels == 3


def test_channels_may_be_asked_for(tmp_path: Path) -> None:
    pairs(tmp_path, flat(0, 4), flat(0, 4))
    assert sources(opened(tmp_path))[0].tolist() == flat(255, 3).tolist()  # nothing on white
    assert sources(opened(tmp_path, source_channels=4))[0].tolist() == flat(0, 4).tolist()
    assert sources(opened(tmp_path, source_channels=1))[0].shape == (8, 12, 1)
    with pytest.raises(UserError, match=r"0\.png: a picture of 4"):
        sources(opened(tmp_path, source_channels=7))


def test_sixteen_bits_win(tmp_path: Path) -> None:
    pairs(tmp_path, flat(255, 1), flat(1234, 1, np.uint16))
    dataset = opened(tmp_path)
    white, dark = sources(dataset)
    assert (white.dtype, dark.dtype) == (np.uint16, np.uint16)
    assert (white == 65535).all()
    assert (dark == 1234).all()
    assert "mixes 8 and 16 bits" in " ".join(dataset.notes)


def test_mixed_sizes_are_resized(tmp_path: Path) -> None:
    pairs(tmp_path, flat(7, 3), flat(8, 3, size=(30, 20)))
    dataset = opened(tmp_path)
    assert {p.shape for p in sources(dataset)} == {(8, 12, 3)}
    assert "2 sizes" in " ".join(dataset.notes)


@pytest.mark.parametrize(("target", "fits"), [((30, 20), True), ((60, 40), True), ((15, 10), True), ((30, 21), True),
                                             ((30, 24), False), ((20, 30), False)])
def test_the_sides_of_a_pair_may_differ_in_scale_but_not_in_proportions(target: tuple[int, int], fits: bool,
                                                                         tmp_path: Path) -> None:
    pairs(tmp_path, *[flat(8, 3, size=(30, 20))] * 3)
    for i in (1, 2):
        write_picture(tmp_path / "B" / f"{i}.png", flat(0, 1, size=target))
    if fits:
        assert {p.shape for p in sources(opened(tmp_path))} == {(8, 12, 3)}
    else:
        with pytest.raises(UserError, match=r"A/1\.png is 30x20 and its target B/1\.png is .*\(and 1 more\)"):
            opened(tmp_path)


def test_every_picture_side_by_side_is_looked_at(tmp_path: Path) -> None:
    for i, size in enumerate([(8, 16), (8, 16), (8, 8), (9, 3)]):
        (tmp_path / "train").mkdir(exist_ok=True)
        write_picture(tmp_path / "train" / f"{i}.png", flat(0, 3, size=size))
    with pytest.raises(UserError, match=r"2\.png is 8 wide and 8 high, not a pair side by side \(and 1 more\)"):
        opened(tmp_path)


def test_names_that_would_break_a_list_of_names_are_said(tmp_path: Path) -> None:
    pairs(tmp_path, flat(7, 3), flat(8, 3))
    for name in ("two\nlines.png", os.fsdecode(b"\xff.png")):
        write_picture(tmp_path / "A" / name, flat(7, 3))
        with pytest.raises(UserError, match="rename it") as error:
            opened(tmp_path)
        assert "\n" not in str(error.value)
        (tmp_path / "A" / name).unlink()
    pairs(tmp_path, flat(7, 3), flat(8, 3), flat(8, 3))
    (tmp_path / "A" / "2.png").rename(tmp_path / "A" / "写真\u3000二.png")
    assert "写真\u3000二" in {r.key for r in opened(tmp_path).train}


def test_load_sizes_scale_with_the_crop(tmp_path: Path) -> None:
    pairs(tmp_path, flat(7, 3), flat(8, 3))
    assert opened(tmp_path).load_size((256, 512)) == (286, 572)
    assert opened(tmp_path, load="20x24").load_size((8, 12)) == (20, 24)
    assert opened(tmp_path).flip
    assert not opened(tmp_path, flip=False).flip


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    pairs(tmp_path, noise, noise)
    whole = (tmp_path / "A" / "1.png").read_bytes()
    (tmp_path / "A" / "1.png").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match=r"1\.png cannot be read as a picture"):
        sources(opened(tmp_path))
    (tmp_path / "A" / "1.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"1\.png cannot be read as a picture"):
        opened(tmp_path)


def test_frame_9_comes_before_frame_10_whatever_digits_are_in_it() -> None:
    """A superscript two is a digit and no decimal one."""
    names = ["b 10².png", "b 9².png", "①.png", "1².png", "٣.png"]
    assert sorted(names, key=natural) == ["1².png", "٣.png", "b 9².png", "b 10².png", "①.png"]
