"""`ugc eval`: the same numbers for the same images, whoever made them, and one sentence where that cannot be."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ugc.engine.answers import open_answers
from ugc.engine.compare import run_of, table
from ugc.export.saved import load_tensors, save_tensors

MEANS = ("psnr", "ssim", "l1")
SETS = ("kd_efflite0", "fd_efflite0")


@pytest.fixture(scope="module")
def told(ugc, tiny_run, tiny_data):
    """told(student, .., data=..) -> the JSON of `ugc eval` on the tiny data."""
    def run(*words, data=tiny_data):
        answer = ugc("eval", words[0], data, *words[1:], "--json", "--device", "cpu")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    return run


@pytest.fixture(scope="module")
def of_net(told, tiny_run):
    return told(tiny_run / "student", "--against", tiny_run / "original")


def test_it_measures_as_the_run_did(of_net, tiny_run):
    saved = json.loads((tiny_run / "metrics.json").read_text())
    for role in ("student", "original", "copy", "floor"):
        for row in (saved["rows"][role], of_net["rows"][role]):
            row.pop("latency_ms", None)
        assert of_net["rows"][role] == pytest.approx(saved["rows"][role], rel=1e-9)
        assert of_net["half"][role] == pytest.approx(saved["half"][role], rel=1e-9)
    assert of_net["rows"]["student"]["macs"] > 0 and set(SETS) <= set(of_net["rows"]["floor"])
    assert saved["warnings"] == of_net["warnings"] and "4 test images, fewer than 2,048" in saved["warnings"][0]
    done = json.loads((tiny_run / "stages/test/done.json").read_text())
    assert done["warnings"] == saved["warnings"]
    assert "4 test images, fewer than 2,048" in (tiny_run / "report.html").read_text()


def test_pictures_that_were_trained_on_are_no_test(ugc, tiny, pairs_in, tmp_path):
    """Without a test folder the test is drawn from the pairs: with more of them it is another, trained on before."""
    data = pairs_in(tmp_path / "data", pairs=20, alone=12)
    for side in "AB":
        shutil.rmtree(data / f"test{side}")
    run = tmp_path / "run"
    assert ugc("run", data, "--out", run, *tiny, "--until", "original", "--set", "generator.blocks=3").code == 0
    assert ugc("eval", run / "original", data, "--device", "cpu").code == 0
    for i in range(3):
        for side in "AB":
            shutil.copy(data / f"train{side}" / "00.png", data / f"train{side}" / f"new{i}.png")
    told = ugc("eval", run / "original", data, "--device", "cpu")
    assert told.code == 2 and "was made with other test pictures" in told.last
    told = ugc("run", data, "--out", run, *tiny, "--until", "original", "--set", "generator.blocks=3")
    assert told.code == 2 and "the data have changed since the run began" in told.last


def test_the_protocol_says_all_that_made_a_number(of_net, tiny_run, tiny_data):
    said = of_net["protocol"]
    assert said["test_images"] == 4 and said["floor_images"] == 2 and said["size"] == [32, 32] and said["seed"] == 0
    assert said["extractor"] == "efficientnet-lite0" and len(said["weights_sha256"]) == 64 and "bilinear" in said["resize"]
    assert said["data"]["path"] == str(tiny_data) and said["data"]["direction"] == "AtoB"
    assert said["answers"]["student"]["role"] == "student" and len(said["answers"]["student"]["weights_sha256"]) == 64
    assert set(said["metrics"]) == {*MEANS, *SETS}


def test_the_pictures_of_a_student_score_as_the_student(told, ugc, tiny_run, tiny_data, tmp_path):
    assert ugc("translate", tiny_run / "student", tiny_data / "testA", tmp_path / "drawn", "--device", "cpu").code == 0
    at_40 = told(tiny_run / "student", "--size", 40)  # as large as the files are
    pictures = told(tmp_path / "drawn")
    net, drawn = (result["rows"]["student"] for result in (at_40, pictures))
    for name in (*MEANS, *SETS):
        assert drawn[name] == pytest.approx(net[name], rel=1e-6), name
    assert all(pictures["rows"][name] == at_40["rows"][name] for name in ("copy", "floor"))
    assert "macs" not in drawn and pictures["protocol"]["answers"]["student"] == {
        "kind": "pictures", "count": 4, "path": str(tmp_path / "drawn")}


def test_it_says_at_which_size_it_measures_and_why(ugc, tiny_run, tiny_data, tmp_path):
    net, pictures = shutil.copytree(tiny_run / "student", tmp_path / "net"), tiny_data / "testB"
    for words, size, why in (((tiny_run / "student",), "32x32", f"as in the run {tiny_run}"),
                             ((net,), "32x32", f"the size that {net} was saved with"),
                             ((net, "--size", "36x40"), "36x40", "as --size says"),
                             ((pictures, "--against", tiny_run / "student"), "40x40", f"as the pictures in {pictures} are")):
        told = ugc("eval", words[0], tiny_data, *words[1:], "--json", "--device", "cpu")
        assert f"measures at {size} (height x width), {why}" in told.err.splitlines(), told.err
        assert json.loads(told.out)["protocol"]["size"] == [int(side) for side in size.split("x")]


def test_a_net_is_of_its_run_from_wherever_it_is_named(ugc, tiny_run, tiny_data, tmp_path, monkeypatch):
    """From inside its folder, and as the ONNX file in it: the run's seed, labels and test pictures hold."""
    monkeypatch.chdir(tiny_run / "student")
    told = ugc("eval", ".", tiny_data, "--device", "cpu")
    assert told.code == 0 and f"data are read as in the run {tiny_run} (" in told.err
    assert run_of(tiny_run / "student/model.onnx").folder == tiny_run == run_of(Path("model.onnx")).folder
    assert not run_of(tmp_path / "model.onnx").recipe


def test_a_size_beyond_the_runs_crops_is_measured_at(ugc, pairs_in, tiny, tmp_path):
    """`load` is a matter of training."""
    data, run = pairs_in(tmp_path / "data"), tmp_path / "run"
    words = (*tiny, "--set", "data.load=36", "--until", "original", "--set", "generator.blocks=3")
    assert ugc("run", data, "--out", run, *words).code == 0
    told = ugc("eval", run / "original", data, "--size", 40, "--device", "cpu")
    assert told.code == 0 and "measures at 40x40" in told.err


def test_two_pictures_that_answer_one_source_are_refused(ugc, tiny_data, tmp_path):
    answers = shutil.copytree(tiny_data / "testB", tmp_path / "answers")
    first = min(answers.iterdir())
    Image.open(first).convert("RGB").save(first.with_suffix(".jpg"))
    told = ugc("eval", answers, tiny_data, "--device", "cpu")
    assert told.code == 2 and f"{first.stem}.jpg and {first.stem}.png answer the same test source" in told.last


@pytest.mark.skipif(torch.__version__ < (2, 13), reason="this torch has another exporter, and is told so")
def test_an_onnx_file_scores_as_the_net(of_net, told, ugc, tiny_run, tmp_path):
    done = ugc("export", tiny_run / "student", "--out", tmp_path / "s.onnx")
    assert done.code == 0, done.err
    found = told(tmp_path / "s.onnx")["rows"]["student"]
    want = {key: value for key, value in of_net["rows"]["student"].items() if key != "latency_ms"}
    assert found == pytest.approx(want, rel=1e-3)  # a pixel between two grey levels may fall on either side


def test_a_target_is_a_perfect_answer(told, tiny_data):
    row = told(tiny_data / "testB")["rows"]["student"]
    assert row["psnr"] == 100 and row["l1"] == 0 and row["fd_efflite0"] == pytest.approx(0, abs=1e-6)


def test_odd_sizes_are_padded_as_translate_pads(told, tiny_run):
    rows = told(tiny_run / "student", "--size", "37x45")["rows"]
    assert set(rows["student"]) == {*MEANS, *SETS, "params"}


def test_statistics_are_written_and_compared_with(told, tiny_run, tiny_data, tmp_path):
    stats = tmp_path / "real.npz"
    first = told(tiny_run / "student", "--save-stats", stats)["rows"]["student"]
    with np.load(stats) as file:
        assert file["mu"].shape == (320,) and file["sigma"].shape == (320, 320)
    again = told(tiny_run / "student", "--stats", stats)
    assert again["rows"]["student"]["fd_efflite0_stats"] == pytest.approx(first["fd_efflite0"], rel=1e-9)
    assert again["rows"]["floor"]["fd_efflite0_stats"] == pytest.approx(0, abs=1e-6)  # they are the test targets' own
    assert again["protocol"]["stats"]["metric"] == "fd_efflite0" and len(again["protocol"]["stats"]["sha256"]) == 64


def test_the_table_puts_the_floor_beside_every_distance(of_net, ugc, tiny_run, tiny_data):
    answer = ugc("eval", tiny_run / "student", tiny_data, "--device", "cpu")
    assert answer.code == 0 and "WARNING: 4 test images, fewer than 2,048" in answer.err
    lines = [line.split() for line in answer.out.splitlines()]
    assert lines[0] == ["better", "student", "copy", "floor"]
    for name in SETS:
        at = next(i for i, line in enumerate(lines) if line[0] == name)
        assert lines[at + 1][:4] == ["of", "2", "images", "lower"] and len(lines[at + 1]) == 7
    ends = {"student": {"kd_efflite0": (-1.0, 12.0)}}
    assert "[-1.0, 12.0]" in table({**of_net, "intervals": ends})


def test_the_split_of_the_run_is_found_again(ugc, tiny, tmp_path):
    """Data without a test split: another seed would test on what was trained on."""
    rng = np.random.default_rng(0)
    for side in "AB":
        for i in range(40):
            path = tmp_path / "data" / side / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    run = tmp_path / "run"
    done = ugc("run", tmp_path / "data", "--out", run, *tiny, "--seed", 5, "--method", "original", "--budget", "1x")
    assert done.code == 0, done.err
    saved = json.loads((run / "metrics.json").read_text())
    answer = ugc("eval", run / "original", tmp_path / "data", "--json", "--device", "cpu")
    assert f"as in the run {run}" in answer.err
    found = json.loads(answer.out)
    assert found["rows"]["student"]["psnr"] == pytest.approx(saved["rows"]["original"]["psnr"], rel=1e-9)
    told = ugc("eval", run / "original", tmp_path / "data", "--seed", 6, "--json", "--device", "cpu")
    assert told.code == 2 and "was made with other test pictures" in told.last
    moved = tmp_path / "moved"  # the run's data in another place
    shutil.copytree(tmp_path / "data", moved)
    told = ugc("eval", run / "original", moved, "--device", "cpu")
    assert told.code == 2 and "pictures that would test" in told.last and "give --seed 5" in told.last
    answer = ugc("eval", run / "original", moved, "--seed", 5, "--json", "--device", "cpu")
    assert json.loads(answer.out)["rows"]["student"]["psnr"] == pytest.approx(saved["rows"]["original"]["psnr"], rel=1e-9)


def test_an_onnx_file_knows_its_direction(ugc, tiny_run, tiny_data, tmp_path):
    """Its numbers are the net's on any data; nets of two directions do not answer the same sources."""
    nets = {}
    for way in ("AtoB", "BtoA"):
        nets[way] = tmp_path / way
        shutil.copytree(tiny_run / "student", nets[way])
        config = json.loads((nets[way] / "config.json").read_text())
        (nets[way] / "config.json").write_text(json.dumps({**config, "direction": way}))
    assert ugc("export", nets["BtoA"], "--out", tmp_path / "one.onnx").code == 0
    data = shutil.copytree(tiny_data, tmp_path / "data")
    found = [json.loads(ugc("eval", one, data, "--json", "--device", "cpu").out)
             for one in (nets["BtoA"], tmp_path / "one.onnx")]
    assert all(one["protocol"]["data"]["direction"] == "BtoA" for one in found)
    assert found[0]["rows"]["student"]["psnr"] == pytest.approx(found[1]["rows"]["student"]["psnr"], rel=1e-4)
    told = ugc("eval", nets["BtoA"], data, "--against", nets["AtoB"], "--device", "cpu")
    assert told.code == 2 and "do not answer the same sources" in told.last


def wrong(name, folder, run, data):
    """(words, the sentence) of an evaluation that cannot be; `folder` is empty."""
    drawn = folder / "drawn"
    shutil.copytree(data / "testB", drawn)
    if name == "nothing there":
        return (run / "studnt", data), r"studnt is not there; expected .*did you mean 'student'"
    if name == "a file":
        (folder / "a.txt").write_text("")
        return (folder / "a.txt", data), "is a file that is no .onnx"
    if name == "a run":
        return (run, data), "is the folder of a run; give one of its nets, such as .*student"
    if name == "empty":
        (folder / "empty").mkdir()
        return (folder / "empty", data), "holds neither a saved net"
    if name == "one missing":
        (drawn / "00.png").unlink()
        return (drawn, data), "lacks pictures for 1 of 4 test sources, first '00'"
    if name == "another size":
        Image.open(drawn / "02.png").resize((24, 32)).save(drawn / "02.png")
        return (drawn, data, "--size", 40), "02.png is 32x24; the test is at 40x40"
    if name == "damaged net":
        shutil.copytree(run / "student", folder / "net")
        (folder / "net/model.safetensors").write_bytes(b"no")
        return (folder / "net", data), "cannot be read as safetensors"
    if name == "nan":
        shutil.copytree(run / "student", folder / "net")
        save_tensors({key: t * float("nan") for key, t in load_tensors(run / "student/model.safetensors").items()},
                     folder / "net/model.safetensors")
        return (folder / "net", data), "student: its answers are not finite"
    if name == "damaged onnx":
        (folder / "x.onnx").write_bytes(b"\x00no")
        return (folder / "x.onnx", data), "cannot be read as ONNX|was not written by ugc export"
    if name == "stats of what":
        np.savez(folder / "s.npz", mu=np.zeros(7), sigma=np.eye(7))
        return (drawn, data, "--stats", folder / "s.npz"), "is of 7 features; expected 2,048"
    if name == "stats before data":
        return (drawn, folder / "no data", "--stats", folder / "real.npz"), "real.npz is not there; expected a stat"
    if name == "fid without weights":
        np.savez(folder / "s.npz", mu=np.zeros(2048), sigma=np.eye(2048))
        return (drawn, data, "--stats", folder / "s.npz"), "is of 2,048 features; .*--fid"
    assert name == "stats to where"
    return (drawn, data, "--save-stats", folder / "s.json"), "expected a file whose name ends in .npz"


@pytest.mark.parametrize("name", ["nothing there", "a file", "a run", "empty", "one missing", "another size", "damaged net",
                                  "nan", "damaged onnx", "stats of what", "stats before data", "fid without weights",
                                  "stats to where"])
def test_what_cannot_be_measured_is_one_sentence(name, ugc, tiny_run, tiny_data, tmp_path):
    words, match = wrong(name, tmp_path, tiny_run, tiny_data)
    answer = ugc("eval", *words, "--device", "cpu")
    assert answer.code == 2 and not answer.out
    assert len([line for line in answer.err.splitlines() if line.startswith("ugc: ")]) == 1
    assert re.search(match, answer.err), answer.err


def test_one_test_image_has_means_and_no_distances(ugc, pairs_in, tiny_run, tmp_path):
    answer = ugc("eval", tiny_run / "student", pairs_in(tmp_path, test=1), "--device", "cpu")
    assert answer.code == 0, answer.err
    assert {line.split()[0].rstrip(",") for line in answer.out.splitlines()[1:]} == {
        *MEANS, "params", "macs", "macs_paper", "latency_ms"}


def test_others_in_a_folder_are_not_scored(told, tiny_data, tmp_path):
    shutil.copytree(tiny_data / "testB", tmp_path / "drawn")
    shutil.copy(tiny_data / "testB/00.png", tmp_path / "drawn/extra.png")
    assert told(tmp_path / "drawn")["rows"]["student"]["psnr"] == 100
    assert open_answers(tmp_path / "drawn").size == (40, 40)
