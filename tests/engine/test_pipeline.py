"""Whole runs on a few small pictures: what they leave, how they go on after a kill, what they refuse."""

import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from ugc.data.folders import FolderDataset
from ugc.engine import job, loop, pipeline
from ugc.engine.checkpoint import Checkpoints
from ugc.engine.recipe import flat
from ugc.export.saved import load_net
from ugc.methods.original import Gan
from ugc.methods.selection import SupernetScore
from ugc.methods.ugc import Distill, Supernet
from ugc.nn.cost import total, trace
from ugc.nn.spectral import spectral

STAGES = ("original", "supernet", "search", "distill", "test")
TRAINED = ("original", "supernet", "distill")
NETS = ("original", "supernet", "largest", "smallest", "deep_teacher", "wide_teacher", "student")
MEASURED = ("original", "student", "deep_teacher", "wide_teacher", "largest")
QUALITY = ["psnr", "ssim", "l1", "kd_efflite0", "fd_efflite0"]
COST = ["params", "macs", "macs_paper", "latency_ms"]
NARROW = ("--set", "generator.blocks=3", "--set", "generator.widths=[1,4,8]", "--set", "generator.depths=[0,1]")
PHASES = {"original": Gan, "supernet": Supernet, "distill": Distill}


@pytest.fixture
def finished(request):
    return request.getfixturevalue(request.param)


families = pytest.mark.parametrize("finished", ["tiny_run", "tiny_run_unet"], indirect=True)


def of(path):
    """JSON, strict: no NaN, no Infinity."""

    def refuse(word):
        raise AssertionError(f"{path} holds {word}")

    return json.loads(path.read_text(), parse_constant=refuse)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def weights(folder, role="student"):
    return (folder / role / "model.safetensors").read_bytes()


def limit_of(folder):
    return of(folder / "run.json")["budget"]["limit"]


def interrupt(patch, where, after):
    """KeyboardInterrupt in call number `after` of a method; returns the list of calls."""
    cls, name = where
    plain, calls = getattr(cls, name), []

    def wrapped(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == after:
            raise KeyboardInterrupt
        return plain(self, *args, **kwargs)

    patch.setattr(cls, name, wrapped)
    return calls


# ---- what a run leaves ----

@families
def test_every_file_of_the_run_folder_is_there(finished):
    files = set(files_of(finished))
    expected = {f"{name}.json" for name in ("recipe", "env", "run", "metrics")}
    expected |= {f"{name}.txt" for name in ("labels", "unlabelled", "validation", "test")} | {"report.html"}
    expected |= {f"{net}/{name}" for net in NETS for name in ("config.json", "model.safetensors")}
    expected |= {f"stages/{stage}/done.json" for stage in STAGES}
    expected |= {f"stages/{stage}/{name}" for stage in TRAINED for name in ("log.jsonl", "grid-00000003.png")}
    expected |= {"stages/supernet/D.safetensors", "student/README.md"}
    expected |= {f"stages/search/{name}" for name in ("candidates.jsonl", "trials.jsonl", "choice.json", "pareto.json",
                                                      "pareto.svg")}
    expected |= {f"stages/test/samples/{i:03d}-{kind}.png" for i in range(4)
                 for kind in ("source", "target", "original", "student")}
    expected.add("stages/test/scores.npz")
    assert files == expected  # so: no checkpoint is left, and nothing under a temporary name


@families
def test_metrics_rows_and_keys(finished):
    metrics = of(finished / "metrics.json")
    quality = QUALITY if finished.name == "resnet" else [*QUALITY[:3], "ink_iou", "ink_grey", *QUALITY[3:]]
    rows = metrics["rows"]
    assert set(rows) == {*MEASURED, "copy", "floor"}
    for role in MEASURED:
        assert list(rows[role]) == [*quality, *COST]
        assert all(type(rows[role][key]) is int for key in COST[:3])
        assert rows[role]["latency_ms"] > 0
    assert list(rows["copy"]) == quality
    assert list(rows["floor"]) == QUALITY[3:]
    of_each = np.load(finished / "stages/test/scores.npz")
    assert list(of_each["keys"]) == (finished / "test.txt").read_text().split("\n")[:-1]
    for role in (*MEASURED, "copy"):
        for key in set(quality) - set(QUALITY[3:]):
            assert float(of_each[f"{role}/{key}"].mean()) == pytest.approx(rows[role][key], rel=1e-5)
    assert all(math.isfinite(value) for row in rows.values() for value in row.values())
    assert metrics["protocol"]["test_images"] == 4 and metrics["protocol"]["size"] == [32, 32]
    assert "thread" in metrics["protocol"]["latency_ms"]


@families
def test_copy_is_the_source_and_the_numbers_are_those_of_the_saved_nets(finished):
    """Computed again from the sample pictures, which are all of the test here."""
    rows = of(finished / "metrics.json")["rows"]

    def distance(kind):
        pairs = [[np.asarray(Image.open(finished / f"stages/test/samples/{i:03d}-{name}.png"), np.float64)
                  for name in (kind, "target")] for i in range(4)]
        return np.mean([np.abs(a - b).mean() for a, b in pairs]) / 127.5

    assert distance("source") == pytest.approx(rows["copy"]["l1"], rel=1e-6)
    for role in ("original", "student"):
        assert distance(role) == pytest.approx(rows[role]["l1"], abs=0.5 / 127.5)  # the pictures are of 8 bits


@families
def test_all_json_is_valid_without_nan(finished):
    for path in finished.rglob("*.json"):
        of(path)
    for path in finished.rglob("*.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line, parse_constant=lambda word: pytest.fail(f"holds {word}"))


@families
def test_the_student_is_within_the_budget(finished):
    """By its own traced cost, by what the files say, and by counting numbers in its file."""
    budget, about = of(finished / "run.json")["budget"], of(finished / "student" / "config.json")
    net, config = load_net(finished / "student")
    cost = total(trace(net, None, (32, 32)))
    original = of(finished / "original" / "config.json")
    assert budget["key"] == "macs_paper" and budget["limit"] == pytest.approx(original["macs_paper"] / 8)
    assert cost.macs_paper <= budget["limit"]
    assert {key: about[key] for key in COST[:3]} == vars(cost)
    choice = of(finished / "stages/search/choice.json")
    assert choice["student"]["arch"] == config["arch"]
    assert {key: choice["student"][key] for key in COST[:3]} == vars(cost)
    row = of(finished / "metrics.json")["rows"]["student"]
    assert {key: row[key] for key in COST[:3]} == vars(cost)
    with safe_open(finished / "student" / "model.safetensors", "pt") as file:
        sizes = {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert sum(size for name, size in sizes.items() if "running" not in name) == cost.params


@families
def test_the_search_scored_what_its_files_say(finished):
    rows = rows_of(finished / "stages/search/candidates.jsonl")
    assert Counter(row["arch"] for row in rows).most_common(1)[0][1] == 1  # nothing twice
    assert {row["role"] for row in rows} == {"student", "deep", "wide", "ladder", "random"}
    of_student = [row for row in rows if row["role"] == "student"]
    choice, limit = of(finished / "stages/search/choice.json"), limit_of(finished)
    best = min(of_student, key=lambda row: row["score"])
    assert choice["student"]["score"] == best["score"]
    assert all(row["macs_paper"] <= limit for row in of_student)
    pareto = of(finished / "stages/search/pareto.json")
    assert len(pareto["rows"]) == len(rows) == of(finished / "stages/search/done.json")["scored"]
    assert pareto["chosen"]["arch"] == choice["student"]["arch"]
    costs, scores = ([row[key] for row in pareto["front"]] for key in ("macs_paper", "score"))
    assert costs == sorted(costs) and scores == sorted(scores, reverse=True)
    for row in pareto["rows"]:
        assert any(f["macs_paper"] <= row["macs_paper"] and f["score"] <= row["score"] for f in pareto["front"])


@families
def test_the_split_is_written_and_adds_up(finished):
    names = {name: (finished / f"{name}.txt").read_text().split() for name in ("labels", "unlabelled", "validation")}
    counts = of(finished / "run.json")["counts"]
    assert counts == {"labelled": 8, "unlabelled": 11, "validation": 1, "hidden": 0, "test": 4}
    assert [len(names[key]) for key in ("labels", "unlabelled", "validation")] == [8, 11, 1]
    every = sorted(key for keys in names.values() for key in keys)
    assert every == [f"{i:02d}" for i in range(20)]
    assert set(names["labels"]) == {f"{i:02d}" for i in range(8)}


@families
def test_recipe_json_spells_everything_out(finished):
    recipe, env = of(finished / "recipe.json"), of(finished / "env.json")
    assert recipe["device"] == "cpu" and recipe["precision"] == "fp32" and recipe["budget"] == "8x"
    assert recipe["options"]["filter"] == "paper" and recipe["options"]["nas"] is True
    assert recipe["steps"] == {"original": 3, "supernet": 3, "distill": 3}
    assert set(env["versions"]) >= {"ugc", "python", "torch", "numpy"}
    assert of(finished / "run.json")["distillation"]["backbone"] == "none"


@families
def test_the_report_is_there_and_names_the_nets(finished):
    page = (finished / "report.html").read_text()
    assert "<html" in page and page.rstrip().endswith("</html>")
    for word in ("original", "student", "copy", "floor", "deep teacher", "wide teacher"):
        assert word in page


@families
def test_running_again_does_nothing(finished, ugc, tiny):
    recipe = of(finished / "recipe.json")
    before = files_of(finished)
    told = ugc("run", recipe["data"]["path"], "--out", finished, "--family", recipe["family"], *tiny)
    assert told.code == 0
    assert [f"{stage}: done" in told.err for stage in STAGES] == [True] * 5
    assert files_of(finished) == before


@pytest.mark.parametrize("words, name", [
    (("--seed", 1), "seed"), (("--labels", 0.5), "data.labels"), (("--budget", "9x"), "budget"),
    (("--steps", 4), "steps.original"), (("--set", "optimiser.lr=1e-3"), "optimiser.lr"),
    (("--set", "options.filter=off"), "options.filter"), (("--precision", "bf16"), "precision"),
    (("--original", "none"), "original")])
def test_other_options_are_named_and_refused(tiny_run, tiny_data, ugc, tiny, words, name):
    before = files_of(tiny_run)
    told = ugc("run", tiny_data, "--out", tiny_run, *tiny, *words)
    assert told.code == 2
    assert len(told.err.strip().splitlines()) == 1
    assert "other options" in told.err and f"{name} (" in told.err
    assert files_of(tiny_run) == before


def test_a_folder_that_is_no_run_is_left_alone(tiny_data, ugc, tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    told = ugc("run", tiny_data, "--out", tmp_path, *tiny)
    assert told.code == 2 and "no run" in told.err
    assert files_of(tmp_path) == {"thesis.txt": b"mine"}
    told = ugc("run", tiny_data, "--out", tmp_path / "thesis.txt", *tiny)
    assert told.code == 2 and "is a file" in told.err


def test_dry_run_writes_nothing(tiny_data, ugc, ugc_home, tiny, tmp_path):
    cached = files_of(ugc_home)
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--dry-run")
    assert told.code == 0
    assert not list(tmp_path.iterdir()) and files_of(ugc_home) == cached
    for word in ("8 pairs", "11 unlabelled", "4 test", "pix2pix-resnet", "8x", "32x32", "supernet (3 steps)", "memory"):
        assert word in told.out


# ---- going on ----

@pytest.fixture(scope="module")
def whole(tmp_path_factory, ugc, tiny_data, tiny):
    """An uninterrupted run with 4 steps a stage, narrower for time."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    told = ugc("run", tiny_data, "--out", folder, *tiny, *NARROW, "--steps", 4)
    assert told.code == 0, told.err
    return folder


def test_killed_in_every_stage_it_ends_in_the_same_bits(whole, ugc, tiny_data, tiny, tmp_path, monkeypatch):
    command = ("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4)
    found = rows_of(whole / "stages/search/candidates.jsonl")
    monkeypatch.setattr(loop, "SAVE_SECONDS", -1.0)  # a checkpoint after every step
    scored = []
    for stage in ("original", "supernet", "search", "distill"):
        with monkeypatch.context() as patch:
            if stage == "search":
                calls = interrupt(patch, (SupernetScore, "__call__"), after=6)
            else:
                calls = interrupt(patch, (PHASES[stage], "step"), after=3)
            if stage == "distill":
                scored = interrupt(patch, (SupernetScore, "__call__"), after=0)
            told = ugc(*command)
        assert told.code == 130, told.err
        folder = tmp_path / "run" / "stages" / stage
        assert not (folder / "done.json").exists()
        if stage == "search":
            path = folder / "candidates.jsonl"
            kept = path.read_text()
            assert len(rows_of(path)) == 5
            path.write_text(kept + kept.splitlines()[-1][:37])  # half a line
        else:
            assert [len(calls), *(row["step"] for row in rows_of(folder / "log.jsonl"))] == [3, 0, 1]
            assert Checkpoints(folder).latest()["step"] == 2
    assert len(scored) == len(found) - 5  # what the first try had scored was not scored again
    told = ugc(*command)
    assert told.code == 0 and "goes on at step 2 of 4" in told.err
    assert rows_of(tmp_path / "run/stages/search/candidates.jsonl") == found
    for name in ("choice.json", "pareto.json", "candidates.jsonl"):
        assert (tmp_path / "run/stages/search" / name).read_bytes() == (whole / "stages/search" / name).read_bytes()
    for stage in TRAINED:
        for name in ("log.jsonl", "grid-00000004.png"):
            assert (tmp_path / "run/stages" / stage / name).read_bytes() == (whole / "stages" / stage / name).read_bytes()
    for role in NETS:
        assert weights(tmp_path / "run", role) == weights(whole, role), role
    one, other = of(tmp_path / "run/metrics.json")["rows"], of(whole / "metrics.json")["rows"]
    for row in (*one.values(), *other.values()):
        row.pop("latency_ms", None)
    assert one == other


def test_killed_between_checkpoints_it_starts_the_stage_again(whole, ugc, tiny_data, tiny, tmp_path, monkeypatch):
    command = ("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4, "--until", "original")
    with monkeypatch.context() as patch:
        interrupt(patch, (Gan, "step"), after=4)
        assert ugc(*command).code == 130
    assert Checkpoints(tmp_path / "run/stages/original").latest()["step"] == 0
    assert ugc(*command).code == 0
    assert weights(tmp_path / "run", "original") == weights(whole, "original")
    log = "stages/original/log.jsonl"
    assert (tmp_path / "run" / log).read_bytes() == (whole / log).read_bytes()


def test_killed_after_the_last_step_before_the_net_is_saved(whole, ugc, tiny_data, tiny, tmp_path, monkeypatch):
    """A stage is done when its nets are there."""
    command = ("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4, "--until", "original")
    with monkeypatch.context() as patch:
        interrupt(patch, (pipeline.Run, "save"), after=1)
        assert ugc(*command).code == 130
    assert not (tmp_path / "run/original/config.json").exists()
    assert ugc(*command).code == 0
    assert (tmp_path / "run/original/config.json").exists()
    assert weights(tmp_path / "run", "original") == weights(whole, "original")


def test_stage_by_stage_and_the_test_split_is_read_at_the_end(whole, ugc, tiny_data, tiny, tmp_path, monkeypatch):
    command = ("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4)
    assert ugc(*command, "--until", "supernet").code == 0
    done = [stage for stage in STAGES if (tmp_path / "run/stages" / stage / "done.json").exists()]
    assert done == ["original", "supernet"] and not (tmp_path / "run/student").exists()

    with monkeypatch.context() as patch:
        def forbidden(*args):
            raise AssertionError("the test split was read before stage test")

        plain, read = FolderDataset.read, []
        patch.setattr(pipeline, "test_data", forbidden)
        patch.setattr(FolderDataset, "read", lambda self, ref, *rest: read.append(ref.path) or plain(self, ref, *rest))
        told = ugc(*command, "--until", "distill")
    assert told.code == 0, told.err
    assert not [path for path in read if path.startswith("test")]
    assert not (tmp_path / "run/metrics.json").exists() and not (tmp_path / "run/stages/test").exists()
    assert weights(tmp_path / "run") == weights(whole)

    assert ugc(*command).code == 0
    assert set(of(tmp_path / "run/metrics.json")["rows"]) == {*MEASURED, "copy", "floor"}


def test_until_an_unknown_stage(tiny_data, ugc, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--until", "disttil")
    assert told.code == 2 and "--until" in told.err and "distill" in told.err
    assert not (tmp_path / "run").exists()


# ---- one supernet, many budgets ----

def test_from_takes_over_original_and_supernet(whole, ugc, tmp_path):
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", "--budget", "20x")
    assert told.code == 0, told.err
    assert [f"{stage}: done" in told.err for stage in STAGES] == [True, True, False, False, False]
    for role in ("original", "supernet", "largest", "smallest"):
        assert files_of(tmp_path / "run" / role) == files_of(whole / role)
    for stage in ("original", "supernet"):
        assert files_of(tmp_path / "run/stages" / stage) == files_of(whole / "stages" / stage)
    student = of(tmp_path / "run/student/config.json")
    original = of(whole / "original/config.json")
    assert student["macs_paper"] <= original["macs_paper"] / 20 < of(whole / "student/config.json")["macs_paper"]
    recipe, theirs = flat(of(tmp_path / "run/recipe.json")), flat(of(whole / "recipe.json"))
    assert {key for key in recipe if recipe[key] != theirs[key]} == {"budget"}
    assert of(tmp_path / "run/run.json")["distillation"] == of(whole / "run.json")["distillation"]
    rows = of(tmp_path / "run/metrics.json")["rows"]
    assert rows["student"]["macs_paper"] == student["macs_paper"] and set(rows) == {*MEASURED, "copy", "floor"}
    assert rows["original"]["l1"] == of(whole / "metrics.json")["rows"]["original"]["l1"]

    again = ugc("run", "--from", whole, "--out", tmp_path / "run", "--budget", "20x")
    assert again.code == 0 and all(f"{stage}: done" in again.err for stage in STAGES)


def test_from_with_the_same_options_gives_the_same_student(whole, ugc, tmp_path):
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", "--until", "distill")
    assert told.code == 0, told.err
    assert weights(tmp_path / "run") == weights(whole)


@pytest.mark.parametrize("words, name", [
    (("--seed", 1), "seed"), (("--labels", 0.5), "data.labels"), (("--base", 16), "base"), (("--size", 64), "data.size"),
    (("--family", "pix2pix-unet", "--set", "generator={}"), "family"), (("--set", "steps.supernet=5"), "steps.supernet"),
    (("--set", "options.nas_ssl=false"), "options.nas_ssl"), (("--set", "search.validation=2"), "search.validation"),
    (("--original", "none"), "original")])
def test_from_refuses_another_run_by_name(whole, ugc, tmp_path, words, name):
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", *words)
    assert told.code == 2
    assert "--from" in told.err and f"{name} (" in told.err and len(told.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_from_says_so_in_a_dry_run_too(whole, ugc, tmp_path):
    """A dry run that promises what the run then refuses is worth nothing."""
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", "--seed", 1, "--dry-run")
    assert told.code == 2 and "seed (" in told.err


def test_from_a_run_without_a_supernet(ugc, tiny_data, tiny, tmp_path):
    assert ugc("run", tiny_data, "--out", tmp_path / "half", *tiny, *NARROW, "--until", "original").code == 0
    told = ugc("run", "--from", tmp_path / "half", "--out", tmp_path / "run")
    assert told.code == 2 and "no finished supernet" in told.err and not (tmp_path / "run").exists()
    told = ugc("run", "--from", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert told.code == 2 and "recipe.json" in told.err and not (tmp_path / "run").exists()


def test_from_after_the_data_set_has_changed(whole, ugc, tiny_data, tmp_path):
    other = shutil.copytree(tiny_data, tmp_path / tiny_data.name)
    (other / "trainA/19.png").unlink()
    source = shutil.copytree(whole, tmp_path / "source")
    recipe = of(source / "recipe.json")
    recipe["data"]["path"] = str(other)
    (source / "recipe.json").write_text(json.dumps(recipe))
    told = ugc("run", "--from", source, "--out", tmp_path / "run", "--budget", "20x")
    assert told.code == 2 and "labelled.txt" in told.err and "the data set has changed" in told.err
    assert not (tmp_path / "run").exists()


def test_a_point_of_the_front_can_be_the_student(whole, ugc, tmp_path):
    limit = limit_of(whole)
    rows = of(whole / "stages/search/pareto.json")["rows"]
    fitting = [row["arch"] for row in rows if row["macs_paper"] <= limit and row["role"] in ("ladder", "random")]
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", "--set", f"search.student={fitting[0]}",
               "--until", "distill")
    assert told.code == 0, told.err
    assert of(tmp_path / "run/student/config.json")["arch"] == fitting[0]
    dear = max(rows, key=lambda row: row["macs_paper"])["arch"]
    told = ugc("run", "--from", whole, "--out", tmp_path / "dear", "--set", f"search.student={dear}", "--until", "distill")
    assert told.code == 2 and "search.student" in told.last and "8x" in told.last


def test_trials_choose_the_student(whole, ugc, tmp_path):
    """Killed in their middle, they go on to the same choice."""
    words = ("run", "--from", whole, "--out", tmp_path / "run", "--set", "search.trials=5", "--set", "search.trial=2")
    assert ugc(*words, "--until", "search").code == 0
    folder = tmp_path / "run/stages/search"
    lines, choice = (folder / "trials.jsonl").read_text(), (folder / "choice.json").read_text()
    tried = {row["arch"]: row["score"] for row in map(json.loads, lines.splitlines())}
    assert json.loads(choice)["student"]["arch"] == min(tried, key=tried.get) and 2 <= len(tried) <= 8
    for name in ("done.json", "choice.json", "pareto.json"):
        (folder / name).unlink()
    (folder / "trials.jsonl").write_text(lines[:len(lines) // 2])
    assert ugc(*words, "--until", "search").code == 0
    assert (folder / "trials.jsonl").read_text() == lines and (folder / "choice.json").read_text() == choice


def test_teachers_and_loss_can_be_given_to_a_run_on_the_same_supernet(whole, ugc, tmp_path):
    """So that arms differ in one thing: the nets of stage 2 are named, and nobody is searched; another L_OD is said."""
    rows = of(whole / "stages/search/pareto.json")["rows"]
    limit = limit_of(whole)
    student = next(row["arch"] for row in rows if row["macs_paper"] <= limit)
    deep, wide = [row["arch"] for row in rows if row["macs_paper"] > limit][:2]
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", "--set", f"search.student={student}", "--set",
               f"search.deep={deep}", "--set", f"search.wide={wide}", "--set", "search.random=0", "--set",
               "distillation.l1=7", "--set", "options.teachers=wide", "--until", "distill")
    assert told.code == 0, told.err
    assert [of(tmp_path / f"run/{role}/config.json")["arch"] for role in ("student", "wide_teacher")] == [student, wide]
    assert not (tmp_path / "run/deep_teacher").exists() and not (tmp_path / "run/stages/distill/D_deep").exists()
    assert of(tmp_path / "run/stages/search/choice.json")["deep"]["arch"] == deep
    lines = (tmp_path / "run/stages/search/candidates.jsonl").read_text().splitlines()
    scored = [json.loads(line)["role"] for line in lines]
    assert all(scored.count(role) <= 1 for role in ("student", "deep", "wide"))
    assert any("L_OD" in note and "l1 " in note and "7.0 here" in note for note in of(tmp_path / "run/run.json")["notes"])


# ---- other kinds of run ----

def test_original_none_and_channels_that_differ(ugc, pairs_in, tiny, tmp_path):
    """No original but its cost, no copy of the source; everything else is there."""
    data = pairs_in(tmp_path / "colour to grey", channels=(3, 1))
    told = ugc("run", data, "--out", tmp_path / "run", *tiny, *NARROW, "--original", "none")
    assert told.code == 0, told.err
    rows = of(tmp_path / "run/metrics.json")["rows"]
    assert set(rows) == {"original", "student", "deep_teacher", "wide_teacher", "largest", "floor"}
    assert list(rows["original"]) == COST[:3] and rows["original"]["macs_paper"] == limit_of(tmp_path / "run") * 8
    assert "ink_iou" in rows["student"] and "psnr" in rows["student"]
    assert not (tmp_path / "run/original").exists() and not (tmp_path / "run/stages/original").exists()
    assert of(tmp_path / "run/run.json")["channels"] == [3, 1]
    student, _ = load_net(tmp_path / "run/student")
    assert student(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)
    assert total(trace(student, None, (32, 32))).macs_paper <= limit_of(tmp_path / "run")


def test_a_given_original_stands_for_the_trained_one(whole, ugc, tiny_data, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4,
               "--original", whole / "original")
    assert told.code == 0, told.err
    assert not (tmp_path / "run/stages/original").exists()
    assert files_of(tmp_path / "run/original") == files_of(whole / "original")
    assert weights(tmp_path / "run") != weights(whole)  # the supernet began with the layers that fit
    rows = of(tmp_path / "run/metrics.json")["rows"]
    assert rows["original"]["psnr"] == of(whole / "metrics.json")["rows"]["original"]["psnr"]


def test_a_given_original_counts_for_the_budget_and_must_fit(whole, tiny_run_unet, ugc, tiny_data, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--original", whole / "largest", "--dry-run")
    assert told.code == 0
    macs = of(whole / "largest/config.json")["macs_paper"]
    assert f"{macs / 8 / 1e6:.4g}M macs_paper" in told.out
    for wrong, word in ((tiny_run_unet / "original", "channels"), (tmp_path / "nothing", "no saved net")):
        told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, "--original", wrong)
        assert told.code == 2 and word in told.err and not (tmp_path / "run").exists()


def test_method_original(whole, ugc, tiny_data, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4, "--method", "original")
    assert told.code == 0, told.err
    assert set(of(tmp_path / "run/metrics.json")["rows"]) == {"original", "copy", "floor"}
    assert weights(tmp_path / "run", "original") == weights(whole, "original")
    assert sorted(p.name for p in (tmp_path / "run/stages").iterdir()) == ["original", "test"]
    assert (tmp_path / "run/report.html").exists()


def test_without_nas_there_is_no_supernet_and_twice_the_steps(ugc, tiny_data, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--original", "none",
               "--set", "options.nas=false")
    assert told.code == 0, told.err
    assert sorted(p.name for p in (tmp_path / "run/stages").iterdir()) == ["distill", "search", "test"]
    assert [row["step"] for row in rows_of(tmp_path / "run/stages/distill/log.jsonl")] == list(range(6))
    rows = of(tmp_path / "run/metrics.json")["rows"]
    assert set(rows) == {"original", "student", "deep_teacher", "wide_teacher", "copy", "floor"}
    assert rows["student"]["macs_paper"] <= limit_of(tmp_path / "run")
    widths = {item.split("=")[1] for item in of(tmp_path / "run/student/config.json")["arch"].split(",")
              if not item.startswith("d.")}
    assert len(widths) <= 2  # an even net
    assert of(tmp_path / "run/run.json")["distillation"]["backbone"] == "none"  # the run folder says which loss


def test_without_nas_ssl_the_supernet_sees_no_unlabelled_source(whole, ugc, pairs_in, tiny, tmp_path):
    """Its stage 1 does not change when all unlabelled sources do; the default's does."""
    first, second = (pairs_in(tmp_path / name / "squares") for name in "ab")
    for path in (second / "trainA").iterdir():
        if int(path.stem) >= 8:
            Image.new("RGB", (40, 40), (9, 99, 199)).save(path)
    for setting, same in (("options.nas_ssl=false", True), ("options.nas_ssl=true", False)):
        found = []
        for data in (first, second):
            out = tmp_path / f"{setting}-{data.parent.name}"
            told = ugc("run", data, "--out", out, *tiny, *NARROW, "--original", "none", "--set", setting,
                       "--until", "supernet")
            assert told.code == 0, told.err
            found.append(weights(out, "supernet"))
        assert (found[0] == found[1]) is same


def test_without_finetune_ssl_there_is_no_eq_9(whole, ugc, tmp_path):
    told = ugc("run", "--from", whole, "--out", tmp_path / "run", "--set", "options.finetune_ssl=false",
               "--until", "distill")
    assert told.code == 0, told.err

    def keys(folder):
        return {key.split(".")[0] for row in rows_of(folder / "stages/distill/log.jsonl") for key in row
                if key.startswith("student/")}

    assert keys(tmp_path / "run") == {"student/A"} and keys(whole) == {"student/A", "student/U"}
    assert weights(tmp_path / "run") != weights(whole)


def test_no_unlabelled_source_at_all(ugc, pairs_in, tiny, tmp_path):
    """labels=1 and a target for every source: V comes from A, stage 1 distils on A, stage 2 drops Eq. 9."""
    data = pairs_in(tmp_path / "pairs", pairs=10, alone=0)
    told = ugc("run", data, "--out", tmp_path / "run", *tiny, *NARROW, "--original", "none", "--labels", 1)
    assert told.code == 0, told.err
    assert of(tmp_path / "run/run.json")["counts"] == {"labelled": 9, "unlabelled": 0, "validation": 1, "hidden": 0,
                                                      "test": 4}
    rows = rows_of(tmp_path / "run/stages/distill/log.jsonl")
    assert not [key for row in rows for key in row if key.startswith("student/U")]
    assert all(value is not None for row in rows for value in row.values())
    for value in load_file(tmp_path / "run/student/model.safetensors").values():
        assert value.isfinite().all()


def test_hidden_targets_and_test_pictures_are_never_decoded(ugc, pairs_in, tiny, tmp_path):
    """They are truncated behind their headers: a run that looks at one of them fails."""
    data = pairs_in(tmp_path / "squares")
    (tmp_path / "names.meta").write_text("00.png\n01\n02.png\n")
    for path in [*(data / "trainB").iterdir(), *(data / "testA").iterdir(), *(data / "testB").iterdir()]:
        if path.parent.name != "trainB" or path.stem not in ("00", "01", "02"):
            path.write_bytes(path.read_bytes()[:64])
    told = ugc("run", data, "--out", tmp_path / "run", *tiny, *NARROW, "--labels", tmp_path / "names.meta",
               "--until", "distill")
    assert told.code == 0, told.err
    counts = of(tmp_path / "run/run.json")["counts"]
    assert counts["labelled"] == 3 and counts["hidden"] == 5 and counts["unlabelled"] + counts["validation"] == 17
    told = ugc("run", data, "--out", tmp_path / "run", *tiny, *NARROW, "--labels", tmp_path / "names.meta")
    assert told.code == 2 and "truncated" in told.last  # stage test does read the test pictures


def test_a_truncated_picture_stops_the_run_and_mended_it_goes_on(whole, ugc, tiny_data, ugc_home, tiny, tmp_path):
    """Its header is whole, so it is noticed when it is decoded."""
    data = shutil.copytree(tiny_data, tmp_path / tiny_data.name)
    path = data / "trainA/03.png"
    good = path.read_bytes()
    path.write_bytes(good[:64])
    command = ("run", data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4, "--until", "original")
    told = ugc(*command)
    assert told.code == 2 and "trainA/03.png" in told.last and "truncated" in told.last and "Traceback" not in told.err
    assert not list((tmp_path / "run").rglob("*.pt")) and not list((tmp_path / "run").rglob(".*"))
    assert not list(ugc_home.rglob(".*"))
    path.write_bytes(good)
    assert ugc(*command).code == 0
    assert weights(tmp_path / "run", "original") == weights(whole, "original")


def test_bf16_and_a_backbone(ugc, tiny_data, tiny, tmp_path):
    """Half precision with L_OD on EfficientNet-Lite0: ends, finite, and says which backbone it was."""
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--original", "none", "--precision", "bf16",
               "--set", "distillation.backbone=lite0", "--steps", 2, "--set", "search.population=2")
    assert told.code == 0, told.err
    assert of(tmp_path / "run/recipe.json")["precision"] == "bf16"
    about = of(tmp_path / "run/run.json")["distillation"]
    assert "lite0" in about["backbone"] and len(about["weights_sha256"]) == 64
    assert "L_OD on" in told.err and "lite0" in told.err.lower()
    keys = {key for row in rows_of(tmp_path / "run/stages/supernet/log.jsonl") for key in row}
    assert {"G/s.feature", "G/s.style", "G/r.ssim", "G/recon", "G/gan", "D/gan"} <= keys
    saved = load_file(tmp_path / "run/student/model.safetensors")
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in saved.values())
    rows = of(tmp_path / "run/metrics.json")["rows"]
    assert all(math.isfinite(value) for row in rows.values() for value in row.values())


def test_another_seed_is_another_run(whole, ugc, tiny_data, tiny, tmp_path):
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *NARROW, "--steps", 4, "--seed", 1,
               "--until", "original")
    assert told.code == 0
    assert weights(tmp_path / "run", "original") != weights(whole, "original")


def test_direction_swaps_the_sides(ugc, pairs_in, tiny, tmp_path):
    data = pairs_in(tmp_path / "squares", channels=(3, 1))
    told = ugc("run", data, "--out", tmp_path / "run", *tiny, *NARROW, "--direction", "BtoA", "--until", "original")
    assert told.code == 0, told.err
    assert of(tmp_path / "run/run.json")["channels"] == [1, 3]
    assert of(tmp_path / "run/run.json")["counts"]["unlabelled"] == 0  # targets alone are of no use


def test_every_session_is_noted_and_a_difference_is_said(ugc, tiny, tiny_data, tmp_path, monkeypatch):
    words = ("run", tiny_data, "--out", tmp_path / "run", *tiny, "--set", "generator.blocks=3", "--until", "original")
    assert ugc(*words).code == 0
    assert "goes on with other" not in ugc(*words).err
    plain = job.environment
    monkeypatch.setattr(job, "environment", lambda device: {**plain(device), "threads": 97})
    told = ugc(*words)
    assert told.code == 0 and "goes on with other threads (1 before, 97 now)" in told.err
    env = of(tmp_path / "run/env.json")
    assert [session["threads"] for session in env["sessions"]] == [1, 1, 97] and env["threads"] == 1


def test_what_is_saved_has_no_spectral_norm(ugc, tiny, tiny_data, tmp_path):
    """It is in the checkpoints, where training goes on; the saved original is baked."""
    words = ("--family", "gaugan", "--size", "32x64", "--set", "generator.upsampling=normal", "--set", "steps.original=2",
             "--set", "objective.lambda_perceptual=0", "--until", "original")
    told = ugc("run", tiny_data, "--out", tmp_path / "run", *tiny, *words)
    assert told.code == 0, told.err
    net, about = load_net(tmp_path / "run/original")
    assert not net.config.spectral and not spectral(net)
    assert about["params"] == sum(p.numel() for p in net.parameters())
