"""Batches are a function of the clock; the decoded cache is whole or absent; hidden targets stay hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ugc.core.clock import Clock
from ugc.core.errors import UserError
from ugc.core.images import to_unit
from ugc.data.arrays import cache_path, decode
from ugc.data.dataset import DataConfig, Dataset, Record
from ugc.data.labels import split
from ugc.data.stream import Rows, Stream, TestData, TrainData, test_data, train_data

CPU = torch.device("cpu")


def noise(n: int, channels: int = 3, dtype: Any = np.uint8, size: tuple[int, int] = (12, 14)) -> np.ndarray:
    return np.random.default_rng(n).integers(0, np.iinfo(dtype).max + 1, (n, *size, channels)).astype(dtype)


def data(a: int = 10, u: int = 7, v: int = 3, flip: bool = True, dtype: Any = np.uint8) -> TrainData:
    source = noise(a, dtype=dtype)
    return TrainData(source, source.copy(), noise(u, dtype=dtype), noise(v, dtype=dtype), (8, 9), flip)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_sample_is_a_plain_crop_of_one_picture(dtype: Any) -> None:
    d = data(dtype=dtype)
    images = to_unit(d.source_A)
    views = {}
    for flip in (False, True):
        for top in range(5):
            for left in range(6):
                cut = images[:, :, top:top + 8, left:left + 9]
                views.update({crop.numpy().tobytes(): (i, top, left, flip)
                              for i, crop in enumerate(cut.flip(-1) if flip else cut)})
    stream, seen = Stream(d, 5, CPU), []
    for step in range(20):
        batch = stream.batch(Clock(1, step))
        seen += [views[sample.numpy().tobytes()] for sample in batch.source]
        assert torch.equal(batch.source, batch.target)  # the same crop and flip on both sides
    assert {view[3] for view in seen} == {False, True}
    assert len({view[1:3] for view in seen}) > 20
    order = [view[0] for view in seen]
    assert all(sorted(order[at:at + 10]) == list(range(10)) for at in range(0, 100, 10))  # each pass meets each once
    assert order[:10] != order[10:20]


def test_a_batch_is_a_pure_function_of_the_clock() -> None:
    first, second = Stream(data(), 4, CPU), Stream(data(), 4, CPU)
    ahead = [first.batch(Clock(5, step)) for step in range(12)]
    for step in (11, 3, 0):
        again = second.batch(Clock(5, step))
        for name in ("source", "target", "unlabelled"):
            assert torch.equal(getattr(again, name), getattr(ahead[step], name))
    assert not torch.equal(second.batch(Clock(6, 3)).source, ahead[3].source)


def test_samples_of_a_batch_have_crops_of_their_own_and_no_flip_means_none() -> None:
    ramp = np.broadcast_to(np.arange(140, dtype=np.float32).reshape(1, 10, 14, 1) / 140, (16, 10, 14, 1)).copy()
    batch = Stream(TrainData(ramp, ramp, ramp, ramp, (4, 4), flip=False), 16, CPU).batch(Clock(0))
    assert len({sample.numpy().tobytes() for sample in batch.source}) > 8
    assert (batch.source.diff(dim=3) > 0).all()
    assert not torch.equal(batch.source, batch.unlabelled)


def test_no_unlabelled_sources_is_an_empty_tensor() -> None:
    batch = Stream(data(u=0), 4, CPU).batch(Clock(0))
    assert batch.unlabelled.shape == (0, 3, 8, 9)
    assert batch.source.shape == (4, 3, 8, 9)
    assert Stream(data(a=4, u=0), 2, CPU).calibration().all().shape == (4, 3, 8, 9)


def test_a_batch_may_be_larger_than_the_set() -> None:
    batch = Stream(data(a=2, u=1), 6, CPU).batch(Clock(0, 1))
    assert len(batch.source) == len(batch.unlabelled) == 6


def test_validation_and_calibration_are_plain_centres() -> None:
    d = data(a=30, u=70)
    stream = Stream(d, 4, CPU)
    assert torch.equal(stream.validation().all(), to_unit(d.source_V[:, 2:10, 2:11]))
    everything = to_unit(np.concatenate([d.source_A, d.source_U])[:, 2:10, 2:11])
    assert torch.equal(stream.calibration().all(), everything)
    assert torch.equal(stream.calibration(10).all(), everything[::10])
    assert torch.equal(stream.calibration(unlabelled=False).all(), everything[:30])
    assert torch.equal(stream.calibration(10, unlabelled=False).all(), everything[:30:3])


def test_rows_tensors_and_floats_are_taken_as_they_are() -> None:
    base = torch.rand(9, 12, 14, 3) * 2 - 1
    d = TrainData(Rows(base, np.array([4, 2])), base[[4, 2]], Rows(base, np.array([7])), base[:0], (12, 14))
    stream = Stream(d, 2, CPU)
    assert torch.equal(stream.calibration().all(), base[[4, 2, 7]].permute(0, 3, 1, 2))
    assert stream.validation().all().shape == (0, 3, 12, 14)


class Squares(Dataset):
    """A flat picture for each reference; hidden targets must not be read."""

    name, unlabelled_default, flip_default, load_ratio, identity = "squares", "hidden", True, 1.5, "squares"
    source_channels, target_channels, dtype = 1, 3, np.uint8

    def __init__(self, pairs: int = 20) -> None:
        self.config = DataConfig(path="squares", size=(8, 8), labels=0.5)
        self.train = tuple(Record(str(i), ("source", i), ("target", i)) for i in range(pairs))
        self.test = tuple(Record(f"t{i}", ("source", 100 + i), ("target", 100 + i)) for i in range(5))
        self.reads: list[tuple[str, int]] = []
        self.forbidden: set[Any] = set()

    def read(self, ref: Any, height: int, width: int, load: bool) -> np.ndarray:
        if ref in self.forbidden:
            raise UserError(f"{ref} is hidden")
        self.reads.append(ref)
        return np.full((height, width, 1 if ref[0] == "source" else 3), ref[1] + 100 * load, self.dtype)


def test_hidden_targets_are_never_read() -> None:
    squares = Squares()
    s = split(squares, squares.config, 0)
    squares.forbidden = {r.target for r in squares.train if r.key not in s.labelled} | {r.source for r in squares.test}
    found = train_data(squares, squares.config, s)
    assert found.keys == s.labelled
    assert {ref for ref in squares.reads if ref[0] == "target"} == {("target", int(key)) for key in s.labelled}
    batch = Stream(found, 8, CPU).batch(Clock(0))
    assert batch.source.shape == (8, 1, 8, 8)
    assert batch.target.shape == (8, 3, 8, 8)
    assert torch.equal(batch.source[:, 0], batch.target[:, 1])
    values = {key: 2 * (int(key) + 100) / 255 - 1 for key in (*s.labelled, *s.unlabelled, *s.validation)}
    stream = Stream(found, 1, CPU)
    drawn = {round(float(stream.batch(Clock(0, step)).unlabelled.mean()), 4) for step in range(len(s.unlabelled))}
    assert drawn == {round(values[key], 4) for key in s.unlabelled}
    assert [round(float(v.mean()), 4) for v in stream.validation().all()] == [round(values[key], 4) for key in s.validation]


def test_unlabelled_sources_may_be_drawn_from_the_labelled_ones() -> None:
    """One stream serves stages that want either; A's are drawn apart from the pairs, each once a pass."""
    d = data()
    whole = Stream(replace(d, crop=d.source_A.shape[1:3]), 5, CPU)
    images = {image.numpy().tobytes(): at for at, image in enumerate(to_unit(d.source_A))}
    images |= {image.flip(-1).numpy().tobytes(): at for at, image in enumerate(to_unit(d.source_A))}
    drawn, pairs = [], []
    for step in range(2):
        assert not {u.numpy().tobytes() for u in whole.batch(Clock(0, step)).unlabelled} & images.keys()
        batch = whole.batch(Clock(0, step), "A")
        drawn += [images[u.numpy().tobytes()] for u in batch.unlabelled]
        pairs += [images[x.numpy().tobytes()] for x in batch.source]
    assert sorted(drawn) == sorted(pairs) == list(range(10)) and drawn != pairs


def test_a_hidden_target_that_is_asked_for_would_be_noticed() -> None:
    squares = Squares()
    squares.forbidden = {squares.train[0].target}
    with pytest.raises(UserError, match="hidden"):
        train_data(squares, squares.config, split(squares, squares.config.model_copy(update={"labels": 1.0}), 0))


def test_the_cache_is_shared_and_made_once(home: Path) -> None:
    squares = Squares()
    refs = [record.source for record in squares.train]
    first = decode(squares, refs, 1, (8, 8), load=False, title="x")
    assert isinstance(first, np.memmap)
    assert first.shape == (20, 8, 8, 1)
    assert first[:, 0, 0, 0].tolist() == list(range(20))
    assert len(squares.reads) == 20
    np.testing.assert_array_equal(decode(Squares(), refs, 1, (8, 8), load=False, title="x"), first)
    assert len(list((home / "data").iterdir())) == 1
    other = Squares()
    other.identity = "other"
    assert cache_path(other, refs, 1, (8, 8), False) != cache_path(squares, refs, 1, (8, 8), False)


def test_fractions_share_their_sources() -> None:
    squares = Squares()
    for labels in (0.5, 0.25):
        config = squares.config.model_copy(update={"labels": labels})
        train_data(squares, config, split(squares, config, 0))
    assert len([ref for ref in squares.reads if ref[0] == "source"]) == 20


def test_a_cache_that_fails_half_way_leaves_nothing(home: Path) -> None:
    squares = Squares()
    squares.forbidden = {("source", 13)}
    with pytest.raises(UserError):
        decode(squares, [record.source for record in squares.train], 1, (8, 8), load=False, title="x")
    assert not list((home / "data").iterdir())


def test_sixteen_bits_come_through_the_cache() -> None:
    squares = Squares()
    squares.dtype = np.uint16
    found = train_data(squares, squares.config, split(squares, squares.config, 0))
    batch = Stream(found, 4, CPU).batch(Clock(0))
    assert batch.source.max() < -0.99
    assert torch.equal(batch.source[:, 0], batch.target[:, 0])


def test_test_pairs_come_in_order() -> None:
    squares = Squares()
    found = test_data(squares, squares.config)
    assert (len(found), found.keys) == (5, ("t0", "t1", "t2", "t3", "t4"))
    batches = list(found.batches(2))
    assert [len(source) for source, _ in batches] == [2, 2, 1]
    source, target = batches[0]
    assert source.shape == (2, 1, 8, 8)
    assert target.shape == (2, 3, 8, 8)
    assert torch.allclose(source[1], torch.tensor(2 * 101 / 255 - 1))
    assert isinstance(found, TestData)
