"""The study: its table, its order, the choice of lengths, what it keeps, and what its page says."""

import argparse
import json
from typing import NamedTuple

import numpy as np
import pytest
import study
import study_page
from study import Study, work
from study_keep import EACH
from study_length import HELD, Lengths, held_out, opened
from study_rows import LENGTHS, SHARES, Row, rows
from study_sums import difference, read

from ugc.cli import run as ugc_run
from ugc.engine.inherit import settings_of
from ugc.nn.hed_vgg import HedVGG
from ugc.recipes.table import parsed

PSNR = {"ugc-25": 12.0, "original-25": 12.5, "original-100": 12.9}


class Shown(NamedTuple):
    """A result of which only its pictures count."""

    pictures: str


def kept(results, name, *, each=None, seed=0, role="student", archs=None, **row):
    """A run's results, of four test images."""
    each = {metric: np.full(4, 0.5, np.float16) for metric in EACH} | (each or {})
    numbers = {metric: float(values.astype(float).mean()) for metric, values in each.items()}
    full = {**numbers, "kd_efflite0": 100.0, "fd_efflite0": 90.0, "macs_paper": 40, **row}
    about = {"name": f"{name}-{seed}", "group": "core", "labels": "25", "seed": seed, "options": [], "source": "",
             "role": role, "archs": archs or {}, "seconds": {"original": 60.0, "test": None},
             "rows": {role: full, "copy": numbers, "floor": {"kd_efflite0": -0.5, "fd_efflite0": 14.0}},
             "env": {"device": "cpu", "commits": ["abc"]}}
    results.mkdir(exist_ok=True)
    (results / f"{name}-{seed}.json").write_text(json.dumps(about))
    np.savez(results / f"{name}-{seed}.npz", shown=np.zeros((12, 64, 64), np.uint8), **each)


def tagged(path, **about):
    """A run's results with these in the place of theirs."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **about}))


def recipe_of(words):
    """What `ugc run WORDS` would run."""
    parser = argparse.ArgumentParser()
    ugc_run.declare(parser)
    return ugc_run.recipe_of(parser.parse_args(words[1:]))


def test_every_row_is_a_run_that_the_command_line_takes(tmp_path, monkeypatch):
    """And arms differ from the run that they are compared with in what their line says, in nothing else."""
    monkeypatch.setattr(HedVGG, "require", classmethod(lambda cls: None))  # which needs a package by hand
    small, large = archs()
    kept(tmp_path / "results", "ugc-25", archs={"student": small, "deep": large, "wide": large})
    (tmp_path / "results/lengths.json").write_text(json.dumps(
        {labels: {str(n): {"psnr": 1.0, "pairs": 9} for n in LENGTHS[:2]} for labels in ("100", "25", "10")}))
    it = Study(tmp_path / "runs", tmp_path / "results", [], [0])
    named = {row.name: row for row in rows([0])}
    assert len(named) == len(list(rows([0]))) and all(not row.source or row.source in named for row in named.values())
    recipes = {}
    for name, row in named.items():
        if not row.source:
            recipes[name] = recipe_of(it.command(row))
            folder = tmp_path / "runs" / name
            folder.mkdir(parents=True)
            (folder / "recipe.json").write_text(json.dumps(recipes[name].model_dump(mode="json")))
    for name, row in named.items():
        if row.source:
            assert settings_of(tmp_path / "runs" / row.source)
            recipes[name] = recipe_of(it.command(row))
    for name, recipe in recipes.items():
        assert recipe.data.labels == float(SHARES[named[name].labels]) and recipe.seed == 0, name
        told = [budget for budget in ("64x", "22x", "20x", "12x") if budget in name]
        assert recipe.budget == (told or ["15x" if "unet" in name else "40x"])[0], name
        assert recipe.family == ("pix2pix-unet" if "unet" in name else "pix2pix-resnet"), name
    assert all(recipes[f"original-{labels}-0"].steps.original == LENGTHS[0] for labels in ("100", "50", "5"))
    assert recipes["alone-25-0"].options["arch"] == small

    def differ(name):
        ours, base = (study_flat(recipes[n]) for n in (name, "ugc-25-0"))
        return {key for key in ours.keys() | base.keys() if ours.get(key) != base.get(key)}

    assert differ("no-finetune-25-0") == differ("finetune-A-25-0") == {"options.finetune_ssl"}
    assert differ("no-nas-ssl-25-0") == {"options.nas_ssl"} and differ("no-nas-25-0") == {"options.nas"}
    assert differ("no-ssl-25-0") == {"options.nas_ssl", "options.finetune_ssl"}
    same = {"search.student", "search.deep", "search.wide", "search.random"}
    assert differ("unfiltered-25-0") == {"options.filter", *same} and differ("deep-25-0") == {"options.teachers", *same}
    assert differ("lite0-25-0") - same == {f"distillation.{key}" for key in ("backbone", "l1")}
    assert recipes["lite0-25-0"].search.deep == large
    for name, key in (("average-25-0", "options.average"), ("fresh-25-0", "options.student"),
                      ("quick-25-0", "optimiser.student"),
                      ("supervised-4-25-0", "options.supervised"), ("lite0-l1-25-0", "distillation.backbone")):
        assert differ(name) == {key, *same}
    assert differ("warm-25-0") == {"optimiser.warmup"} and differ("batch-norm-25-0") - {"generator"} == {
        "generator.norm"}
    assert differ("augment-25-0") == {"objective.augment"}
    assert differ("unet-25-0") == {"family", "budget"}
    assert differ("all-25-0") == {"data.unlabelled"} and differ("ugc-10-0") == {"data.labels"}


def study_flat(recipe):
    from ugc.engine.recipe import flat

    return flat(recipe.model_dump(mode="json"))


def archs():
    """The texts of two architectures."""
    recipe = parsed("sans2serif-study")
    setting = recipe.resolved().setting((1, 1))
    space = setting.cost_model(setting.config).space
    return space.smallest.text, space.largest.text


def test_what_may_begin_and_when(tmp_path):
    it = Study(tmp_path / "runs", tmp_path / "results", ["gain"], [0])
    names = [row.name for row in it.ready()]
    assert "no-nas-ssl-25-0" in names and not {"no-ssl-25-0", "no-finetune-25-0", "alone-25-0"} & set(names)
    done = tmp_path / "runs/no-nas-ssl-25-0/stages/supernet/done.json"
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    for name in ("ugc-25", "no-nas-25"):
        kept(tmp_path / "results", name)
    names = [row.name for row in it.ready()]
    assert "no-ssl-25-0" in names and not {"no-nas-25-0", "alone-25-0"} & set(names)  # alone takes a net of a run to come
    assert names[0] == "ugc-25-0" and "no-finetune-25-0" not in names  # ended elsewhere: arms want it here
    assert names.count("ugc-25-0") > 1  # each arm asks for it; one process runs it
    there = tmp_path / "runs/ugc-25-0/stages/supernet/done.json"
    there.parent.mkdir(parents=True)
    there.write_text("{}")
    names = [row.name for row in it.ready()]
    assert {"no-finetune-25-0", "finetune-A-25-0", "ugc-25-0"} <= set(names)  # which is to end here, too, to be compared
    assert "alone-25-0" not in names  # its net may be another then
    core = Study(tmp_path / "runs", tmp_path / "results", ["core"], [0])
    core.lengths.list_of = lambda labels: tmp_path / "some.meta"
    assert "ugc-25-0" in [row.name for row in core.ready()]
    (tmp_path / "runs/ugc-25-0/metrics.json").write_text("{}")
    names = [row.name for one in (it, core) for row in one.ready()]
    assert "ugc-25-0" not in names and "alone-25-0" in names
    tagged(tmp_path / "results/ugc-25-0.json", supernet="new", archs={"student": "a"})
    for name, supernet, net in (("no-finetune-25", "new", "b"), ("finetune-A-25", "old", "b"), ("alone-25", None, "a")):
        kept(tmp_path / "results", name, archs={"student": net})
        about = {"supernet": supernet, "source": "" if name == "alone-25" else "ugc-25-0"}
        tagged(tmp_path / f"results/{name}-0.json", **about)
    assert {"finetune-A-25-0"} == {"no-finetune-25-0", "finetune-A-25-0", "alone-25-0"} & {row.name for row in it.ready()}
    tagged(tmp_path / "results/ugc-25-0.json", archs={"student": "b"})  # whose net is not the one that learned alone
    assert "alone-25-0" in [row.name for row in it.ready()]
    arms = read(tmp_path / "results")
    assert difference(arms["no-finetune-25"], arms["ugc-25"], "psnr") is not None
    assert difference(arms["finetune-A-25"], arms["ugc-25"], "psnr") is None  # it began from another supernet
    both = Study(tmp_path / "runs", tmp_path / "none", ["core"], [0])
    both.lengths.list_of = lambda labels: tmp_path / "some.meta"
    assert [row.name for row in both.ready()] == ["length-10-5000", "length-25-5000", "length-100-5000",
                                                   "ugc-25-0", "ugc-10-0"]
    assert not [row for row in both.ready() if row.name.startswith("original")]


@pytest.mark.parametrize("psnr, chosen", [([], None), ([1.0], None), ([1.0, 2.0], None), ([2.0, 2.0], 5_000),
                                          ([1.0, 2.0, 1.5], 10_000), ([1.0, 2.0, 3.0, 4.0], 40_000),
                                          ([1.0, 2.0, 3.0, 2.9], 20_000)])
def test_the_length_is_the_one_beyond_which_it_rises_no_more(tmp_path, psnr, chosen):
    (tmp_path / "lengths.json").write_text(json.dumps({"25": {str(n): {"psnr": p} for n, p in zip(LENGTHS, psnr)}}))
    it = Lengths(tmp_path / "lengths.json", tmp_path)
    assert it.chosen("25") == chosen
    it.list_of = lambda labels: tmp_path / "some.meta"
    row = it.next("25")
    assert (row is None) == (chosen is not None)
    if row:
        assert row.name == f"length-25-{LENGTHS[len(psnr)]}" and "original" in row.options


def test_held_out_pairs_are_a_tenth_of_the_labelled_ones_and_no_test_image():
    dataset, _, labelled = opened("10")
    train, held = held_out("10")
    assert sorted([*train, *held]) == sorted(labelled) and len(labelled) == 205 and len(held) == 205 // HELD
    assert not {*train, *held} & {record.key for record in dataset.test}
    assert set(labelled) < set(opened("25")[2])


def test_a_run_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    done = []

    class Fake:
        out = tmp_path

        def ready(self):
            yield from (Row(name, "core", "25", 0, ()) for name in ("bad", "good", "better") if name not in done)

        def command(self, row):
            return ["no-such-verb"] if row.name == "bad" else ["recipes"]

        def finish(self, row):
            done.append(row.name)

    monkeypatch.setattr(study.time, "sleep", lambda seconds: None)
    assert work(Fake(), jobs=2, threads=1) == 1
    assert sorted(done) == ["better", "good"] and "no-such-verb" in (tmp_path / "bad.log").read_text()
    assert "sans2serif-demo" in (tmp_path / "good.log").read_text()


def test_differences_are_paired_and_need_seeds(tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(3):
        base = rng.normal(12, 2, 64).astype(np.float16)  # images differ much more than nets
        kept(tmp_path, "one", seed=seed, each={"psnr": base})
        noise = rng.normal(0, 0.02, 64).astype(np.float16)
        kept(tmp_path, "other", seed=seed, each={"psnr": base + np.float16(0.25) + noise})
        kept(tmp_path, "wild", seed=seed, each={"psnr": (base + np.float16(2.0 * (seed - 1) + 0.25))})
    kept(tmp_path, "single", each={"psnr": base})
    arms = read(tmp_path)
    found = difference(arms["other"], arms["one"], "psnr")
    assert found.value == pytest.approx(0.25, abs=0.01) and found.beyond and found.seeds == 3
    assert 0.24 < found.interval[0] < found.interval[1] < 0.26 and found.spread < 0.01
    back = difference(arms["one"], arms["other"], "psnr")
    assert back.value == pytest.approx(-found.value) and back.beyond
    assert not difference(arms["wild"], arms["one"], "psnr").beyond  # the seeds disagree
    alone = difference(arms["single"], arms["one"], "psnr")
    assert alone.seeds == 1 and alone.spread is None and not alone.beyond
    assert difference(arms["one"], {}, "psnr") is None
    assert difference(arms["one"], arms["other"], "kd_efflite0").interval is None


def test_the_page_says_what_the_results_say(tmp_path):
    """Better and worse by the metric's own direction, nothing of a single seed; twice the same bytes."""
    results, page = tmp_path / "results", tmp_path / "docs" / "results.md"
    for seed in range(3):
        shift = np.float16(0.125) * np.arange(4, dtype=np.float16)
        for name, value in PSNR.items():
            kept(results, name, seed=seed, each={"psnr": np.float16(value) + shift, "l1": np.float16(value) + shift},
                 kd_efflite0=value + 0.001 * seed, macs_paper=400 if "original" in name else 10)
    page.parent.mkdir()
    names = ("verdict", "pictures", "core", "differences", "paragraph", "lengths", "gain", "more", "open", "help", "runs")
    page.write_text("words\n" + "".join(f"<!-- results: {n} -->\n<!-- end of results: {n} -->\n" for n in names))
    study_page.write_page(results, page, None)
    text = page.read_text()
    verdict = text[text.index("<!-- results: verdict"):text.index("<!-- end of results: verdict")]
    sentence = next(line for line in verdict.splitlines() if "original with 25 %" in line)
    better, worse = sentence.split("better: ")[1].split("; worse: ")
    assert "40.0 times fewer" in sentence and "3 seeds" in sentence
    assert "L1 12.188 for 12.688" in better and "KD" in better and "PSNR 12.19 for 12.69" in worse.split(";")[0]
    assert "not told apart: SSIM" in sentence
    assert "**−0.50** [−0.50, −0.50] ± 0.00" in text and "student, 25 %" in text and "words\n" in text
    assert (tmp_path / "docs/results/characters.png").exists()
    study_page.write_page(results, page, None)
    assert page.read_text() == text
    kept(results, "original-25", seed=3, each={"psnr": np.full(4, 50, np.float16)}, kd_efflite0=50, macs_paper=4000)
    study_page.write_page(results, page, None)
    assert sentence in page.read_text()  # a seed of one arm alone changes nothing that is said of both
    arms = {"ugc-25": {0: Shown("a")}, "supervised-25": {2: Shown("c"), 1: Shown("b")}}
    assert study_page.drawn(arms, ["ugc-25", "supervised-25", "longer-25"]) == [
        ("student, 25 %", "a"), ("L_sup^A for the student, too, weight 1 (seed 1)", "b")]


def test_the_page_of_the_project_is_that_of_its_results(tmp_path):
    """docs/results.md is filled from benchmarks/results/study as it is."""
    page = study_page.PAGE.read_text(encoding="utf-8")
    copy = tmp_path / "results.md"
    copy.write_text(page, encoding="utf-8")
    study_page.write_page(study.RESULTS, copy, None)
    assert copy.read_text(encoding="utf-8") == page
