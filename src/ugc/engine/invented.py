"""What stands for a run's data and earlier stages where only time and memory count: noise, and nets with fresh weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.images import Array
from ugc.data.dataset import Size
from ugc.data.stream import Rows, TrainData
from ugc.methods.method import Method, Phase, Selection
from ugc.methods.original import Gan
from ugc.models.generator import Generator

FEW = 8  # pictures, over and over again
PIXELS = 1 << 19  # of pictures that are tried at a time: 8 of 256x256


def some_of(count: int, most: int, size: Size) -> int:
    """How many of `count` pictures of `size` are tried, where a run takes up to `most` at a time."""
    return max(1, min(count, most, PIXELS // (size[0] * size[1])))


def invented_sources(encoding: Encoding, count: int, size: Size) -> Array:
    """Noise as sources are stored, uint8 [count, H, W, c]."""
    ends = (encoding.ids, 2)[: encoding.stored] if isinstance(encoding, LabelEncoding) else (256,) * encoding.stored
    rng = np.random.default_rng(0)
    channels = [rng.integers(0, end, (count, *size), dtype=np.uint8) for end in ends]
    return np.stack(channels, -1)


def invented_targets(channels: int, count: int, size: Size) -> Array:
    """Noise, uint8 [count, H, W, channels]."""
    return np.random.default_rng(1).integers(0, 256, (count, *size, channels), dtype=np.uint8)


def invented_data(encoding: Encoding, channels: int, load: Size, crop: Size, counts: tuple[int, int, int]) -> TrainData:
    """Training data of noise.

    Args:
        encoding, channels: of sources and targets.
        load, crop: the size of the pictures, and that of what is cut from them.
        counts: of A, U and V.
    """
    sources, targets = invented_sources(encoding, FEW, load), invented_targets(channels, FEW, load)
    a, u, v = (Rows(sources, np.arange(count) % FEW) for count in counts)
    return TrainData(a, Rows(targets, a.index), u, v, crop, encoding=encoding)


def fresh_phase(method: Method, stage: str, selection: Selection, original: Generator | None = None) -> Phase:
    """The phase of a training stage as it begins, with fresh weights in the place of those that earlier stages leave.

    Args:
        selection: the nets of stage 2.
        original: the given one, where there is one: in eval mode on the device.
    """
    setting = method.setting
    if stage == "original":
        return Gan(setting)
    inherited: dict[str, Any] = {"original": original} if original else {}
    if stage != "supernet":
        inherited |= {"selection": selection, "supernet": setting.generator(setting.config, "supernet"),
                      "D": setting.discriminator("supernet/D").state_dict()}
    return method.phase(stage, inherited)
