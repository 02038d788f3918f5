"""What was cut short goes on with the same command, and with nothing else: starts, searches, pages, given originals."""

import json
import math
import shutil
import signal

import pytest

from ugc.engine import inherit, job, pipeline
from ugc.methods.selection import Scoreboard, SupernetScore


def of(path):
    def refuse(word):
        raise AssertionError(f"{path} holds {word}")

    return json.loads(path.read_text(), parse_constant=refuse)


def weights(net):
    return (net / "model.safetensors").read_bytes()


@pytest.fixture
def words(tiny_run, tmp_path):
    """A run from the tiny run's supernet, up to its search."""
    return ("run", "--from", tiny_run, "--out", tmp_path / "run", "--until", "search")


def cut(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("where, name", [(inherit, "copy_folder"), (job, "take_over"), (job, "write_json")])
def test_a_start_cut_short_takes_nothing_for_its_own(words, tiny_run, tiny_data, tiny, ugc, tmp_path, monkeypatch, where,
                                                     name):
    with monkeypatch.context() as patch:
        patch.setattr(where, name, cut)
        assert ugc(*words).code == 130
    assert not (tmp_path / "run/stages/supernet/done.json").exists()
    other = ("run", tiny_data, "--out", tmp_path / "run", *tiny, "--set", "optimiser.lr=3e-3", "--until", "supernet")
    if (tmp_path / "run/recipe.json").exists():  # it is known whose folder this is
        assert "optimiser.lr" in ugc(*other).last
    told = ugc(*words)
    assert told.code == 0 and "supernet: done" in told.err
    assert weights(tmp_path / "run/supernet") == weights(tiny_run / "supernet")


def test_a_run_that_is_taken_over_and_gone_before_that(tiny_run, ugc, tmp_path, monkeypatch):
    source = shutil.copytree(tiny_run, tmp_path / "source")
    words = ("run", "--from", source, "--out", tmp_path / "run", "--until", "search")
    with monkeypatch.context() as patch:
        patch.setattr(job, "take_over", cut)
        assert ugc(*words).code == 130
    other = of(source / "recipe.json")
    anew = {**other, "optimiser": {**other["optimiser"], "lr": 0.1}}
    (source / "recipe.json").write_text(json.dumps(anew))
    told = ugc(*words)
    assert told.code == 2 and "optimiser.lr" in told.last
    (source / "recipe.json").write_text(json.dumps(other))
    (source / "stages/supernet/done.json").unlink()
    told = ugc(*words)
    assert told.code == 2 and f"--from {source}: no finished supernet there" in told.last


def test_a_given_original_is_the_copy_once_the_run_has_begun(tiny_run, tiny_data, tiny, ugc, tmp_path):
    given = shutil.copytree(tiny_run / "original", tmp_path / "given")
    words = ("run", tiny_data, "--out", tmp_path / "run", *tiny, "--method", "from-teacher", "--original", given)
    assert ugc(*words, "--until", "search").code == 0
    limit = of(tmp_path / "run/run.json")["budget"]["limit"]
    shutil.rmtree(given)
    shutil.copytree(tiny_run / "largest", given)  # another net
    told = ugc(*words, "--until", "search")
    assert told.code == 0 and f"{limit / 1e6:.4g}M" in told.err
    shutil.rmtree(given)
    assert ugc(*words, "--until", "search").code == 0
    assert weights(tmp_path / "run/original") == weights(tiny_run / "original")


def test_an_original_that_is_left_out_is_not_measured(tiny_run, tiny_data, tiny, ugc, tmp_path, monkeypatch):
    """Killed while the given one was copied; then another start of the same folder, which leaves it out."""
    words = ("run", tiny_data, "--out", tmp_path / "run", *tiny)
    with monkeypatch.context() as patch:
        patch.setattr(job, "copy_folder", cut)
        assert ugc(*words, "--original", tiny_run / "original").code == 130
    told = ugc(*words, "--original", "none")
    assert told.code == 2 and "original (" in told.last and not (tmp_path / "run/original").exists()


@pytest.mark.parametrize("method", ["ugc", "from-teacher"])
def test_a_run_in_the_folder_of_its_original(tiny_run, tiny_data, tiny, ugc, tmp_path, method):
    old = shutil.copytree(tiny_run / "original", tmp_path / "old")
    told = ugc("run", tiny_data, "--out", old / "small", *tiny, "--original", old, "--method", method)
    assert told.code == 2 and "lies in the folder of --original" in told.last and not (old / "small").exists()


def test_the_same_budget_in_other_words_goes_on(words, ugc):
    for budget, code in (("15x", 0), ("15X", 0), ("macs_paper = 1.5e1x", 0), ("16x", 2)):
        told = ugc(*words, "--budget", budget)
        assert told.code == code, told.err


def test_a_score_that_is_no_number_does_not_end_a_search(words, ugc, tmp_path, monkeypatch):
    plain, asked = SupernetScore.__call__, []

    def sometimes(self, arch):
        asked.append(arch.text)
        return math.nan if len(asked) % 3 == 0 else plain(self, arch)

    monkeypatch.setattr(SupernetScore, "__call__", sometimes)
    folder = tmp_path / "run/stages/search"
    for _ in range(2):
        told = ugc(*words)
        assert told.code == 0, told.err
        rows = [json.loads(line, parse_constant=cut) for line in (folder / "candidates.jsonl").read_text().splitlines()]
        none = [row["arch"] for row in rows if row["score"] is None]
        assert none == asked[2::3] and len(rows) == len(asked)
        found = of(folder / "pareto.json")
        assert found["rows"] == rows and not any(row["score"] is None for row in found["front"]) and len(found["front"]) > 1
        assert not {one["arch"] for role, one in of(folder / "choice.json").items() if role != "notes"} & set(none)
        (folder / "done.json").unlink()  # once more, from the file


def test_no_score_is_a_number(words, ugc, monkeypatch):
    monkeypatch.setattr(SupernetScore, "__call__", lambda self, arch: math.inf * 0)
    told = ugc(*words)
    assert told.code == 2 and "the search for the student found no net whose pictures can be scored" in told.last


def test_the_seconds_of_a_search_are_those_of_all_its_sessions(words, ugc, tmp_path, monkeypatch):
    folder, plain = tmp_path / "run/stages/search", Scoreboard._keep
    calls = []

    def slow(self, arch, score):
        plain(self, arch, score)
        calls.append(arch)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Scoreboard, "_keep", slow)
        assert ugc(*words).code == 130
    first = of(folder / "seconds.json")
    assert first > 0
    (folder / "seconds.json").write_text("1000.5\n")
    assert ugc(*words).code == 0
    assert 1000.5 < of(folder / "done.json")["seconds"] < 1500 and not (folder / "seconds.json").exists()


def test_a_page_that_a_kill_left_behind_is_written(tiny_run, tiny_data, tiny, ugc, tmp_path, monkeypatch):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    words = ("run", tiny_data, "--out", run, *tiny)
    page = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert ugc(*words).code == 0 and (run / "report.html").read_bytes() == page
    (run / "report.html").unlink()
    (run / "stages/test/done.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_report", cut)
        assert ugc(*words).code == 130 and (run / "stages/test/done.json").exists()
    assert ugc(*words).code == 0 and b"This run has not finished" not in (run / "report.html").read_bytes()
    before = (run / "report.html").stat().st_mtime_ns
    assert ugc(*words).code == 0 and (run / "report.html").stat().st_mtime_ns == before  # it is of what is there


def test_asked_to_stop_after_the_last_step_was_looked_at(tiny_data, tiny, ugc, tmp_path, monkeypatch):
    """The stage's sample grid is still drawn then; the next stage is not begun."""
    plain = pipeline.sample_grid

    def drawn(*words, **fields):
        signal.raise_signal(signal.SIGTERM)
        return plain(*words, **fields)

    words = ("run", tiny_data, "--out", tmp_path / "run", *tiny, "--until", "supernet")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "sample_grid", drawn)
        told = ugc(*words)
    assert told.code == 130 and "saved after its last step" in told.err and not (tmp_path / "run/stages/supernet").exists()
    assert ugc(*words).code == 0
