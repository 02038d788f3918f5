"""VGG-19 up to relu5_1, as pix2pixHD and SPADE use it in their perceptual term.

Architecture: Simonyan and Zisserman, 2015, configuration E. Images go in as they are, in [-1, 1], without ImageNet's mean
and deviation: that is how both feed it, and what the weights of the taps were made for.
"""

from __future__ import annotations

from torch import Tensor

from ugc.core.weights import PublicFile
from ugc.nn.backbones import BACKBONES
from ugc.nn.vgg import PublicVGG

PUBLIC = PublicFile(
    title="VGG-19 weights", address="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", name="vgg19-dcbb9e9d.pth",
    size=574673361, sha256="dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44", variable="UGC_VGG19")


@BACKBONES.register("vgg19")
class VGG19(PublicVGG):
    """VGG-19. Taps: relu1_1 (64 channels, full size), relu2_1 (128, 1/2), relu3_1 (256, 1/4), relu4_1 (512, 1/8), relu5_1
    (512, 1/16)."""

    name = "vgg19"
    groups = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,))
    at = 0
    perceptual = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)

    def taps(self, images: Tensor) -> list[Tensor]:
        return self.maps(images)

    @classmethod
    def public(cls) -> PublicFile:
        return PUBLIC
