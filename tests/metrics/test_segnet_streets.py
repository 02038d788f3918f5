"""The segmenter of streets: its file, any size of picture, and what it makes of streets that it has not seen."""

import numpy as np
import pytest
import torch

from ugc.core.errors import UserError
from ugc.core.files import sha256
from ugc.core.images import to_unit
from ugc.core.palettes import palette
from ugc.metrics import segnet_streets
from ugc.metrics.segmentation import SEGMENTERS, confusion, numbers
from ugc.metrics.segnet_streets import IDS, NAME, SHA256, make
from ugc.nn.segnet import SegNet, parameters


@pytest.fixture(scope="module")
def one():
    return SEGMENTERS[NAME].load(False)


def test_its_file_is_small_and_known(one, monkeypatch, tmp_path):
    assert parameters(len(IDS)) < 300_000 and one.provenance["weights_sha256"] == SHA256 and len(SHA256) == 64
    path = segnet_streets.place()
    assert sha256(path) == SHA256 and path.stat().st_size < 1 << 20
    assert not any(p.requires_grad for p in one.net.parameters())
    other = tmp_path / path.name
    other.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(segnet_streets, "place", lambda: other)
    with pytest.raises(UserError, match="is not the file of segnet_streets that belongs here"):
        segnet_streets.load()


def test_any_size_and_a_shift_by_its_stride_shifts_the_scores():
    net = make().net.eval()
    for size in ((37, 53), (8, 8), (128, 256)):
        assert net(torch.zeros(1, 3, *size)).shape == (1, len(IDS), *size)
    x = torch.rand(1, 3, 160, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
    a, b = net(x), net(x.roll(8, 3))
    torch.testing.assert_close(a[..., 72:80, 64:80], b[..., 72:80, 72:88], atol=1e-4, rtol=1e-4)
    assert SegNet(3)(x[:, :1]).shape == (1, 3, 160, 160)


@pytest.mark.parametrize("size", [(128, 256), (256, 512)])
def test_it_reads_streets_and_is_not_satisfied_with_the_palette(one, size):
    pytest.importorskip("mujoco")
    from ugc.data.street_render import renderer

    with renderer(size) as draw:
        frames = [draw.frame(0, 2_000_000 + i) for i in range(4)]  # of the test split
    photos = to_unit(np.stack([frame.photo for frame in frames]))
    labels = torch.from_numpy(np.stack([frame.labels for frame in frames]))
    assert set(labels.unique().tolist()) <= set(IDS)
    painted = to_unit(palette("cityscapes", 35)[labels.numpy()].copy())
    truth = one.truth(labels)
    real, flat = (numbers(confusion(truth, one.found(x, size), one.classes)) for x in (photos, painted))
    assert real["pixel_accuracy"] > 85 and real["miou"] > 40
    assert flat["miou"] < real["miou"] - 20
