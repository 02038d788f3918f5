"""A saved net given as the original: compressed without a target, or where the supernet begins."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ugc.core.images import rounded
from ugc.engine.given import Given, like_original
from ugc.engine.pipeline import Run
from ugc.export.saved import load_net, save_net
from ugc.export.terms import attribution
from ugc.methods import from_teacher

NARROW = ("--set", "generator.widths=[1,4,8]", "--set", "generator.depths=[0,1]")
QUALITY = {"psnr", "ssim", "l1", "kd_efflite0", "fd_efflite0"}
COST = {"params", "macs", "macs_paper", "latency_ms"}


def close(keys):
    return {f"{key}_to_original" for key in keys}


def of(path):
    return json.loads(path.read_text())


def weights(folder, role="student"):
    return (folder / role / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def sources(tmp_path_factory, pairs_in):
    """20 sources and nothing else."""
    made = pairs_in(tmp_path_factory.mktemp("made"))
    return shutil.copytree(made / "trainA", tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def command(tiny_run, tiny, sources):
    """`ugc run` of from-teacher on them; base, size and family are the original's."""
    words = list(tiny)
    for option in ("--base", "--size"):
        del words[words.index(option):words.index(option) + 2]
    return ("run", sources, "--method", "from-teacher", "--original", tiny_run / "original", *words, *NARROW)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, ugc, command):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    told = ugc(*command, "--out", folder)
    assert told.code == 0, told.err
    return folder


def test_a_folder_of_sources_and_a_saved_net_are_enough(whole, tiny_run):
    assert sorted(p.name for p in (whole / "stages").iterdir()) == ["distill", "search", "supernet", "test"]
    run, recipe = of(whole / "run.json"), of(whole / "recipe.json")
    assert run["counts"] == {"labelled": 0, "unlabelled": 17, "validation": 1, "hidden": 0, "test": 2}
    assert (whole / "labels.txt").read_text() == "" and run["channels"] == [3, 3]
    assert "the test set is 2 of 20 sources" in " ".join(run["notes"])
    assert recipe["base"] == 8 and recipe["data"]["size"] == [32, 32] and recipe["generator"]["blocks"] == 9
    assert weights(whole, "original") == weights(tiny_run, "original")
    assert not (whole / "stages/supernet/D.safetensors").exists()
    student, original = of(whole / "student/config.json"), of(tiny_run / "original/config.json")
    assert student["macs_paper"] <= original["macs_paper"] / 8 == run["budget"]["limit"]
    assert student["original"] == {key: original[key] for key in ("family", "arch", "data", "attribution", "recipe")}
    assert set(of(whole / "stages/search/choice.json")) == {"notes", "student"}


def test_its_numbers_are_distances_to_the_originals_pictures(whole):
    metrics = of(whole / "metrics.json")
    rows = metrics["rows"]
    assert set(rows) == {"original", "student", "largest", "copy", "floor"}
    assert set(rows["original"]) == COST
    assert set(rows["student"]) == set(rows["largest"]) == close(QUALITY) | COST
    assert set(rows["copy"]) == close(QUALITY) and set(rows["floor"]) <= close(QUALITY)
    assert set(metrics["protocol"]["metrics"]) >= close(QUALITY)
    assert "original's picture" in metrics["protocol"]["metrics"]["psnr_to_original"]
    student, original = (load_net(whole / role)[0] for role in ("student", "original"))
    found = []
    for i in range(2):
        pixels = np.asarray(Image.open(whole / f"stages/test/samples/{i:03d}-source.png"), np.float32)
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            found.append(float((rounded(student(x)) - rounded(original(x))).abs().mean()))
    assert np.mean(found) == pytest.approx(rows["student"]["l1_to_original"], rel=1e-4)
    assert not list((whole / "stages/test/samples").glob("*-target.png"))


def test_its_report_shows_the_original_beside_the_student(whole):
    page = (whole / "report.html").read_text(encoding="utf-8")
    for words in ("Against the original’s pictures", "agrees with the original’s pictures to", "warm start", "6 of 50",
                  "to the original’s answers", "none: it learns from the original’s pictures"):
        assert words in page, words
    assert ">original</span>" in page and ">target</span>" not in page and "Against the targets" not in page


def test_the_search_compares_with_the_original(whole, command):
    """Computed again: the score of what was chosen is L_OD to the original's pictures of the validation sources."""
    from ugc.cli.main import parser
    from ugc.cli.run import recipe_of

    run = Run(recipe_of(parser().parse_args([str(w) for w in (*command, "--out", whole)])), whole)
    row = of(whole / "stages/search/choice.json")["student"]
    net = from_teacher.shrink(run.net("supernet"), run.cost.space.parse(row["arch"])).eval()
    x, l_od = run.stream.validation().all(), run.setting.l_od()
    with torch.no_grad():
        parts = l_od(l_od.look(run.net("original")(x)), l_od.look(net(x)))
    assert float(sum(parts.values()).mean()) == pytest.approx(row["score"], rel=1e-5)


@pytest.mark.parametrize("kind", ["Supernet", "Distill"])
def test_stopped_and_started_again_it_ends_in_the_same_bits(whole, ugc, command, tmp_path, monkeypatch, kind):
    cls, calls = getattr(from_teacher, kind), []
    plain = cls.step

    def step(self, batch, clock):
        calls.append(clock.step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(self, batch, clock)

    with monkeypatch.context() as patch:
        patch.setattr(cls, "step", step)
        assert ugc(*command, "--out", tmp_path / "run", "--until", "distill").code == 130
    assert ugc(*command, "--out", tmp_path / "run", "--until", "distill").code == 0
    assert weights(tmp_path / "run") == weights(whole)
    assert weights(tmp_path / "run", "supernet") == weights(whole, "supernet")


def test_another_budget_from_the_same_supernet(whole, ugc, tmp_path):
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", "--budget", "20x", "--until", "distill")
    assert told.code == 0, told.err
    assert "supernet: done" in told.err and weights(tmp_path / "run", "supernet") == weights(whole, "supernet")
    assert of(tmp_path / "run/student/config.json")["macs_paper"] < of(whole / "student/config.json")["macs_paper"]


def test_with_targets_in_the_test_there_are_both_kinds_of_numbers(tiny_run, ugc, command, tiny_data, tmp_path):
    """And no target of a training picture is read: they are truncated behind their headers."""
    data = shutil.copytree(tiny_data, tmp_path / "squares")
    for path in (data / "trainB").iterdir():
        path.write_bytes(path.read_bytes()[:64])
    told = ugc("run", data, *command[2:], "--steps", 2, "--out", tmp_path / "run")
    assert told.code == 0, told.err
    assert of(tmp_path / "run/run.json")["counts"] == {"labelled": 0, "unlabelled": 18, "validation": 2, "hidden": 8,
                                                      "test": 4}
    rows, given = of(tmp_path / "run/metrics.json")["rows"], of(tiny_run / "metrics.json")["rows"]
    assert set(rows["student"]) == QUALITY | close(QUALITY) | COST
    assert {key: rows["original"][key] for key in QUALITY} == {key: given["original"][key] for key in QUALITY}
    assert {key: rows["copy"][key] for key in QUALITY} == {key: given["copy"][key] for key in QUALITY}
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "Against the targets" in page and "Against the original’s pictures" in page and ">target</span>" in page


# ---- what does not go together ----

@pytest.mark.parametrize("words, sentence", [
    (("--original", "train"), "learns from a net that you have: give --original DIR"),
    (("--original", "none"), "learns from a net that you have: give --original DIR"),
    (("--original", "nowhere"), "holds no saved net"),
    (("--size", 30), "multiples of 4"),
    (("--set", "data.source_channels=1"), "takes 3 channels to 3, the data 1 to 3; --set data.source_channels=3"),
])
def test_what_does_not_fit_gets_one_sentence(ugc, command, tmp_path, words, sentence):
    told = ugc(*command, *words, "--out", tmp_path / "run", "--dry-run")
    assert told.code == 2 and sentence in told.err and len(told.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_the_other_direction_is_noticed_where_there_are_two_sides(ugc, command, tiny_data, tmp_path):
    told = ugc("run", tiny_data, *command[2:], "--direction", "BtoA", "--out", tmp_path / "run")
    assert told.code == 2 and "was trained AtoB, this run is BtoA; give --direction AtoB" in told.err
    assert ugc(*command, "--direction", "BtoA", "--out", tmp_path / "run", "--dry-run").code == 0


def test_without_targets_other_methods_name_this_one(ugc, command, tiny, tmp_path):
    told = ugc("run", command[1], *tiny, "--out", tmp_path / "run")
    assert told.code == 2 and "not a pair" in told.err and "--method from-teacher --original DIR" in told.err


def test_a_base_that_is_no_multiple_of_8_is_rounded_up(setting_of, tmp_path):
    setting = setting_of("pix2pix-resnet")
    for base, taken in ((8, 8), (9, 16), (16, 16)):
        config = setting.family.original(setting.config).model_copy(update={"base": base})
        net = setting.family(config).init(torch.Generator().manual_seed(0))
        save_net(net, tmp_path / str(base), "pix2pix-resnet", "original", (32, 32), {})
        assert like_original(tmp_path / str(base), None)["base"] == taken


def test_family_and_base_that_are_asked_for_are_taken(ugc, command, tmp_path):
    """Another family than the original's: its size and base are taken, not what its family is built of."""
    told = ugc(*command[:-len(NARROW)], "--family", "pix2pix-unet", "--dry-run", "--out", tmp_path / "run")
    assert told.code == 0 and "family   pix2pix-unet, base 8" in told.out, told.err
    told = ugc(*command, "--size", 40, "--dry-run", "--out", tmp_path / "run")
    assert "The original was trained at 32x32 and is used at 40x40 here." in told.out
    told = ugc(*command, "--base", 16, "--set", "generator.blocks=3", "--dry-run", "--out", tmp_path / "run")
    assert told.code == 0 and "base 16" in told.out and "3 -> 3 channels at 32x32" in told.out


# ---- the same net in the ordinary method ----

def test_a_given_original_is_where_the_supernet_of_ugc_begins(tiny_run, ugc, tiny_data, tiny, tmp_path):
    words = ("run", tiny_data, *tiny, *NARROW, "--until", "supernet", "--steps", 2)
    why = "(the original's base is 8, the supernet's 16)"
    for base, text in ((8, "6 of 50 convolutions begin as the original's: stem, down1, down2, up1, up2, head"),
                       (16, f"none of the 50 convolutions fits the original; all begin at random {why}")):
        told = ugc(*words, "--base", base, "--set", f"generator.widths=[1,4,{base}]", "--out", tmp_path / f"{base}",
                   "--original", tiny_run / "original")
        assert told.code == 0, told.err
        assert f"warm start: {text}" in told.err
        about = of(tmp_path / f"{base}/run.json")["warm_start"]
        assert about["of"] == 50 and len(about["layers"]) == (6 if base == 8 else 0)
    given, net = (load_net(folder)[0] for folder in (tiny_run / "original", tmp_path / "8/supernet"))
    moved = (net.stem.weight - given.stem.weight).abs().max()
    assert 0 < moved < 2 * 2.1e-4  # two steps of Adam away
    told = ugc(*words, "--original", "none", "--out", tmp_path / "cold")
    assert told.code == 0 and "warm start" not in told.err
    assert "warm_start" not in of(tmp_path / "cold/run.json")
    assert (load_net(tmp_path / "cold/supernet")[0].stem.weight - given.stem.weight).abs().max() > 0.01


def test_a_unet_with_batch_norm_is_compressed_too(tiny_run_unet, ugc, command, pairs_in, tmp_path):
    """Family and levels are its own; all convolutions that are not inserted begin as its."""
    made = pairs_in(tmp_path / "made", channels=(1, 1))
    words = list(command)
    words[1], words[words.index("--original") + 1] = made / "trainA", tiny_run_unet / "original"
    told = ugc(*words, "--until", "distill", "--out", tmp_path / "run")
    assert told.code == 0, told.err
    assert "warm start: 10 of 26 convolutions" in told.err
    student = of(tmp_path / "run/student/config.json")
    assert student["family"] == "pix2pix-unet" and student["config"]["levels"] == 5 and student["config"]["norm"] == "batch"


def test_its_card_says_whom_it_imitates(whole, tiny_run):
    text = (whole / "student/README.md").read_text(encoding="utf-8")
    for words in ("method `from-teacher`, the original's pictures of 17 sources", "PSNR to the original", "psnr_to_original",
                  "warm start: 6 of 50", f"a net of {of(tiny_run / 'original/config.json')['data']}."):
        assert words in text, words
    assert "labelled pairs" not in text


def test_terms_are_handed_on_through_a_chain_of_originals():
    first = {"data": "old.pth", "attribution": "weights of old.pth, under the terms of its makers"}
    second = Given(None, {"family": "pix2pix-resnet", "data": "photos", "original": first})
    text = attribution({"data": "drawings", "attribution": "drawings, CC BY", "original": second.origin})
    assert "drawings, CC BY" in text and "photos" in text and "weights of old.pth" in text
    assert Given(None, {"data": "photos"}).origin == {"data": "photos"}
