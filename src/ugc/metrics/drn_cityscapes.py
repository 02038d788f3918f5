"""`miou_drn105_cityscapes`: what the literature of pix2pix and GauGAN calls mIoU on Cityscapes.

The protocol of GAN Compression and all who follow it, step by step: the picture at its own size (256x256 of pix2pix is not
stretched), normalised, DRN-D-105, log-softmax; that map resized bilinearly, channel by channel, to the size of the label
maps (1024x2048); the largest; compared with the full-resolution train ids; one confusion matrix of all pictures.
"""

from __future__ import annotations

from ugc.core.palettes import IGNORED, train_ids
from ugc.metrics.segmentation import Offer, Segmenter, offer
from ugc.nn.drn import CLASSES, DRN, PUBLIC

NAME = "drn105_cityscapes"
TEXT = "DRN-D-105 on the picture at its own size, log-softmax resized to the label map's full size, 19 train ids"
TRAIN_IDS = {label: int(number) for label, number in enumerate(train_ids("cityscapes")) if number != IGNORED}


def load(download: bool = False) -> Segmenter:
    """With the public weights, which a person has to get."""
    net = DRN.load(download)
    return Segmenter(NAME, net, CLASSES, TRAIN_IDS, {
        "segmenter": "DRN-D-105, Cityscapes", "weights_sha256": PUBLIC.digest(PUBLIC.get()), "protocol": TEXT}, full=True)


offer(Offer(NAME, "cityscapes", TEXT, load, at_hand=lambda: DRN.cached() is not None))
