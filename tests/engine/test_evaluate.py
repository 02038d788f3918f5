"""Sample pictures of the test stage, of sides that a PNG cannot hold."""

import sys

import numpy as np
import pytest

from ugc.core.encoding import Encoding
from ugc.data.pictures import read_picture
from ugc.data.stream import TestData
from ugc.engine.evaluate import _samples


@pytest.mark.parametrize("channels, shown", [(1, 1), (3, 3), (4, 4), (5, 3), (7, 3)])
def test_samples_of_many_channels_show_the_first_three(tmp_path, channels, shown):
    rng = np.random.default_rng(0)
    sources, targets = (rng.integers(0, 256, (2, 8, 8, c), dtype=np.uint8) for c in (channels, 5))
    _samples({}, TestData(sources, targets, ("a", "b"), Encoding(channels=channels), "noise"), tmp_path, 0)
    assert len(list(tmp_path.iterdir())) == 4
    for i in range(2):
        assert np.array_equal(read_picture(tmp_path / f"00{i}-source.png"), sources[i, ..., :shown])
        assert np.array_equal(read_picture(tmp_path / f"00{i}-target.png"), targets[i, ..., :3])


def test_samples_of_16_bit_colours_want_no_package(tmp_path, monkeypatch):
    """They are shown in 8 bits; 16 bits of grey are kept, which Pillow writes."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    sources, targets = (np.full((1, 8, 8, c), 51_400, np.uint16) for c in (3, 1))
    _samples({}, TestData(sources, targets, ("a",), Encoding(channels=3), "noise"), tmp_path, 0)
    assert np.array_equal(read_picture(tmp_path / "000-source.png"), np.full((8, 8, 3), 200, np.uint8))
    assert np.array_equal(read_picture(tmp_path / "000-target.png"), targets[0])
