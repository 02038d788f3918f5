"""What is asked for and cannot be is refused before anything is trained."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ugc.core.errors import UserError
from ugc.export.translator import load


@pytest.mark.parametrize("words, said", [
    (("options.nas=false", "search.student=ARCH"), "search.student: this run searches nothing (its nets are chosen by rule"),
    (("options.nas=false", "search.wide=ARCH"), "search.wide: this run searches nothing"),
    (("method=alone", "search.student=ARCH"), "(--set options.arch=.. names its net)"),
    (("method=original", "search.student=ARCH"), "(it trains the published net)"),
    (("method=original", "original=RUN/original"), "--method original trains an original of its own"),
    (("method=from-teacher", "original=RUN/original", "search.deep=ARCH"), "has no deep and no wide teacher"),
    (("method=alone", "options.arch=stem=8"), "arch 'stem=8'"),
    (("optimiser.warmup=3",), "optimiser.warmup=3: stage original ends after 3 steps"),
    (("original=none", "steps.supernet=9", "optimiser.warmup=5"), "stage distill ends after 3 steps")])
def test_it_is_refused(tiny_run, tiny_data, tiny, ugc, tmp_path, words, said):
    arch = json.loads((tiny_run / "student/config.json").read_text())["arch"]
    settings = [word for setting in words for word in ("--set", setting.replace("ARCH", arch).replace("RUN", str(tiny_run)))]
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *settings)
    assert told.code == 2 and said in told.last and not (tmp_path / "run").exists()


def test_weights_that_want_no_backbone_can_be_rehearsed(tiny_data, tiny, ugc, tmp_path):
    settings = ("backbone=auto", "feature=0", "style=0", "l1=100")
    words = [word for one in settings for word in ("--set", f"distillation.{one}")]
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *words, "--dry-run")
    assert told.code == 0 and "memory   distill" in told.out, told.err


def test_what_is_taken_over_is_what_the_run_began_with(tiny_run, tiny_data, tiny, ugc, tmp_path, monkeypatch):
    """Another source is refused, but where the first is gone: it may have been moved."""
    run, source = tmp_path / "run", tmp_path / "source"
    shutil.copytree(tiny_run, source)
    assert ugc("run", "--from", source, "--out", run, "--set", "options.filter=off", "--until", "supernet").code == 0
    told = ugc("run", "--from", tiny_run, "--out", run, "--set", "options.filter=off", "--until", "supernet")
    assert told.code == 2 and f"began from {source}" in told.last
    shutil.rmtree(run / "stages/supernet")  # cut short while it was copied
    (tmp_path / "moved").mkdir()
    source.rename(tmp_path / "moved/source")
    words = ("--set", "options.filter=off", "--until", "supernet")
    assert ugc("run", "--from", tmp_path / "moved/source", "--out", run, *words).code == 0
    told = ugc("run", "--from", tiny_run, "--out", shutil.copytree(tiny_run, tmp_path / "own"), "--until", "original")
    assert told.code == 2 and "began with nothing taken over" in told.last


def test_a_budget_in_other_words_is_the_same_recipe(tiny_data, tiny, ugc, tmp_path):
    words = ("run", tiny_data, "--out", tmp_path / "run", *tiny)
    assert ugc(*words, "--budget", "2x", "--until", "supernet").code == 0
    assert ugc(*words, "--budget", "2X").code == 0
    cards = [json.loads((tmp_path / "run" / role / "config.json").read_text())["recipe"] for role in ("supernet", "student")]
    assert cards[0] == cards[1]


def test_spaces_beyond_what_len_can_say(tiny_data, tiny, ugc, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--set", "generator.blocks=16", "--set",
               "generator.groups=16", "--dry-run")
    assert told.code == 0 and "e+" in told.out and "sub-networks" in told.out


def test_a_wrong_stage_is_told_before_the_plan(tiny_data, tiny, ugc, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--until", "nosuch", "--dry-run")
    assert told.code == 2 and "--until 'nosuch'" in told.last and not told.out


def test_nothing_where_something_is_expected(tiny_run, tiny_data, ugc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words, name in ((("translate", tiny_run / "student", tiny_data / "testA", ""), "OUTPUT"),
                        (("translate", tiny_run / "student", "", "out"), "INPUT"),
                        (("run", "", "--out", "run"), "DATA_OR_RECIPE"),
                        (("run", tiny_data, "--out", "run", "--from", ""), "--from"),
                        (("export", tiny_run / "student", "--out", ""), "--out")):
        told = ugc(*words)
        assert told.code == 2 and f"{name}: is empty" in told.err, told.err
    assert not list(tmp_path.iterdir())


def test_a_trailing_slash_is_a_folder(tiny_run, tiny_data, ugc, tmp_path):
    one = next(iter(sorted((tiny_data / "testA").iterdir())))
    assert ugc("translate", tiny_run / "student", one, f"{tmp_path}/drawn.png/").code == 0
    assert [path.name for path in (tmp_path / "drawn.png").iterdir()] == [one.name]


def test_a_seed_is_not_negative(tiny_run, tiny_data, ugc):
    told = ugc("eval", tiny_run / "student", tiny_data, "--seed", -1)
    assert told.code == 2 and "--seed -1: expected 0 or more" in told.last


def test_folders_of_built_in_names(tiny_data, ugc, tmp_path, monkeypatch):
    """What is written tells how it is named; who names a built-in set is told of the folder."""
    monkeypatch.chdir(tmp_path)
    told = ugc("data", "streets", "--size", "32x64", "--count", 1, "--out", "streets")
    assert told.code == 0 and "next: ugc run ./streets " in told.err
    (tmp_path / "sans2serif").symlink_to(tiny_data)
    assert "Name it ./sans2serif: sans2serif alone is built in." in ugc("data", "check", "sans2serif").out
    assert "built in" not in ugc("data", "check", "./sans2serif").out
    told = ugc("run", "sans2serif", "--base", 3, "--out", "run", "--dry-run")
    assert "sans2serif is the built-in data set of that name; the folder here is ./sans2serif" in told.err


def test_a_test_of_one_side_is_told(ugc, pairs_in, tmp_path):
    data = pairs_in(tmp_path / "squares")
    for path in (data / "testB").iterdir():
        path.unlink()
    there = ugc("data", "check", data).out
    (data / "testB").rmdir()
    gone = ugc("data", "check", data).out
    assert "test sources without a target (ignored): 4" in there and "test sources without a target (ignored): 4" in gone


def test_a_field_of_a_number(tiny_data, tiny, ugc, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--set", "search.trial.steps=4")
    assert told.code == 2 and "search.trial is 1 and has no options of its own; expected search.trial=VALUE" in told.last


def test_places_below_a_file(tiny_run, tiny_data, tiny, ugc, tmp_path):
    (tmp_path / "file").write_text("")
    below = tmp_path / "file/x"
    for words in (("run", tiny_data, "--out", below, *tiny), ("translate", tiny_run / "student", tiny_data / "testA", below),
                  ("export", tiny_run / "student", "--out", below.with_suffix(".onnx"))):
        told = ugc(*words)
        assert told.code == 2 and "choose another" in told.last and len(told.err.strip().splitlines()) <= 2, told.err


def test_saved_nets_where_something_else_is_expected(tiny_run, ugc, tmp_path, monkeypatch):
    student = tiny_run / "student"
    told = ugc("show", student)
    assert told.code == 2 and "is a saved net, of " in told.last and told.last.endswith("such as pix2pix-resnet")
    shutil.copytree(student, tmp_path / "pix2pix-resnet")
    monkeypatch.chdir(tmp_path)
    assert ugc("show", "pix2pix-resnet", "--base", 8).code == 0  # a folder of that name is no obstacle
    hub = tmp_path / "hub"  # another program's net
    hub.mkdir()
    (hub / "config.json").write_text('{"model_type": "cyclegan"}')
    shutil.copy(student / "model.safetensors", hub)
    for words in (("show", hub), ("import", hub / "model.safetensors", "--out", tmp_path / "none")):
        told = ugc(*words)
        assert told.code == 2 and "saved net" not in told.last, told.last
    for path in (student, student / "model.safetensors"):
        told = ugc("import", path, "--out", tmp_path / "out")
        assert told.code == 2 and "is a saved net of ugc already" in told.last and not (tmp_path / "out").exists()


def test_a_picture_of_no_pixels(tiny_run):
    g = load(tiny_run / "student", device="cpu")
    with pytest.raises(UserError, match=r"0x5 .height x width.; expected at least 1x1"):
        g.array(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(UserError, match="expected at least 1x1"):
        g(Image.new("RGB", (5, 0)))


def test_words_that_stdout_cannot_write(pairs_in, tmp_path):
    data = pairs_in(tmp_path / "p\u00e4rs \u65e5")
    for words in ((), ("--json",)):
        command = [sys.executable, "-m", "ugc", "data", "check", str(data), *words]
        done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert done.returncode == 0 and b"Traceback" not in done.stderr and b"\\u65e5" in done.stdout
    assert json.loads(done.stdout)["folder"] == str(data)
