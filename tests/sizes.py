"""On how small a picture a family can be tested."""

from functools import cache

import torch

from ugc.core.errors import UserError
from ugc.models.generator import FAMILIES


@cache
def least_size(family, **fields):
    """(H, W): the first of 32x32, 32x64, 64x64, .. on which the family's net can run; `fields` of its config."""
    size = (32, 32)
    while True:
        with torch.device("meta"):
            net = FAMILIES[family](FAMILIES[family].config_for(size, **{"base": 8, **fields}))
        try:
            net.check_size(size)
            return size
        except UserError:
            size = size[1], 2 * size[0]


def little(family):
    """Fields of the family's config that make it as small as it can be; with batch norm, whose buffers are to keep still."""
    fields = {"base": 2, "widths": (1, 2), "depths": (0, 1), "norm": "batch", "blocks": 1, "levels": 3,
              "upsampling": "normal"}
    return {name: value for name, value in fields.items() if name in FAMILIES[family].Config.model_fields}
