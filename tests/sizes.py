"""On how small a picture a family can be tested."""

from functools import cache

import torch

from ugc.core.errors import UserError
from ugc.models.generator import FAMILIES


@cache
def least_size(family):
    """(H, W): the first of 32x32, 32x64, 64x64, .. on which the family's net can run."""
    size = (32, 32)
    while True:
        with torch.device("meta"):
            net = FAMILIES[family](FAMILIES[family].config_for(size, base=8))
        try:
            net.check_size(size)
            return size
        except UserError:
            size = size[1], 2 * size[0]
