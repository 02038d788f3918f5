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
from ugc.core.images import Array, to_unit
from ugc.core.palettes import palette

MOST = 256  # class ids are uint8


class Encoding(Config):
    """Sources that are pictures. `channels` is what a generator takes, `stored` what an array of sources holds."""

    kind: Literal["picture", "labels"] = "picture"
    channels: int = Field(default=3, ge=1)

    @property
    def stored(self) -> int:
        return self.channels

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


def encoding_of(data: dict[str, Any] | None, channels: int, where: str = "source") -> Encoding:
    """From plain data, as a saved net's config.json has it; pictures of so many channels where it says nothing."""
    if not data:
        return Encoding(channels=channels)
    kind = LabelEncoding if data.get("kind") == "labels" else Encoding
    return kind.parse(data, where)
