"""What the loader's figures count, with a clock that the test moves."""

from dataclasses import dataclass

import pytest
import torch

from data import Waits, loaded, waited, write_pairs
from ugc.core.clock import Clock
from ugc.data.dataset import DataConfig, open_dataset
from ugc.data.stream import Stream
from ugc.engine.recipe import Recipe

CPU = torch.device("cpu")


@dataclass
class Time:
    """Stands still unless told."""

    seconds: float = 0.0

    def __call__(self):
        return self.seconds


class Slow:
    """A stream whose batches take so many seconds each."""

    def __init__(self, time, *seconds):
        self.time, self.seconds = time, list(seconds)

    def batch(self, clock, unlabelled):
        self.time.seconds += self.seconds[clock.step]
        return clock.step


def test_waiting_is_the_batches_share_of_the_loop():
    time = Time()
    stream = Waits(Slow(time, 100, 1, 3, 50), CPU, time)
    for step in range(4):
        assert stream.batch(Clock(0, step)) == step
        time.seconds += 8  # the step itself
    found = stream.figures(skipped=1)  # of steps 1 and 2: the first is skipped, the last one's end is not seen
    assert found == {"steps": 2, "step ms": 10_000, "waiting ms": 2000, "share": pytest.approx(0.2)}


def test_the_loader_counts_pictures_and_the_time_before_them(tmp_path, ugc_home, monkeypatch):
    """10 pictures: 3 pairs, 4 sources alone of which one is held out; opening takes 5 s, decoding 7, each batch 2."""
    folder, time = write_pairs(tmp_path / "pairs", "png", 3, 4, side=32), Time()
    plain, delivers = Stream.batch, []

    def opening(*given):
        time.seconds += 5
        return open_dataset(*given)

    def making(*given):
        time.seconds += 7
        return Stream(*given)

    def batch(self, clock):
        time.seconds += 2
        made = plain(self, clock)
        delivers.append(len(made.source) + len(made.target) + len(made.unlabelled))
        return made

    monkeypatch.setattr("data.open_dataset", opening)
    monkeypatch.setattr("data.Stream", making)
    monkeypatch.setattr(Stream, "batch", batch)
    found = loaded(DataConfig(path=str(folder), size=(16, 16)), 2, CPU, least=4.0, now=time)
    assert set(delivers) == {6}
    assert found["pictures"] == 10  # 3 sources and targets of A, 3 of U, 1 of V
    assert (found["open s"], found["decode s"]) == (5, 7)
    assert found["first pass, pictures/s"] == 12 / (5 + 7 + 2 * 2)
    assert (found["pictures/s"], found["batch ms"]) == (3, 2000)


@pytest.mark.parametrize("kind", ["png", "jpeg", "labels"])
def test_folders_are_found_as_what_they_are(kind, tmp_path):
    folder = write_pairs(tmp_path / kind, kind, 2, 3, side=32)
    found = open_dataset(DataConfig(path=str(folder), size=(32, 32)), 0)
    assert [record.target is not None for record in found.train].count(True) == 2
    assert len(found.train) == 5 and len(found.test) == 2
    assert found.encoding.channels == (35 if kind == "labels" else 3)


def test_the_real_loop_is_watched(tmp_path, ugc_home):
    folder = write_pairs(tmp_path / "pairs", "png", 4, 4, side=32)
    recipe = Recipe.parse({"data": {"path": str(folder), "size": 32}, "base": 8, "batch": 2, "budget": "8x", "device": "cpu",
                           "precision": "fp32", "generator": {"blocks": 3}, "distillation": {"backbone": "none"}}, "tiny")
    found = waited(recipe, "distill", 2, tmp_path / "run")
    assert found["steps"] == 2 and 0 < found["share"] < 1
    assert found["share"] == pytest.approx(found["waiting ms"] / found["step ms"])
