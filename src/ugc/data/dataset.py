"""What a data set is: records of sources, some with a target, and one way to read a picture of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ugc.core.config import Config
from ugc.core.encoding import MOST, Encoding
from ugc.core.errors import UserError, near
from ugc.core.files import place
from ugc.core.images import Array
from ugc.core.registry import Registry
from ugc.data.pictures import SIDE

Size = tuple[int, int]  # height, width
Unlabelled = Literal["hidden", "all"]


class DataConfig(Config):
    """Which pictures, how large, and how many of their targets may be used."""

    path: str  # the name of a built-in data set, or a folder
    size: Size = (256, 256)  # of the crop; also "256", "256x512" or 256
    load: Size | None = None  # what crops are cut from; None: 286/256 of the size for folders, 72/64 for fonts
    flip: bool | None = None  # None: folders yes, fonts no
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    labels: float | str = 1.0  # a fraction in (0, 1], or a .meta file with a file name or stem a line
    unlabelled: Unlabelled | None = None  # None: the data set's own
    source_channels: int | None = Field(default=None, ge=1)
    target_channels: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=1, le=MOST)  # of label maps; None: as many as they hold
    unknown: bool | None = None  # of label maps: whether 255 is no class, but unknown; None: where they hold it

    @field_validator("size", "load", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"\d+(x\d+)?", value.strip())):
            height, _, width = str(value).strip().partition("x")
            value = (int(height), int(width or height))
        if isinstance(value, str):
            raise ValueError("expected a size such as 256 or 256x512 (height x width)")
        return value

    @field_validator("labels", mode="before")
    @classmethod
    def _labels(cls, value: Any) -> Any:
        try:
            value = float(value)
        except (TypeError, ValueError, OverflowError):
            return value
        if not 0 < value <= 1:
            raise ValueError("expected a fraction in (0, 1], such as 0.25, or a .meta file")
        return value

    @model_validator(mode="after")
    def _load_covers_crop(self) -> Self:
        if min(self.size) < 1:
            raise ValueError(f"size {text_of(self.size)} is not a picture")
        if max(*self.size, *(self.load or ())) > SIDE:
            raise ValueError(f"size and load are at most {SIDE:,} pixels a side")
        if self.load and (self.load[0] < self.size[0] or self.load[1] < self.size[1]):
            raise ValueError(f"load {text_of(self.load)} is smaller than the crop, {text_of(self.size)}")
        return self


def text_of(size: Size) -> str:
    """`256x512`: height x width."""
    return f"{size[0]}x{size[1]}"


@dataclass(frozen=True)
class Record:
    """One source and, where there is one, its target; both are references that only their data set can read."""

    key: str
    source: Any
    target: Any | None = None


class Dataset(ABC):
    """Pictures in two roles. Training records may lack a target (unlabelled); test records never do, or all do where
    the data set was opened for a method that needs no target. `target_channels` is 0 where there is no target at all."""

    name: str
    attribution: str = ""  # the licence line; empty for a user's own folder
    config: DataConfig
    source_channels: int  # as `read` gives them; what a generator takes says `encoding`
    target_channels: int
    train: tuple[Record, ...]
    test: tuple[Record, ...]
    unlabelled_default: Unlabelled
    flip_default: bool
    load_ratio: float  # load size by crop size, where the configuration says nothing
    notes: tuple[str, ...] = ()  # sentences for the report
    identity: str  # digest of all that decides the pixels; the same of a folder that was moved
    where: str = ""  # the folder of the files, of one with a folder

    def load_size(self, size: Size) -> Size:
        """The size (H, W) of the pictures that crops of `size` are cut from."""
        height, width = size
        return self.config.load or (round(height * self.load_ratio), round(width * self.load_ratio))

    def crop_size(self, height: int, width: int) -> Size:
        """The crop (H, W) that belongs to pictures of a load size."""
        size, load = self.config.size, self.load_size(self.config.size)
        return round(height * size[0] / load[0]), round(width * size[1] / load[1])

    @property
    def encoding(self) -> Encoding:
        """How sources become what a generator takes."""
        return Encoding(channels=self.source_channels)

    @property
    def flip(self) -> bool:
        return self.flip_default if self.config.flip is None else self.config.flip

    @abstractmethod
    def read(self, ref: Any, height: int, width: int, load: bool) -> Array:
        """The picture behind a record's `source` or `target`: uint8 or uint16 [height, width, C].

        Args:
            load: True gives the picture that random crops are cut from, False the test picture at crop size.

        Raises:
            UserError: the file is truncated or not a picture.
        """

    def full_labels(self, ref: Any) -> Array:
        """The class ids behind a record's `source` at their own size, uint8 [H, W]; of label maps only."""
        raise TypeError(f"the sources of {self.name} are no label maps")


DATASETS: Registry[Callable[[DataConfig, int], Dataset]] = Registry("data set", "ugc.data")


def open_dataset(config: DataConfig, seed: int, targets: bool = True) -> Dataset:
    """The built-in data set of that name, else the folder.

    Args:
        seed: decides which pairs of a folder without `test` or `val` become the test set.
        targets: False accepts a folder that has sources only.

    Raises:
        UserError: neither a built-in name nor a folder, or a folder in which no pairs are found.
    """
    if config.path in DATASETS:
        return DATASETS[config.path](config, seed)
    folder = place(config.path)
    if folder.is_dir():
        from ugc.data.folders import open_folder

        return open_folder(folder, config, seed, targets)
    if folder.exists():
        raise UserError(f"{config.path} is a file; expected a folder of pictures or one of: {', '.join(DATASETS)}")
    raise UserError(f"there is no folder {config.path!r} and no built-in data set of that name: "
                    f"{near(config.path, DATASETS)}")
