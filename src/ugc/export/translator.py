"""A saved net as a function from picture, or label map, to picture, at its own size; pictures in their own depth."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ugc.core.device import choose
from ugc.core.encoding import LabelEncoding
from ugc.core.errors import UserError
from ugc.core.images import Array, from_unit
from ugc.core.log import progress, say
from ugc.data.idmaps import ids_of, read_map
from ugc.data.pictures import as_channels, read_picture, write_picture
from ugc.data.pillow import pixels
from ugc.export.hub import located
from ugc.export.saved import load_net, source_of
from ugc.export.sources import Source, sources
from ugc.export.wrapped import at_any_size
from ugc.models.generator import Generator

FAR = 1.5  # times off the training size: a word is said


class Translator:
    """Calls a generator on pictures, or on label maps.

    Attributes:
        net: the torch module, [N, C, H, W] -> [N, C', H, W] in [-1, 1], H and W multiples of `net.stride` and at least
            `net.least`. It takes what `encoding` gives: pictures in [-1, 1], or one channel a class (and one for unknown,
            and one for edges) in {0, 1}.
        encoding: of its sources.
        about: its `config.json`.
    """

    def __init__(self, net: Generator, about: dict[str, Any], device: str = "auto") -> None:
        self.device = choose(device, "fp32").device
        self.net = net.to(self.device).eval()
        self.about = about
        self.encoding = source_of(net, about)

    def __call__(self, image: Image.Image | Array, instance: Image.Image | Array | None = None) -> Image.Image:
        """A PIL image in, a PIL image of the same size out (mode L, RGB, RGBA or I;16).

        For a net of label maps, `image` holds class ids and `instance`, where the net takes edges, instance ids: PIL images
        of one channel (of a palette: its indices), or arrays of integers [H, W].

        Raises:
            UserError: what is given is not what the net takes.
        """
        if isinstance(self.encoding, LabelEncoding):
            return _pil(self.maps(ids_of(image), None if instance is None else ids_of(instance, "instance map")))
        if instance is not None:
            raise UserError(f"an instance map is given, and this net takes {self.encoding.text}")
        if not isinstance(image, Image.Image):
            raise UserError(f"{type(image).__name__} is no PIL image; use Translator.array for arrays")
        return _pil(self.array(pixels(image)))

    def array(self, array: Array) -> Array:
        """A picture, uint8 or uint16 [H, W, c] -> the same depth, [H, W, C]."""
        if self.encoding.kind == "labels":
            raise UserError(f"this net takes {self.encoding.text}; use Translator.maps for arrays")
        return self._answer(as_channels(array, self.net.config.in_channels))

    def maps(self, ids: Array, instances: Array | None = None, where: str = "label map") -> Array:
        """Class ids and, where the net takes edges, instance ids, integers [H, W] -> a picture, uint8 [H, W, C]."""
        if not isinstance(self.encoding, LabelEncoding):
            raise UserError(f"this net takes {self.encoding.text}, no label maps")
        return self._answer(self.encoding.store(ids, instances, where))

    @torch.no_grad()
    def _answer(self, stored: Array) -> Array:
        """A source as data sets store it -> its answer."""
        if 0 in stored.shape[:2]:
            raise UserError(f"the picture is {stored.shape[0]}x{stored.shape[1]} (height x width); expected at least 1x1")
        out = at_any_size(self.net, self.encoding.encode(stored[None].copy()).to(self.device))
        answer: Array = from_unit(out, stored.dtype)[0]
        return answer

    def answer(self, source: Source) -> Array:
        """The answer to a file."""
        if self.encoding.kind == "picture":
            return self.array(read_picture(source.path))
        ids = read_map(source.path)
        return self.maps(ids, read_map(source.instances, "instance map") if source.instances else None, str(source.path))

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
    if not net.config.arch and net.space.count > 1:
        say(f"{folder} is a supernet: it is used at its full width")
    return Translator(net, about, device)


def translate(folder: str | Path, given: str, where: str | Path, device: str = "auto", instances: Path | None = None) -> int:
    """Translate a picture or label map, a folder or a glob; returns how many were written.

    One answer goes to the file (or into the folder, which ends in a slash) `where`; many go into that folder under their own
    names (`export/sources.py`), formats that lose or clip (JPEG of 16 bits) apart.

    Args:
        instances: where the instance maps are; None: beside the label maps.

    Raises:
        UserError: nothing to translate, or an unreadable picture.
    """
    net, target = load(folder, device), Path(where)
    found = sources(given, net.encoding, instances)
    a_folder = target.is_dir() or not target.suffix or str(where).endswith(("/", os.sep))
    many = len(found) > 1 or Path(given).is_dir() or a_folder
    if many and target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; {len(found)} pictures go into a folder")
    read = {path.resolve() for source in found for path in (source.path, source.instances) if path}
    lost = [path for source in found if (path := target / source.name if many else target).resolve() in read]
    if lost:
        raise UserError(f"{lost[0]} is a source itself and would be overwritten; choose another place for the answers")
    told = False
    with progress("translate", len(found)) as bar:
        for source in found:
            answer = net.answer(source)
            if net.far_off(*answer.shape[:2]) and not told:
                told = True
                say(f"{source.path.name} is {answer.shape[0]}x{answer.shape[1]}: over {FAR} times off the "
                    f"{net.about['size'][0]}x{net.about['size'][1]} that this net was trained at; what it draws may be off, "
                    "too")
            write_picture(target / source.name if many else target, answer)
            bar.advance()
    return len(found)
