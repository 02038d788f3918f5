"""pix2pixHD's global generator: the published sizes, counted by hand from its list of layers, and what its space holds."""

import numpy as np
import pytest
import torch

from ugc.core.errors import UserError
from ugc.models.generator import FAMILIES
from ugc.nn.cost import CostModel, total, trace
from ugc.search.teachers import teacher_regions

FAMILY = FAMILIES["pix2pixhd"]
SIZE = (256, 512)


def on_meta(size=SIZE, original=False, **fields):
    config = FAMILY.config_for(size, **{"in_channels": 36, **fields})
    with torch.device("meta"):
        return FAMILY(FAMILY.original(config) if original else config)


def by_hand(channels, size, downs, base=64, blocks=9, out=3):
    """params, macs and macs_paper of conv7, `downs` x conv3 s2, 2 convolutions a block, `downs` x convT3 s2, conv7."""
    params = macs = paper = 0

    def layer(kernel, a, b, level, from_level=None):
        nonlocal params, macs, paper
        each, (tall, wide) = kernel * kernel * a * b, size
        params += each + b
        paper += each * (tall >> level) * (wide >> level)  # on the output grid
        level = level if from_level is None else from_level
        macs += each * (tall >> level) * (wide >> level)

    layer(7, channels, base, 0)
    for level in range(1, downs + 1):
        layer(3, base << level - 1, base << level, level)
    for _ in range(2 * blocks):
        layer(3, base << downs, base << downs, downs)
    for level in range(downs - 1, -1, -1):
        layer(3, base << level + 1, base << level, level, from_level=level + 1)
    layer(7, base, out, 0)
    return params, macs, paper


@pytest.mark.parametrize("channels, size, downs, listed", [  # macs and macs_paper in G, params in M
    (36, SIZE, 4, ("122.331", "151.322", "182.547")),
    (35, SIZE, 4, ("121.920", "150.911", "182.544")),
    (3, SIZE, 4, ("108.767", "137.758", "182.443")),
    (36, SIZE, 3, ("117.499", "139.243", "45.697")),
    (36, (512, 1024), 4, ("489.324", "605.288", "182.547")),
    (36, (256, 256), 4, ("61.166", "75.661", "182.547"))])
def test_published_sizes(channels, size, downs, listed):
    net = on_meta(size, original=True, in_channels=channels, downs=downs)
    found = total(trace(net, None, size))
    assert (found.params, found.macs, found.macs_paper) == by_hand(channels, size, downs)
    assert sum(p.numel() for p in net.parameters()) == found.params
    assert (f"{found.macs / 1e9:.3f}", f"{found.macs_paper / 1e9:.3f}", f"{found.params / 1e6:.3f}") == listed


def test_the_papers_original_to_the_last_parameter():
    net = on_meta(original=True)
    found = total(trace(net, None, SIZE))
    assert (found.params, found.macs, found.macs_paper) == (182_546_755, 122_331_070_464, 151_322_099_712)
    assert len(net.state_dict()) == 56 and FAMILY.default_budget == "17x"
    assert {tuple(t.shape) for k, t in net.state_dict().items() if "body" in k} == {(1024, 1024, 3, 3), (1024,)}


def test_sizes_of_the_supernet():
    space = on_meta().space
    assert space.count == 8**9 * 3**8
    assert [c.name for c in space.choices if not c.is_depth] == [
        "stem", "down1", "down2", "down3", "down4", "up1", "up2", "up3", "up4"]
    cost = CostModel(on_meta(), SIZE)
    smallest, largest = cost(space.smallest), cost(space.largest)
    assert (smallest.params, smallest.macs_paper) == (531_755, 2_920_415_232)
    assert (largest.params, largest.macs_paper) == (94_416_451, 228_716_445_696)


def member(space, widths, depths):
    return space.parse(",".join(f"{c.name}={v}" for c, v in zip(space.choices, [*widths, *depths], strict=True)))


STUDENTS = {"8-10 G": ([8, 8, 8, 16, 16, 16, 8, 16, 16], [2, 2, 1, 2, 1, 1, 2, 1]),
            "12-14 G": ([8, 16, 16, 24, 24, 32, 8, 24, 16], [0, 1, 0, 0, 2, 2, 0, 0])}


@pytest.mark.parametrize("widths, depths, listed", [  # macs_paper in G, params in M
    (*STUDENTS["8-10 G"], ("9.88", "4.99")), (*STUDENTS["12-14 G"], ("13.85", "6.99")),
    ([16] * 9, [0] * 8, ("7.65", "2.05")), ([20] * 9, [0] * 8, ("10.70", "3.17")), ([24] * 9, [0] * 8, ("14.20", "4.54")),
    ([16] * 9, [1] * 8, ("12.48", "4.00"))])
def test_members_that_the_lineage_lists(widths, depths, listed):
    net = on_meta(widths=(8, 16, 20, 24, 32, 64))
    found = total(trace(net, member(net.space, widths, depths), SIZE))
    assert (f"{found.macs_paper / 1e9:.2f}", f"{found.params / 1e6:.2f}") == listed


@pytest.mark.parametrize("window, size, times", [("8-10 G", "5.0", 20), ("12-14 G", "7.0", 16)])
def test_the_papers_students_are_members_and_have_teachers(window, size, times):
    """The paper's windows of MACs and parameters, as rounded there; nets of about 20 times, and teachers where they aim."""
    net = on_meta()
    cost, arch = CostModel(net, SIZE), member(net.space, *STUDENTS[window])
    low, high = (int(n) for n in window.removesuffix(" G").split("-"))
    assert low <= cost(arch).macs_paper / 1e9 <= high and f"{cost(arch).params / 1e6:.1f}" == size
    assert cost(net.space.largest).macs_paper > times * cost(arch).macs_paper
    regions = teacher_regions(net.space, lambda a: cost(a).macs_paper, arch)
    for region in (regions.deep, regions.wide):
        rng = np.random.default_rng(0)
        teacher = next(found for _ in range(20) if (found := region.draw(rng)))
        assert abs(cost(teacher).macs_paper / regions.target - 1) <= 0.05 and teacher in net.space


@pytest.mark.parametrize("size", [(16, 32), (32, 48), (24, 64)])
def test_the_body_needs_two_rows(size):
    """Blocks pad by reflection, so the bottom has at least 2 x 2: 32 pixels at 4 halvings, in multiples of 16."""
    net = FAMILY(FAMILY.config_for((32, 32), base=8, in_channels=2)).init(torch.Generator().manual_seed(0))
    if size == (32, 48):
        net.check_size(size)
        assert net(torch.zeros(1, 2, *size)).shape == (1, 3, *size)
    else:
        with pytest.raises(UserError, match="multiples of 16 and at least 32"):
            net.check_size(size)
