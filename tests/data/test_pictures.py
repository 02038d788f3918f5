"""Files keep their depth and channels there and back; conversions mean what they say."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from ugc.core.errors import UserError
from ugc.data.pictures import as_channels, as_depth, picture_info, read_picture, resize, write_picture

RNG = np.random.default_rng(0)


def noise(channels: int, dtype: type = np.uint8, size: tuple[int, int] = (9, 14)) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max + 1, (*size, channels)).astype(dtype)


@pytest.mark.parametrize(("suffix", "channels", "dtype"), [
    *((".png", c, np.uint8) for c in (1, 2, 3, 4)), *((".png", c, np.uint16) for c in (1, 2, 3, 4)),
    *((".tif", c, np.uint8) for c in (1, 3, 4, 5)), *((".tiff", c, np.uint16) for c in (1, 3, 7)),
    (".bmp", 3, np.uint8), (".bmp", 1, np.uint8), (".webp", 3, np.uint8), (".webp", 4, np.uint8)])
def test_round_trip_is_exact(suffix: str, channels: int, dtype: type, tmp_path: Path) -> None:
    array = noise(channels, dtype)
    if suffix == ".webp" and channels == 4:
        array[:, :, 3] = 200  # colours under full transparency are not kept
    write_picture(tmp_path / f"x{suffix}", array)
    back, info = read_picture(tmp_path / f"x{suffix}"), picture_info(tmp_path / f"x{suffix}")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, array)
    assert (info.channels, info.dtype, info.size) == (channels, dtype, (9, 14))


def test_jpeg_is_near(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    write_picture(tmp_path / "x.jpg", smooth)
    assert np.abs(read_picture(tmp_path / "x.jpg").astype(int) - smooth).max() < 12


@pytest.mark.parametrize(("suffix", "channels"), [(".jpg", 3), (".webp", 1), (".png", 5)])
def test_what_a_format_cannot_hold_is_said(suffix: str, channels: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot hold"):
        write_picture(tmp_path / f"x{suffix}", noise(channels, np.uint16))
    assert not list(tmp_path.iterdir())


def test_an_unknown_suffix_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ends in"):
        write_picture(tmp_path / "x.xyz", noise(3))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", "16.png", "16.tif"])
def test_exif_rotation_is_honoured(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    ramp = np.add.outer(np.arange(16) * 8, np.arange(24) * 4)[:, :, None].repeat(3, 2).astype(np.uint8)
    if suffix == "16.tif":
        tifffile.imwrite(path, as_depth(ramp, np.uint16), photometric="rgb",
                         extratags=[(274, "H", 1, orientation, True)])
    elif suffix == "16.png":
        write_picture(path, as_depth(ramp, np.uint16))
        exif = Image.Exif()
        exif[274] = orientation
        data, chunk = path.read_bytes(), exif.tobytes().removeprefix(b"Exif\0\0")
        body = b"eXIf" + chunk
        path.write_bytes(data[:33] + len(chunk).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
                         + data[33:])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(ramp).save(path, exif=exif)
    turn = {1: ramp, 2: ramp[:, ::-1], 3: ramp[::-1, ::-1], 4: ramp[::-1], 5: ramp.swapaxes(0, 1),
            6: np.rot90(ramp, -1), 7: ramp[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(ramp)}[orientation]
    found = as_depth(read_picture(path), np.uint8)
    assert found.shape == turn.shape
    assert picture_info(path).size == turn.shape[:2]
    assert np.abs(found.astype(int) - turn).max() <= 4


def test_palettes_and_planes(tmp_path: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8).repeat(4, 0)
    Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png"), colours)
    Image.fromarray(colours[:, :, 0]).convert("1").save(tmp_path / "1.png")
    assert read_picture(tmp_path / "1.png").shape == (4, 2, 1)
    planes = noise(6, np.uint16)
    tifffile.imwrite(tmp_path / "planes.tif", planes.transpose(2, 0, 1), photometric="minisblack",
                     planarconfig="separate")
    np.testing.assert_array_equal(read_picture(tmp_path / "planes.tif"), planes)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", [1, 6])
def test_grey_tiff_of_either_byte_order_turned(order: str, orientation: int, tmp_path: Path) -> None:
    """16 bits of the other byte order stay 16 bits; a turned file is not read with its sides swapped."""
    for dtype in (np.uint8, np.uint16):
        grey = noise(1, dtype)[:, :, 0]
        tifffile.imwrite(tmp_path / "x.tif", grey, byteorder=order, extratags=[(274, "H", 1, orientation, True)])
        back = read_picture(tmp_path / "x.tif")
        assert back.dtype == dtype
        np.testing.assert_array_equal(back[:, :, 0], grey if orientation == 1 else np.rot90(grey, -1))


def test_only_the_content_counts(tmp_path: Path) -> None:
    """A 16-bit colour TIFF under another name is read; a format of a printer, which Pillow hands to a program, is not."""
    tifffile.imwrite(tmp_path / "x.tif", noise(3, np.uint16), photometric="rgb")
    (tmp_path / "x.tif").rename(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png").dtype == np.uint16
    Image.new("RGB", (4, 4)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "x.png")
    with pytest.raises(UserError, match="its content is no PNG"):
        picture_info(tmp_path / "x.png")


# ---- TIFFs that look right and are not ----

RED = Image.new("RGB", (16, 8), (255, 0, 0))


def lab() -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    made = ImageCms.profileToProfile(RED, *profiles, outputMode="LAB")
    assert made
    return made


def raw(array: np.ndarray, **tags: Any) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, array, **tags)


@pytest.mark.parametrize(("write", "kind"), [
    (RED.convert("CMYK").save, "CMYK (8 bits"), (lab().save, "LAB (8 bits"), (RED.convert("YCbCr").save, "YCbCr (8 bits"),
    (raw(noise(4, np.uint16), photometric="separated"), "CMYK (16 bits"),
    (raw(np.full((8, 8), 4095, np.uint16), bitspersample=12), "grey (12 bits"),
    (raw(np.full((8, 8), 15, np.uint8), bitspersample=5), "grey (5 bits"),
    (raw(np.zeros((8, 8), np.uint16), photometric="miniswhite"), "grey whose white is 0 (16 bits"),
    (raw(np.zeros((8, 8), np.uint16), photometric="miniswhite", byteorder=">"), "grey whose white is 0 (16 bits"),
    (raw(np.zeros((2, 8, 8), np.uint8), photometric="miniswhite"), "grey whose white is 0 (8 bits"),
    (raw(np.zeros((2, 8, 8), np.uint8), photometric="palette", colormap=np.zeros((3, 256), "u2")), "a palette (8 bits")])
def test_a_tiff_whose_numbers_are_no_plain_grey_or_rgb(write: Callable[[Path], None], kind: str, tmp_path: Path) -> None:
    write(tmp_path / "x.tif")
    for read in (picture_info, read_picture):
        with pytest.raises(UserError) as told:
            read(tmp_path / "x.tif")
        assert f"x.tif is a TIFF of {kind} a channel); expected grey whose black is 0, or RGB, of 8 or 16" in str(told.value)


def test_a_cmyk_tiff_is_refused_without_the_extra_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RED.convert("CMYK").save(tmp_path / "x.tif")
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(UserError, match="is a TIFF of CMYK"):
        picture_info(tmp_path / "x.tif")


def test_cmyk_and_ycbcr_that_readers_undo(tmp_path: Path) -> None:
    """CMYK as JPEG; a TIFF of YCbCr that libtiff or tifffile makes RGB, of one page or with a smaller one behind it."""
    RED.convert("CMYK").save(tmp_path / "x.jpg", quality=100)
    RED.convert("YCbCr").save(tmp_path / "lzw.tif", compression="tiff_lzw")
    for name, sizes in {"one.tif": (64,), "more.tif": (64, 32)}.items():
        with tifffile.TiffWriter(tmp_path / name) as file:
            for size in sizes:
                file.write(np.full((size, size, 3), (255, 0, 0), np.uint8), photometric="rgb", compression="jpeg")
    assert picture_info(tmp_path / "more.tif").deep
    for name in ("x.jpg", "lzw.tif", "one.tif", "more.tif"):
        array = read_picture(tmp_path / name)
        assert np.abs(array.astype(int) - (255, 0, 0)).max() <= 1, name
        assert array.shape[:2] == picture_info(tmp_path / name).size


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_greys_whose_white_is_0_are_turned_round(bits: int, tmp_path: Path) -> None:
    top = 2**bits - 1
    grey = noise(1)[..., 0] & top
    if bits == 1:
        Image.fromarray(255 - grey * 255).convert("1").save(tmp_path / "x.tif", tiffinfo={262: 0})
    else:
        tifffile.imwrite(tmp_path / "x.tif", grey, photometric="miniswhite", bitspersample=bits if bits < 8 else None)
    with TiffImageFile(tmp_path / "x.tif") as image:
        assert (image.tag_v2[262], image.tag_v2.get(258, (1,))) == (0, (bits,))
    np.testing.assert_array_equal(read_picture(tmp_path / "x.tif")[..., 0], 255 - grey.astype(int) * 255 // top)


def test_opacity_in_a_tiff(tmp_path: Path) -> None:
    """Greys multiplied by it are divided again; a palette may have it, too."""
    tifffile.imwrite(tmp_path / "x.tif", np.full((4, 6, 2), (100, 128), np.uint8), photometric="minisblack",
                     extrasamples=["assocalpha"])
    assert read_picture(tmp_path / "x.tif")[0, 0].tolist() == [199, 128]
    image = Image.new("PA", (6, 4), (7, 50))
    image.putpalette([1, 2, 3] * 256)
    image.save(tmp_path / "x.tif")
    assert read_picture(tmp_path / "x.tif")[0, 0].tolist() == [1, 2, 3, 50]
    assert picture_info(tmp_path / "x.tif").channels == 4


def test_rgb_and_two_more_channels_stay_five(tmp_path: Path) -> None:
    five = noise(5)
    tifffile.imwrite(tmp_path / "x.tif", five, photometric="rgb", extrasamples=["unspecified"] * 2, planarconfig="contig")
    np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), five)


# ---- where a PNG says how it lies ----

def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def turn_of(place: str) -> bytes:
    """Chunks of a PNG that say: a quarter to the right."""
    exif, about = Image.Exif(), PngImagePlugin.PngInfo()
    exif[274] = 6
    data = exif.tobytes()
    if place == "Exif":
        return chunk(b"eXIf", data.removeprefix(b"Exif\0\0"))
    if place == "XMP":
        about.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>')
    else:
        about.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n", zip=True)
    return b"".join(chunk(name, body) for name, body, *_ in about.chunks)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("place", ["Exif", "XMP", "text"])
@pytest.mark.parametrize("behind", [False, True])
def test_exif_counts_anywhere_in_a_png_and_nothing_else_does(place: str, behind: bool, dtype: type, tmp_path: Path) -> None:
    array = noise(3, dtype, (8, 16))
    write_picture(tmp_path / "x.png", array)
    data = (tmp_path / "x.png").read_bytes()
    at = len(data) - 12 if behind else 33  # before IEND, or behind IHDR
    (tmp_path / "x.png").write_bytes(data[:at] + turn_of(place) + data[at:])
    wanted = np.rot90(array, -1) if place == "Exif" else array
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), wanted)
    assert picture_info(tmp_path / "x.png").size == wanted.shape[:2]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_is_not_turned_by_its_xmp(channels: int, tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for dtype in (np.uint8, np.uint16):
        array = noise(channels, dtype)
        tifffile.imwrite(tmp_path / "x.tif", array.squeeze(), photometric="rgb" if channels == 3 else "minisblack",
                         extratags=[(700, "B", len(xmp), xmp, True)])
        np.testing.assert_array_equal(read_picture(tmp_path / "x.tif"), array)
        assert picture_info(tmp_path / "x.tif").size == array.shape[:2]


def test_a_colour_of_a_16_bit_png_that_is_clear(tmp_path: Path) -> None:
    array = noise(3, np.uint16)
    write_picture(tmp_path / "x.png", array)
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[:33] + chunk(b"tRNS", array[0, 0].astype(">u2").tobytes()) + data[33:])
    info, back = picture_info(tmp_path / "x.png"), read_picture(tmp_path / "x.png")
    assert (info.channels, info.alpha) == (4, True)
    np.testing.assert_array_equal(back[..., :3], array)
    assert back[0, 0, 3] == 0 and (back[1:, :, 3] == 65535).all()


def test_floating_point_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(UserError, match="expected 8 or 16 bits"):
        picture_info(tmp_path / "x.tif")


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8),
                                               (".tif", np.uint16), (".jpg", np.uint8)])
def test_a_truncated_file_is_named(suffix: str, dtype: type, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    write_picture(path, noise(3, dtype, (64, 64)))
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match=f"x{suffix} cannot be read"):
        read_picture(path)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "x.png", noise(3, np.uint16))
    monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
    with pytest.raises(UserError, match=r"pip install 'ugc\[deep\]'"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_resizing_keeps_level_kind_and_slope(dtype: type, channels: int) -> None:
    peak = np.iinfo(dtype).max
    assert (resize(np.full((20, 30, channels), peak, dtype), 7, 50) == peak).all()
    ramp = np.linspace(0, peak, 64).astype(dtype)[None, :, None].repeat(64, 0).repeat(channels, 2)
    small = resize(ramp, 16, 32)
    assert (small.shape, small.dtype) == ((16, 32, channels), dtype)
    assert np.abs(small[:, 4:-4].astype(float) - ramp[::4, ::2][:, 4:-4] - peak / 126).max() < peak * 0.01
    step = np.zeros((8, 8, channels), dtype)
    step[:, 4:] = peak
    assert {resize(step, 64, 64).min(), resize(step, 64, 64).max()} == {0, peak}  # overshoot is clipped, not wrapped


def test_both_ways_of_resizing_agree() -> None:
    array = noise(3, size=(40, 40)) // 2 + 64  # away from the ends, where Pillow clips between its two passes
    deep = resize(as_depth(array, np.uint16), 23, 31)
    assert np.abs(as_depth(deep, np.uint8).astype(int) - resize(array, 23, 31)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels(dtype: type) -> None:
    peak = np.iinfo(dtype).max
    grey = noise(1, dtype)
    assert (as_channels(grey, 3) == grey).all()
    assert (as_channels(as_channels(grey, 3), 1) == grey).all()
    red = np.zeros((2, 2, 3), dtype)
    red[:, :, 0] = peak
    assert abs(int(as_channels(red, 1)[0, 0, 0]) - 0.299 * peak) <= 1
    assert as_channels(red, 4)[0, 0].tolist() == [peak, 0, 0, peak]
    clear = np.zeros((2, 2, 4), dtype)
    assert (as_channels(clear, 3) == peak).all()
    clear[:, :, 3] = peak
    assert (as_channels(clear, 3) == 0).all()
    assert (as_channels(clear, 1) == 0).all()
    with pytest.raises(UserError, match="5 channel"):
        as_channels(noise(5, dtype), 3)


def test_depths() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert as_depth(every, np.uint16).max() == 65535
    np.testing.assert_array_equal(as_depth(as_depth(every, np.uint16), np.uint8), every)


def test_a_webp_that_would_be_too_wide(tmp_path: Path) -> None:
    write_picture(tmp_path / "wide.webp", np.zeros((1, 16_383, 1), np.uint8))
    with pytest.raises(UserError, match=r"at most 16,383 pixels a side; use .png or .tif"):
        write_picture(tmp_path / "wider.webp", np.zeros((1, 16_384, 1), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["wide.webp"]
