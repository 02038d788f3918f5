"""The built-in data set: 20,976 Chinese characters, Noto Sans SC to Noto Serif SC (open and aligned to the pixel)."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from ugc.core.errors import UserError
from ugc.data.dataset import DATASETS, DataConfig
from ugc.data.faces import Face
from ugc.data.fonts import FontDataset

TEST, POOL = 2048, 2048
HAN = range(0x4E00, 0xA000)


@DATASETS.register("sans2serif")
def sans2serif(config: DataConfig, seed: int) -> FontDataset:
    """Sources are sans-serif, targets serif; the split does not depend on `seed`.

    Raises:
        UserError: the package with the fonts is not installed.
    """
    try:
        from pylopdf_fonts_zh_cn import sans_path, serif_path
    except ImportError:
        raise UserError("sans2serif needs its fonts: pip install 'ugc[demo]'") from None
    sans, serif, characters = _drawn(sans_path(), serif_path())
    test, pool, alone = characters[:TEST], characters[TEST:TEST + POOL], characters[TEST + POOL:]
    dataset = FontDataset(config, "sans2serif", (sans, serif), pool=pool, alone=alone, test=test)
    dataset.attribution = ("Characters drawn with Noto Sans SC and Noto Serif SC, SIL Open Font License 1.1, "
                           "from the package pylopdf-fonts-zh-cn.")
    return dataset


@cache
def _drawn(sans_path: Path, serif_path: Path) -> tuple[Face, Face, list[int]]:
    """Both faces and the characters they share; found once a process, since looking takes a second."""
    sans, serif = Face(sans_path), Face(serif_path)
    return sans, serif, frozen_order(serif.has(sans.has(HAN)))


def frozen_order(characters: set[int]) -> list[int]:
    """The rule of the split, for good: by code point's SHA-256; the first are test, the next may be labelled."""
    return sorted(characters, key=lambda code: hashlib.sha256(f"sans2serif {code:X}".encode()).digest())
