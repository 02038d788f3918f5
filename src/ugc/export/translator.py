"""A saved net as a function from picture to picture, at the picture's own size and in its own depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from ugc.core.device import choose
from ugc.core.errors import UserError
from ugc.core.images import Array, from_unit, to_unit
from ugc.core.log import progress, say
from ugc.data.folders import natural
from ugc.data.pictures import SUFFIXES, as_channels, read_picture, write_picture
from ugc.export.hub import located
from ugc.export.saved import load_net
from ugc.models.generator import Generator

FAR = 1.5  # times off the training size: a word is said


class Translator:
    """Calls a generator on pictures.

    Attributes:
        net: the torch module, [N, C, H, W] in [-1, 1] -> the same, H and W multiples of `net.stride`.
        about: its `config.json`.
    """

    def __init__(self, net: Generator, about: dict[str, Any], device: str = "auto") -> None:
        self.device = choose(device, "fp32").device
        self.net = net.to(self.device).eval()
        self.about = about

    def __call__(self, image: Image.Image) -> Image.Image:
        """A PIL image in, a PIL image of the same size out (mode L, RGB, RGBA or I;16)."""
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
            clear = "transparency" in upright.info or upright.mode in ("PA", "La", "RGBa")
            upright = upright.convert("RGBA" if clear else "RGB")
        array = np.asarray(upright)
        return _pil(self.array(array if array.ndim == 3 else array[..., None]))

    @torch.no_grad()
    def array(self, array: Array) -> Array:
        """uint8 or uint16 [H, W, c] -> the same depth, [H, W, C].

        The picture is padded by reflection to what the net needs, and cropped back.
        """
        height, width = array.shape[:2]
        least, step = self.net.least, self.net.stride
        tall, wide = (max(least, -(-side // step) * step) for side in (height, width))
        source = as_channels(array, self.net.config.in_channels)
        padded = np.pad(source, ((0, tall - height), (0, wide - width), (0, 0)), mode="reflect")  # a side of 1 is repeated
        out = self.net(to_unit(padded[None]).to(self.device))
        result: Array = from_unit(out, array.dtype)[0, :height, :width]
        return result

    def far_off(self, height: int, width: int) -> bool:
        """Whether a picture's size is over 1.5 times off the size that the net was trained at."""
        trained = self.about.get("size", (height, width))
        return any(max(a / b, b / a) > FAR for a, b in zip((height, width), trained))


def _pil(array: Array) -> Image.Image:
    if array.shape[2] not in (1, 3, 4) or (array.dtype == np.uint16 and array.shape[2] != 1):
        raise UserError(f"PIL has no mode for {array.shape[2]} channels of {array.dtype}; use Translator.array")
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def load(folder: str | Path, device: str = "auto") -> Translator:
    """Open a saved net; see `ugc.load`."""
    net, about = load_net(located(folder))
    if not net.config.arch and len(net.space) > 1:
        say(f"{folder} is a supernet: it is used at its full width")
    return Translator(net, about, device)


def translate(folder: str | Path, source: str, target: Path, device: str = "auto") -> int:
    """Translate a picture, a folder or a glob; returns how many were written.

    One picture goes to the file (or into the folder) `target`; many go into the folder `target` under their own
    names, formats that lose or clip (JPEG of 16 bits) apart.

    Raises:
        UserError: nothing to translate, or an unreadable picture.
    """
    found = _inputs(source)
    net = load(folder, device)
    many = len(found) > 1 or Path(source).is_dir() or not target.suffix
    if many and target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; {len(found)} pictures go into a folder")
    told = False
    with progress("translate", len(found)) as bar:
        for path in found:
            array = read_picture(path)
            if net.far_off(*array.shape[:2]) and not told:
                told = True
                say(f"{path.name} is {array.shape[0]}x{array.shape[1]}: over {FAR} times off the {net.about['size'][0]}x"
                    f"{net.about['size'][1]} that this net was trained at; what it draws may be off, too")
            write_picture(target / path.name if many else target, net.array(array))
            bar.advance()
    return len(found)


def _inputs(source: str) -> list[Path]:
    """The pictures that a file, a folder or a glob names."""
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES]
    else:
        base = Path(path.anchor) if path.anchor else Path()
        found = [p for p in base.glob(str(path.relative_to(path.anchor) if path.anchor else path)) if p.is_file()]
        found = [p for p in found if p.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(f"{source!r}: no picture there; expected a file, a folder of pictures "
                        f"({', '.join(sorted(SUFFIXES))}) or a glob such as 'in/*.png'")
    return sorted(found, key=lambda p: natural(p.name))
