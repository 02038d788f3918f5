"""What a file computes for label maps: ids and instances, or one-hot, are what the net itself is given."""

import numpy as np
import pytest
import torch

from ugc.core.encoding import LabelEncoding
from ugc.core.errors import UserError
from ugc.core.images import narrowed
from ugc.export.wrapped import at_any_size, inputs_of, wrapped
from ugc.models.generator import FAMILIES

ENCODINGS = [LabelEncoding(classes=4), LabelEncoding(classes=4, unknown=True), LabelEncoding(classes=4, edges=True),
             LabelEncoding(classes=3, unknown=True, edges=True)]
SIZES = [(1, 1), (3, 5), (8, 8), (9, 30), (1, 13)]


def net_for(setting_of, encoding):
    setting = setting_of("pix2pix-resnet", in_channels=encoding.channels, out_channels=3)
    return setting.family(setting.config).init(torch.Generator().manual_seed(0)).eval()


def files(encoding, height, width, seed=0):
    """ids and instances as files have them: unknown is 255."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, encoding.ids, (height, width))
    return np.where(ids == encoding.classes, 255, ids), rng.integers(0, 3, (height, width)) if encoding.edges else None


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda e: e.text)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_way_in_is_the_net_on_the_encoded_map(setting_of, encoding, size):
    net = net_for(setting_of, encoding)
    ids, instances = files(encoding, *size)
    x = encoding.encode(encoding.store(ids, instances, "a map")[None])
    wanted = narrowed(at_any_size(net, x))
    assert wanted.shape == (1, 3, *size)
    maps = [torch.from_numpy(one.astype(np.int32))[None] for one in (ids, instances) if one is not None]
    torch.testing.assert_close(wrapped(net, encoding)(*maps), wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(wrapped(net, encoding, "onehot")(x), wanted, rtol=0, atol=1e-6)
    for labels in ("ids", "onehot"):  # from what a data set stores
        fed = [torch.from_numpy(one) for one in inputs_of(x, encoding, labels)]
        torch.testing.assert_close(wrapped(net, encoding, labels)(*fed), wanted, rtol=0, atol=1e-6)


def test_the_padding_shows_no_edge_that_is_not_there(setting_of):
    """One thing fills the map: there is no edge in it, and none between it and its mirror."""
    encoding = LabelEncoding(classes=2, edges=True)
    net, seen = net_for(setting_of, encoding), []
    net.forward = lambda x, arch=None: seen.append(x) or x[:, :3]
    maps = torch.ones(2, 1, 9, 13, dtype=torch.int32)
    wrapped(net, encoding)(*maps)
    assert seen[0].shape == (1, 3, 12, 16) and not seen[0][:, 2].any() and bool((seen[0][:, 1] == 1).all())


def test_an_id_that_is_no_class_is_unknown_or_nothing(setting_of):
    for encoding, wanted in ((LabelEncoding(classes=2, unknown=True), [0, 0, 1]), (LabelEncoding(classes=2), [0, 0])):
        net, seen = net_for(setting_of, encoding), []
        net.forward = lambda x, arch=None, seen=seen: seen.append(x) or x[:, :1]
        wrapped(net, encoding)(torch.full((1, 8, 8), 77, dtype=torch.int32))
        assert seen[0][0, :, 0, 0].tolist() == wanted


@pytest.mark.parametrize("family", list(FAMILIES))
def test_room_is_the_least_that_fits(setting_of, family):
    setting = setting_of(family)
    net = setting.family(setting.config)
    for size in ((1, 1), (5, 200), (64, 64), (65, 1), (200, 130)):
        room = net.room(*size)
        net.check_size(room)
        assert all(have >= side for have, side in zip(room, size))
        smaller = [(room[0] - net.stride, room[1]), (room[0], room[1] - net.stride)]
        for one in smaller:
            if one[0] >= size[0] and one[1] >= size[1]:
                with pytest.raises(UserError):
                    net.check_size(one)


def test_a_word_that_is_none(setting_of):
    encoding = LabelEncoding(classes=2)
    net = net_for(setting_of, encoding)
    with pytest.raises(UserError, match=r"expected ids .* or onehot"):
        wrapped(net, encoding, "one-hot")
