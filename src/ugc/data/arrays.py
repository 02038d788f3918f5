"""The decoded cache: pictures as one memory-mapped array on disk, shared by all runs that want the same pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ugc.core import files
from ugc.core.images import Array
from ugc.core.log import progress
from ugc.data.dataset import Dataset, Size

LAYOUT = 2  # raise when the same references would decode to other pixels


def decode(dataset: Dataset, refs: Sequence[Any], channels: int, size: Size, *, load: bool, title: str) -> Array:
    """The pictures of `refs` as uint8 or uint16 [n, H, W, channels], a memory map of a file made whole or not at all.

    Args:
        refs: sources or targets of the data set's records; nothing else is read, so hidden targets stay hidden.
        size: (H, W) of the pictures, already the load size when `load` is set.
        title: what the progress bar says.

    Raises:
        UserError: a picture cannot be read.
    """
    if not refs:
        return np.zeros((0, *size, channels), np.uint8)
    path = cache_path(dataset, refs, channels, size, load)
    if not path.exists():
        with progress(title, len(refs)) as bar:
            _write(path, _pictures(dataset, refs, size, load), (len(refs), *size, channels), bar.advance)
    array: Array = np.load(path, mmap_mode="c")  # copy on write: torch wants memory that it may write to
    return array


def cache_path(dataset: Dataset, refs: Sequence[Any], channels: int, size: Size, load: bool) -> Path:
    """Where `decode` keeps these pictures; the folder may be deleted at any time."""
    # where: another folder's files may have the same names, sizes and times
    key = files.digest([LAYOUT, dataset.identity, dataset.where, [repr(ref) for ref in refs], channels, size, load])
    return files.home() / "data" / f"{key}.npy"


def _pictures(dataset: Dataset, refs: Sequence[Any], size: Size, load: bool) -> Iterator[Array]:
    """In order, a few hundred ahead of the writer."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        left = iter(refs)
        while chunk := list(islice(left, 256)):
            yield from pool.map(lambda ref: dataset.read(ref, *size, load), chunk)


def _write(path: Path, pictures: Iterator[Array], shape: tuple[int, ...], advance: Any) -> None:
    """The .npy file, picture by picture; the first one says the depth."""
    with files.atomic(path) as file:
        dtype = None
        for picture in pictures:
            if dtype is None:
                dtype = picture.dtype
                header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            if picture.shape != shape[1:] or picture.dtype != dtype:
                raise ValueError(f"read() gave {picture.dtype} {picture.shape} after {dtype} {shape[1:]}")
            file.write(np.ascontiguousarray(picture).tobytes())
            advance()
