"""How a stored source becomes what a generator takes. Pictures: [-1, 1]. Label maps: one channel a class, and edges.

A label map is stored as uint8 [H, W, 1 or 2]: the class ids and, where there is an instance map, its edge map (0 or 1).
The one-hot tensor is made on the device, batch by batch, and never stored.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ugc.core.config import Config
from ugc.core.errors import UserError
from ugc.core.images import Array, to_unit
from ugc.core.palettes import palette

MOST = 256  # class ids are uint8
UNKNOWN = 255  # on disk, where it is no class: what nobody has labelled


class Encoding(Config):
    """Sources that are pictures. `channels` is what a generator takes, `stored` what an array of sources holds."""

    kind: Literal["picture", "labels"] = "picture"
    channels: int = Field(default=3, ge=1)

    @property
    def stored(self) -> int:
        return self.channels

    @property
    def text(self) -> str:
        """For people, in the plural."""
        return f"pictures of {self.channels} channel{'s' if self.channels != 1 else ''}"

    def same(self, other: Encoding) -> bool:
        """Whether what one takes the other does, too. How people see it does not matter."""
        return self.model_dump(exclude={"palette"}) == other.model_dump(exclude={"palette"})

    def encode(self, stored: Array | Tensor) -> Tensor:
        """Stored [N, H, W, c] -> float32 [N, channels, H, W] on the array's device."""
        return to_unit(stored)

    def shown(self, stored: Array) -> Array:
        """Stored [.., H, W, c] -> a picture of it that people can look at, uint8 or uint16 [.., H, W, C]."""
        return stored

    def view(self, encoded: Tensor) -> Tensor:
        """What `encode` gave -> a picture of it, [N, C, H, W] in [-1, 1]."""
        return encoded


PICTURES = Encoding()  # of however many channels: they pass as they are


class LabelEncoding(Encoding):
    """Sources that are label maps.

    classes: ids are 0 .. classes - 1. unknown: there is one more channel, for what nobody has labelled (stored as id
    `classes`). edges: the last channel is the edge map of the instances. palette: whose colours people see.
    """

    kind: Literal["picture", "labels"] = "labels"
    channels: int = 0  # follows from the others
    classes: int = Field(ge=1, le=MOST)
    unknown: bool = False
    edges: bool = False
    palette: str = "distinct"

    def model_post_init(self, context: Any) -> None:
        object.__setattr__(self, "channels", self.ids + self.edges)

    @property
    def ids(self) -> int:
        """One-hot channels."""
        return self.classes + self.unknown

    @property
    def stored(self) -> int:
        return 1 + self.edges

    @property
    def text(self) -> str:
        classes = f"{self.classes} class{'es' if self.classes != 1 else ''}{' and unknown' if self.unknown else ''}"
        return f"label maps of {classes} {'with' if self.edges else 'without'} instance maps"

    def store(self, ids: Array, instances: Array | None, where: str) -> Array:
        """A label map as files have it, integers [H, W] with 255 for unknown, and its instance map -> uint8 [H, W, 1 or 2].

        Raises:
            UserError: an id that is no class, an instance map too many or too few, or one of another size.
        """
        known = f"ids here are 0 to {self.classes - 1}{f' and {UNKNOWN}, unknown' if self.unknown else ''}"
        unknown = (ids == UNKNOWN) & self.unknown
        wrong = ((ids < 0) | (ids >= self.classes)) & ~unknown
        if wrong.any():
            raise UserError(f"{where} has class id {ids[wrong].max()}; {known}")
        ids = np.where(unknown, self.classes, ids)
        if (instances is None) == self.edges:
            raise UserError(f"{where} comes {'without' if self.edges else 'with'} an instance map; expected {self.text}")
        if instances is None:
            return ids.astype(np.uint8)[..., None]
        if instances.shape != ids.shape:
            have, want = ("x".join(map(str, shape)) for shape in (instances.shape, ids.shape))
            raise UserError(f"{where} is {want} and its instance map {have} (height x width); expected one size")
        edges = edges_of(torch.from_numpy(np.ascontiguousarray(instances, np.int64))).numpy()
        return np.stack([ids.astype(np.uint8), edges.astype(np.uint8)], -1)

    def encode(self, stored: Array | Tensor) -> Tensor:
        """uint8 [N, H, W, 1 or 2] -> float32 [N, channels, H, W] in {0, 1}."""
        maps = torch.from_numpy(np.ascontiguousarray(stored)) if isinstance(stored, np.ndarray) else stored
        n, height, width = maps.shape[:3]
        out = torch.zeros((n, self.channels, height, width), device=maps.device)
        out.scatter_(1, maps[..., 0].long()[:, None], 1.0)
        if self.edges:
            out[:, -1] = maps[..., 1]
        return out

    def shown(self, stored: Array) -> Array:
        """The class ids in their colours: uint8 [.., H, W, 3]."""
        colours: Array = palette(self.palette, self.ids)[stored[..., 0]]
        return colours

    def view(self, encoded: Tensor) -> Tensor:
        colours = to_unit(palette(self.palette, self.ids)[None, None].copy())[0, :, 0].to(encoded.device)  # [3, ids]
        return colours[:, encoded[:, : self.ids].argmax(1)].movedim(0, 1).contiguous()


def edges_of(instances: Tensor) -> Tensor:
    """The edge map of instance maps: True where one of the 4 neighbours is another instance. [.., H, W] -> the same.

    Both sides of a border are marked; beyond the picture there is no neighbour. pix2pixHD [Wang 2018], Sec. 3.3.
    """
    across = instances[..., 1:] != instances[..., :-1]
    down = instances[..., 1:, :] != instances[..., :-1, :]
    return (F.pad(across, (0, 1)) | F.pad(across, (1, 0)) | F.pad(down, (0, 0, 0, 1)) | F.pad(down, (0, 0, 1, 0)))


def instances_of(edges: Array) -> Array:
    """An instance map that has these edges: bool [H, W] -> int32 [H, W], with `edges_of(instances_of(e)) == e`.

    Neighbours are one instance unless both are edges. So no edge is added; and none is lost, because an edge of any map has
    a neighbour of another instance, which no chain of such neighbours joins to it.
    """
    ids = np.arange(edges.size, dtype=np.int32).reshape(edges.shape)
    across, down = ~(edges[:, 1:] & edges[:, :-1]), ~(edges[1:] & edges[:-1])
    while True:
        before = ids.copy()
        for one, other, same in ((ids[:, 1:], ids[:, :-1], across), (ids[1:], ids[:-1], down)):
            least = np.minimum(one, other)
            np.minimum(one, least, out=one, where=same)
            np.minimum(other, least, out=other, where=same)
        ids = ids.ravel()[ids]  # whoever is of p is of whom p is of
        if np.array_equal(ids, before):
            return ids


def encoding_of(data: dict[str, Any] | None, channels: int, where: str = "source") -> Encoding:
    """From plain data, as a saved net's config.json has it; pictures of so many channels where it says nothing."""
    if not data:
        return Encoding(channels=channels)
    kind = LabelEncoding if data.get("kind") == "labels" else Encoding
    return kind.parse(data, where)
