"""The model card: the hub reads its head, people its tables, and both are what the run's files say."""

import re
import shutil

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from PIL import Image

from ugc.core.files import read_json, write_json
from ugc.engine.card import _quoted, write_card
from ugc.engine.record import Record
from ugc.engine.report import write_report
from ugc.metrics.protocols import METRICS

FILES = ("metrics.json", "recipe.json", "run.json", "env.json", "student/config.json", "original/config.json")


def text_of(run, role="student"):
    return (run / role / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def copied(tiny_run, tmp_path):
    """The files of a run that a card is made of, to be changed."""
    for name in FILES:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_run / name, tmp_path / "run" / name)
    return tmp_path / "run"


def change(path, **fields):
    write_json(path, {**read_json(path), **fields})


def table_of(text):
    """First column -> cells, of the card's table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return rows[0][1:], {row[0].strip("*"): row[1:] for row in rows[2:]}


@pytest.mark.parametrize("run", ["tiny_run", "tiny_run_unet"])
def test_the_hub_can_read_its_head(request, run):
    run = request.getfixturevalue(run)
    card = ModelCard(text_of(run))
    data, row = card.data, read_json(run / "metrics.json")["rows"]["student"]
    assert (data.library_name, data.pipeline_tag, data.license) == ("ugc", "image-to-image", "other")
    assert re.fullmatch(r"[a-z-]+", data.license_name)
    family = read_json(run / "recipe.json")["family"]
    assert {"ugc", "gan-compression", "image-to-image", family} <= set(data.tags)
    measured = {name: value for name, value in row.items() if name in METRICS}
    assert data.metrics == list(measured) and len(measured) >= 5
    assert {result.metric_type: result.metric_value for result in data.eval_results} == pytest.approx(measured, rel=1e-5)
    dataset = read_json(run / "run.json")["dataset"]
    assert {(result.dataset_name, result.dataset_split) for result in data.eval_results} == {(dataset, "test")}
    assert card.text.lstrip().startswith(f"# `{dataset}`")


def test_its_table_is_the_runs(tiny_run):
    columns, table = table_of(text_of(tiny_run))
    rows = read_json(tiny_run / "metrics.json")["rows"]
    names = {"original": "original", "student": "student", "copy of the source": "copy", "floor": "floor"}
    assert list(table) == list(names)
    keys = ["psnr", "ssim", "l1", "kd_efflite0", "fd_efflite0", "params", "macs", "macs_paper"]
    assert columns[0].startswith("PSNR, dB ↑") and columns[2].endswith("↓") and columns[-3:] == keys[-3:]
    for label, name in names.items():
        for key, cell in zip(keys, table[label], strict=True):
            digits = len(cell.partition(".")[2])
            wanted = rows[name].get(key)
            assert cell == ("–" if wanted is None else f"{wanted:,.{digits}f}"), (label, key)


def test_it_says_how_and_from_what(tiny_run, tiny_data):
    text, run, env = text_of(tiny_run), read_json(tiny_run / "run.json"), read_json(tiny_run / "env.json")
    protocol = read_json(tiny_run / "metrics.json")["protocol"]
    for words in ("8 labelled pairs", "at most", "steps: original 3 · supernet 3 · distill 3; batch 2", "one run, seed 0",
                  "4 test images at 32x32", "4 test images are few", "copy: the source as the answer", "pip install ugc",
                  f"torch {env['versions']['torch']}", run["distillation"]["text"], protocol["metrics"]["psnr"],
                  read_json(tiny_run / "student/config.json")["arch"], "pictures of the user's own", "AtoB"):
        assert words in text, words
    assert str(env["commit"]) in text
    for words in (str(tiny_run), str(tiny_run.parent), str(tiny_data), "/home/", "/tmp/", "None", "{"):
        assert words not in text.replace("[N, ", ""), words


def test_it_tells_the_steps_that_were_taken(copied):
    """Without NAS the distillation takes both stages' steps, which the recipe does not say."""
    write_json(copied / "stages/distill/done.json", {"steps": 6, "seconds": 1.0})
    write_card(copied, "student")
    assert "original 3 · supernet 3 · distill 6; batch" in text_of(copied)


def test_it_counts_no_sources_that_were_not_seen(copied):
    """Those of A alone learn in `alone`, in an original and without NAS-SSL and Finetune-SSL."""
    write_card(copied, "student")
    assert "8 labelled pairs and 11 sources without a target" in text_of(copied)
    change(copied / "run.json", sees_unlabelled=False)
    write_card(copied, "student")
    assert "8 labelled pairs, AtoB" in text_of(copied)
    write_report(copied)
    page = (copied / "report.html").read_text()
    assert "8 labelled pairs, 1 held out for the search" in page


def test_what_is_no_list_and_no_mapping_is_not_trusted(copied):
    change(copied / "env.json", sessions=5)
    change(copied / "run.json", steps=[1])
    record = Record(copied)
    assert len(record.sessions) == 1 and record.taken["supernet"] == 3


def test_its_example_runs(tiny_run, tmp_path, monkeypatch):
    shutil.copytree(tiny_run / "student", tmp_path / "student")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", text_of(tiny_run), re.DOTALL)[1]
    exec(code, {"pil": Image.fromarray(np.zeros((20, 30, 3), np.uint8))})
    assert Image.open("out.png").size == (30, 20)


NAMES = ["a \"b\" 'c': #x - {y}", "| <b>`x`</b> |", "字: ö", "[1]", "yes", "12", "a: b", "a\u2028b\x7f"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_folder(copied, name):
    change(copied / "run.json", dataset=name)
    write_card(copied, "student")
    data = ModelCard(text_of(copied)).data
    assert {result.dataset_name for result in data.eval_results} == {name}
    assert all(isinstance(result.dataset_type, str) for result in data.eval_results)
    assert data.pipeline_tag == "image-to-image"


def test_the_terms_are_those_of_the_data(copied):
    change(copied / "student/config.json", attribution="Drawn with Noto Sans SC, SIL Open Font License 1.1.")
    write_card(copied, "student")
    text = text_of(copied)
    assert "Drawn with Noto Sans SC, SIL Open Font License 1.1.\n" in text and "the user's own" not in text


def test_the_terms_of_a_given_original_are_there_too(copied):
    change(copied / "student/config.json", attribution="By Bob, CC0",
           original={"data": "maps", "attribution": "Maps by Ann Example, CC BY 4.0."})
    write_card(copied, "student")
    assert ("By Bob, CC0. The original was given: a net of maps. Maps by Ann Example, CC BY 4.0.\n") in text_of(copied)


def test_it_warns_where_the_source_is_the_better_answer(copied):
    metrics = read_json(copied / "metrics.json")
    student, copy = metrics["rows"]["student"], metrics["rows"]["copy"]

    def limits(**better):
        for key in METRICS:
            if key in copy:
                sign = 1 if METRICS[key].better == "higher" else -1
                copy[key] = student[key] + (sign if better.get(key) else -sign)
        write_json(copied / "metrics.json", metrics)
        write_card(copied, "student")
        return text_of(copied).partition("## Limits")[2]

    assert "handing back the source" not in limits()
    assert "By SSIM and KD (Lite0), handing back the source scores better" in limits(ssim=True, kd_efflite0=True)
    metrics["protocol"]["test_images"] = 2048
    assert "are few" not in limits()


def test_one_colour_is_a_limit_of_instance_norm(tiny_run, tiny_run_unet):
    for run, norm in ((tiny_run, "instance"), (tiny_run_unet, "batch")):
        assert Record(run).nets["student"]["config"]["norm"] == norm
        assert ("one single colour" in text_of(run)) == (norm == "instance")


def test_of_an_original(copied):
    """What `--method original` delivers."""
    write_card(copied, "original")
    text = text_of(copied, "original")
    assert "compressed with" not in text and 'ugc.load("original")' in text and "times as many" not in text
    assert list(table_of(text)[1]) == ["original", "copy of the source", "floor"]


def test_no_card_without_numbers(copied):
    metrics = read_json(copied / "metrics.json")
    costs = {key: metrics["rows"]["student"][key] for key in ("params", "macs", "macs_paper")}
    for content in ({"rows": {**metrics["rows"], "student": costs}}, {"rows": {}}, {}):
        write_json(copied / "metrics.json", content)
        write_card(copied, "student")
    (copied / "metrics.json").unlink()
    write_card(copied, "student")
    assert not (copied / "student/README.md").exists()


def test_it_names_the_commits_of_all_sessions(copied):
    one = read_json(copied / "env.json")
    one = {**{key: value for key, value in one.items() if key != "sessions"}, "commit": "0123abc"}
    change(copied / "env.json", sessions=[one, {**one, "commit": "4567def"}], commit="0123abc")
    write_card(copied, "student")
    assert "commit 0123abc, then 4567def, torch" in text_of(copied)


@pytest.mark.parametrize(("commits", "said"), [((None, None), "ugc [^,]+, torch"),
                                               ((None, "4567def"), "commit unknown, then 4567def, torch"),
                                               (("0123abc", None), "commit 0123abc, then unknown, torch")])
def test_a_session_without_a_commit_is_unknown(copied, commits, said):
    one = {key: value for key, value in read_json(copied / "env.json").items() if key != "sessions"}
    change(copied / "env.json", sessions=[{**one, "commit": commit} for commit in commits], commit=commits[0])
    write_card(copied, "student")
    assert re.search(said, text_of(copied)) and "null" not in text_of(copied)


def test_a_tiny_number_of_its_head_is_a_number(copied):
    metrics = read_json(copied / "metrics.json")
    metrics["rows"]["student"] |= {"l1": 1e-5, "ssim": 1.25e-7, "psnr": -2e12}
    write_json(copied / "metrics.json", metrics)
    write_card(copied, "student")
    found = yaml.safe_load(text_of(copied).split("---\n")[1])["model-index"][0]["results"][0]["metrics"]
    assert {"l1": 1e-5, "ssim": 1.25e-7, "psnr": -2e12}.items() <= {m["type"]: m["value"] for m in found}.items()



@pytest.mark.parametrize("name", [
    "\U0001f468\u200d\U0001f469 pets", 'a "b" \\c', "line\nend", "tag\U000e0001", "\u2028é", ""])
def test_any_name_is_itself_in_yaml(name):
    assert yaml.safe_load(_quoted(name)) == name
