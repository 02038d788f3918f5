"""Ids come out of every kind of file as they went in; what holds no ids gets one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from ugc.core.errors import UserError
from ugc.data import idmaps
from ugc.data.idmaps import Seen, ids_of, nearest, read_labels, read_map, scan

IDS = np.arange(4 * 6).reshape(4, 6) % 13


def png(ids, bits):
    """A grey PNG of so few bits, which Pillow does not write."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits:].ravel()).tobytes()
                    for row in ids)
    head = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_few_bits(bits, tmp_path):
    ids = IDS % 2**bits
    (tmp_path / "a.png").write_bytes(png(ids, bits))
    assert read_labels(tmp_path / "a.png").tolist() == ids.tolist()


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_few_bits_opened_by_pillow(form, bits, tmp_path):
    """However it was opened; a TIFF, and a file by its name, after its pixels were read, too."""
    ids, path = IDS % 2**bits, tmp_path / "a"
    if form == "PNG":
        path.write_bytes(png(ids, bits))
    else:
        tifffile.imwrite(path, ids.astype(np.uint8), bitspersample=bits, photometric="minisblack")
    assert read_labels(path).tolist() == ids.tolist()
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        with Image.open(source) as image:
            assert image.mode == "L" and ids_of(image).tolist() == ids.tolist()
    for source in (path, str(path)):
        with Image.open(source) as image:
            image.load()
        assert ids_of(image).tolist() == ids.tolist()


def test_a_png_read_from_a_stream_before():
    """8 bits are known by ids that fewer cannot give; where they can, nobody knows."""
    for bits, ids in ((8, IDS), (4, IDS * 0), (4, IDS)):
        with Image.open(io.BytesIO(png(ids, bits))) as image:
            image.load()
        if bits == 4 and ids.any():
            with pytest.raises(UserError, match="was read from a stream before"):
                ids_of(image)
        else:
            assert ids_of(image).tolist() == ids.tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_0_may_be_meant_either_way(dtype, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IDS.astype(dtype), photometric="miniswhite")
    with pytest.raises(UserError, match=r"a\.tif is a TIFF whose white is 0, .* expected a label map whose black is 0"):
        read_labels(tmp_path / "a.tif")
    with (Image.open(tmp_path / "a.tif") as image,
          pytest.raises(UserError, match=r"the instance map is a TIFF .* expected an instance map whose")):
        ids_of(image, "instance map")


@pytest.mark.parametrize("behind", [False, True])
def test_a_turned_label_map(behind, tmp_path):
    """Read, or opened by Pillow, or decoded by it before: upright by its Exif."""
    exif, data = Image.Exif(), png(IDS, 8)
    exif[274] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    at = len(data) - 12 if behind else 33
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(data[:at] + chunk + data[at:])
    wanted = np.rot90(IDS, -1).tolist()
    assert read_map(tmp_path / "a.png").tolist() == wanted and idmaps.map_info(tmp_path / "a.png").size == (6, 4)
    with Image.open(tmp_path / "a.png") as image:
        assert ids_of(image).tolist() == wanted and ids_of(image).tolist() == wanted


@pytest.mark.parametrize("bits", [4, 8])
def test_the_indices_of_a_palette_are_the_ids_whatever_its_colours(bits, tmp_path):
    image = Image.fromarray(IDS.astype(np.uint8), "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 48, dtype=np.uint8).tobytes())
    image.save(tmp_path / "a.png", bits=bits)
    assert Image.open(tmp_path / "a.png").mode == "P"
    assert read_labels(tmp_path / "a.png").tolist() == IDS.tolist()


@pytest.mark.parametrize(("name", "dtype", "scale"), [("a.png", np.uint16, 1000), ("a.tif", np.uint16, 4000),
                                                      ("a.tif", np.int32, 100_000), ("a.bmp", np.uint8, 1)])
def test_instances_of_more_bits_are_read_whole(name, dtype, scale, tmp_path):
    Image.fromarray((IDS * scale).astype(dtype)).save(tmp_path / name)
    assert read_map(tmp_path / name).tolist() == (IDS * scale).tolist()


def test_a_tiff_that_pillow_does_not_open(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", (IDS * 1000).astype(np.uint16), bigtiff=True, tile=(16, 16))
    assert read_map(tmp_path / "a.tif").tolist() == (IDS * 1000).tolist()


@pytest.mark.parametrize("size", [(4, 6), (8, 12), (3, 5), (2, 2), (5, 4)])
def test_nearest_is_pillows(size):
    image = Image.fromarray(IDS.astype(np.uint8)).resize(size[::-1], Image.Resampling.NEAREST)
    assert nearest(IDS, *size).tolist() == np.asarray(image).tolist()


@pytest.mark.parametrize(("name", "pixels", "says"), [
    ("a.png", np.zeros((4, 6, 3), np.uint8), "has 3 channels; expected a label map: .* train_A"),
    ("a.png", np.zeros((4, 6, 2), np.uint8), "has 2 channels"),
    ("a.tif", np.zeros((4, 6), np.float32), "holds floating-point numbers; expected a label map"),
    ("a.jpg", np.zeros((4, 6), np.uint8), "is a JPEG, which changes ids"),
    ("a.png", np.full((4, 6), 256, np.uint16), "holds the id 256; class ids are 0 to 255"),
    ("a.tif", np.full((4, 6), -1, np.int32), "holds the id -1; class ids are 0 to 255")])
def test_what_holds_no_ids(name, pixels, says, tmp_path):
    Image.fromarray(pixels).save(tmp_path / name)
    with pytest.raises(UserError, match=says):
        read_labels(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"text", png(IDS, 8)[:60]])
def test_a_damaged_label_map(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png cannot be read as a picture"):
        read_labels(tmp_path / "a.png")


def test_label_maps_are_scanned_once_until_one_is_written_to(home, tmp_path, monkeypatch):
    for i, ids in enumerate([[[1, 1]], [[1, 7]]]):
        Image.fromarray(np.array(ids, np.uint8)).save(tmp_path / f"{i}.png")
    splits = {"train": {"0": "0.png", "1": "1.png"}, "val": {}}
    wanted = {"train": {1: Seen(2, 3, "0.png"), 7: Seen(1, 1, "1.png")}, "val": {}}
    assert scan(tmp_path, splits) == wanted
    with monkeypatch.context() as patch:
        patch.setattr(idmaps, "read_labels", None)
        assert scan(tmp_path, splits) == wanted
    data = io.BytesIO()
    Image.fromarray(np.full((1, 5), 9, np.uint8)).save(data, "PNG")
    (tmp_path / "0.png").write_bytes(data.getvalue())
    assert scan(tmp_path, splits)["train"][9] == Seen(1, 5, "0.png")
