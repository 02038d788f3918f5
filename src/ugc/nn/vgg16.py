"""VGG-16 up to relu4_3, as the paper's lineage uses it in L_OD.

Architecture: Simonyan and Zisserman, 2015, configuration D. The input is (x + 1) / 2 without ImageNet's mean and
deviation: that is how OMGD's loss feeds it, and what its weights of the loss were made for.
"""

from __future__ import annotations

from torch import Tensor

from ugc.core.weights import PublicFile
from ugc.nn.backbones import BACKBONES
from ugc.nn.vgg import PublicVGG

PUBLIC = PublicFile(
    title="VGG-16 weights", address="https://download.pytorch.org/models/vgg16-397923af.pth", name="vgg16-397923af.pth",
    size=553433881, sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", variable="UGC_VGG16")

GROUPS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))


@BACKBONES.register("vgg16")
class VGG16(PublicVGG):
    """VGG-16. Taps: relu1_2 (64 channels, full size), relu2_2 (128, 1/2), relu3_3 (256, 1/4), relu4_3 (512, 1/8)."""

    name = "vgg16"
    groups = GROUPS
    feature_tap = 1
    orders = {
        "lineage": {"ssim": 10.0, "feature": 10.0, "style": 1e4, "tv": 1e-5},  # OMGD's code
        "text": {"ssim": 10.0, "feature": 1e4, "style": 10.0, "tv": 1e-5},  # UGC's text, section 4.1
    }

    def taps(self, images: Tensor) -> list[Tensor]:
        return self.maps((images + 1) / 2)

    @classmethod
    def public(cls) -> PublicFile:
        return PUBLIC
