"""Pictures through a saved net: at their own size, in their own depth, in any mode, one or many."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, PngImagePlugin

import ugc
from ugc.core.encoding import LabelEncoding, edges_of
from ugc.core.errors import UserError
from ugc.core.images import from_unit, to_unit
from ugc.data.pictures import read_picture, write_picture
from ugc.export.saved import load_net, save_net
from ugc.export.translator import Translator, load, translate

SIZES = [(1, 1), (1, 9), (3, 5), (8, 8), (37, 61), (64, 64), (31, 32), (100, 7)]  # height, width


def noise(height, width, channels=3, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (height, width, channels), dtype, endpoint=True)


def pil(array):
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


@pytest.fixture(scope="module")
def colour(tiny_run):
    return load(tiny_run / "student", "cpu")


@pytest.fixture(scope="module")
def grey(tiny_run_unet):
    return load(tiny_run_unet / "student", "cpu")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_answer_has_the_questions_size(colour, grey, size):
    for net, channels in ((colour, 3), (grey, 1)):
        for dtype in (np.uint8, np.uint16):
            out = net.array(noise(*size, channels, dtype))
            assert out.shape == (*size, channels) and out.dtype == dtype
    assert colour(pil(noise(*size))).size == size[::-1]
    assert grey(pil(noise(*size, 1))).size == size[::-1]


@pytest.mark.parametrize("size", [(64, 64), (32, 96)], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_on_a_stride_sized_picture_it_is_the_net_exactly(colour, grey, size, dtype):
    for net, channels in ((colour, 3), (grey, 1)):
        picture = noise(*size, channels, dtype)
        with torch.no_grad():
            wanted = from_unit(net.net(to_unit(picture[None])), dtype)[0]
        assert np.array_equal(net.array(picture), wanted)


@pytest.mark.parametrize("size", [(37, 61), (33, 64), (3, 5), (9, 2), (1, 13), (10, 1)], ids=str)
def test_elsewhere_it_is_the_net_on_the_picture_reflected_and_cropped_back(colour, size):
    height, width = size
    picture = noise(*size)
    tall, wide = (max(8, -(-side // 4) * 4) for side in size)

    def reflected(i, n):  # 0 1 2 3 2 1 0 1 ..
        i %= max(2 * (n - 1), 1)
        return min(i, 2 * (n - 1) - i)

    padded = np.stack([[picture[reflected(i, height), reflected(j, width)] for j in range(wide)] for i in range(tall)])
    assert np.array_equal(padded[:height, :width], picture)
    with torch.no_grad():
        wanted = from_unit(colour.net(to_unit(padded[None])))[0, :height, :width]
    assert np.array_equal(colour.array(picture), wanted)


def test_16_bits_are_not_8(colour):
    """The answer has values between those of 8 bits, and a deep question is not first made shallow."""
    deep = noise(32, 32, 3, np.uint16)
    out = colour.array(deep)
    assert len(np.unique(out % 257)) > 100
    shallow = colour.array((deep // 257).astype(np.uint8))
    assert np.abs(out / 257 - shallow).max() < 3 and not np.array_equal(np.round(out / 257), shallow)


def test_all_kinds_of_pil_pictures(colour, grey):
    base = noise(20, 30)
    images = {"L": pil(base[..., :1]), "RGB": pil(base), "RGBA": pil(noise(20, 30, 4)),
              "P": pil(base).quantize(16), "1": pil(base[..., :1]).convert("1"), "I;16": pil(noise(20, 30, 1, np.uint16)),
              "LA": pil(noise(20, 30, 4)).convert("LA"), "CMYK": pil(base).convert("CMYK")}
    for mode, image in images.items():
        assert image.mode == mode
        assert grey(image).size == (30, 20) and grey(image).mode == ("I;16" if mode == "I;16" else "L"), mode
        if mode != "I;16":
            assert colour(image).size == (30, 20) and colour(image).mode == "RGB", mode
    palette = images["P"]
    assert np.array_equal(np.asarray(colour(palette)), np.asarray(colour(palette.convert("RGB"))))
    same = pil(base[..., :1])
    assert np.array_equal(np.asarray(colour(same)), np.asarray(colour(same.convert("RGB"))))


def test_a_pil_picture_and_its_file_get_the_same_answer(colour, tmp_path):
    """Opacity is laid on white, palettes are looked up, EXIF is honoured: by both roads alike."""
    clear = pil(noise(20, 24)).quantize(8)
    clear.info["transparency"] = 3
    exif = Image.Exif()
    exif[0x0112] = 6
    images = {"rgb": pil(noise(20, 24)), "rgba": pil(noise(20, 24, 4)), "grey": pil(noise(20, 24, 1)),
              "la": pil(noise(20, 24, 4)).convert("LA"), "palette": pil(noise(20, 24)).quantize(8), "clear": clear}
    for name, image in images.items():
        image.save(tmp_path / f"{name}.png")
    pil(noise(20, 24)).save(tmp_path / "turned.png", exif=exif)
    for name in (*images, "turned"):
        from_file = colour.array(read_picture(tmp_path / f"{name}.png"))
        with Image.open(tmp_path / f"{name}.png") as image:
            assert np.array_equal(np.asarray(colour(image)), from_file), name


def test_odd_files_get_the_same_answer_by_both_roads(colour, grey, tmp_path):
    """A colour or a grey that is clear, 16 bits of the other byte order, Exif behind the pixels, XMP, white at 0."""
    pil(noise(20, 24)).save(tmp_path / "rgb.png", transparency=tuple(map(int, noise(20, 24)[3, 4])))
    pil(noise(20, 24, 1) % 8).save(tmp_path / "grey.png", transparency=3)
    tifffile.imwrite(tmp_path / "deep.tif", noise(20, 24, 1, np.uint16)[..., 0], byteorder=">")
    tifffile.imwrite(tmp_path / "white.tif", noise(20, 24, 1)[..., 0], photometric="miniswhite")
    exif, xmp = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    pil(noise(20, 24)).save(tmp_path / "behind.png", exif=exif)
    data = (tmp_path / "behind.png").read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start:start + 4], "big")
    (tmp_path / "behind.png").write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    xmp.add_itxt("XML:com.adobe.xmp", '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>')
    pil(noise(20, 24)).save(tmp_path / "xmp.png", pnginfo=xmp)
    sizes = {"behind.png": (20, 24), "deep.tif": (24, 20), "grey.png": (24, 20), "rgb.png": (24, 20), "white.tif": (24, 20),
             "xmp.png": (24, 20)}
    for path in sorted(tmp_path.iterdir()):
        net = grey if path.name == "deep.tif" else colour
        for before in (False, True):
            with Image.open(path) as image:
                if before:
                    image.load()
                answer = net(image)
            assert answer.size == sizes[path.name] and answer.mode == ("I;16" if net is grey else "RGB")
            assert np.array_equal(np.asarray(answer), net.array(read_picture(path)).squeeze()), path.name


def test_pil_pictures_that_are_refused(colour, tmp_path):
    """Their numbers would be clipped to 8 bits, or mean something else; as of their files."""
    for mode in ("I", "F", "LAB"):
        with pytest.raises(UserError, match=f"the picture is of Pillow's mode {mode}; expected 8 bits"):
            colour(Image.new(mode, (20, 24)))
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 24), 4095, np.uint16), bitspersample=12)
    with Image.open(tmp_path / "a.tif") as image, pytest.raises(UserError, match=r"the picture is a TIFF of grey \(12 bits"):
        colour(image)


def test_what_pil_cannot_hold_is_said(colour):
    with pytest.raises(UserError, match=r"PIL has no mode .* Translator\.array"):
        colour(pil(noise(20, 20, 1, np.uint16)))


def test_ugc_load(tiny_run, tmp_path):
    g = ugc.load(tiny_run / "student")
    g(pil(noise(20, 30))).save(tmp_path / "out.png")
    assert isinstance(g.net, torch.nn.Module) and not g.net.training
    x = torch.zeros(1, 3, 32, 32)
    assert torch.equal(g.net(x), load_net(tiny_run / "student")[0](x)) and g.net(x).abs().max() <= 1
    assert ugc.load(str(tiny_run / "student")).about["role"] == "student"
    with pytest.raises(UserError, match="holds no saved net"):
        ugc.load(tiny_run / "nothing")


def test_a_supernet_is_used_at_its_full_width_and_says_so(tiny_run, capsys):
    g, largest = load(tiny_run / "supernet", "cpu"), load(tiny_run / "largest", "cpu")
    assert "full width" in capsys.readouterr().err
    picture = noise(32, 32)
    assert np.array_equal(g.array(picture), largest.array(picture))


# ---- files ----

@pytest.fixture
def pictures(tmp_path):
    """in/: three pictures of different size and depth, and a file that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    pil(noise(37, 61)).save(folder / "a.png")
    pil(noise(32, 40)).save(folder / "b.JPG")
    pil(noise(30, 30, 1, np.uint16)).save(folder / "c.tif")
    (folder / "notes.txt").write_text("x")
    return folder


def test_one_file_to_a_file_and_into_a_folder(tiny_run, colour, pictures, tmp_path):
    assert translate(tiny_run / "student", str(pictures / "a.png"), tmp_path / "out.png", "cpu") == 1
    wanted = colour.array(read_picture(pictures / "a.png"))
    assert np.array_equal(read_picture(tmp_path / "out.png"), wanted)
    assert translate(tiny_run / "student", str(pictures / "a.png"), tmp_path / "out", "cpu") == 1
    assert np.array_equal(read_picture(tmp_path / "out/a.png"), wanted)


def test_a_folder_may_have_a_dot_in_its_name(tiny_run, pictures, tmp_path):
    (tmp_path / "out.v1").mkdir()
    assert translate(tiny_run / "student", str(pictures / "a.png"), tmp_path / "out.v1", "cpu") == 1
    assert [path.name for path in (tmp_path / "out.v1").iterdir()] == ["a.png"]


@pytest.mark.parametrize("given, target", [("in", "in"), ("in/a.png", "in/a.png"), ("in/a.png", "in/../in"), ("in", "link")])
def test_no_source_is_written_over(tiny_run, pictures, tmp_path, monkeypatch, given, target):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(pictures)
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    with pytest.raises(UserError, match="is a source itself and would be overwritten"):
        translate(tiny_run / "student", given, Path(target), "cpu")
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before


def test_a_folder(tiny_run_unet, grey, pictures, tmp_path):
    assert translate(tiny_run_unet / "student", str(pictures), tmp_path / "out", "cpu") == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.JPG", "c.tif"]
    deep = read_picture(tmp_path / "out/c.tif")
    assert deep.dtype == np.uint16 and np.array_equal(deep, grey.array(read_picture(pictures / "c.tif")))
    assert read_picture(tmp_path / "out/b.JPG").shape == (32, 40, 1)


@pytest.mark.parametrize("dtype, suffix", [(np.uint16, "png"), (np.uint16, "tif"), (np.uint8, "png"), (np.uint8, "webp")])
def test_colour_keeps_its_depth_on_disk(tiny_run, colour, tmp_path, dtype, suffix):
    write_picture(tmp_path / f"in.{suffix}", noise(20, 30, 3, dtype))
    translate(tiny_run / "student", str(tmp_path / f"in.{suffix}"), tmp_path / f"out.{suffix}", "cpu")
    out = read_picture(tmp_path / f"out.{suffix}")
    assert out.dtype == dtype and np.array_equal(out, colour.array(noise(20, 30, 3, dtype)))


def test_a_glob_absolute_and_relative(tiny_run, pictures, tmp_path, monkeypatch):
    assert translate(tiny_run / "student", str(pictures / "*.png"), tmp_path / "out", "cpu") == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    monkeypatch.chdir(tmp_path)
    assert translate(tiny_run / "student", "in/?.*", tmp_path / "all.d", "cpu") == 3
    assert len(list((tmp_path / "all.d").iterdir())) == 3


def test_a_word_when_far_off_the_training_size(tiny_run, colour, tmp_path, capsys):
    assert not colour.far_off(32, 32) and not colour.far_off(48, 22) and colour.far_off(49, 32) and colour.far_off(32, 21)
    for i in range(2):
        pil(noise(32, 64)).save(tmp_path / f"{i}.png")
    translate(tiny_run / "student", str(tmp_path), tmp_path / "out", "cpu")
    err = " ".join(capsys.readouterr().err.split())
    assert err.count("1.5 times off the 32x32") == 1 and "0.png is 32x64" in err  # once, not for each
    pil(noise(40, 30)).save(tmp_path / "near.png")
    translate(tiny_run / "student", str(tmp_path / "near.png"), tmp_path / "out.png", "cpu")
    assert "times off" not in capsys.readouterr().err


@pytest.mark.parametrize("source", ["nothing.png", "in/*.bmp", "empty", "in/notes.txt"])
def test_nothing_to_translate(tiny_run, pictures, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError):
        translate(tiny_run / "student", source, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_through_main(tiny_run, ugc, pictures, tmp_path):
    told = ugc("translate", tiny_run / "student", pictures / "a.png", tmp_path / "out.png", "--device", "cpu")
    assert told.code == 0 and "1 picture written" in " ".join(told.err.split())
    (tmp_path / "taken").write_text("a file")
    broken = tmp_path / "broken.png"
    broken.write_bytes((pictures / "a.png").read_bytes()[:80])
    for words in ((tmp_path / "none", pictures, tmp_path / "o"), (tiny_run / "student", tmp_path / "none", tmp_path / "o"),
                  (tiny_run / "student", broken, tmp_path / "o.png"),
                  (tiny_run / "student", pictures / "a.png", tmp_path / "o.gif"),
                  (tiny_run / "student", pictures, tmp_path / "taken")):
        told = ugc("translate", *words, "--device", "cpu")
        assert told.code == 2 and told.last.startswith("ugc: ") and "Traceback" not in told.err, words
        assert not (tmp_path / "o").exists() and not (tmp_path / "o.png").exists()
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_translator_of_any_net(setting_of):
    """Not only saved ones; odd channels too."""
    setting = setting_of("pix2pix-resnet", in_channels=5, out_channels=2)
    net = setting.family(setting.config).init(torch.Generator().manual_seed(0))
    g = Translator(net, {"size": [32, 32]}, "cpu")
    assert g.array(noise(30, 31, 5)).shape == (30, 31, 2)
    with pytest.raises(UserError, match="cannot be made one of 5"):
        g.array(noise(30, 31, 3))


# ---- label maps ----

CITY = LabelEncoding(classes=35, edges=True, palette="cityscapes")


def saved_for(setting_of, folder, encoding):
    setting = setting_of("pix2pix-resnet", in_channels=encoding.channels, out_channels=3)
    net = setting.family(setting.config).init(torch.Generator().manual_seed(0))
    save_net(net, folder, "pix2pix-resnet", "original", (32, 32), {"source": encoding.model_dump(mode="json")})
    return folder


@pytest.fixture(scope="module")
def labelled(setting_of, tmp_path_factory):
    """A saved net of Cityscapes' label maps."""
    return saved_for(setting_of, tmp_path_factory.mktemp("labels"), CITY)


def label_map(height=37, width=61, classes=35, seed=0):
    """ids and instances in squares of 3."""
    rng = np.random.default_rng(seed)
    blocks = [rng.integers(0, most, (height, width)).repeat(3, 0).repeat(3, 1)[:height, :width] for most in (classes, 9)]
    return blocks[0].astype(np.uint8), (blocks[1] * 1001).astype(np.uint16)


def test_label_maps_in_any_form_are_the_net_on_their_one_hot(labelled):
    g = ugc.load(labelled, "cpu")
    ids, instances = label_map(36, 64)
    x = torch.zeros(1, 36, 36, 64)
    for label in range(35):
        x[0, label] = torch.from_numpy(ids == label)
    x[0, 35] = edges_of(torch.from_numpy(instances.astype(np.int64)))
    with torch.no_grad():
        wanted = from_unit(g.net(x))[0]
    indexed = Image.fromarray(ids, "L").convert("P")
    indexed.putdata(ids.ravel().tolist())
    wide = Image.fromarray(instances.astype(np.int32))
    assert indexed.mode == "P" and wide.mode == "I" and pil(instances[..., None]).mode == "I;16"
    for label in (pil(ids[..., None]), indexed, ids, ids.astype(np.int64)[..., None]):
        for instance in (pil(instances[..., None]), wide, instances):
            out = g(label, instance)
            assert out.mode == "RGB" and np.array_equal(np.asarray(out), wanted)
    assert g.encoding == CITY


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_label_maps_of_any_size(labelled, size):
    ids, instances = label_map(*size)
    assert ugc.load(labelled, "cpu").maps(ids, instances).shape == (*size, 3)


def test_what_a_net_of_label_maps_does_not_take(labelled, setting_of, tmp_path, colour):
    g, (ids, instances) = ugc.load(labelled, "cpu"), label_map()
    plain = load(saved_for(setting_of, tmp_path / "plain", LabelEncoding(classes=3, unknown=True)), "cpu")
    for call, why in (((g, ids), "without an instance map"), ((g, ids + 1, instances), "class id 35; ids here are 0 to 34$"),
                      ((g, np.full_like(ids, 255), instances), "class id 255"), ((g, ids, instances[1:]), "36x61"),
                      ((g, pil(noise(37, 61)), instances), "label map is of mode RGB; expected one whole number"),
                      ((g, ids, pil(noise(37, 61))), "instance map is of mode RGB"),
                      ((g, ids / 2, instances), "array of float64"), ((plain, ids % 3, instances), "with an instance map"),
                      ((plain, ids), "ids here are 0 to 2 and 255, unknown"),
                      ((colour, pil(noise(8, 8)), ids), "pictures of 3"),
                      ((colour, noise(8, 8)), "no PIL image")):
        with pytest.raises(UserError, match=why):
            call[0](*call[1:])
    plain(np.full_like(ids, 255))
    for wrong in (lambda: g.array(noise(8, 8)), lambda: colour.maps(ids)):
        with pytest.raises(UserError, match="this net takes"):
            wrong()


@pytest.mark.parametrize("tree", ["cityscapes", "pix2pixHD", "named"])
def test_translate_finds_the_instance_maps(labelled, ugc, tmp_path, tree):
    places = {"cityscapes": ("gtFine/val/ulm/{}_gtFine_labelIds.png", "gtFine/val/ulm/{}_gtFine_instanceIds.png"),
              "pix2pixHD": ("test_label/{}.png", "test_inst/{}.png"), "named": ("maps/{}.png", "things/{}.png")}[tree]
    for seed, name in enumerate(("ulm_1", "ulm_2")):
        for place, ids in zip(places, label_map(seed=seed)):
            path = tmp_path / place.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            pil(ids[..., None]).save(path)
    told = ugc("translate", labelled, (tmp_path / places[0]).parent, tmp_path / "out", "--device", "cpu",
               *(("--instances", tmp_path / "things") if tree == "named" else ()))
    assert told.code == 0, told.err
    answer = tmp_path / "out" / ("ulm_2_leftImg8bit.png" if tree == "cityscapes" else "ulm_2.png")
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert np.array_equal(read_picture(answer), load(labelled, "cpu").maps(*label_map(seed=1)))


def test_maps_that_translate_refuses(labelled, ugc, tmp_path):
    """One sentence, and nothing written."""
    ids, instances = label_map()
    for name, array in {"ids": ids, "instances": instances, "colours": noise(37, 61), "beyond": ids + 1}.items():
        pil(array if array.ndim == 3 else array[..., None]).save(tmp_path / f"{name}.png")
    things = ("--instances", tmp_path / "instances.png")
    for words, why in ((("ids.png",), "has no instance map beside it"), (("colours.png", *things), "has 3 channels"),
                       (("beyond.png", *things), "beyond.png has class id 35"),
                       (("instances.png", *things), "has class id")):
        told = ugc("translate", labelled, tmp_path / words[0], tmp_path / "out.png", "--device", "cpu", *words[1:])
        assert told.code == 2 and why in told.last and not (tmp_path / "out.png").exists(), told.err
