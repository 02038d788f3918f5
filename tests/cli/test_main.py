"""The command line: quick to answer, honest about what it does not know, one sentence for what a user can mend."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from fontTools import subset
from PIL import Image
from pylopdf_fonts_zh_cn import sans_path, serif_path

from ugc.cli.data import _trained_at
from ugc.cli.main import VERBS, file_of, main, parser
from ugc.cli.parser import ELSEWHERE
from ugc.engine.recipe import Recipe
from ugc.models.generator import FAMILIES
from ugc.recipes.table import TABLE

PUBLISHED = {  # DESIGN section 2: macs_paper in G, params in M, base 64 at 256x256, label maps at 256x512
    "pix2pix-resnet": (56.80, 11.38), "pix2pix-unet": (18.14, 54.41), "pix2pixhd": (151.32, 182.55),
    "gaugan": (281.28, 93.05)}


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# ---- help ----

def command(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_help_answers_within_half_a_second():
    took = []
    for _ in range(3):
        start = time.perf_counter()
        told = command("-m", "ugc.cli.main", "--help")
        took.append(time.perf_counter() - start)
        assert told.returncode == 0 and "run" in told.stdout and not told.stderr
    assert min(took) < 0.5, took


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["run", "--dataroot", "x"]])
def test_it_takes_no_torch(words):
    code = ("import sys\nfrom ugc.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit: pass\n"
            "print('heavy', sorted({'torch', 'numpy', 'pydantic', 'PIL', 'matplotlib', 'rich'} & set(sys.modules)))")
    told = command("-c", code, *words)
    assert told.stdout.splitlines()[-1] == "heavy []", told.stdout + told.stderr


def test_importing_ugc_takes_no_torch():
    told = command("-c", "import sys, ugc; print(ugc.__version__, 'torch' in sys.modules)")
    assert told.stdout.split()[1] == "False"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, ugc):
    told = ugc(verb, "--help")
    assert told.code == 0 and verb in told.out


def test_version(ugc):
    import ugc as package

    assert ugc("--version").out.strip() == f"ugc {package.__version__}"


def test_every_flag_of_the_issue_is_there():
    options = parser().parse_args(["run", "D", "--out", "R"])
    assert set(vars(options)) == {"verb", "what", "out", "family", "base", "size", "labels", "budget", "method", "original",
                                  "source", "steps", "seed", "direction", "device", "precision", "set", "until", "dry_run"}


# ---- names from elsewhere ----

@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_old_name_is_told_its_new_one(name, ugc):
    for words in (("run", "D", "--out", "R", name, "x"), ("run", "D", "--out", "R", f"{name}=x"),
                  ("run", "D", "--out", "R", name)):
        told = ugc(*words)
        assert told.code == 2 and not told.out and len(told.err.strip().splitlines()) == 1
        assert f"there is no {name} here: {ELSEWHERE[name]}" in told.err


@pytest.mark.parametrize("words, name", [
    (("run", "--dataroot", "./datasets/facades", "--name", "facades_pix2pix", "--model", "pix2pix"), "--dataroot"),
    (("--dataroot", "./datasets/facades", "--name", "facades_pix2pix"), "--dataroot"),
    (("run", "D", "--name", "facades"), "--name"),
    (("show", "--netG", "resnet_9blocks"), "--netG"),
    (("translate", "--dataroot", "x"), "--dataroot")])
def test_an_old_command_line_as_people_type_it(ugc, words, name):
    """The old name is the cause, also where something else is missing for it."""
    told = ugc(*words)
    assert told.code == 2 and f"there is no {name} here" in told.err


def test_what_the_old_names_are_told_is_true(ugc):
    """Every option, --set field and verb in the advice exists."""
    known = set(parser()._subparsers._group_actions[0].choices["run"]._option_string_actions)
    recipe = Recipe.parse({"data": {"path": "x"}, "generator": {"norm": "batch"}}, "test")
    for advice in ELSEWHERE.values():
        for option in re.findall(r"--\w[\w-]*", advice.replace("ugc show FAMILY --arch TEXT", "")):
            assert option in known, advice
        for field, value in re.findall(r"--set ([\w.]+)=([^\s)]+)", advice):
            recipe.with_settings([f"{field}={ {'..': 'instance', 'N': '3'}.get(value, value)}"])


# ---- ugc show ----

def shown(ugc, *words):
    told = ugc("show", *words, "--json")
    assert told.code == 0, told.err
    assert len(told.out.strip().splitlines()) == 1
    return json.loads(told.out)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_show_json_of_the_papers_originals(ugc, family):
    found = shown(ugc, family)
    assert list(found)[:6] == ["family", "size", "arch", "params", "macs", "macs_paper"]
    assert found["family"] == family and found["size"] == [256, 512 if family in ("pix2pixhd", "gaugan") else 256]
    assert all(type(found[key]) is int for key in ("params", "macs", "macs_paper"))
    macs_paper, params = PUBLISHED[family]
    assert round(found["macs_paper"] / 1e9, 2) == macs_paper and round(found["params"] / 1e6, 2) == params
    assert found["macs"] <= found["macs_paper"]
    for key in ("params", "macs", "macs_paper"):
        assert sum(layer[key] for layer in found["layers"]) == found[key]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_show_members_of_a_supernet(ugc, family):
    small = ("--base", 8, "--size", "64x128", "--channels", "1:3")
    smallest, largest, random, again, other = (
        shown(ugc, family, *small, "--arch", arch) for arch in ("smallest", "largest", "random:7", "random:7", "random:8"))
    assert smallest["size"] == [64, 128]
    for key in ("params", "macs", "macs_paper"):
        assert smallest[key] < random[key] < largest[key]
    assert random == again and random["arch"] != other["arch"]
    assert shown(ugc, family, *small, "--arch", random["arch"]) == random
    assert smallest["arch"].split(",")[0].endswith("=1") and largest["arch"].split(",")[0].endswith("=8")


def test_show_prints_a_table(ugc):
    told = ugc("show", "pix2pix-unet", "--base", 8, "--size", 32, "--channels", "1:1")
    assert told.code == 0 and "in all" in told.out and "macs_paper" in told.out
    total = shown(ugc, "pix2pix-unet", "--base", 8, "--size", 32, "--channels", "1:1")
    assert f"{total['params']:,}" in told.out and f"{total['macs']:,}" in told.out


@pytest.mark.parametrize("words, expected", [
    (("pix2pix-resnt",), "'pix2pix-resnet'"), (("spade",), "known: gaugan, pix2pix-resnet, pix2pix-unet"),
    (("pix2pix-resnet", "--arch", "stem=3"), "stem"), (("pix2pix-resnet", "--arch", "stam=8"), "'stem'"),
    (("pix2pix-resnet", "--arch", "stem=8"), "no value for"), (("pix2pix-resnet", "--arch", "random:x"), "random:x"),
    (("pix2pix-resnet", "--arch", "biggest"), "biggest"),
    (("pix2pix-resnet", "--size", "30"), "multiples of 4"), (("pix2pix-resnet", "--size", "axb"), "--size"),
    (("pix2pix-unet", "--size", "1"), "at least"), (("pix2pix-resnet", "--channels", "3"), "--channels"),
    (("pix2pix-resnet", "--channels", "0:3"), "--channels"), (("pix2pix-resnet", "--base", "12"), "12"),
    (("pix2pix-resnet", "--set", "blocs=6"), "'blocks'"), (("pix2pix-resnet", "--set", "blocks"), "KEY=VALUE"),
    (("pix2pix-resnet", "--base", "x"), "--base")])
def test_show_refuses(ugc, words, expected):
    told = ugc("show", *words)
    assert told.code == 2 and expected in told.err and not told.out
    assert len(told.err.strip().splitlines()) == 1


# ---- ugc recipes, ugc data ----

def test_recipes(ugc):
    told = ugc("recipes")
    assert told.code == 0 and [line.split()[0] for line in told.out.splitlines()] == list(TABLE)


@pytest.mark.parametrize("words", [
    ("fonts", "--source", "none.otf", "--target", "none.otf", "--out", "d"), ("sans2serif", "--size", "big", "--out", "d"),
    ("fonts", "--source", "none.otf", "--out", "d"), ("serif2sans", "--out", "d"), ("sans2serif",)])
def test_data_refuses(ugc, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    told = ugc("data", *words)
    assert told.code == 2 and len(told.err.strip().splitlines()) == 1 and "Traceback" not in told.err
    assert not list(tmp_path.iterdir())


def test_data_fonts_then_a_run_on_it(ugc, tiny, tmp_path):
    """The package's two fonts cut to a few characters; three of them only the source draws."""
    for name, path, text in (("sans", sans_path(), "永和九年歲在癸丑暮春之初會于山陰"),
                             ("serif", serif_path(), "永和九年歲在癸丑暮春之初會")):
        subset.main([str(path), f"--text={text}", f"--output-file={tmp_path / name}.otf"])
    told = ugc("data", "fonts", "--source", tmp_path / "sans.otf", "--target", tmp_path / "serif.otf", "--size", 32,
               "--out", tmp_path / "letters")
    assert told.code == 0, told.err
    counts = {name: len(list((tmp_path / "letters" / name).iterdir())) for name in ("trainA", "trainB", "testA", "testB")}
    assert counts == {"trainA": 15, "trainB": 12, "testA": 1, "testB": 1}
    said = " ".join(told.err.split())
    hint = re.search(r"next: ugc (run .*)$", said)[1].split()
    assert parser().parse_args(hint).verb == "run"
    told = ugc("run", tmp_path / "letters", "--set", "data.flip=false", "--out", tmp_path / "run", *tiny, "--dry-run")
    assert told.code == 0 and "12 pairs" in told.out and "1 test; 1 -> 1 channels" in told.out
    told = ugc("data", "fonts", "--source", tmp_path / "sans.otf", "--target", tmp_path / "serif.otf", "--size", 1,
               "--out", tmp_path / "dots")
    options = re.search(r"next: ugc run \S+ (.*) --out RUN", " ".join(told.err.split()))[1].split()
    assert options == ["--size", "12", "--set", "data.flip=false"]
    assert ugc("run", tmp_path / "dots", *options, "--base", 8, "--out", tmp_path / "run", "--dry-run").code == 0


@pytest.mark.parametrize(("size", "asked"), [((50, 50), "52"), ((64, 50), "64x52"), ((64, 64), "64"), ((32, 64), "32x64")])
def test_data_names_a_size_that_a_run_takes(size, asked):
    assert _trained_at(size) == asked


def test_data_does_not_write_over_a_folder(ugc, tmp_path):
    (tmp_path / "x").write_text("mine")
    told = ugc("data", "sans2serif", "--size", 16, "--out", tmp_path)
    assert told.code == 2 and "not an empty folder" in told.err and files_of(tmp_path) == ["x"]


# ---- bad input to ugc run ----

def no_folder(data):
    shutil.rmtree(data)


def empty(data):
    shutil.rmtree(data)
    data.mkdir()


def empty_sides(data):
    for path in data.rglob("*.png"):
        path.unlink()


def no_pair(data):
    for path in (data / "trainB").iterdir():
        path.rename(path.with_stem(f"x{path.stem}"))


def one_pair(data):
    shutil.rmtree(data / "testA")
    shutil.rmtree(data / "testB")
    for path in (data / "trainB").iterdir():
        if path.stem != "00":
            path.unlink()


def no_picture(data):
    (data / "trainB" / "05.png").write_text("not a picture")


def one_side(data):
    shutil.rmtree(data / "trainB")


def strangers(data):
    shutil.rmtree(data)
    data.mkdir()
    (data / "notes.txt").write_text("x")


def two_of_a_stem(data):
    Image.new("RGB", (8, 8)).save(data / "trainA" / "00.webp")


@pytest.mark.parametrize("spoil, word", [
    (no_folder, "no folder"), (empty, "nothing"), (empty_sides, "no picture"), (no_pair, "no pair"), (one_pair, "one pair"),
    (no_picture, "05.png"), (one_side, "trainB"), (strangers, "notes.txt"),
    (two_of_a_stem, "same stem")], ids=lambda x: getattr(x, "__name__", ""))
def test_bad_folders(ugc, ugc_home, pairs_in, tiny, tmp_path, spoil, word):
    data = pairs_in(tmp_path / "data")
    spoil(data)
    told = ugc("run", data, "--out", tmp_path / "run", *tiny, "--until", "original")
    assert told.code == 2 and told.last.startswith("ugc: ") and word in told.last and "Traceback" not in told.err
    assert len(told.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists() and not list(ugc_home.rglob(".*"))


@pytest.mark.parametrize("words, expected", [
    (("--budget", "10000x"), "out of reach"), (("--budget", "macs=1K"), "out of reach"), (("--budget", "much"), "--budget"),
    (("--budget", "0x"), "--budget"), (("--budget", "latency=3"), "--budget"),
    (("--family", "pix2pix-resnt"), "'pix2pix-resnet'"), (("--method", "ugg"), "'ugc'"),
    (("--size", 4), "multiples of 4"), (("--size", 30), "multiples of 4"), (("--size", 8), "8"),
    (("--family", "pix2pix-unet", "--size", 33), "multiples of 32"), (("--size", "big"), "size"),
    (("--labels", 0), "labels"), (("--labels", 1.5), "labels"), (("--labels", "none.meta"), "none.meta"),
    (("--steps", 0), "steps"), (("--seed", -1), "seed"), (("--base", 12), "12"), (("--base", 0), "base"),
    (("--set", "optimizer.lr=1"), "'optimiser'"), (("--set", "seed"), "KEY=VALUE"), (("--set", "data.sise=32"), "'size'"),
    (("--set", "optimiser.schedule=cosine"), "schedule"),
    (("--until", "distil"), "distill"), (("--device", "tpu"), "tpu"), (("--device", "cuda"), "cuda"),
    (("--device", "cpu:x"), "cpu:x"), (("--set", "generator.in_channels=5"), "data.source_channels"),
    (("--set", "distillation.order=text", "--set", "distillation.backbone=lite0"), "no such weights"),
    (("--set", "search.student=stem=8,down1=8,down2=8,mid1=8,mid2=8,mid3=8,up1=8,up2=8,d.down1=0,d.down2=0,d.up1=0,d.up2=0"),
     "search.student: that net has"),
    (("--precision", "fp16"), "fp16"), (("--original", "nowhere"), "nowhere"),
    (("--set", "generator.blocs=3"), "'blocks'"), (("--family", "pix2pix-unet", "--set", "generator.levels=1"), "levels"),
    (("--original", "caf\udce9"), "can be no path here"),
    (("--direction", "BtoC"), "BtoC"), (("--precision", "fp8"), "fp8"), (("--base", "x"), "--base")])
def test_bad_options(ugc, ugc_home, tiny_data, tiny, tmp_path, words, expected):
    fewer = () if "pix2pix-unet" in words else ("--set", "generator.blocks=3")  # for time
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *fewer, *words)
    assert told.code == 2 and expected in told.err and "Traceback" not in told.err
    assert len(told.err.strip().splitlines()) == 1 and not told.out
    assert not (tmp_path / "run").exists() and not list(ugc_home.rglob(".*"))


def test_missing_out_and_missing_data(ugc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = ugc("run", "sans2serif")
    assert told.code == 2 and "--out" in told.err
    told = ugc("run", "--out", "run")
    assert told.code == 2 and "which data" in told.err
    told = ugc("run", "sans2serf", "--out", "run")
    assert told.code == 2 and "'sans2serif'" in told.err
    told = ugc("run", "edges2shoes-resnet-25", "--out", "run")
    assert told.code == 2 and "data.path" in told.err
    told = ugc()
    assert told.code == 2 and "VERB" in told.err
    told = ugc("train", "x")
    assert told.code == 2 and "train" in told.err
    assert not list(tmp_path.iterdir())


def test_abbreviations_are_not_guessed(ugc, tmp_path):
    told = ugc("run", "sans2serif", "--out", tmp_path / "run", "--bud", "40x")
    assert told.code == 2 and "--bud" in told.err


def test_a_recipe_on_your_folder(ugc, tiny_data, tmp_path):
    """The paper's row, cut to what a test can ask; later words win over the recipe's."""
    told = ugc("run", "edges2shoes-unet-25", "--set", f"data.path={tiny_data}", "--out", tmp_path / "run", "--base", 8,
               "--size", 32, "--budget", "8x", "--device", "cpu", "--dry-run")
    assert told.code == 0, told.err
    assert "2 pairs" in told.out and "pix2pix-unet, base 8" in told.out and "8x" in told.out
    assert not list(tmp_path.iterdir())


# ---- torchrun ----

@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("verb, words", [
    ("eval", ["net", "data"]), ("translate", ["net", "in", "out"]), ("export", ["net"]), ("push", ["net", "org/name"]),
    ("import", ["old.pth", "--out", "net"]), ("show", ["pix2pix-resnet"]), ("data", ["check", "data"]), ("recipes", []),
    ("run", ["data", "--out", "run"])])
def test_of_several_processes_the_first_does_all_but_a_run(monkeypatch, verb, words, rank):
    for key, value in {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(key, str(value))
    done = []
    monkeypatch.setattr(file_of(verb), "execute", done.append)
    assert main([verb, *words]) == 0
    assert len(done) == (1 if rank == 0 or verb == "run" else 0)


def test_interrupted_is_130(monkeypatch):
    from ugc.cli import recipes

    def stop(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "execute", stop)
    assert main(["recipes"]) == 130
