"""docs/errors.md is true: every line of its table has a case here, which ends in that sentence and leaves nothing broken."""

import builtins
import errno
import json
import os
import re
import resource
import shutil
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from ugc.core.encoding import LabelEncoding
from ugc.data import pictures
from ugc.engine import latency
from ugc.export.saved import save_net
from ugc.models.generator import FAMILIES
from ugc.nn.cost import trace
from ugc.nn.latency import LayerTime, MemberTimes, place_of, timed_layers

PAGE = Path(__file__).parents[1] / "docs/errors.md"
CASES = {}


def lines():
    """{input: the sentence, `..` standing for anything}, from the tables of the page."""
    rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in PAGE.read_text(encoding="utf-8").splitlines()
            if line.startswith("|")]
    return {row[0].strip(): row[1].strip().strip("`") for row in rows if row[1].strip().startswith("`")}


TABLE = lines()


def case(name):
    def put(function):
        CASES[name] = function
        return function
    return put


@dataclass
class Bench:
    """What a case works with: eight pairs that it may spoil, and `run`, a small `ugc run` on them."""

    ugc: Any
    data: Path
    folder: Path
    tiny: tuple[object, ...]
    finished: Path
    patch: pytest.MonkeyPatch
    labels_in: Any

    def run(self, *words):
        return self.ugc("run", self.data, "--out", self.folder / "run", *self.tiny, "--set", "generator.blocks=3",
                        "--until", "original", *words)

    def saved(self):
        """A copy of a saved net."""
        return Path(shutil.copytree(self.finished / "student", self.folder / "net"))

    def began(self):
        """A copy of a run folder, and the command that goes on with it up to the end."""
        recipe = json.loads((self.finished / "recipe.json").read_text())
        folder = Path(shutil.copytree(self.finished, self.folder / "began"))
        shutil.rmtree(folder / "stages/distill")
        return folder, lambda: self.ugc("run", recipe["data"]["path"], "--out", folder, *self.tiny)


@pytest.fixture
def bench(ugc, ugc_home, pairs_in, labels_in, tiny, tiny_run, tmp_path, monkeypatch):
    return Bench(ugc, pairs_in(tmp_path / "data"), tmp_path, tiny, tiny_run, monkeypatch, labels_in)


def test_every_line_has_a_case_and_every_case_a_line():
    assert sorted(TABLE) == sorted(CASES)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_line_of_the_table(name, bench, ugc_home, tmp_path):
    told = CASES[name](bench)
    bench.patch.undo()
    assert told.code == 2 and "Traceback" not in told.err and "Warning" not in told.err
    pattern = ".*".join(re.escape(part) for part in TABLE[name].split(".."))
    assert re.fullmatch(f"ugc( [a-z]+)?: {pattern}", told.last), f"{told.last}\nis not\n{TABLE[name]}"
    assert sum(line.startswith("ugc") for line in told.err.splitlines()) == 1
    assert not list(tmp_path.rglob(".*")) and not list(ugc_home.rglob(".*"))


# ---- pictures and folders ----

@case("an empty folder")
def empty(bench):
    shutil.rmtree(bench.data)
    bench.data.mkdir()
    return bench.run()


@case("folders A and B below train")
def sides_below_train(bench):
    for side in "AB":
        (bench.data / "train").mkdir(exist_ok=True)
        (bench.data / f"train{side}").rename(bench.data / "train" / side)
        shutil.rmtree(bench.data / f"test{side}")
        for path in (bench.data / "train" / side).iterdir():
            Image.open(path).resize((64, 32)).save(path)
    return bench.run()


@case("a TIFF of CMYK")
def cmyk(bench):
    (bench.data / "trainA/03.png").unlink()
    Image.new("CMYK", (40, 40)).save(bench.data / "trainA/03.tif")
    return bench.run()


@case("two sides without a stem in common")
def no_pair(bench):
    for path in (bench.data / "trainB").iterdir():
        path.rename(path.with_stem(f"x{path.stem}"))
    return bench.run()


@case("one pair, and no test folder")
def one_pair(bench):
    for path in [*bench.data.glob("test?/*"), *bench.data.glob("trainB/0[1-9]*")]:
        path.unlink()
    return bench.run()


@case("one pair to train on, and no other source")
def one_pair_alone(bench):
    for path in bench.data.glob("train?/*"):
        if path.stem != "00":
            path.unlink()
    return bench.run()


@case("two pictures of one stem")
def same_stem(bench):
    Image.new("RGB", (8, 8)).save(bench.data / "trainA/00.webp")
    return bench.run()


@case("a file name with a line break")
def odd_name(bench):
    (bench.data / "trainA/00.png").rename(bench.data / "trainA/0\n0.png")
    return bench.run()


@case("a square picture among pairs side by side")
def not_two_halves(bench):
    shutil.rmtree(bench.data)
    bench.data.mkdir()
    for i, width in enumerate((80, 80, 40)):
        Image.new("RGB", (width, 40)).save(bench.data / f"{i}.png")
    return bench.run()


@case("a truncated picture")
def truncated(bench):
    path = bench.data / "trainA/03.png"
    path.write_bytes(path.read_bytes()[:64])
    return bench.run()


@case("a text named .png")
def text(bench):
    (bench.data / "trainA/03.png").write_text("not a picture")
    return bench.run()


@case("a picture of zero bytes")
def zero_bytes(bench):
    (bench.data / "trainA/03.png").write_bytes(b"")
    return bench.run()


@case("a picture that you may not read")
def forbidden(bench):
    """As root everything may be read, so the system's answer is played."""
    path, plain = bench.data / "trainA/03.png", builtins.open

    def guarded(file, *args, **kwargs):
        if Path(file) == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return plain(file, *args, **kwargs)

    bench.patch.setattr(builtins, "open", guarded)
    return bench.run()


@case("sides of a pair that are cut differently")
def mismatched(bench):
    Image.new("RGB", (40, 60)).save(bench.data / "trainB/03.png")
    return bench.run()


@case("a TIFF of 5 channels among pictures of 3")
def five_channels(bench):
    (bench.data / "trainA/03.png").unlink()
    pictures.write_picture(bench.data / "trainA/03.tif", np.zeros((40, 40, 5), np.uint8))
    return bench.run()


@case("a TIFF of 5 channels, and no `ugc[deep]`")
def without_deep(bench):
    pictures.write_picture(bench.data / "trainA/x.tif", np.zeros((40, 40, 5), np.uint8))
    bench.patch.setitem(sys.modules, "tifffile", None)
    return bench.run()


@case("a picture 40,000 pixels wide")
def wide(bench):
    Image.new("1", (40_000, 3)).save(bench.data / "trainA/03.png")
    return bench.run()


@case("a decompression bomb")
def bomb(bench):
    path = bench.data / "trainA/03.png"
    size = (30_000).to_bytes(4, "big") * 2
    chunks = (b"IHDR" + size + bytes([8, 2, 0, 0, 0]), b"IDAT" + zlib.compress(bytes(1000)), b"IEND")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in chunks))
    return bench.run()


@case("NaN in a TIFF of floating point")
def not_a_number(bench):
    (bench.data / "trainA/03.png").unlink()
    tifffile.imwrite(bench.data / "trainA/03.tif", np.full((40, 40), np.nan, np.float32))
    return bench.run()


# ---- options ----

def option(name, *words):
    CASES[name] = lambda bench: bench.run(*words)


option("labels of 0", "--labels", 0)
option("labels of 1.5", "--labels", 1.5)
option("a budget below the smallest net", "--budget", "10000x")
option("a budget above the largest net", "--budget", "1000G")
option("a latency that is no time", "--budget", "latency=10")
option("a runtime that there is not", "--budget", "latency=10ms@onnx")
option("a size below the stride", "--size", 2)
option("an unknown family", "--family", "pix2pix-resnt")
option("an unknown option", "--bugdet", "40x")
option("an unknown field", "--set", "optimizer.lr=1e-4")
option("an unknown stage", "--until", "distil")
option("a field of another type", "--set", "batch=many")
option("a number without end", "--set", "optimiser.lr=Infinity")


@case("a latency without onnxruntime")
def no_runtime(bench):
    bench.patch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    return bench.run("--budget", "latency=10ms")


@case("other programs beside while nets are timed")
def busy(bench):
    seen = []

    def member_times(setting, arch, *rest):
        """Whole nets take 1, 9, 81 and 729 s."""
        seen.append(arch)
        layers = timed_layers(trace(latency.member(setting, arch), None, setting.size))
        return MemberTimes(arch.text, 9.0 ** (len(seen) % 4), tuple(
            LayerTime(place_of(layer), sum(layer.have), layer.width, 1e-9 * layer.cost.macs) for layer in layers))

    bench.patch.setattr(latency, "member_times", member_times)
    bench.patch.setattr(latency, "ROUNDS", 1)
    bench.patch.setenv("UGC_HOME", str(bench.folder / "home"))
    return bench.run("--budget", "latency=10ms@torch")


@case("a net that is named and above the budget")
def large_student(bench):
    widths = ("stem", "down1", "down2", "mid1", "mid2", "mid3", "up1", "up2")
    named = ",".join([*(f"{name}=8" for name in widths), *(f"d.{name}=0" for name in ("down1", "down2", "up1", "up2"))])
    return bench.run("--set", f"search.student={named}")


case("an L_OD of nothing")(lambda bench: bench.run(
    "--set", "distillation.backbone=none", "--set", "distillation.ssim=0", "--set", "distillation.tv=0"))
case("style without a backbone")(lambda bench: bench.run(
    "--set", "distillation.backbone=none", "--set", "distillation.style=1"))


# ---- label maps ----

def labelled(name, *words):
    """A case that spoils a tree of label maps (train_label train_inst train_img, ids 1 to 6)."""
    def put(spoil):
        @case(name)
        def on_labels(bench):
            shutil.rmtree(bench.data)
            bench.labels_in(bench.data)
            spoil(bench.data)
            return bench.run("--size", "32x64", "--budget", "4x", *words)
        return spoil
    return put


@labelled("a colour picture among label maps")
def colour_map(data):
    Image.new("RGB", (64, 32)).save(data / "train_label/2.png")


@labelled("a label map of floating point")
def float_map(data):
    (data / "train_label/2.png").unlink()
    Image.fromarray(np.zeros((32, 64), np.float32)).save(data / "train_label/2.tif")


@labelled("a label map as TIFF whose white is 0")
def reverse_map(data):
    ids = np.asarray(Image.open(data / "train_label/2.png"))
    (data / "train_label/2.png").unlink()
    tifffile.imwrite(data / "train_label/2.tif", ids, photometric="miniswhite")


@labelled("a label map as JPEG")
def jpeg_map(data):
    Image.open(data / "train_label/2.png").save(data / "train_label/2.jpg")
    (data / "train_label/2.png").unlink()


@labelled("an instance map in the place of a label map")
def instances_for_labels(data):
    shutil.copy(data / "train_inst/2.png", data / "train_label/2.png")


@labelled("label maps of which some have no instance map")
def lacking_instances(data):
    (data / "train_inst/2.png").unlink()


@labelled("an instance map of another size than its label map")
def small_instances(data):
    Image.new("I;16", (32, 16)).save(data / "train_inst/2.png")


@labelled("a folder of label maps without one")
def no_label_maps(data):
    for path in (data / "train_label").iterdir():
        path.rename(path.with_suffix(".npy"))


labelled("a class id beyond the classes", "--set", "data.classes=5")(
    lambda data: Image.new("L", (64, 32), 6).save(data / "train_label/0.png"))
labelled("BtoA on label maps", "--direction", "BtoA")(lambda data: None)
labelled("a number of source channels for label maps", "--set", "data.source_channels=3")(lambda data: None)
option("a number of classes for pictures", "--set", "data.classes=3")


# ---- built-in data sets ----

def emoji(bench):
    return bench.ugc("data", "openmoji", "--size", 16, "--out", bench.folder / "emoji")


@case("openmoji without its packages")
def no_drawings(bench):
    bench.patch.setitem(sys.modules, "resvg_py", None)
    return emoji(bench)


@case("openmoji of another version of the drawings")
def other_drawings(bench):
    bench.patch.setattr("ugc.data.openmoji.units", lambda: {"test": [["1F600"]], "train": [["FFFFF"]]})
    return emoji(bench)


def town(bench, *words):
    return bench.ugc("data", "streets", "--size", "16x32", "--count", 1, "--out", bench.folder / "town", *words)


@case("streets without MuJoCo")
def no_mujoco(bench):
    bench.patch.setitem(sys.modules, "mujoco", None)
    return town(bench)


@case("streets where MuJoCo finds no renderer")
def no_renderer(bench):
    def refuse(*_):
        raise RuntimeError("Cannot initialize a EGL device display")

    bench.patch.setenv("MUJOCO_GL", "egl")
    bench.patch.setattr("mujoco.egl.GLContext", refuse)
    told = town(bench)
    assert not (bench.folder / "town").exists()
    return told


@case("streets into a folder of something else")
def no_town(bench):
    (bench.folder / "town").mkdir()
    (bench.folder / "town/mine.txt").write_text("mine")
    return town(bench)


@case("streets of another size in the same folder")
def another_size(bench):
    mark = bench.folder / "town/.fetched.json"
    mark.parent.mkdir()
    mark.write_text(json.dumps({"name": "streets", "size": [32, 64], "seed": 0, "renderer": 1}))
    told = town(bench)
    mark.unlink()
    return told


@case("no street at all")
def no_street(bench):
    return town(bench, "--count", 0)


# ---- saved nets and run folders ----

@case("a saved net that is cut short")
def cut_net(bench):
    weights = bench.saved() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return bench.run("--original", weights.parent)


@case("a saved net with weights of another")
def other_weights(bench):
    net = bench.saved()
    shutil.copy(bench.finished / "original/model.safetensors", net)
    return bench.run("--original", net)


@case("a config.json of another program")
def foreign_config(bench):
    net = bench.saved()
    (net / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "n_layer": 12}')
    return bench.run("--original", net)


@case("a config.json that is no JSON")
def no_json(bench):
    net = bench.saved()
    (net / "config.json").write_bytes(b"\x80\x02ctorch")
    return bench.ugc("translate", net, bench.data / "testA", bench.folder / "out")


@case("a .pth file as a saved net")
def pickle(bench):
    (bench.folder / "latest_net_G.pth").write_bytes(b"PK\x03\x04")
    return bench.run("--original", bench.folder / "latest_net_G.pth")


def imported(bench, **extra):
    """`ugc import` of a file with SPADE's names, no more."""
    tensors = {"head_0.norm_0.mlp_shared.0.weight": torch.zeros(4, 36, 3, 3), **extra}
    torch.save({name.replace("__", "."): tensor for name, tensor in tensors.items()}, bench.folder / "G.pth")
    return bench.ugc("import", bench.folder / "G.pth", "--out", bench.folder / "imported")


@case("a GauGAN checkpoint with 7 doublings")
def spade_most(bench):
    return imported(bench, up_4__conv_img__weight=torch.zeros(1))


@case("a GauGAN checkpoint that draws from a code")
def spade_vae(bench):
    return imported(bench, fc__weight=torch.zeros(16384, 256))


@case("a size of which GauGAN keeps one pixel")
def one_pixel(bench):
    return bench.ugc("run", bench.data, "--family", "gaugan", "--size", 64, "--base", 8, "--out", bench.folder / "run")


@case("a statistics file that is not there")
def no_statistics(bench):
    return bench.ugc("eval", bench.finished / "student", bench.data, "--stats", bench.folder / "real.npz")


def maps_for(bench, *words, label):
    """A net of label maps of 3 classes and instance maps, and what `ugc translate` says of a map."""
    encoding = LabelEncoding(classes=3, edges=True)
    net = FAMILIES["pix2pix-resnet"](FAMILIES["pix2pix-resnet"].config_for((32, 32), base=8, in_channels=encoding.channels))
    save_net(net.init(torch.Generator().manual_seed(0)), bench.folder / "net", "pix2pix-resnet", "student", (32, 32),
             {"source": encoding.model_dump(mode="json")})
    Image.fromarray(np.array(label, np.uint8)).save(bench.folder / "map.png")
    told = bench.ugc("translate", bench.folder / "net", bench.folder / "map.png", bench.folder / "out.png", *words)
    assert not (bench.folder / "out.png").exists()
    return told


@case("a label map without an instance map, for a net that takes both")
def no_instances(bench):
    return maps_for(bench, label=[[0, 1]])


@case("a colour picture for a net of label maps")
def colours_for_labels(bench):
    return maps_for(bench, "--instances", bench.folder / "map.png", label=[[[0, 1, 2]]])


@case("a class id that a net of label maps does not know")
def unknown_id(bench):
    return maps_for(bench, "--instances", bench.folder / "map.png", label=[[0, 3]])


@case("instance maps for a net that takes none")
def needless_instances(bench):
    return bench.ugc("translate", bench.saved(), bench.data / "trainA", bench.folder / "out", "--instances", bench.data)


@case("a word for the labels of an ONNX file of pictures")
def labels_of_pictures(bench):
    return bench.ugc("export", bench.saved(), "--labels", "onehot")


@case("label maps for a net of pictures")
def maps_for_pictures(bench):
    return bench.ugc("eval", bench.saved(), bench.labels_in(bench.folder / "maps"))


@case("mIoU asked of pictures")
def miou_of_pictures(bench):
    return bench.ugc("eval", bench.data / "testB", bench.data, "--miou", "--device", "cpu")


def cityscapes(bench):
    """Two photos to train on and one of the test, in the layout of Cityscapes; the answers are that one."""
    for split, number in (("train", 0), ("train", 1), ("val", 2)):
        for root, kind, picture in (("gtFine", "gtFine_labelIds", Image.new("L", (16, 8), 7)),
                                    ("leftImg8bit", "leftImg8bit", Image.new("RGB", (16, 8)))):
            folder = bench.folder / "city" / root / split / "town"
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"town_{number:06}_000019_{kind}.png")
    (bench.folder / "answers").mkdir()
    Image.new("RGB", (16, 8)).save(bench.folder / "answers/town_000002_000019.png")
    return bench.ugc("eval", bench.folder / "answers", bench.folder / "city", "--miou", "--device", "cpu")


@case("mIoU of Cityscapes without DRN-D-105")
def no_drn(bench):
    bench.patch.delenv("UGC_DRN105", raising=False)
    bench.patch.setattr("torch.hub.get_dir", lambda: str(bench.folder))
    return cityscapes(bench)


@case("a file that is no DRN-D-105")
def another_drn(bench):
    torch.save({"seg.weight": torch.zeros(19, 512, 1, 1)}, bench.folder / "drn.pth")
    bench.patch.setenv("UGC_DRN105", str(bench.folder / "drn.pth"))
    return cityscapes(bench)


@case("a statistics file that is no .npz")
def text_for_statistics(bench):
    (bench.folder / "real.npz").write_text("mu, sigma")
    return bench.ugc("eval", bench.finished / "student", bench.data, "--stats", bench.folder / "real.npz")


@case("a run folder with a damaged file")
def damaged_choice(bench):
    folder, go_on = bench.began()
    (folder / "stages/search/choice.json").write_text('{"student": {"arch":')
    return go_on()


@case("a run folder with a net that is cut short")
def damaged_supernet(bench):
    folder, go_on = bench.began()
    weights = folder / "supernet/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return go_on()


@case("a run folder of another version")
def other_version(bench):
    folder, go_on = bench.began()
    env, recipe = (json.loads((folder / name).read_text()) for name in ("env.json", "recipe.json"))
    env["versions"]["ugc"] = "9.1.0"
    recipe["telepathy"] = True
    (folder / "env.json").write_text(json.dumps(env))
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return go_on()


@case("a run folder of another form")
def other_form(bench):
    folder, go_on = bench.began()
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "format": 7}))
    return go_on()


@case("a run whose data have changed since")
def other_data(bench):
    assert bench.run().code == 0
    (bench.data / "trainB" / "03.png").unlink()
    return bench.run()


@case("a run in the folder of its original")
def within(bench):
    net = bench.saved()
    return bench.ugc("run", bench.data, "--out", net / "small", *bench.tiny, "--original", net)


@case("a net for a search where none is made")
def named(bench):
    return bench.run("--set", "options.nas=false", "--set", "search.student=stem=1")


@case("a teacher for a method that has none")
def no_teacher(bench):
    arch = json.loads((bench.finished / "student/config.json").read_text())["arch"]
    return bench.run("--method", "from-teacher", "--original", bench.finished / "original", "--set", f"search.deep={arch}")


@case("an original for a method that trains one")
def given_in_vain(bench):
    return bench.run("--method", "original", "--original", bench.finished / "original")


@case("another run to take over than the run began with")
def another_source(bench):
    copy = shutil.copytree(bench.finished, bench.folder / "copy")
    return bench.ugc("run", "--from", bench.finished, "--out", copy)


@case("a copy of a run's data whose test is drawn")
def moved_data(bench):
    for side in "AB":
        shutil.rmtree(bench.data / f"test{side}")
        for i in range(12):
            shutil.copy(bench.data / f"train{side}/00.png", bench.data / f"train{side}/more{i}.png")
    assert bench.run("--seed", 5, "--method", "original").code == 0
    moved = shutil.copytree(bench.data, bench.folder / "moved")
    return bench.ugc("eval", bench.folder / "run/original", moved, "--device", "cpu")


@case("nets of two directions against each other")
def two_ways(bench):
    nets = []
    for way in ("AtoB", "BtoA"):
        nets.append(shutil.copytree(bench.finished / "student", bench.folder / way))
        config = json.loads((nets[-1] / "config.json").read_text())
        (nets[-1] / "config.json").write_text(json.dumps({**config, "direction": way}))
    return bench.ugc("eval", nets[0], bench.data, "--against", nets[1], "--device", "cpu")


@case("a warm-up longer than a stage")
def warmup(bench):
    return bench.run("--set", "optimiser.warmup=9")


@case("a saved net to import")
def imported_again(bench):
    return bench.ugc("import", bench.saved() / "model.safetensors", "--out", bench.folder / "again")


@case("a run with other options in the same folder")
def other_options(bench):
    return bench.ugc("run", bench.data, "--out", bench.finished, *bench.tiny, "--seed", 7)


# ---- the machine ----

@case("a folder that you may not write to")
def read_only(bench):
    """As root everything may be written, so the system's answer is played."""
    plain = os.mkdir

    def guarded(path, *args, **kwargs):
        if Path(path) == bench.folder / "run":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return plain(path, *args, **kwargs)

    bench.patch.setattr(os, "mkdir", guarded)
    return bench.run()


@case("a folder below a file")
def below(bench):
    (bench.folder / "file").write_text("")
    return bench.ugc("run", bench.data, "--out", bench.folder / "file/run", *bench.tiny)


@case("a full disk")
def full_disk(bench):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    bench.patch.setattr(os, "fsync", full)
    return bench.run()


@case("a limit on the size of files")
def small_files(bench):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # Python ignores the signal, so writing says it
    try:
        return bench.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@case("too little memory")
def no_memory(bench):
    def full(*_):
        raise MemoryError

    bench.patch.setattr(pictures, "resize", full)
    bench.patch.setattr("ugc.data.folders.resize", full)
    return bench.run()


@pytest.mark.parametrize("at", range(0, 12, 2))
def test_a_disk_that_fills_at_any_write_leaves_a_run_that_goes_on(at, bench, ugc_home, tmp_path):
    plain, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(handle)

    bench.patch.setattr(os, "fsync", full)
    told = bench.run("--steps", 1)
    bench.patch.undo()
    assert told.code == 2 and "No space left on device" in told.last and "Traceback" not in told.err
    assert not list(tmp_path.rglob(".*")) and not list(ugc_home.rglob(".*"))
    told = bench.run("--steps", 1)
    assert told.code == 0, told.err
    assert (tmp_path / "run/original/model.safetensors").exists()
