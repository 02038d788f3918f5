"""Label maps: one channel a class, an edge channel, and colours for people."""

import numpy as np
import pytest
import torch

from ugc.core.encoding import Encoding, LabelEncoding, edges_of, encoding_of, instances_of
from ugc.core.errors import UserError
from ugc.core.images import from_unit, to_unit
from ugc.core.palettes import CITYSCAPES, IGNORED, palette, train_ids

IDS = np.random.default_rng(0).integers(0, 35, (2, 5, 7)).astype(np.uint8)
EDGE = edges_of(torch.from_numpy(IDS)).numpy().astype(np.uint8)
STORED = np.stack([IDS, EDGE], -1)


def plain_edges(instances):
    """By the definition, pixel by pixel."""
    tall, wide = instances.shape
    out = np.zeros((tall, wide), bool)
    for i in range(tall):
        for j in range(wide):
            around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            out[i, j] = any(0 <= a < tall and 0 <= b < wide and instances[a, b] != instances[i, j] for a, b in around)
    return out


@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 1), (6, 7), (20, 31)], ids=str)
def test_an_instance_map_can_be_made_from_its_edges(shape, repeat):
    """Another one than it was, with the same edges: a file that takes instances can be asked what a data set stores."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        edges = edges_of(torch.from_numpy(rng.integers(0, 3, shape).repeat(repeat, 0).repeat(repeat, 1))).numpy()
        made = instances_of(edges)
        assert made.shape == edges.shape and np.array_equal(edges_of(torch.from_numpy(made)).numpy(), edges)


def test_a_map_is_stored_as_ids_and_edges():
    encoding = LabelEncoding(classes=34, unknown=True, edges=True)
    ids, instances = np.array([[0, 33], [255, 7]]), np.array([[1, 1], [1, 26001]])
    stored = encoding.store(ids, instances, "a.png")
    assert stored.dtype == np.uint8 and stored[..., 0].tolist() == [[0, 33], [34, 7]]
    assert np.array_equal(stored[..., 1], edges_of(torch.from_numpy(instances)).numpy())
    assert LabelEncoding(classes=256).store(ids, None, "a.png")[..., 0].tolist() == ids.tolist()  # 255 is a class here


@pytest.mark.parametrize("fields, ids, instances, why", [
    ({}, [[0, 3]], None, "a.png has class id 3; ids here are 0 to 2"),
    ({}, [[-1, 2]], None, "a.png has class id -1; ids"),
    ({}, [[255, 0]], None, "has class id 255; ids here are 0 to 2$"),
    ({"unknown": True}, [[255, 3]], None, "has class id 3; ids here are 0 to 2 and 255, unknown"),
    ({"edges": True}, [[0, 2]], None, "without an instance map; expected label maps of 3 classes with instance maps"),
    ({}, [[0, 2]], [[0, 2]], "with an instance map; expected label maps of 3 classes without instance maps"),
    ({"edges": True}, [[0, 2]], [[0], [2]], "a.png is 1x2 and its instance map 2x1")])
def test_a_map_that_does_not_fit_is_refused(fields, ids, instances, why):
    with pytest.raises(UserError, match=why):
        LabelEncoding(classes=3, **fields).store(np.array(ids), None if instances is None else np.array(instances), "a.png")


def test_encodings_are_the_same_whatever_their_colours():
    one = LabelEncoding(classes=3, edges=True)
    assert one.same(LabelEncoding(classes=3, edges=True, palette="cityscapes"))
    for other in (LabelEncoding(classes=4, edges=True), LabelEncoding(classes=3), Encoding(channels=4),
                  LabelEncoding(classes=3, unknown=True)):
        assert not one.same(other) and not other.same(one)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_edges_mark_both_sides_and_nothing_beyond_the_picture(dtype):
    rng = np.random.default_rng(1)
    for shape in ((6, 9), (1, 5), (4, 1), (1, 1)):
        instances = rng.integers(0, 2, shape).astype(dtype) * (26001 if dtype is np.int32 else 1)
        assert np.array_equal(edges_of(torch.from_numpy(instances)).numpy(), plain_edges(instances))


def test_one_channel_a_class_and_the_edges_last():
    encoding = LabelEncoding(classes=35, edges=True, palette="cityscapes")
    assert encoding.channels == 36 and encoding.stored == 2  # the papers' 36
    x = encoding.encode(STORED)
    assert x.shape == (2, 36, 5, 7) and x.dtype == torch.float32
    assert np.array_equal(x[:, :35].argmax(1).numpy(), IDS) and bool((x[:, :35].sum(1) == 1).all())
    assert np.array_equal(x[:, 35].numpy(), EDGE)


def test_unknown_has_a_channel_of_its_own_and_without_instances_there_is_no_edge_channel():
    encoding = LabelEncoding(classes=3, unknown=True)
    assert (encoding.channels, encoding.stored) == (4, 1)
    x = encoding.encode(np.array([[[[3], [0]]]], np.uint8))
    assert x[0, :, 0, 0].tolist() == [0, 0, 0, 1] and x[0, :, 0, 1].tolist() == [1, 0, 0, 0]


def test_people_see_the_colours_of_stored_and_of_encoded_maps():
    encoding = LabelEncoding(classes=35, edges=True, palette="cityscapes")
    seen = encoding.shown(STORED)
    assert seen.shape == (2, 5, 7, 3) and all(
        tuple(pixel) == CITYSCAPES[label].colour for pixel, label in zip(seen.reshape(-1, 3).tolist(), IDS.ravel()))
    assert np.array_equal(from_unit(encoding.view(encoding.encode(STORED))), seen)


def test_pictures_pass_as_before():
    pixels = np.random.default_rng(2).integers(0, 256, (1, 4, 4, 3)).astype(np.uint8)
    encoding = Encoding(channels=3)
    assert torch.equal(encoding.encode(pixels), to_unit(pixels)) and encoding.stored == 3
    assert encoding.shown(pixels) is pixels and torch.equal(encoding.view(to_unit(pixels)), to_unit(pixels))


def test_an_encoding_is_plain_data():
    for encoding in (Encoding(channels=1), LabelEncoding(classes=7, unknown=True, edges=True)):
        assert encoding_of(encoding.model_dump(mode="json"), 3) == encoding
    assert encoding_of(None, 4) == Encoding(channels=4)
    with pytest.raises(UserError, match="classes"):
        encoding_of({"kind": "labels", "classes": 257}, 3)


def test_colours_are_distinct_where_there_is_no_table():
    colours = palette("distinct", 24)
    assert len({tuple(c) for c in colours.tolist()}) == 24
    assert palette("cityscapes", 40).shape == (40, 3)


def test_the_benchmark_has_19_classes():
    """The ids that Cityscapes judges, as its own table has them."""
    judged = {i: int(t) for i, t in enumerate(train_ids("cityscapes")) if t != IGNORED}
    assert judged == dict(zip([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], range(19)))
