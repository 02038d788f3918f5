"""VGG-16 up to relu4_3, torchvision's public ImageNet weights, as the paper's lineage uses it. No torchvision needed.

Architecture: Simonyan and Zisserman, 2015, configuration D. The input is (x + 1) / 2 without ImageNet's mean and
deviation: that is how OMGD's loss feeds it, and what its weights of the loss were made for.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from ugc.core.download import fetch
from ugc.core.errors import UserError
from ugc.core.files import home, read_json, sha256, write_json
from ugc.nn.backbones import BACKBONES, Backbone

ADDRESS = "https://download.pytorch.org/models/vgg16-397923af.pth"
FILE = "vgg16-397923af.pth"
SIZE = 553433881
SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))  # channels; a 2x2 maximum between groups


@BACKBONES.register("vgg16")
class VGG16(Backbone):
    """VGG-16. Taps: relu1_2 (64 channels, full size), relu2_2 (128, 1/2), relu3_3 (256, 1/4), relu4_3 (512, 1/8)."""

    name = "vgg16"
    feature_tap = 1
    orders = {
        "lineage": {"ssim": 10.0, "feature": 10.0, "style": 1e4, "tv": 1e-5},  # OMGD's code
        "text": {"ssim": 10.0, "feature": 1e4, "style": 10.0, "tv": 1e-5},  # UGC's text, section 4.1
    }

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.ends: list[int] = []
        inside = 3
        for group in GROUPS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for outside in group:
                layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True)]
                inside = outside
            self.ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)  # numbered as torchvision's, so its keys fit

    def taps(self, images: Tensor) -> list[Tensor]:
        x = (images + 1) / 2
        maps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.ends:
                maps.append(x)
        return maps

    @classmethod
    def cached(cls) -> Path | None:
        """`UGC_VGG16` where set, else `vgg16-397923af.pth` in ugc's cache or in torch hub's."""
        if explicit := os.environ.get("UGC_VGG16"):
            return Path(explicit)
        places = (home() / FILE, Path(torch.hub.get_dir()) / "checkpoints" / FILE)
        return next((path for path in places if path.is_file() and path.stat().st_size == SIZE), None)

    @classmethod
    def load(cls, download: bool = False) -> Self:
        path = cls.cached()
        if path is None and download:
            path = fetch(ADDRESS, home() / FILE, SIZE, SHA256, "VGG-16 weights")
        if path is None:
            raise UserError(f"no VGG-16 weights on this machine: get {ADDRESS} and put it at {home() / FILE}")
        check(path)
        net = cls()
        weights = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict({key: weights[key] for key in net.state_dict()})
        return net.freeze(SHA256)


def check(path: Path) -> None:
    """Is it the public file? The digest is computed once and noted beside the file with its size and time.

    Raises:
        UserError: it is missing, or is another file.
    """
    if not path.is_file():
        raise UserError(f"UGC_VGG16 names {path}, which is no file: get {ADDRESS} and put it there")
    stat = path.stat()
    stamp = {"sha256": SHA256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    note = path.with_name(path.name + ".checked")
    with contextlib.suppress(OSError, UserError):
        if read_json(note) == stamp:
            return
    if stat.st_size != SIZE or sha256(path) != SHA256:
        raise UserError(f"{path} is not torchvision's VGG-16 file (sha256 {SHA256}): remove it and get {ADDRESS}")
    with contextlib.suppress(OSError):  # a read-only cache: it is checked again next time
        write_json(note, stamp)
