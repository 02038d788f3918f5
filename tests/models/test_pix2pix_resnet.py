"""The body's groups: how many blocks share their width inside."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ugc.models.generator import FAMILIES, shrink
from ugc.nn.cost import CostModel


@pytest.mark.parametrize("blocks, groups, insides", [
    (9, 3, [1, 1, 1, 2, 2, 2, 3, 3, 3]), (6, 3, [1, 1, 2, 2, 3, 3]), (9, 1, [1] * 9), (4, 4, [1, 2, 3, 4]), (2, 3, [1, 2])])
def test_each_group_has_a_width_of_its_own(blocks, groups, insides):
    family = FAMILIES["pix2pix-resnet"]
    net = family(family.config_for((32, 32), base=8, blocks=blocks, groups=groups, body_block="plain"))
    arch = net.space.smallest.having({f"mid{g + 1}": g + 1 for g in range(groups)})
    small = shrink(net.init(torch.Generator().manual_seed(0)), arch)
    assert [block.conv1.width for block in small.body] == [4 * g for g in insides]


def test_the_cost_of_groups_is_what_runs():
    family = FAMILIES["pix2pix-resnet"]
    net = family(family.config_for((32, 32), base=8, blocks=4, groups=4))
    cost, rng = CostModel(net, (32, 32)), np.random.default_rng(0)
    for _ in range(3):
        arch = net.space.sample(rng)
        small = shrink(net, arch)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            small.to("meta")(torch.zeros(1, 3, 32, 32, device="meta"))
        assert cost(arch).macs == counter.get_total_flops() / 2
        assert cost(arch).params == sum(p.numel() for p in small.parameters())
