"""`miou_segnet_streets`: a small segmenter of the rendered streets, trained on other streets of the same renderer.

`benchmarks/train_segnet.py` made its weights, once. It errs on real streets, too: what it scores on them is the ceiling,
which is computed anew beside every number (row `photos`).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from safetensors.torch import load as tensors_of
from torch import Tensor

from ugc.core.errors import UserError
from ugc.core.files import sha256
from ugc.metrics.segmentation import Offer, Segmenter, offer
from ugc.nn.segnet import SegNet

NAME = "segnet_streets"
IDS = (7, 8, 11, 13, 17, 19, 20, 21, 22, 23, 24, 26)  # of Cityscapes, that streets uses, in the order of classes
SHA256 = "85cf7b0c871a819bec6675a84873c54574e27a5e88d3efab6db8d6e7b698bb84"
TEXT = f"SegNet of {len(IDS)} classes, trained on rendered streets, on the picture and the label map at the answer's size"


def make(net: SegNet | None = None, digest: str = "") -> Segmenter:
    """The segmenter with a network; with a fresh one where none is given."""
    return Segmenter(NAME, net or SegNet(len(IDS)), len(IDS), {label: number for number, label in enumerate(IDS)},
                     {"segmenter": "SegNet, streets", "weights_sha256": digest, "protocol": TEXT})


def place() -> Path:
    """Where the weights lie in the installation."""
    return Path(str(files("ugc.metrics").joinpath(f"{NAME}.safetensors")))


def load(download: bool = False) -> Segmenter:
    """With the frozen weights, which come with the installation. Raises UserError where the file is another."""
    path = place()
    if not path.is_file() or sha256(path) != SHA256:
        raise UserError(f"{path} is not the file of {NAME} that belongs here (sha256 {SHA256}): install ugc again")
    net = SegNet(len(IDS))
    weights: dict[str, Tensor] = {key: value.float() if value.is_floating_point() else value
                                  for key, value in tensors_of(path.read_bytes()).items()}
    net.load_state_dict(weights)
    return make(net.requires_grad_(False).eval(), SHA256)


offer(Offer(NAME, "streets", TEXT, load))
