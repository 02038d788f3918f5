"""ugc: Unified GAN Compression.

From a folder of source images, only some of which have a target, and a budget, to a small image-to-image generator.
Importing this package takes no torch; `ugc.load` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ugc.version import __version__

if TYPE_CHECKING:
    from ugc.export.translator import Translator

__all__ = ["__version__", "load"]


def load(folder: str | Path, device: str = "auto") -> Translator:
    """Open a saved net (a student, an original, a teacher, a supernet) as a translator of pictures.

    Args:
        folder: where `config.json` and `model.safetensors` lie, such as `RUN/student`.
        device: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        A `Translator`: call it with a PIL image; `.net` is the torch module ([N, C, H, W] in [-1, 1]).

    Raises:
        UserError: the folder holds no saved net, or one that this version cannot read.
    """
    from ugc.export.translator import load as load_translator

    return load_translator(Path(folder), device)
