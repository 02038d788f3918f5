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

__all__ = ["__version__", "load", "push_to_hub"]


def load(folder: str | Path, device: str = "auto") -> Translator:
    """Open a saved net (a student, an original, a teacher, a supernet) as a translator of pictures or label maps.

    Args:
        folder: where `config.json` and `model.safetensors` lie, such as `RUN/student`; or, where there is no folder `org`,
            a name on the Hugging Face hub, `org/name` or `org/name@revision` (`pip install 'ugc[hub]'`).
        device: `auto`, `cpu`, `cuda` or `mps`.

    Returns:
        A `Translator`: call it with a PIL image; `.net` is the torch module ([N, C, H, W] in [-1, 1]). A net of label maps
        is called with class ids and, where it was trained with edges, instance ids: `g(label, instance)`, PIL images or
        arrays [H, W]; its `.net` takes [N, C, H, W] in {0, 1}, one channel a class and the edges last.

    Raises:
        UserError: the folder holds no saved net, or one that this version cannot read; the hub has no such name, or
            there is no network.
    """
    from ugc.export.translator import load as load_translator

    return load_translator(folder, device)


def push_to_hub(folder: str | Path, name: str, private: bool = False) -> str:
    """Upload a saved net and its model card to the Hugging Face hub as `org/name`; returns the address of its page.

    Raises:
        UserError: no saved net, huggingface_hub is missing (`pip install 'ugc[hub]'`), no network, no right to write there.
    """
    from ugc.export.hub import push_to_hub as push

    return push(folder, name, private)
