"""The built-in characters against measured figures, and fonts made for the test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont
from fontTools.ttLib.tables.TupleVariation import TupleVariation
from PIL import Image

from ugc.core.errors import UserError
from ugc.core.files import digest
from ugc.data.dataset import DataConfig, Dataset, open_dataset
from ugc.data.faces import Face
from ugc.data.fonts import FontDataset, font_dataset, glyph_name, write_folder
from ugc.data.labels import split
from ugc.data.sans2serif import frozen_order
from ugc.data.stream import test_data as decoded_test

CONFIG = DataConfig(path="sans2serif", size=(64, 64))


@pytest.fixture(scope="module")
def glyphs() -> Dataset:
    return open_dataset(CONFIG, 0)


def test_counts_and_disjointness(glyphs: Dataset) -> None:
    pool = {r.key for r in glyphs.train if r.target is not None}
    alone = {r.key for r in glyphs.train if r.target is None}
    test = {r.key for r in glyphs.test}
    assert (len(test), len(pool), len(alone)) == (2048, 2048, 16880)
    assert len(test | pool | alone) == 20976
    assert not glyphs.flip
    assert glyphs.load_size((64, 64)) == (72, 72)
    assert "Open Font License" in glyphs.attribution
    assert split(glyphs, CONFIG, 0).unlabelled == ()
    quarter = split(glyphs, DataConfig(path="sans2serif", labels=0.25), 0)
    assert (len(quarter.labelled), len(quarter.unlabelled), len(quarter.validation)) == (512, 1383, 153)
    whole = split(glyphs, DataConfig(path="sans2serif", labels=0.25, unlabelled="all"), 0)
    assert (len(whole.unlabelled), len(whole.validation)) == (1536 + 16880 - 256, 256)


def test_the_split_is_frozen(glyphs: Dataset) -> None:
    assert frozen_order({0x4E00, 0x4E01, 0x4E02, 0x4E03}) == [0x4E01, 0x4E02, 0x4E03, 0x4E00]
    assert [r.key for r in glyphs.test[:3]] == ["uni4E0C", "uni4E18", "uni4E1A"]
    assert digest([r.key for r in glyphs.test]) == "91d4aacc8dfd"
    assert digest([r.key for r in glyphs.train if r.target is not None]) == "274ad0bbaac2"


def test_copying_the_source_scores_what_was_measured(glyphs: Dataset) -> None:
    """PSNR 10.39 dB and ink IoU 57.4 % over 1,024 test pairs at 64 px, measured elsewhere."""
    pairs = decoded_test(glyphs, CONFIG)
    source, target = (torch.cat(side)[::2] for side in zip(*pairs.batches(512)))
    psnr = 10 * torch.log10(4 / (source - target).square().mean((1, 2, 3)))
    assert len(psnr) == 1024
    assert psnr.mean().item() == pytest.approx(10.39, abs=0.15)
    both, either = (source < 0) & (target < 0), (source < 0) | (target < 0)
    assert (both.sum((1, 2, 3)) / either.sum((1, 2, 3))).mean().item() == pytest.approx(0.574, abs=0.01)


def ink_box(picture: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = (np.where((picture[:, :, 0] < 128).any(axis))[0] for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (256, 256), (64, 96)])
def test_the_test_view_is_the_centre_of_the_load_view(size: tuple[int, int]) -> None:
    dataset = open_dataset(DataConfig(path="sans2serif", size=size), 0)
    tall, wide = dataset.load_size(size)
    top, left = (tall - size[0]) // 2, (wide - size[1]) // 2
    boxes = []
    for record in dataset.test[:40]:
        for ref in (record.source, record.target):
            large, small = dataset.read(ref, tall, wide, True), dataset.read(ref, *size, False)
            np.testing.assert_array_equal(large[top:top + size[0], left:left + size[1]], small)
            boxes.append(ink_box(large))
    low, high = np.min(boxes, 0), np.max(boxes, 0)
    assert abs(low[0] - (tall - high[1])) <= size[0] * 0.08  # centred, and clear of the edges of the test view
    assert abs(low[2] - (wide - high[3])) <= size[0] * 0.08
    assert low[0] >= top
    assert low[2] >= left
    assert high[1] <= top + size[0]
    assert high[3] <= left + size[1]


def test_the_other_direction_swaps_the_roles(glyphs: Dataset) -> None:
    back = open_dataset(DataConfig(path="sans2serif", size=(64, 64), direction="BtoA"), 0)
    there, here = glyphs.test[0], back.test[0]
    assert there.key == here.key
    np.testing.assert_array_equal(glyphs.read(there.source, 64, 64, False), back.read(here.target, 64, 64, False))
    assert back.identity == glyphs.identity
    colour = open_dataset(DataConfig(path="sans2serif", size=(64, 64), source_channels=3), 0)
    assert colour.read(colour.test[0].source, 64, 64, False).shape == (64, 64, 3)
    assert colour.identity != glyphs.identity


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pylopdf_fonts_zh_cn", None)
    with pytest.raises(UserError, match=r"pip install 'ugc\[demo\]'"):
        open_dataset(CONFIG, 0)


def box(left: int, low: int, right: int, high: int):
    pen = TTGlyphPen(None)
    pen.moveTo((left, low))
    for point in ((left, high), (right, high), (right, low)):
        pen.lineTo(point)
    pen.closePath()
    return pen.glyph()


def font(path: Path, drawn: str, empty: str = "", weights: tuple[int, int, int] | None = None,
         width: int = 1000) -> Path:
    """A font whose characters are boxes on the baseline; its default weight is thin, its boldest 400 units wider."""
    names = [".notdef", *(glyph_name(ord(c)) for c in drawn + empty)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): glyph_name(ord(c)) for c in drawn + empty})
    outlines = {glyph_name(ord(c)): box(100, 0, 500, 700) for c in drawn}
    builder.setupGlyf({name: outlines.get(name, TTGlyphPen(None).glyph()) for name in names})
    builder.setupHorizontalMetrics({name: (width, 100 if name in outlines else 0) for name in names})
    builder.setupHorizontalHeader(ascent=900, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular", "fullName": path.stem})
    builder.setupOS2(sTypoAscender=880, sTypoDescender=-120)
    builder.setupPost()
    if weights:
        builder.setupFvar([("wght", *weights, "Weight")], [])
        wider = [(0, 0), (0, 0), (400, 0), (400, 0), (0, 0), (0, 0), (0, 0), (0, 0)]
        builder.setupGvar({name: [TupleVariation({"wght": (0, 1, 1)}, wider)] for name in outlines})
    builder.save(path)
    return path


def test_two_fonts_make_pairs_and_unlabelled_sources(tmp_path: Path) -> None:
    a = font(tmp_path / "a.ttf", "ABCDEFGHIJ", empty=" ")
    b = font(tmp_path / "b.ttf", "ABCDEFGz", empty=" H")
    dataset = font_dataset(a, b)
    pairs = {r.key for r in (*dataset.train, *dataset.test) if r.target is not None}
    assert pairs == {glyph_name(ord(c)) for c in "ABCDEFG"}
    assert {r.key for r in dataset.train if r.target is None} == {glyph_name(ord(c)) for c in "HIJ"}  # H: empty outline
    assert len(dataset.test) == 1
    assert [r.key for r in font_dataset(a, b, charset="ABI").train if r.target is None] == ["uni0049"]
    with pytest.raises(UserError, match="both draw 1 character"):
        font_dataset(a, b, charset="AH")
    with pytest.raises(UserError, match="are the same font"):
        font_dataset(a, a)


def test_one_offset_and_scale_a_font(tmp_path: Path) -> None:
    dataset = font_dataset(font(tmp_path / "a.ttf", "ABC"), font(tmp_path / "b.ttf", "ABC", width=600))
    record = dataset.test[0]
    wide, narrow = (ink_box(dataset.read(ref, 64, 64, False)) for ref in (record.source, record.target))
    assert wide[:2] == narrow[:2]  # one baseline
    assert wide[0] == pytest.approx(53 - 0.7 * 56, abs=1)
    assert wide[2] == pytest.approx(4 + 5.6, abs=1)
    assert narrow[2] == pytest.approx(32 - 0.3 * 56 + 5.6, abs=1)  # its own advance is centred


def test_the_weight_of_a_variable_font(tmp_path: Path) -> None:
    plain, variable = font(tmp_path / "a.ttf", "ABC"), font(tmp_path / "v.ttf", "ABC", weights=(100, 100, 900))
    thin, bold = (ink_box(d.read(d.test[0].target, 64, 64, False))
                  for d in (font_dataset(plain, variable, weight_target=w) for w in (None, 900)))
    assert (bold[3] - bold[2]) == pytest.approx((thin[3] - thin[2]) * 2, abs=2)
    with pytest.raises(UserError, match="outside 100 to 900"):
        font_dataset(plain, variable, weight_target=1000)
    with pytest.raises(UserError, match="no weight axis"):
        font_dataset(plain, variable, weight_source=400)


def test_the_index_of_a_collection(tmp_path: Path) -> None:
    collection = TTCollection()
    collection.fonts = [TTFont(font(tmp_path / "a.ttf", "ABC")), TTFont(font(tmp_path / "b.ttf", "ABCDE"))]
    collection.save(tmp_path / "both.ttc")
    assert len(Face(tmp_path / "both.ttc", index=1).cmap) == 5
    assert len(Face(tmp_path / "both.ttc").cmap) == 3
    with pytest.raises(UserError, match="has 2 face"):
        Face(tmp_path / "both.ttc", index=2)
    with pytest.raises(UserError, match="has 1 face"):
        Face(tmp_path / "a.ttf", index=1)


def test_what_is_no_font_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no font file"):
        Face(tmp_path / "nowhere.ttf")
    (tmp_path / "x.ttf").write_bytes(b"nothing at all")
    with pytest.raises(UserError, match="not a font"):
        Face(tmp_path / "x.ttf")


def test_a_damaged_font_gets_one_sentence_and_an_old_one_is_read(tmp_path: Path) -> None:
    """fontTools reads tables as they are asked for. Old Apple fonts have no OS/2: their heights are in hhea."""
    whole = font(tmp_path / "a.ttf", "AB")
    for kept in (len(whole.read_bytes()) // 2, 300):
        (tmp_path / "cut.ttf").write_bytes(whole.read_bytes()[:kept])
        with pytest.raises(UserError, match=r"cut.ttf is (damaged|not a font)"):
            Face(tmp_path / "cut.ttf")
    tables = TTFont(whole)
    del tables["OS/2"]
    tables.save(tmp_path / "old.ttf")
    assert Face(whole).centre == (880 - 120) / 2000 and Face(tmp_path / "old.ttf").centre == (900 - 200) / 2000


def test_the_working_directory_is_not_replaced(glyphs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="name a new folder"):
        write_folder(small(glyphs), (16, 16), Path("."))
    assert not list(tmp_path.iterdir()) and not list(tmp_path.parent.glob(".*.part"))


def small(dataset: Dataset) -> FontDataset:
    """The built-in set cut down to a few characters."""
    few = open_dataset(CONFIG, 0)
    assert isinstance(few, FontDataset)
    few.train = dataset.train[:30]
    few.test = dataset.test[:3]
    return few


def test_a_written_folder_opens_as_the_same_data(glyphs: Dataset, tmp_path: Path) -> None:
    few = small(glyphs)
    out = tmp_path / "out"
    write_folder(few, (48, 48), out)
    assert sorted(p.name for p in out.iterdir()) == ["README.txt", "testA", "testB", "trainA", "trainB"]
    assert "Open Font License" in (out / "README.txt").read_text()
    back = open_dataset(DataConfig(path=str(out), size=(48, 48)), 0)
    assert {(r.key, r.target is None) for r in back.train} == {(r.key, r.target is None) for r in few.train}
    assert any(r.target is None for r in back.train)
    for ours, theirs in zip(few.test, sorted(back.test, key=lambda r: [t.key for t in few.test].index(r.key))):
        np.testing.assert_array_equal(few.read(ours.target, 48, 48, False), back.read(theirs.target, 48, 48, False))
    assert Image.open(next((out / "trainA").iterdir())).mode == "L"
    with pytest.raises(UserError, match="not an empty folder"):
        write_folder(few, (48, 48), out)


def test_a_folder_that_fails_half_way_is_absent(glyphs: Dataset, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    few = small(glyphs)
    monkeypatch.setattr(few, "read", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_folder(few, (48, 48), tmp_path / "out")
    assert not list(tmp_path.iterdir())
