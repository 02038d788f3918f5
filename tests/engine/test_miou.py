"""mIoU of all who answer: pictures that fit their label maps score high, whoever made them; a floor and a ceiling."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ugc.core.encoding import Encoding, LabelEncoding
from ugc.core.errors import UserError
from ugc.core.images import from_unit
from ugc.core.palettes import palette
from ugc.data.dataset import DataConfig, Record
from ugc.data.stream import TestData
from ugc.engine.answers import Answers
from ugc.engine.evaluate import measure
from ugc.engine.miou import Jury, jury_for, scenes
from ugc.metrics.protocols import METRICS
from ugc.metrics.segmentation import SEGMENTERS, Offer, Segmenter, offer
from ugc.metrics.tools import Tools

CPU = torch.device("cpu")
IDS = (7, 21, 23, 26)  # road, vegetation, sky, car
ENCODING = LabelEncoding(classes=35, edges=True, palette="cityscapes")
PHOTO = torch.tensor([(-0.6, -0.6, -0.6), (-0.8, 0.4, -0.8), (0.2, 0.5, 0.9), (0.8, -0.7, -0.7)])  # of the four classes


class Nearest(nn.Module):
    """Scores by nearness to the colours of real photos."""

    def forward(self, pictures):
        return -(pictures[:, None] - PHOTO.view(1, 4, 3, 1, 1)).square().sum(2)


def segmenter(**fields):
    return Segmenter("toy", Nearest(), 4, {label: k for k, label in enumerate(IDS)}, {"weights_sha256": "none"}, **fields)


def maps(n, side=16, seed=0):
    coarse = np.array(IDS)[np.random.default_rng(seed).integers(0, 4, (n, side // 4, side // 4))]
    ids = coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)
    ids[:, 0, 0] = 3  # out of roi: judged nowhere
    return ids


def photos_of(ids, seed=0):
    """Real ones: each class in its colour, a few pixels as no segmenter would have them."""
    table = np.zeros(256, int)
    table[list(IDS)] = range(4)
    pictures = PHOTO[torch.from_numpy(table[ids])].permute(0, 3, 1, 2)
    off = torch.rand(pictures.shape[0], 1, *pictures.shape[2:], generator=torch.Generator().manual_seed(seed)) < 0.1
    return torch.where(off, PHOTO[0].view(1, 3, 1, 1), pictures)


@dataclass
class Streets:
    """What `jury_for` reads of a data set."""

    name: str
    encoding: Encoding
    full: np.ndarray
    config: DataConfig

    @property
    def test(self):
        return tuple(Record(str(i), i, i) for i in range(len(self.full)))

    def full_labels(self, ref):
        return self.full[ref]


def streets(ids, name="mytown", path="mytown", encoding=ENCODING):
    return Streets(name, encoding, ids, DataConfig(path=path))


def test_of(ids, photos=True):
    sources = np.concatenate([ids[..., None], np.zeros_like(ids)[..., None]], 3)
    return TestData(sources, from_unit(photos_of(ids)) if photos else np.zeros((0, 16, 16, 3), np.uint8),
                    tuple(map(str, range(len(ids)))), ENCODING)


test_of.__test__ = False


class Fixed(Answers):
    """These pictures, in the order of the questions."""

    def __init__(self, pictures):
        self.pictures = pictures

    def batches(self, asked, device):
        at = 0
        for source, target in asked.batches(32):
            yield self.pictures[at:at + len(source)], target
            at += len(source)

    def about(self):
        return {"kind": "fixed"}


def measured(answers, ids, photos=True, full=None, **fields):
    data = test_of(ids, photos)
    jury = Jury(segmenter(full=full is not None), data, streets(ids if full is None else full), CPU)
    everyone = {role: Fixed(pictures) for role, pictures in answers.items()}
    return measure(everyone, data, CPU, Tools(), 0, jury=jury, **fields)[0]


def test_between_the_palette_and_the_photos():
    ids = maps(40)
    real = photos_of(ids)
    worse = torch.where(torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(5)) < 0.15, real.flip(0), real)
    rows = (result := measured({"student": worse, "original": real}, ids))["rows"]
    miou = {role: row["miou_toy"] for role, row in rows.items() if "miou_toy" in row}
    assert set(miou) == {"student", "original", "palette", "photos"}
    assert miou["palette"] < miou["student"] < miou["original"] == miou["photos"] < 100
    assert set(rows["photos"]) == {"miou_toy", "pixel_accuracy_toy", "fwiou_toy"}
    assert {"psnr", "ssim"} <= set(rows["palette"]) and "miou_toy" not in rows.get("floor", {})
    assert next(iter(rows["student"])) == "miou_toy"
    low, high = result["intervals"]["student"]["miou_toy"]
    assert low < miou["student"] < high
    assert result["protocol"]["miou"]["weights_sha256"] == "none" and "ceiling" in result["protocol"]["miou"]["photos"]


def test_the_palette_is_the_map_in_its_colours():
    ids = maps(3)
    painted = torch.from_numpy(palette("cityscapes", 35)[ids].copy()).permute(0, 3, 1, 2) / 127.5 - 1
    rows = measured({"student": painted.float()}, ids)["rows"]
    assert rows["student"] == pytest.approx(rows["palette"], abs=1e-5)


def test_answers_are_judged_by_the_map_of_their_own_image():
    """More images than a batch of answers or of the jury's holds; shuffled answers are another matter."""
    ids = maps(70)
    rows = measured({"student": photos_of(ids), "original": photos_of(ids).roll(1, 0)}, ids)["rows"]
    assert rows["student"]["miou_toy"] == rows["photos"]["miou_toy"] > 60
    assert rows["original"]["miou_toy"] < 30


def test_full_label_maps_are_read_at_their_own_size():
    """The answer's scores are enlarged; finer maps agree but for the borders, and the jury asks for one map at a time."""
    ids = maps(20)
    fine = ids.repeat(4, 1).repeat(4, 2)
    small, large = (measured({"student": photos_of(ids)}, ids, full=full)["rows"]["student"] for full in (None, fine))
    assert large["pixel_accuracy_toy"] == pytest.approx(small["pixel_accuracy_toy"], abs=8)
    moved = np.roll(fine, 1, 0)
    assert measured({"student": photos_of(ids)}, ids, full=moved)["rows"]["student"]["miou_toy"] < 30


def test_unknown_pixels_are_judged_nowhere():
    """They are stored as one class more, which a segmenter may know as something else."""
    classes, stored = 3, (maps(8) % 3).astype(np.uint8)
    stored[:, :, 8:] = classes
    table = {0: 0, 1: 1, 2: 2, 3: 3}
    right = PHOTO[torch.from_numpy(np.where(stored == classes, 0, stored)).long()].permute(0, 3, 1, 2)
    for unknown, accuracy in ((True, 100), (False, 50)):
        encoding = LabelEncoding(classes=classes + (not unknown), unknown=unknown)
        data = TestData(stored[..., None], from_unit(right), tuple(map(str, range(8))), encoding)
        jury = Jury(Segmenter("toy", Nearest(), 4, table, {}), data, streets(stored, encoding=encoding), CPU)
        list(jury.watch("student", iter([(right, right)])))
        assert jury.scores()["student"].row["pixel_accuracy_toy"] == pytest.approx(accuracy, abs=10 * (not unknown))


def test_label_maps_alone_are_enough():
    """A net that imitates an original, no photo in the test: mIoU of both, no ceiling."""
    ids = maps(4)
    rows = measured({"student": photos_of(ids, 1), "original": photos_of(ids)}, ids, photos=False,
                    imitated="original")["rows"]
    assert rows["student"]["miou_toy"] > 60 and rows["original"]["miou_toy"] > 60 and "photos" not in rows
    assert "psnr_to_original" in rows["student"] and "miou_toy_to_original" not in rows["student"]


@pytest.fixture
def toy():
    """`toy` is offered for mytown, `far` for faraway, whose file is nowhere."""
    def absent(download):
        raise UserError("get it elsewhere")

    offer(Offer("toy", "mytown", "a toy", lambda download: segmenter()))
    offer(Offer("far", "faraway", "a toy", absent, at_hand=lambda: False))
    yield
    for name in ("toy", "far"):
        SEGMENTERS._things.pop(name)
        for kind in ("miou", "pixel_accuracy", "fwiou"):
            METRICS._things.pop(f"{kind}_{name}")


def test_who_judges_which_data(toy, tmp_path):
    ids = maps(2)
    data = test_of(ids)

    def found(dataset, asked=False):
        jury, note = jury_for(dataset, data, CPU, asked)
        return jury.segmenter.name if jury else None, note

    own = LabelEncoding(classes=35, edges=True)
    assert found(streets(ids, encoding=own)) == ("toy", "")
    name, note = found(streets(ids, "nowhere", encoding=own))
    assert name is None and "no segmenter is known for the label maps of nowhere" in note
    name, note = found(streets(ids, "faraway", encoding=own))
    assert name is None and "the weights of far are not on this machine" in note and "--miou" in note
    with pytest.raises(UserError, match="get it elsewhere"):
        found(streets(ids, "faraway", encoding=own), asked=True)
    with pytest.raises(UserError, match="--miou: no mIoU: no segmenter"):
        found(streets(ids, "nowhere", encoding=own), asked=True)
    pictures = streets(ids, encoding=Encoding())
    assert found(pictures) == (None, "")  # nobody asked, nothing to say
    with pytest.raises(UserError, match="--miou: mIoU needs label maps as sources; these are pictures"):
        found(pictures, asked=True)


def test_through_the_command_line(toy, ugc, tmp_path):
    """A folder of label maps, a segmenter plugged in for it, the photos themselves as answers: they reach the ceiling."""
    data = tmp_path / "mytown"
    for split, count in (("train", 4), ("test", 3)):
        ids = maps(count, 32, seed=count)
        for folder, pictures in (("label", ids), ("img", from_unit(photos_of(ids)))):
            (data / f"{split}_{folder}").mkdir(parents=True)
            for i, picture in enumerate(pictures):
                Image.fromarray(picture).save(data / f"{split}_{folder}" / f"{i}.png")
    told = ugc("eval", data / "test_img", data, "--json", "--device", "cpu", "--miou")
    assert told.code == 0, told.err
    rows = json.loads(told.out)["rows"]
    assert rows["student"]["miou_toy"] == rows["photos"]["miou_toy"] > 60 and rows["palette"]["miou_toy"] < 100
    lines = ugc("eval", data / "test_img", data, "--device", "cpu").out.splitlines()
    assert lines[0].split() == ["better", "student", "palette", "floor", "photos"]
    assert lines[1].startswith("miou_toy, %") and "higher" in lines[1]
    told = ugc("eval", data / "test_img", data.rename(tmp_path / "other"), "--miou", "--device", "cpu")
    assert told.code == 2 and "is not there" in told.last
    told = ugc("eval", tmp_path / "other/test_img", tmp_path / "other", "--miou", "--device", "cpu")
    assert told.code == 2 and "--miou: no mIoU: no segmenter is known for the label maps of other" in told.last


def test_streets_and_cityscapes_are_recognised(tmp_path):
    ids, written = maps(1), tmp_path / "written"
    written.mkdir()
    (written / ".fetched.json").write_text('{"name": "streets", "seed": 0}')
    other = LabelEncoding(classes=182, unknown=True)
    assert scenes(streets(ids, "streets", "streets")) == ("streets",)
    assert scenes(streets(ids, "written", str(written))) == ("written", "streets")
    assert scenes(streets(ids, "leftImg8bit", str(tmp_path))) == ("leftImg8bit", "cityscapes")
    assert scenes(streets(ids, encoding=other)) == ("mytown",)
    for name in ("streets", "cityscapes"):  # somebody's own folder of that name
        assert scenes(streets(ids, name, str(tmp_path / name), other)) == ()
    assert scenes(streets(ids, "cityscapes", str(tmp_path / "cityscapes"))) == ("cityscapes",)
