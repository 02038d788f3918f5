"""Which files are sources, which instance maps are theirs, and what their answers are called."""

import sys

import pytest

from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.errors import UserError
from ugc.export.sources import sources

EDGES, PLAIN = LabelEncoding(classes=35, edges=True), LabelEncoding(classes=35)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def told(given, encoding, instances=None):
    found = sources(str(given), encoding, instances)
    return [(one.path.name, one.instances and one.instances.name, one.name) for one in found]


@pytest.fixture
def city(tmp_path):
    """Two cities as in Cityscapes' tree, with all that lies beside a label map there."""
    kinds = ("labelIds.png", "instanceIds.png", "color.png", "labelTrainIds.png", "polygons.json")
    for name in ("ulm/ulm_000000_000001", "bonn/bonn_000000_000002"):
        touch(tmp_path / "gtFine/val", *(f"{name}_gtFine_{kind}" for kind in kinds))
    return tmp_path / "gtFine/val"


def test_of_a_cityscapes_tree_only_the_label_maps_are_sources(city):
    """By folder, split or glob; answers are called as that tree calls photos."""
    ulm = ("ulm_000000_000001_gtFine_labelIds.png", "ulm_000000_000001_gtFine_instanceIds.png",
           "ulm_000000_000001_leftImg8bit.png")
    bonn = tuple(name.replace("ulm", "bonn").replace("1_", "2_") for name in ulm)
    assert told(city / "ulm", EDGES) == [ulm] == told(city / "ulm" / ulm[0], EDGES)
    assert told(city, EDGES) == [bonn, ulm] == told(city / "*/*.png", EDGES)
    assert told(city, PLAIN) == [(bonn[0], None, bonn[2]), (ulm[0], None, ulm[2])]
    assert told(city, EDGES, city) == [bonn, ulm] == told(city, EDGES, city.parent / "val")


def test_pix2pixhds_instance_maps_lie_in_a_folder_beside(tmp_path):
    touch(tmp_path, "test_label/10.png", "test_label/9.png", "test_inst/9.png", "test_inst/10.png", "test_label/notes.txt")
    assert told(tmp_path / "test_label", EDGES) == [("9.png", "9.png", "9.png"), ("10.png", "10.png", "10.png")]
    assert sources(str(tmp_path / "test_label/9.png"), EDGES)[0].instances == tmp_path / "test_inst/9.png"


def test_elsewhere_they_are_named(tmp_path):
    touch(tmp_path, "maps/a[1].png", "maps/b.png", "things/a[1].tif", "things/b.png", "one.png")
    assert told(tmp_path / "maps", EDGES, tmp_path / "things") == [("a[1].png", "a[1].tif", "a[1].png"), ("b.png",) * 3]
    assert told(tmp_path / "maps/b.png", EDGES, tmp_path / "one.png") == [("b.png", "one.png", "b.png")]
    for given, instances, why in (("maps", None, r"a\[1\].png has no instance map .* --instances"),
                                  ("maps", "one.png", "one file for 2 label maps"), ("maps", "none", "is not there"),
                                  ("one.png", "maps", "one.png has no instance map .*maps/one.png is not there")):
        with pytest.raises(UserError, match=why):
            told(tmp_path / given, EDGES, instances and tmp_path / instances)


def test_two_answers_of_one_name_are_refused(tmp_path):
    touch(tmp_path, "a/1.png", "b/1.png")
    for encoding in (PLAIN, Encoding(channels=3)):
        with pytest.raises(UserError, match=r"'1.png' would be the answer of more than one source"):
            told(tmp_path / "*/1.png", encoding)


def test_hidden_files_are_left_alone_and_no_glob_is_said(tmp_path):
    """macOS leaves `._x.png` beside x.png."""
    touch(tmp_path, "a/x.png", "a/._x.png")
    for given in ("a", "a/*.png"):
        assert told(tmp_path / given, Encoding(channels=3)) == [("x.png", None, "x.png")]
    (tmp_path / "a/x.png").unlink()
    with pytest.raises(UserError, match="no picture there"):
        told(tmp_path / "a", PLAIN)
    if sys.version_info < (3, 13):  # there `**` in a name means `*`
        with pytest.raises(UserError, match="is no glob"):
            told(tmp_path / "a**.png", PLAIN)


@pytest.mark.parametrize("encoding", [Encoding(channels=3), PLAIN], ids=["pictures", "no edges"])
def test_instance_maps_for_a_net_that_takes_none(tmp_path, encoding):
    touch(tmp_path, "1.png")
    with pytest.raises(UserError, match="leave --instances out"):
        told(tmp_path, encoding, tmp_path)
