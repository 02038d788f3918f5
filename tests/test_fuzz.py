"""Whatever lies in a file or stands on the command line: it is read, or one sentence says why not. No traceback, no hang.

`UGC_FUZZ=3000 pytest tests/test_fuzz.py` looks longer.
"""

import faulthandler
import io
import json
import os
import signal
import tempfile
import zlib
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ugc.cli.show import arch_of
from ugc.core.errors import UserError
from ugc.core.images import PEAK
from ugc.data.idmaps import map_info, read_labels
from ugc.data.pictures import picture_info, read_picture, write_picture
from ugc.engine.recipe import Recipe, flat, read_recipe
from ugc.export.saved import load_net, save_net
from ugc.models.generator import FAMILIES, shrink
from ugc.nn.cost import Cost
from ugc.search.budget import Budget

MANY = int(os.environ.get("UGC_FUZZ", "0"))
SECONDS = 20  # for one example; they take milliseconds
RNG = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def fuzz(examples):
    return settings(derandomize=not MANY, deadline=None, database=None, max_examples=MANY or examples,
                    suppress_health_check=list(HealthCheck), print_blob=True)


class Hang(BaseException):
    """Not an Exception, which code might take for a damaged file."""


@contextmanager
def kind():
    """Only a UserError of one line may come out, and soon."""
    def hang(*_):
        raise Hang

    faulthandler.dump_traceback_later(4 * SECONDS, exit=True)  # where no signal gets through
    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    except UserError as error:
        assert str(error) and len(str(error).splitlines()) == 1, str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


# ---- files ----

EDITS = st.lists(st.tuples(st.sampled_from(["set", "set", "set", "cut", "insert", "remove", "repeat"]),
                           st.one_of(st.floats(0, 1), st.integers(0, 160)), st.binary(min_size=1, max_size=8)),
                 min_size=0, max_size=5)


def edited(data, edits):
    """`data` with bytes changed at places that are given as a fraction or an offset."""
    for what, place, new in edits:
        at = min(int(place * len(data)) if isinstance(place, float) else place, len(data))
        end = at + len(new)
        data = {"set": data[:at] + new + data[end:], "cut": data[:at], "insert": data[:at] + new + data[at:],
                "remove": data[:at] + data[end:], "repeat": data[:end] + data[at:]}[what]
    return data


def mended(data):
    """A PNG with the checksums of its chunks made right, so that what they hold is looked at."""
    at, parts = 8, [data[:8]]
    while at + 8 <= len(data):
        size = min(int.from_bytes(data[at:at + 4], "big"), len(data) - at - 8)
        body = data[at + 4:at + 8 + size]
        parts += [size.to_bytes(4, "big"), body, zlib.crc32(body).to_bytes(4, "big")]
        at += 12 + size
    return b"".join(parts)


@cache
def seeds():
    """Small pictures of every kind that is read: (suffix, bytes)."""
    def noise(channels, dtype=np.uint8):
        return RNG.integers(0, np.iinfo(dtype).max + 1, (7, 9, channels)).astype(dtype)

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, dtype, kinds in (
                (".png", np.uint8, (1, 3, 4)), (".png", np.uint16, (1, 3)), (".jpg", np.uint8, (1, 3)),
                (".bmp", np.uint8, (3,)), (".webp", np.uint8, (3, 4)), (".tif", np.uint8, (3, 5)),
                (".tif", np.uint16, (1, 3))):
            for channels in kinds:
                path = Path(folder, f"x{suffix}")
                write_picture(path, noise(channels, dtype))
                found.append((suffix, path.read_bytes()))
    picture, exif = Image.fromarray(noise(3)), Image.Exif()
    exif[0x0112] = 6
    for suffix, options in (
            (".png", {"exif": exif}), (".jpg", {"exif": exif, "progressive": True}), (".webp", {"exif": exif}),
            (".tif", {"exif": exif, "compression": "tiff_lzw"}), (".tif", {"compression": "jpeg"})):
        data = io.BytesIO()
        picture.save(data, Image.registered_extensions()[suffix], **options)
        found.append((suffix, data.getvalue()))
    for options in ({"compression": "zlib", "predictor": True}, {"bigtiff": True}, {"tile": (16, 16)}, {"byteorder": ">"}):
        data = io.BytesIO()
        tifffile.imwrite(data, noise(3, np.uint16), photometric="rgb", **options)
        found.append((".tif", data.getvalue()))
    data = io.BytesIO()
    picture.convert("P").save(data, "PNG", transparency=3)
    found.append((".png", data.getvalue()))
    return found


@fuzz(250)
@given(st.integers(0, 10**6), EDITS, st.booleans())
def test_pictures(which, edits, mend):
    suffix, data = seeds()[which % len(seeds())]
    data = edited(data, edits)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        path.write_bytes(mended(data) if mend and suffix == ".png" else data)
        with kind():
            info, pixels = picture_info(path), read_picture(path)
            assert pixels.dtype == info.dtype and pixels.dtype in PEAK and pixels.shape[2] == info.channels
            assert pixels.shape[:2] == info.size


@fuzz(30)
@given(st.sampled_from([".png", ".tif", ".jpg", ".webp", ".bmp"]), st.binary(max_size=400), st.sampled_from(
    [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"RIFF\0\0\0\0WEBP", b"BM"]))
def test_bytes_that_are_no_picture(suffix, data, head):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        path.write_bytes(head + data)
        with kind():
            read_picture(path)


@cache
def maps():
    """Small label maps of every kind that is read."""
    ids = RNG.integers(0, 30, (7, 9))
    found = []
    for suffix, mode in ((".png", np.uint8), (".png", "P"), (".png", np.uint16), (".tif", np.int32), (".tif", np.float32),
                         (".tif", np.uint16), (".bmp", np.uint8)):
        data = io.BytesIO()
        image = Image.fromarray(ids.astype(np.uint8)).convert("P") if mode == "P" else Image.fromarray(ids.astype(mode))
        image.save(data, Image.registered_extensions()[suffix])
        found.append((suffix, data.getvalue()))
    data = io.BytesIO()
    tifffile.imwrite(data, ids.astype(np.uint8), bigtiff=True)
    return [*found, (".tif", data.getvalue())]


@fuzz(150)
@given(st.integers(0, 10**6), EDITS, st.booleans())
def test_label_maps(which, edits, mend):
    suffix, data = maps()[which % len(maps())]
    data = edited(data, edits)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x{suffix}")
        path.write_bytes(mended(data) if mend and suffix == ".png" else data)
        with kind():
            info, ids = map_info(path), read_labels(path)
            assert ids.dtype == np.uint8 and ids.shape == info.size


# ---- recipes ----

NUMBERS = st.one_of(st.integers(), st.integers(-2, 40), st.sampled_from([10**9, 2**63, 10**30, 10**400]), st.floats())
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6)
PLAIN = Recipe.parse({"data": {"path": "sans2serif", "size": 64}, "base": 8, "device": "cpu", "precision": "fp32",
                      "generator": {"blocks": 3}, "distillation": {"backbone": "none"}}, "test")
FIELDS = sorted({*flat(PLAIN.resolved().model_dump(mode="json")), "generator.widths", "generator.depths", "generator.norm",
                 "generator.arch", "generator.levels", "options", "generator", "data", "steps", "optimiser.betas.0"})
WORDS = st.one_of(st.text(max_size=12), st.sampled_from([
    "nan", "1e400", "[" * 5000, "9" * 5000, "\0", "~x", "~", "..", "0x1", "512x8", "x", "pix2pix-unet", "original", "cuda:x",
    "cpu:9", "cuda:-1", "vgg16", "[1,2]", "{}", "40x", "٣"]))


def used(recipe):
    """All that a run makes of a recipe before it looks at pictures."""
    found = recipe.resolved()
    json.dumps(found.model_dump(mode="json"), allow_nan=False)
    Budget.parse(found.budget, Cost(5, 6, 7)).check_reachable(Cost(1, 1, 1), Cost(9, 9, 9))
    return found.setting((3, 3))


@fuzz(120)
@given(st.one_of(st.sampled_from(FIELDS), st.text(max_size=10)), st.one_of(WORDS, VALUES.map(json.dumps)))
@example("generator.a.b", "1")
@example("data.path", "\0")
@example("data.labels", "1" + "0" * 400)
@example("patch.strided", "1000000000")
def test_settings(field, text):
    with kind():
        used(PLAIN.with_settings([f"{field}={text}"]))


@fuzz(100)
@given(st.dictionaries(st.sampled_from(FIELDS), st.one_of(VALUES, WORDS), max_size=3), st.one_of(st.none(), VALUES), EDITS)
def test_recipe_json_of_a_run_folder(changes, whole, edits):
    data = PLAIN.model_dump(mode="json")
    for field, value in changes.items():
        *inside, last = field.split(".")
        table = data
        for key in inside:
            table = table[key] if isinstance(table, dict) and isinstance(table.get(key), dict) else {}
        table[last] = value
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "recipe.json").write_bytes(edited(json.dumps(data if whole is None else whole).encode(), edits))
        for name in ("env.json", "run.json"):
            Path(folder, name).write_bytes(edited(b'{"versions": {"ugc": "0.0.1"}, "format": 1}', edits[:1]))
        with kind():
            used(Recipe.parse(read_recipe(Path(folder)), "test"))


@fuzz(100)
@given(st.one_of(WORDS, st.from_regex(r"\s*([a-z_]{1,12}\s*=)?\s*\d+(\.\d+)?(e\d+)?[KMGx]?", fullmatch=True)))
@example("1e999")
@example("1e999x")
@example("macs=1e-5x")
def test_budgets(text):
    with kind():
        for smallest in (Cost(1, 1, 1), Cost(10**9, 10**9, 10**9)):
            Budget.parse(text, Cost(5, 6, 7)).check_reachable(smallest, Cost(10**12, 10**12, 10**12))


# ---- architectures and saved nets ----

@cache
def small_net(family):
    with torch.device("meta"):
        return FAMILIES[family](FAMILIES[family].config_for((32, 32), base=8))


@fuzz(150)
@given(st.sampled_from(list(FAMILIES)), st.one_of(WORDS, st.just("")), EDITS, st.booleans())
@example("pix2pix-unet", "random:" + "9" * 5000, [], False)
def test_architectures(family, text, edits, of_the_space):
    net = small_net(family)
    text = edited(net.space.smallest.text.encode(), edits).decode(errors="replace") if of_the_space else text
    with kind():
        found = arch_of(net, text)
        assert found in net.space and net.space.parse(found.text) == found


@pytest.fixture(scope="module")
def saved_files(tmp_path_factory):
    """The files of a small saved net: name -> bytes."""
    folder = tmp_path_factory.mktemp("net")
    config = FAMILIES["pix2pix-resnet"].config_for((32, 32), base=8, blocks=1, in_channels=1, out_channels=1)
    supernet = FAMILIES["pix2pix-resnet"](config)
    save_net(shrink(supernet, supernet.space.smallest), folder, "pix2pix-resnet", "student", (32, 32), {})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@fuzz(60)
@given(config=st.dictionaries(st.sampled_from(["family", "config", "format", "size", "x"]), VALUES, max_size=2),
       fields=st.dictionaries(st.sampled_from(["base", "widths", "depths", "norm", "blocks", "arch", "in_channels", "x"]),
                              VALUES, max_size=2),
       edits=EDITS, which=st.sampled_from(["config.json", "model.safetensors", ""]))
@example(config={}, fields={"base": 4096, "blocks": 64, "depths": [0, 16], "arch": "", "in_channels": 10**9}, edits=[],
         which="")
def test_saved_nets(config, fields, edits, which, saved_files):
    about = json.loads(saved_files["config.json"])
    files = {**saved_files, "config.json": json.dumps({**about, "config": {**about["config"], **fields}, **config}).encode()}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(edited(data, edits) if name == which else data)
        with kind():
            load_net(Path(folder))
