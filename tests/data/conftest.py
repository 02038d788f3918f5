"""Small pictures in all layouts, and a cache of its own for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ugc.core.images import Array

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("UGC_HOME", str(folder))
    return folder


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """save("trainA/1.png", value or array): a picture below tmp_path; returns its path."""

    def put(name: str, pixels: int | Array = 0, size: tuple[int, int] = (8, 8)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.full((*size, 3), pixels, np.uint8) if isinstance(pixels, int) else pixels
        Image.fromarray(array).save(path)
        return path

    return put
