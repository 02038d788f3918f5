"""What a file of tensors looks like that holds no generator of ours: a word for the error."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

OURS = ("pix2pix ResNet and UNet generators of CycleGAN-and-pix2pix, GAN Compression and OMGD, and pix2pixHD's "
        "GlobalGenerator, can be imported")
BESIDE = "; the generator is in the file with _G in its name"

# The first pattern that is found in any name decides.
LOOKS = (
    (r"(^|\.)(exp_avg|param_groups)\b", "an optimiser's state"),
    (r"(^|\.)model1_1\.", "pix2pixHD's LocalEnhancer, in which the head of the global part is missing"),
    (r"\.filt$", "a ResNet with anti-aliased sampling (CUT; its --no_antialias --no_antialias_up leaves that out)"),
    (r"conv_block\.([89]|\d\d)\.", "a deep teacher of OMGD, with expansion blocks"),
    (r"(^|\.)scale\d+_layer\d|discriminator_\d+\.", "a multi-scale discriminator" + BESIDE),
    (r"\.mlp_(shared|gamma|beta)\.", "a SPADE (GauGAN) generator"),
    (r"lora_[AB]|(^|\.)(down_blocks|up_blocks|mid_block)\.", "a diffusion model"),
    (r"(^|\.)(synthesis|mapping)\.", "StyleGAN"),
    (r"(^|\.)layer[1-4]\.\d+\.conv\d\.", "a ResNet that classifies (torchvision's)"),
    (r"(^|\.)(features|classifier)\.\d+\.", "a network that classifies (torchvision's VGG or its like)"),
    (r"(^|\.)net\.\d+\.weight$", "a discriminator of single pixels" + BESIDE),
)


def looks_like(tensors: Mapping[str, Tensor]) -> str:
    """A clause such as "it looks like a discriminator"; never empty."""
    for pattern, what in LOOKS:
        if any(re.search(pattern, name) for name in tensors):
            return f"it looks like {what}"
    kernels = {tuple(t.shape[2:]) for name, t in tensors.items()
               if re.search(r"(^|\.)model\.\d+\.weight$", name) and t.dim() == 4}
    if kernels == {(4, 4)}:
        return f"it looks like a PatchGAN discriminator{BESIDE}"
    some = ", ".join(list(tensors)[:3])
    return f"its {len(tensors)} tensors ({some}, ..) are named as none of theirs"
